"""A top with four pins around the engine, for place and route.

The engine has hundreds of ports and no board brings them out.  The wrapper feeds all inputs
from one shift register and folds all outputs into one pin, a register before and behind every
port, so that the clock that place and route finds is the engine's own.  Where the engine has
the memory port, an on-chip RAM of the program's size answers it.
"""

from dataclasses import dataclass
import re

from hwgen.errors import HwgenError

TOP = "hwgen_placed"
PORT = re.compile(r"^\s*(input|output)\s+(?:wire\s+|reg\s+)?(?:\[(\d+):(\d+)\]\s*)?(\\\S+ |\w+)\s*;", re.MULTILINE)
MEMORY = ("request_valid", "request_ready", "request_address", "response_valid", "response_data", "response_error")


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
    return [Port(name.strip(), abs(int(high or 0) - int(low or 0)) + 1, direction == "output")
            for direction, high, low, name in PORT.findall(verilog, start.start(), end)]


def memory_ports(ports: list[Port]) -> dict[str, Port]:
    """The ports of the memory port by their names in MEMORY; empty when the engine has none."""
    found = {}
    for port in ports:
        for name in MEMORY:
            if port.name == name or port.name.endswith(f"_{name}"):
                found[name] = port
    return found if len(found) == len(MEMORY) else {}


def make_wrapper(ports: list[Port], engine_top: str, memory_words: int) -> str:
    """Verilog of module TOP with pins ``clk``, ``rst``, ``si`` and ``so``."""
    memory = memory_ports(ports)
    held = {port.name for port in memory.values()} | {"clk", "rst"}
    inputs = [p for p in ports if not p.output and p.name not in held]
    outputs = [p for p in ports if p.output and p.name not in held]
    n_in, n_out = sum(p.width for p in inputs), sum(p.width for p in outputs)
    ram = _ram(memory, memory_words) if memory else ""
    extra = memory["response_data"].width + 33 if memory else 0
    links = ["    .clk(clk),", "    .rst(rst),"]
    position = extra
    for port in inputs:
        links.append(f"    .{port.name} (shift[{position + port.width - 1}:{position}]),")
        position += port.width
    position = 0
    for port in outputs:
        links.append(f"    .{port.name} (seen[{position + port.width - 1}:{position}]),")
        position += port.width
    links += [f"    .{port.name} ({name})," for name, port in memory.items()]
    links[-1] = links[-1].rstrip(",")
    body = "\n".join(links)
    return f"""module {TOP}(input clk, input rst, input si, output so);
  reg [{n_in + extra - 1}:0] shift;
  wire [{n_out - 1}:0] seen;
  reg [{n_out - 1}:0] held, fold;
  assign so = fold[{n_out - 1}];
  always @(posedge clk) begin
    shift <= {{shift[{n_in + extra - 2}:0], si}};
    held <= seen;
    fold <= {{fold[{n_out - 2}:0], 1'b0}} ^ held;
  end
{ram}  {engine_top} engine (
{body}
  );
endmodule
"""


def _ram(memory: dict[str, Port], words: int) -> str:
    """The RAM: one word a cycle, one cycle of latency; written from the shift register so that it stays a RAM."""
    width = memory["response_data"].width
    bits = max(1, (words - 1).bit_length())
    address = memory["request_address"].width
    if bits > min(32, address):
        raise HwgenError(f"a program of {words} words does not fit the engine's {address}-bit addresses")
    return f"""  wire request_valid, request_ready = 1'b1, response_error = 1'b0;
  wire [{address - 1}:0] request_address;
  reg response_valid;
  reg [{width - 1}:0] response_data;
  (* ram_style = "block", no_rw_check *) reg [{width - 1}:0] ram [0:{words - 1}];
  always @(posedge clk) begin
    response_valid <= request_valid & ~rst;
    response_data <= ram[request_address[{bits - 1}:0]];
    if (shift[{width + 32}]) ram[shift[{width + bits - 1}:{width}]] <= shift[{width - 1}:0];
  end
"""
