"""The Verilog around an engine in simulation: clock, a memory with latency and stalls, and a trace file.

The whole run happens in Verilog, so that nothing slows the simulator down; cocotb starts
it, watches ``finished`` and reads the trace afterwards.
"""

from ..engine import AXI_TOP, TOP, Engine
from ..rtl.axi.master import MAX_WRITES

NAME = "hwgen_testbench"

_TEXT = """\
`timescale 1ns/1ns
// A job: a program, its input region and a number of images.  plusargs: +jobs=FILE +trace=FILE
// +latency=N +interval=N +queue=N +stall=PERCENT +seed=N +fail_at=N.
module {name} (output reg finished, output reg [31:0] images_done, output reg [2:0] last_error);
  localparam MW = {mem_bits};
  localparam PORTS = {ports};
  localparam PW = MW / PORTS;
  localparam SW = {word_bits};
  localparam DEPTH = {depth};
  reg [MW-1:0] memory [0:DEPTH-1];
  reg clk = 0;
  reg rst = 1;
  always #5 clk = !clk;

  reg start = 0;
  reg [23:0] length = 0;
  wire busy, done, trace_valid;
  wire [2:0] error;
  wire [39:0] cycles;
  wire [31:0] engine_id;
  wire [15:0] layers;
  wire [23:0] trace_address;
  wire [3:0] trace_bank;
  wire [SW-1:0] trace_data;

  // Memory: `queue` requests at a time, the first word of one after `latency` cycles, then one in `interval`
  // cycles, in order; refused and delayed at random, each port on its own.
  integer latency, interval, queue, stall, seed, fail_at;
  // Xorshift: the same sequence in every simulator ($urandom with a seed is not).
  reg [31:0] noise = 1;
  wire [31:0] noise_a = noise ^ (noise << 13);
  wire [31:0] noise_b = noise_a ^ (noise_a >> 17);
  reg stall_read = 0, stall_write = 0;
  integer now = 0;
  always @(posedge clk) begin
    now <= now + 1;
    noise <= rst ? (seed == 0 ? 1 : seed) : noise_b ^ (noise_b << 5);
    if (stall != 0) begin
      stall_read <= noise[9:0] % 100 < stall;
      stall_write <= noise[20:11] % 100 < stall;
    end
  end

{memory}
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
  reg [31:0] job_length, job_input, job_words, job_images, image;
  initial begin
    finished = 0;
    images_done = 0;
    last_error = 0;
    latency = 1;
    interval = 1;
    queue = 1;
    stall = 0;
    seed = 1;
    fail_at = -1;
    status = $value$plusargs("latency=%d", latency);
    status = $value$plusargs("interval=%d", interval);
    status = $value$plusargs("queue=%d", queue);
    status = $value$plusargs("stall=%d", stall);
    status = $value$plusargs("seed=%d", seed);
    status = $value$plusargs("fail_at=%d", fail_at);
    status = $value$plusargs("trace=%s", file);
    trace = $fopen(file, "w");
    status = $value$plusargs("jobs=%s", file);
    jobs = $fopen(file, "r");
    repeat (4) @(negedge clk);
    rst = 0;
    while ($fscanf(jobs, "%s %d %d %d %d\\n", file, job_length, job_input, job_words, job_images) == 5) begin
      $readmemh(file, memory);
      status = $fscanf(jobs, "%s\\n", file);
      inputs = $fopen(file, "rb");
      for (image = 0; image < job_images && last_error == 0; image = image + 1) begin
        for (i = 0; i < job_words; i = i + 1) begin
          status = $fread(answer_image, inputs);
          memory[job_input + i] = answer_image;
        end
        $fdisplay(trace, "I %0d", image);
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

_CORE = """\
  wire read_valid, write_valid, read_tag;
  wire [31:0] read_address, write_address;
  wire [4:0] read_count;
  wire [MW-1:0] write_data;
  wire [MW/SW-1:0] write_mask;
  wire [PORTS-1:0] answer_valid, answer_tag, answer_error, full;
  wire [MW-1:0] answer_data;
  wire read_ready = !stall_read && full == 0;
  wire write_ready = !stall_write;
  {top} engine (
    .clk(clk), .rst(rst), .start(start), .length(length), .busy(busy), .done(done), .error(error),
    .cycles(cycles), .engine_id(engine_id), .read_valid(read_valid), .read_ready(read_ready),
    .read_address(read_address), .read_count(read_count), .read_tag(read_tag), .answer_valid(answer_valid),
    .answer_tag(answer_tag), .answer_error(answer_error), .answer_data(answer_data), .write_valid(write_valid),
    .write_ready(write_ready), .write_address(write_address), .write_data(write_data), .write_mask(write_mask),
    .write_idle(1'b1), .write_error(1'b0), .layers(layers), .trace_valid(trace_valid),
    .trace_bank(trace_bank), .trace_address(trace_address), .trace_data(trace_data));

  integer k;
  reg [MW/8-1:0] strobes = 0;
  always @(posedge clk) if (write_valid && write_ready) begin
    for (k = 0; k < MW / 8; k = k + 1) begin
      strobes[k] = write_mask[k * 8 / SW];
      if (strobes[k]) memory[write_address % DEPTH][k*8 +: 8] <= write_data[k*8 +: 8];
    end
    $fdisplay(trace, "W %h %h %h", write_address, strobes, write_data);
  end
  genvar p;
  generate for (p = 0; p < PORTS; p = p + 1) begin : port
    reg [37:0] runs [0:15];
    integer due [0:15];
    integer head = 0, tail = 0, word = 0, free = 0, reads = 0;
    reg valid = 0, tag = 0, failed = 0, busy_ = 0;
    reg [PW-1:0] data = 0;
    reg [31:0] address;
    wire [31:0] mixed = noise * (2 * p + 3);
    assign answer_valid[p] = valid;
    assign answer_tag[p] = tag;
    assign answer_error[p] = failed;
    assign answer_data[p*PW +: PW] = data;
    assign full[p] = busy_;
    always @(posedge clk) begin
      if (read_valid && read_ready) begin
        runs[head % 16] = {{read_tag, read_count, read_address}};
        due[head % 16] = now + latency - 1;
        head = head + 1;
      end
      valid <= 0;
      failed <= 0;
      if (head != tail && due[tail % 16] <= now && free <= now && !(stall != 0 && mixed[31:22] % 100 < stall)) begin
        address = runs[tail % 16][31:0] + word;
        valid <= 1;
        tag <= runs[tail % 16][37];
        data <= memory[address % DEPTH][p*PW +: PW];
        failed <= reads == fail_at && p == 0;
        reads = reads + 1;
        free = now + interval;
        word = word + 1;
        if (word == runs[tail % 16][36:32]) begin
          word = 0;
          tail = tail + 1;
        end
      end
      busy_ <= head - tail >= queue;
    end
  end endgenerate
