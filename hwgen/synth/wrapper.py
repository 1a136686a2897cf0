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
MEMORY = ("read_valid", "read_ready", "read_address", "read_count", "read_tag", "answer_valid", "answer_tag",
          "answer_error", "answer_data", "write_valid", "write_ready", "write_address", "write_data", "write_mask",
          "write_idle", "write_error")


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
    # One RAM answers all ports of the engine at once.
    n_ports = memory["answer_valid"].width if memory else 1
    constants = {"write_ready": "1'b1", "write_idle": "1'b1", "write_error": "1'b0", "answer_error": f"{n_ports}'b0",
                 "answer_valid": f"{{{n_ports}{{answer_valid}}}}", "answer_tag": f"{{{n_ports}{{answer_tag}}}}"}
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
    """The RAM: a word read and a word written each cycle, the first answer of a request one cycle after it."""
    width, address, mask = (memory[name].width for name in ("answer_data", "read_address", "write_mask"))
    bits, part = max(1, (words - 1).bit_length()), width // mask
    if bits > address:
        raise HwgenError(f"a program of {words} words does not fit the engine's {address}-bit addresses")
    # Program and results are never read and written in the same cycle at one address: no logic for collisions.
    return f"""  wire read_valid, read_tag, write_valid;
  wire [{address - 1}:0] read_address, write_address;
  wire [{width - 1}:0] write_data;
  wire [{mask - 1}:0] write_mask;
  wire [4:0] read_count;
  reg answer_valid, answer_tag, tag;
  reg [{width - 1}:0] answer_data;
  reg [4:0] left;
  reg [{bits - 1}:0] next;
  wire read_ready = left == 0;
  wire [{bits - 1}:0] current = read_ready ? read_address[{bits - 1}:0] : next;
  integer k;
  (* ram_style = "block", no_rw_check *) reg [{width - 1}:0] ram [0:{words - 1}];
  always @(posedge clk) begin
    answer_valid <= (read_valid | ~read_ready) & ~rst;
    answer_tag <= read_ready ? read_tag : tag;
    answer_data <= ram[current];
    next <= current + 1'b1;
    if (read_ready) tag <= read_tag;
    left <= rst ? 5'd0 : ~read_ready ? left - 5'd1 : read_valid ? read_count - 5'd1 : 5'd0;
    if (write_valid) for (k = 0; k < {mask}; k = k + 1)
      if (write_mask[k]) ram[write_address[{bits - 1}:0]][k * {part} +: {part}] <= write_data[k * {part} +: {part}];
  end
"""
