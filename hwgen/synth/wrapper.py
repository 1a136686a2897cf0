"""A top with four pins around the engine, for place and route.

The engine has hundreds of ports and no board brings them out.  The wrapper feeds all inputs
from one shift register and folds all outputs into one pin, a register before and behind every
port, so that the clock that place and route finds is the engine's own.  An on-chip RAM of the
program's size answers the memory port: block RAM, or single-port RAM on parts that have it, where
the outputs are folded without registers before, because cells are few and clocks slow.
"""

from dataclasses import dataclass
import re

from hwgen.errors import HwgenError
from hwgen.synth.spram import spram_memory

TOP = "hwgen_placed"
PORT = re.compile(r"^\s*(input|output)\s+(?:wire\s+|reg\s+)?(?:\[(\d+):(\d+)\]\s*)?(\\\S+ |\w+)\s*;", re.MULTILINE)
FUNCTION = re.compile(r"^\s*function\b.*?^\s*endfunction\b", re.MULTILINE | re.DOTALL)
MEMORY = ("read_valid", "read_ready", "read_address", "read_count", "read_tag", "answer_valid", "answer_tag",
          "answer_error", "answer_data", "write_valid", "write_ready", "write_address", "write_data", "write_mask",
          "write_idle", "write_error")
BANK_BITS = 10
BANK_WORDS = 1 << BANK_BITS
"""Of a bank of the on-chip RAM: a block RAM of every family has so many words, so that none needs a selection."""
GATHER = 4
"""Words that are joined between two registers: inputs of a LUT."""


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


def make_wrapper(ports: list[Port], engine_top: str, memory_words: int, *, spram: bool = False) -> str:
    """Verilog of module TOP with pins ``clk``, ``rst``, ``si`` and ``so``; ``spram``: memory in single-port RAM."""
    memory = memory_ports(ports)
    held = {port.name for port in memory.values()} | {"clk", "rst"}
    inputs = [p for p in ports if not p.output and p.name not in held]
    outputs = [p for p in ports if p.output and p.name not in held]
    n_in, n_out = sum(p.width for p in inputs), sum(p.width for p in outputs)
    ram, fold = "", f"""  reg [{n_out - 1}:0] held, fold;
  assign so = fold[{n_out - 1}];
  always @(posedge clk) held <= seen;
  always @(posedge clk) fold <= (fold << 1) ^ held;
"""
    if memory and spram:
        ram = _requests(memory) + spram_memory(*(memory[name].width for name in ("answer_data", "write_mask")))
        fold = "  reg folded;\n  assign so = folded;\n  always @(posedge clk) folded <= ^seen;\n"
    elif memory:
        ram = _requests(memory) + _ram(memory, memory_words)
    links = ["    .clk(clk),", "    .rst(reset),"]
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
    constants = {"write_idle": "1'b1", "write_error": "1'b0", "answer_error": f"{n_ports}'b0",
                 "answer_valid": f"{{{n_ports}{{answer_valid}}}}", "answer_tag": f"{{{n_ports}{{answer_tag}}}}"}
    if not spram:
        constants["write_ready"] = "1'b1"
    links += [f"    .{name} ({constants.get(name, name)})," for name in memory]
    links[-1] = links[-1].rstrip(",")
    body = "\n".join(links)
    return f"""module {TOP}(input clk, input rst, input si, output so);
  reg [{n_in - 1}:0] shift;
  wire [{n_out - 1}:0] seen;
  reg reset;
  always @(posedge clk) reset <= rst;
  always @(posedge clk) shift <= (shift << 1) | si;
{fold}{ram}  {engine_top} engine (
{body}
  );
endmodule
"""


def _requests(memory: dict[str, Port]) -> str:
    """Wires of what the engine asks its memory for."""
    names = ("read_valid", "read_tag", "read_address", "read_count", "write_valid", "write_address", "write_data",
             "write_mask")
    return "".join(f"  wire [{memory[name].width - 1}:0] {name};\n" for name in names)


