"""Verilog for the tests of the tools: small designs and a file to put them in."""

MULTIPLIER = """
module top(clk, a, b, p);
  input clk;
  wire clk;
  input [15:0] a;
  input [15:0] b;
  output [31:0] p;
  reg [31:0] p;
  always @(posedge clk) p <= a * b;
endmodule
"""


def write(folder, text):
    path = folder / "top.v"
    path.write_text(text)
    return path
