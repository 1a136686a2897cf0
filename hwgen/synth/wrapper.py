"""A top with four pins around the engine, for place and route.

The engine has hundreds of ports and no board brings them out.  The wrapper feeds all inputs
from one shift register and folds all outputs into one pin, a register before and behind every
port, so that the clock that place and route finds is the engine's own.  An on-chip RAM of the
program's size answers the memory port.
"""

from dataclasses import dataclass
import re

from hwgen.errors import HwgenError

TOP = "hwgen_placed"
PORT = re.compile(r"^\s*(input|output)\s+(?:wire\s+|reg\s+)?(?:\[(\d+):(\d+)\]\s*)?(\\\S+ |\w+)\s*;", re.MULTILINE)
FUNCTION = re.compile(r"^\s*function\b.*?^\s*endfunction\b", re.MULTILINE | re.DOTALL)
MEMORY = ("read_valid", "read_ready", "read_address", "answer_valid", "answer_data", "answer_error",
          "write_valid", "write_ready", "write_address", "write_data")


@dataclass(frozen=True)
class Port:
    name: str
    width: int
    output: bool


def parse_ports(verilog: str, top: str) -> list[Port]:
    """Ports of module ``top`` in Verilog as Yosys writes it (one declaration a line)."""
    start = re.search(rf"^module {re.escape(top)}\b", verilog, re.MULTILINE)
    end = verilog.find("\nendmodule", start.start()) if start else -1
    if start is None or end < 0:
        raise HwgenError(f"the Verilog has no module {top}")
    # Yosys writes selections as functions, whose inputs look like ports.
    body = FUNCTION.sub("", verilog[start.start():end])
    return [Port(name.strip(), abs(int(high or 0) - int(low or 0)) + 1, direction == "output")
            for direction, high, low, name in PORT.findall(body)]


def memory_ports(ports: list[Port]) -> dict[str, Port]:
    """The ports of the memory port by their names in MEMORY; empty when the engine has none."""
    found = {port.name: port for port in ports if port.name in MEMORY}
    return found if len(found) == len(MEMORY) else {}


def make_wrapper(ports: list[Port], engine_top: str, memory_words: int) -> str:
    """Verilog of module TOP with pins ``clk``, ``rst``, ``si`` and ``so``."""
    memory = memory_ports(ports)
    held = {port.name for port in memory.values()} | {"clk", "rst"}
    inputs = [p for p in ports if not p.output and p.name not in held]
    outputs = [p for p in ports if p.output and p.name not in held]
    n_in, n_out = sum(p.width for p in inputs), sum(p.width for p in outputs)
    ram = _ram(memory, memory_words) if memory else ""
    links = ["    .clk(clk),", "    .rst(rst),"]
    position = 0
    for port in inputs:
        links.append(f"    .{port.name} (shift[{position + port.width - 1}:{position}]),")
        position += port.width
    position = 0
    for port in outputs:
        links.append(f"    .{port.name} (seen[{position + port.width - 1}:{position}]),")
        position += port.width
    constants = {"read_ready": "1'b1", "write_ready": "1'b1", "answer_error": "1'b0"}
    links += [f"    .{name} ({constants.get(name, name)})," for name in memory]
    links[-1] = links[-1].rstrip(",")
    body = "\n".join(links)
    return f"""module {TOP}(input clk, input rst, input si, output so);
  reg [{n_in - 1}:0] shift;
  wire [{n_out - 1}:0] seen;
  reg [{n_out - 1}:0] held, fold;
  assign so = fold[{n_out - 1}];
  always @(posedge clk) begin
    shift <= (shift << 1) | si;
    held <= seen;
    fold <= (fold << 1) ^ held;
  end
{ram}  {engine_top} engine (
{body}
  );
endmodule
"""


def _ram(memory: dict[str, Port], words: int) -> str:
    """The RAM: a word read and a word written each cycle, answers one cycle later."""
    width, address = memory["answer_data"].width, memory["read_address"].width
    bits = max(1, (words - 1).bit_length())
    if bits > address:
        raise HwgenError(f"a program of {words} words does not fit the engine's {address}-bit addresses")
    # Program and results are never read and written in the same cycle at one address: no logic for collisions.
    return f"""  wire read_valid, write_valid;
  wire [{address - 1}:0] read_address, write_address;
  wire [{width - 1}:0] write_data;
  reg answer_valid;
  reg [{width - 1}:0] answer_data;
  (* ram_style = "block", no_rw_check *) reg [{width - 1}:0] ram [0:{words - 1}];
  always @(posedge clk) begin
    answer_valid <= read_valid & ~rst;
    answer_data <= ram[read_address[{bits - 1}:0]];
    if (write_valid) ram[write_address[{bits - 1}:0]] <= write_data;
  end
"""