"""

_AXI = """\
  // One AXI slave per port; word i of port p lies at byte p * 2**28 + i * PW / 8.
  integer k;
  genvar p;
  generate for (p = 0; p < PORTS; p = p + 1) begin : port
    reg [37:0] runs [0:31];
    integer due [0:31];
    integer confirm [0:{writes}];
    integer head = 0, tail = 0, word = 0, free = 0, reads = 0, written = 0, confirmed = 0;
    reg valid = 0, id = 0, last = 0, failed = 0, bvalid = 0, placed = 0, given = 0;
    reg arready = 1;
    reg [PW-1:0] data = 0, wdata = 0;
    reg [PW/8-1:0] wstrb = 0;
    reg [31:0] awaddr = 0, at = 0;
    reg [MW/8-1:0] strobes = 0;
    reg [MW-1:0] wide = 0;
    wire [31:0] mixed = noise * (2 * p + 3);
    wire [31:0] awaddr_in, araddr_in;
    wire [7:0] arlen_in;
    wire [PW-1:0] wdata_in;
    wire [PW/8-1:0] wstrb_in;
    wire awvalid, wvalid, arvalid, arid, bready, rready;
    wire awready = !placed && !(stall != 0 && mixed[31:25] % 100 < stall);
    wire wready = !given && !(stall != 0 && mixed[24:18] % 100 < stall);
    always @(posedge clk) begin
      if (arvalid && arready) begin
        runs[head % 32] = {{arid, 1'b0, arlen_in[3:0], araddr_in}};
        due[head % 32] = now + latency - 1;
        head = head + 1;
      end
      if (!valid || rready) begin
        valid <= 0;
        if (head != tail && due[tail % 32] <= now && free <= now && !(stall != 0 && mixed[17:11] % 100 < stall)) begin
          at = (runs[tail % 32][27:0] / (PW / 8)) + word;
          valid <= 1;
          id <= runs[tail % 32][37];
          data <= memory[at % DEPTH][p*PW +: PW];
          last <= word == runs[tail % 32][36:32];
          failed <= reads == fail_at && p == 0;
          reads = reads + 1;
          free = now + interval;
          if (word == runs[tail % 32][36:32]) begin
            word = 0;
            tail = tail + 1;
          end else word = word + 1;
        end
      end
      arready <= head - tail < queue && !(stall != 0 && mixed[10:4] % 100 < stall);
      if (awvalid && awready) begin placed = 1; awaddr = awaddr_in; end
      if (wvalid && wready) begin given = 1; wdata = wdata_in; wstrb = wstrb_in; end
      if (bvalid && bready) bvalid <= 0;
      if (placed && given) begin
        at = awaddr[27:0] / (PW / 8);
        for (k = 0; k < PW / 8; k = k + 1)
          if (wstrb[k]) memory[at % DEPTH][p*PW + 8*k +: 8] = wdata[8*k +: 8];
        strobes = wstrb << p * PW / 8;
        wide = wdata << p * PW;
        $fdisplay(trace, "W %h %h %h", at, strobes, wide);
        placed = 0;
        given = 0;
        confirm[written % ({writes} + 1)] = now + latency;
        written = written + 1;
      end
      if (confirmed != written && confirm[confirmed % ({writes} + 1)] <= now && (!bvalid || bready)) begin
        bvalid <= 1;
        confirmed = confirmed + 1;
      end
    end
  end endgenerate
  {top} engine (
    .clk(clk), .rst(rst), .start(start), .length(length), .busy(busy), .done(done), .error(error),
    .cycles(cycles), .engine_id(engine_id), .layers(layers), .trace_valid(trace_valid),
    .trace_bank(trace_bank), .trace_address(trace_address), .trace_data(trace_data){links});
"""

_LINKS = """,
    .base_{p}(32'd{base}), .m{p}_axi_awaddr(port[{p}].awaddr_in), .m{p}_axi_awvalid(port[{p}].awvalid),
    .m{p}_axi_awready(port[{p}].awready), .m{p}_axi_wdata(port[{p}].wdata_in), .m{p}_axi_wstrb(port[{p}].wstrb_in),
    .m{p}_axi_wvalid(port[{p}].wvalid), .m{p}_axi_wready(port[{p}].wready), .m{p}_axi_bid(1'b0),
    .m{p}_axi_bresp(2'b0), .m{p}_axi_bvalid(port[{p}].bvalid), .m{p}_axi_bready(port[{p}].bready),
    .m{p}_axi_arid(port[{p}].arid), .m{p}_axi_araddr(port[{p}].araddr_in), .m{p}_axi_arlen(port[{p}].arlen_in{slice}),
    .m{p}_axi_arvalid(port[{p}].arvalid), .m{p}_axi_arready(port[{p}].arready), .m{p}_axi_rid(port[{p}].id),
    .m{p}_axi_rdata(port[{p}].data), .m{p}_axi_rresp({{port[{p}].failed, 1'b0}}), .m{p}_axi_rlast(port[{p}].last),
    .m{p}_axi_rvalid(port[{p}].valid), .m{p}_axi_rready(port[{p}].rready)"""


def testbench(engine: Engine, memory_words: int, protocol: str | None = None) -> str:
    """The testbench for an engine with a memory of ``memory_words`` words.

    With ``protocol`` ("axi3", "axi4") the engine is ``hwgen_axi_engine`` and the memory an AXI slave
    per port, else it is ``hwgen_engine`` and the memory answers its own port.
    """
    if protocol is None:
        memory = _CORE.format(top=TOP)
    else:
        slice_ = "[3:0]" if protocol == "axi3" else ""
        links = "".join(_LINKS.format(p=p, base=p << 28, slice=slice_) for p in range(engine.ports))
        memory = _AXI.format(top=AXI_TOP, links=links, writes=MAX_WRITES)
    return _TEXT.format(name=NAME, mem_bits=engine.mem_bits, ports=engine.ports, depth=memory_words,
                        word_bits=engine.word_bits, memory=memory)