def answer_cycles(words: int) -> int:
    """Cycles from a request to its first word from the on-chip RAM; the engine hides 44."""
    return 6 + len(_gather(-(-words // BANK_WORDS)))


def _gather(banks: int) -> list[int]:
    """Words that are left behind each stage that joins GATHER of them in one."""
    stages = []
    while banks > 1:
        banks = -(-banks // GATHER)
        stages.append(banks)
    return stages


def _ram(memory: dict[str, Port], words: int) -> str:
    """The RAM: a word read and a word written each cycle.

    Its block RAMs lie far apart and take more than half of a cycle.  So there is nothing but wires between registers
    on the way to them, a register right behind each bank and one on the way back.  Words of other banks are zeros,
    which a flip-flop's reset gives for nothing, and a tree joins all.
    """
    width, address, mask = (memory[name].width for name in ("answer_data", "read_address", "write_mask"))
    bits, part = max(1, (words - 1).bit_length()), width // mask
    if bits > address:
        raise HwgenError(f"a program of {words} words does not fit the engine's {address}-bit addresses")
    n_banks = -(-words // BANK_WORDS)
    low = min(bits, BANK_BITS)
    banks = "".join(_bank(k, min(words - k * BANK_WORDS, BANK_WORDS), width, mask, part, bits, low)
                    for k in range(n_banks))
    stages, before = [""], [f"held_{k}" for k in range(n_banks)]
    for stage, left in enumerate(_gather(n_banks)):
        after = [f"joined_{stage}_{k}" for k in range(left)]
        for k, name in enumerate(after):
            stages.append(f"  reg [{width - 1}:0] {name};\n  always @(posedge clk) {name} <= "
                          f"{' | '.join(before[k * GATHER:(k + 1) * GATHER])};\n")
        before = after
    delay = answer_cycles(words) - 2
    return f"""  reg read_ready, reading, tag;
  reg [4:0] left;
  reg [{bits - 1}:0] next, place, taken_place;
  reg [{low - 1}:0] put_place;
  reg [{width - 1}:0] taken_data, put_data;
  reg [{mask - 1}:0] taken;
  // A request is taken while the last word of the one before is asked for.
  always @(posedge clk) read_ready <= reset | (read_ready ? ~read_valid | read_count == 5'd1 : left == 5'd1);
  always @(posedge clk) reading <= ~reset & (read_valid | ~read_ready);
  always @(posedge clk) left <= read_ready ? read_count - 5'd1 : left - 5'd1;
  always @(posedge clk) next <= read_ready ? read_address[{bits - 1}:0] : next + 1'b1;
  always @(posedge clk) if (read_ready) tag <= read_tag;
  always @(posedge clk) place <= next;
  // Beside the words on their way.
  reg [{delay}:0] valids, tags;
  always @(posedge clk) valids <= reset ? 0 : {{valids, reading}};
  always @(posedge clk) tags <= {{tags, tag}};
  wire answer_valid = valids[{delay}], answer_tag = tags[{delay}];
  wire [{width - 1}:0] answer_data = {before[0]};
  // Written as long after its acceptance as a word is read: a word that was taken is found by the next request.
  always @(posedge clk) taken <= write_mask & {{{mask}{{write_valid}}}};
  always @(posedge clk) taken_place <= write_address[{bits - 1}:0];
  always @(posedge clk) taken_data <= write_data;
  always @(posedge clk) put_place <= taken_place[{low - 1}:0];
  always @(posedge clk) put_data <= taken_data;
{banks}{"".join(stages)}"""


def _bank(k: int, words: int, width: int, mask: int, part: int, bits: int, low: int) -> str:
    """A bank of the RAM: ``held`` is the word at ``place`` four cycles later, 0 where that lies in another bank."""

    def here(place: str) -> str:
        return f"{place}[{bits - 1}:{low}] == {bits - low}'d{k}" if bits > low else "1'b1"

    # Program and results are never read and written in the same cycle at one address: no logic for collisions.
    return f"""  (* ram_style = "block", no_rw_check *) reg [{width - 1}:0] ram_{k} [0:{words - 1}];
  reg [{mask - 1}:0] put_{k};
  reg [{width - 1}:0] word_{k}, near_{k}, mine_{k}, held_{k};
  reg asked_{k}, here_{k};
  integer part_{k};
  always @(posedge clk) put_{k} <= taken & {{{mask}{{{here("taken_place")}}}}};
  always @(posedge clk) asked_{k} <= {here("place")};
  always @(posedge clk) here_{k} <= asked_{k};
  always @(posedge clk) word_{k} <= ram_{k}[place[{low - 1}:0]];
  always @(posedge clk) near_{k} <= word_{k};
  always @(posedge clk) mine_{k} <= here_{k} ? near_{k} : 0;
  always @(posedge clk) held_{k} <= mine_{k};
  always @(posedge clk)
    for (part_{k} = 0; part_{k} < {mask}; part_{k} = part_{k} + 1)
      if (put_{k}[part_{k}]) ram_{k}[put_place][part_{k} * {part} +: {part}] <= put_data[part_{k} * {part} +: {part}];
"""
