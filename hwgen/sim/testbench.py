"""The Verilog around an engine in simulation: clock, a memory with latency and stalls, and a trace file.

The whole run happens in Verilog, so that nothing slows the simulator down; cocotb starts
it, watches ``finished`` and reads the trace afterwards.
"""

from ..engine import Engine

NAME = "hwgen_testbench"

_TEXT = """\
`timescale 1ns/1ns
// A job: a program, its input region and a number of images.  plusargs: +jobs=FILE +trace=FILE
// +latency=N +stall=PERCENT +seed=N.
module {name} (output reg finished, output reg [31:0] images_done, output reg [2:0] last_error);
  localparam MW = {mem_bits};
  localparam DEPTH = {depth};
  reg [MW-1:0] memory [0:DEPTH-1];
  reg clk = 0;
  reg rst = 1;
  always #5 clk = !clk;

  reg start = 0;
  reg [31:0] base = 0;
  reg [23:0] length = 0;
  wire busy, done, read_valid, write_valid, trace_valid;
  wire [2:0] error;
  wire [39:0] cycles;
  wire [31:0] engine_id, read_address, write_address;
  wire [MW-1:0] write_data;
  wire [15:0] layers, trace_address;
  wire [3:0] trace_bank;
  wire [{word_msb}:0] trace_data;
  wire read_ready, write_ready;
  reg answer_valid = 0;
  reg answer_error = 0;
  reg [MW-1:0] answer_data = 0;

  {top} engine (
    .clk(clk), .rst(rst), .start(start), .base(base), .length(length), .busy(busy), .done(done), .error(error),
    .cycles(cycles), .engine_id(engine_id), .read_valid(read_valid), .read_ready(read_ready),
    .read_address(read_address), .answer_valid(answer_valid), .answer_data(answer_data),
    .answer_error(answer_error), .write_valid(write_valid), .write_ready(write_ready),
    .write_address(write_address), .write_data(write_data), .layers(layers), .trace_valid(trace_valid),
    .trace_bank(trace_bank), .trace_address(trace_address), .trace_data(trace_data));

  // Memory: reads answered in order after `latency` cycles or more; refused and delayed at random.
  integer latency, stall, seed, fail_at, reads;
  reg stall_read = 0, stall_write = 0, stall_answer = 0;
  reg [31:0] queue [0:255];
  reg [31:0] due [0:255];
  reg [7:0] head = 0, tail = 0;
  reg [31:0] now = 0;
  // Xorshift: the same sequence in every simulator ($urandom with a seed is not).
  reg [31:0] noise = 1;
  wire [31:0] noise_a = noise ^ (noise << 13);
  wire [31:0] noise_b = noise_a ^ (noise_a >> 17);
  assign read_ready = !stall_read;
  assign write_ready = !stall_write;
  always @(posedge clk) begin
    now <= now + 1;
    noise <= rst ? (seed == 0 ? 1 : seed) : noise_b ^ (noise_b << 5);
    if (stall != 0) begin
      stall_read <= noise[9:0] % 100 < stall;
      stall_write <= noise[20:11] % 100 < stall;
      stall_answer <= noise[31:22] % 100 < stall;
    end
    if (read_valid && read_ready) begin
      queue[head] <= read_address;
      due[head] <= now + latency;
      head <= head + 1;
    end
    answer_valid <= 0;
    answer_error <= 0;
    if (latency == 1 && read_valid && read_ready && head == tail && !stall_answer) begin
      answer_valid <= 1;
      answer_data <= memory[read_address % DEPTH];
      answer_error <= reads == fail_at;
      reads <= reads + 1;
      tail <= tail + 1;
    end else if (head != tail && due[tail] <= now + 1 && !stall_answer) begin
      answer_valid <= 1;
      answer_data <= memory[queue[tail] % DEPTH];
      answer_error <= reads == fail_at;
      reads <= reads + 1;
      tail <= tail + 1;
    end
    if (write_valid && write_ready) begin
      memory[write_address % DEPTH] <= write_data;
      $fdisplay(trace, "W %h %h", write_address, write_data);
    end
  end

  // Trace: every drained word, and when each layer began.
  integer trace, jobs, inputs, status, i;
  reg [15:0] layers_before = 0;
  always @(posedge clk) begin
    if (layers != layers_before) begin
      layers_before <= layers;
      if (layers != 0) $fdisplay(trace, "L %0d %0d", layers, cycles);
    end
    if (trace_valid) $fdisplay(trace, "T %h %h %h %0d", trace_bank, trace_address, trace_data, cycles);
  end

  reg [8*1024-1:0] file;
  reg [31:0] job_base, job_length, job_input, job_words, job_images, image;
  initial begin
    finished = 0;
    images_done = 0;
    last_error = 0;
    latency = 1;
    stall = 0;
    seed = 1;
    fail_at = -1;
    reads = 0;
    status = $value$plusargs("latency=%d", latency);
    status = $value$plusargs("stall=%d", stall);
    status = $value$plusargs("seed=%d", seed);
    status = $value$plusargs("fail_at=%d", fail_at);
    status = $value$plusargs("trace=%s", file);
    trace = $fopen(file, "w");
    status = $value$plusargs("jobs=%s", file);
    jobs = $fopen(file, "r");
    repeat (4) @(negedge clk);
    rst = 0;
    while ($fscanf(jobs, "%s %d %d %d %d %d\\n", file, job_base, job_length, job_input, job_words,
                   job_images) == 6) begin
      $readmemh(file, memory);
      status = $fscanf(jobs, "%s\\n", file);
      inputs = $fopen(file, "rb");
      for (image = 0; image < job_images && last_error == 0; image = image + 1) begin
        for (i = 0; i < job_words; i = i + 1) begin
          status = $fread(answer_image, inputs);
          memory[job_input + i] = answer_image;
        end
        $fdisplay(trace, "I %0d", image);
        base = job_base;
        length = job_length;
        start = 1;
        @(negedge clk) start = 0;
        @(negedge clk);
        while (!done) @(negedge clk);
        $fdisplay(trace, "D %0d %0d", cycles, error);
        if (error != 0) last_error = error;
        images_done = images_done + 1;
        @(negedge clk);
      end
      $fclose(inputs);
    end
    $fclose(trace);
    finished = 1;
  end
  reg [MW-1:0] answer_image;
endmodule
"""


def testbench(engine: Engine, memory_words: int, top: str = "hwgen_engine") -> str:
    """The testbench for an engine with a memory of ``memory_words`` words."""
    return _TEXT.format(name=NAME, top=top, mem_bits=engine.mem_bits, depth=memory_words,
                        word_msb=engine.word_bits - 1)
