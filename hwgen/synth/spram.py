"""The on-chip memory of program and results in an iCE40's single-port RAMs, as Verilog of the wrapper."""

WIDTH = 16
"""Bits of one RAM."""


def spram_memory(width: int, mask: int) -> str:
    """A memory of 16,384 words of ``width`` bits: the first word of a request comes one cycle after it.

    One port: words are written between requests, never in a cycle in which one is read.  ``mask``: bits of the write
    mask, each for a part of whole nibbles.
    """
    part = width // mask
    cells = []
    for first in range(0, width, WIDTH):
        nibbles = ", ".join(f"write_mask[{bit // part}]" for bit in range(first + WIDTH - 4, first - 4, -4))
        cells.append(f"""  SB_SPRAM256KA ram_{first // WIDTH} (.CLOCK(clk), .ADDRESS(place), .CHIPSELECT(1'b1),
    .DATAIN(write_data[{first + WIDTH - 1}:{first}]), .DATAOUT(answer_data[{first + WIDTH - 1}:{first}]),
    .WREN(write_valid & write_ready), .MASKWREN({{{nibbles}}}),
    .STANDBY(1'b0), .SLEEP(1'b0), .POWEROFF(1'b1));
""")
    return f"""  wire [{width - 1}:0] answer_data;
  reg answer_valid, answer_tag, tag;
  reg [4:0] left;
  reg [13:0] next;
  wire read_ready = left == 0;
  wire reading = read_valid | ~read_ready;
  wire write_ready = ~reading;
  wire [13:0] current = read_ready ? read_address[13:0] : next;
  wire [13:0] place = reading ? current : write_address[13:0];
  always @(posedge clk) begin
    answer_valid <= reading & ~reset;
    answer_tag <= read_ready ? read_tag : tag;
    next <= current + 1'b1;
    if (read_ready) tag <= read_tag;
    left <= reset ? 5'd0 : ~read_ready ? left - 5'd1 : read_valid ? read_count - 5'd1 : 5'd0;
  end
{"".join(cells)}"""
