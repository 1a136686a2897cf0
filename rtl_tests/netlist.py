"""Synthesize a component with Yosys and run the netlist under Icarus, with the cell models in cells/."""

import json
from pathlib import Path
import re
import subprocess
import sys
import tempfile

from amaranth.back import rtlil
from amaranth.hdl import Value
from amaranth.lib.wiring import In
import pyosys

from hwgen.synth.rewrite import rewrite_netlist
from hwgen.synth.yosys import WRONG

CELLS = Path(__file__).parent / "cells"
SHARE = Path(pyosys.__file__).parent / "share"

FLOWS = {
    "ecp5": ("synth_ecp5 -top {top}", "lattice", "cells_sim_ecp5.v", ("ecp5.v", "block_ram.v"),
             ("DP16KD", "TRELLIS_COMB")),
    "ecp5_unmapped": ("proc", "lattice", "cells_sim_ecp5.v", ("ecp5.v", "block_ram.v"), ("DP16KD", "TRELLIS_COMB")),
    "xilinx7": ("synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -top {top}", "xilinx", "cells_sim.v",
                ("xilinx7.v", "block_ram.v"), ("RAMB18E1", "RAMB36E1")),
    # Descriptions as they are, with the cells that they instantiate.
    "xilinx7_unmapped": ("proc", "xilinx", "cells_sim.v", ("xilinx7.v", "block_ram.v"), ("RAMB18E1", "RAMB36E1")),
    "ice40": ("synth_ice40 -dsp -top {top}", "ice40", "cells_sim.v", (), ()),
}


YOSYS = """
import sys
from pyosys import libyosys as ys
design = ys.Design()
for command in sys.argv[1:]:
    ys.run_pass(command, design)
"""


def cell_library(family, folder):
    """Files for iverilog: Yosys' models of the family's cells, written to ``folder``, and ours.

    Yosys' text is taken without the modules that are empty and that we model, and without those that
    Icarus cannot read; files that it includes twice come in once.
    """
    _, share, name, own, left_out = FLOWS[family]
    seen = set()

    def expand(file):
        def include(match):
            inner = file.parent / match.group(1)
            if inner in seen:
                return ""
            text = expand(inner)
            if re.search(r"^module ", text, flags=re.MULTILINE):
                seen.add(inner)
            return text

        return re.sub(r'^\s*`include "(.*)"', include, file.read_text(), flags=re.MULTILINE)

    text = expand(SHARE / share / name)
    for module in left_out:
        text, found = re.subn(rf"^module {module}\s*[(#].*?^endmodule", "", text, flags=re.MULTILINE | re.DOTALL)
        assert found == 1, module
    copy = Path(folder) / f"{family}_cells.v"
    copy.write_text(text)
    return [str(copy), *(str(CELLS / file) for file in own)]


def synthesize(dut, family, folder, passes=()):
    """Map ``dut``, after more ``passes``; returns the netlist's path and the cells counted by type."""
    source = Path(folder) / "dut.il"
    source.write_text(rtlil.convert(dut, emit_src=False))
    # Wires named like an element of an array port stop ABC9, as in hwgen.synth.
    return map_design([f"read_rtlil {source}", "rename -hide", *passes], "top", family, folder)


def map_design(reading, top, family, folder):
    """Map what the passes ``reading`` have read; returns the path of the netlist in Verilog and its cells by type.

    What is changed for ECP5 before place and route is changed here too.
    """
    folder = Path(folder)
    netlist, mapped = folder / "netlist.v", folder / "netlist.json"
    # A process of its own: a fault in Yosys must not take the tests along.
    log = run_yosys([*reading, FLOWS[family][0].format(top=top), f"write_json {mapped}"])
    assert WRONG not in log, "ABC9 finds its own result not equivalent"
    if family == "ecp5":
        rewrite_netlist(mapped, top)
        _leave_open(mapped)
    run_yosys([f"read_json {mapped}", f"hierarchy -top {top}", f"write_verilog -noattr {netlist}",
               f"tee -q -o {folder / 'stat.json'} stat -json"])
    statistics = json.loads((folder / "stat.json").read_text())
    return netlist, statistics["design"]["num_cells_by_type"]


def _leave_open(path):
    """Outputs that go nowhere are connected to x for nextpnr, which Verilog does not take."""
    design = json.loads(path.read_text())
    for module in design["modules"].values():
        for cell in module["cells"].values():
            for port, bits in cell["connections"].items():
                if cell["port_directions"].get(port) == "output" and bits == ["x"]:
                    cell["connections"][port] = []
    path.write_text(json.dumps(design))


def run_yosys(script):
    """Run passes; returns what Yosys wrote."""
    return subprocess.run([sys.executable, "-c", YOSYS, *script], check=True, capture_output=True, text=True).stdout


def bits_of(dut, name):
    """Width of a port, an array's elements together."""
    return len(Value.cast(getattr(dut, name)))


def run_netlist(netlist, family, dut, vectors, outputs, folder):
    """As ``lane_bench.drive``, on a netlist of ``dut``; values with unknown bits are returned as None."""
    folder = Path(folder)
    inputs = [(name, bits_of(dut, name)) for name, member in dut.signature.members.items() if member.flow == In]
    results = [(name, bits_of(dut, name)) for name in outputs]
    current = dict.fromkeys((name for name, _ in inputs), 0)
    rows = []
    for vector in vectors:
        current |= vector
        row, at = 0, 0
        for name, width in inputs:
            row |= (int(current[name]) & ((1 << width) - 1)) << at
            at += width
        rows.append(f"{row:x}")
    n_in, n_out = sum(width for _, width in inputs), sum(width for _, width in results)
    (folder / "in.hex").write_text("\n".join(rows) + "\n")
    bench = folder / "bench.v"
    bench.write_text(f"""
module bench;
    reg clk = 0, rst = 0;
    reg [{n_in - 1}:0] rows [0:{len(rows) - 1}];
    reg [{n_in - 1}:0] row = 0;
    wire [{n_out - 1}:0] result;
    integer t;
    top dut (.clk(clk), .rst(rst), {_pins(inputs, "row")}, {_pins(results, "result")});
    initial begin
        $readmemh("{folder / 'in.hex'}", rows);
        for (t = 0; t < {len(rows)}; t = t + 1) begin
            row = rows[t];
            #5 $display("%b", result);
            clk = 1;
            #5 clk = 0;
        end
        $finish;
    end
endmodule
""")
    program = folder / "bench.vvp"
    top = ["-s", "bench"] + (["-s", "glbl"] if "glbl" in netlist.read_text() else [])
    # Yosys' iCE40 cells give their inputs default values, which Icarus cannot read.
    subprocess.run(["iverilog", "-g2012", "-DNO_ICE40_DEFAULT_ASSIGNMENTS", "-o", program, *top, bench, netlist,
                    *cell_library(family, folder)], check=True)
    done = subprocess.run(["vvp", "-n", program], check=True, capture_output=True, text=True)
    record = []
    for line in done.stdout.split():
        values, at = [], len(line)
        for _, width in results:
            bits = line[at - width:at]
            values.append(int(bits, 2) if set(bits) <= {"0", "1"} else None)
            at -= width
        record.append(values[0] if len(values) == 1 else tuple(values))
    return record


def _pins(ports, bus):
    pins, at = [], 0
    for name, width in ports:
        pins.append(f".{name}({bus}[{at + width - 1}:{at}])")
        at += width
    return ", ".join(pins)


def compare(dut, family, vectors, outputs, expected, skip=0, passes=()):
    """Map and run; from cycle ``skip`` on every output must be the expected one, where that is not None.

    Returns the mapped cells by type.
    """
    with tempfile.TemporaryDirectory() as folder:
        netlist, cells = synthesize(dut, family, folder, passes)
        found = run_netlist(netlist, family, dut, vectors, outputs, folder)
    assert len(found) == len(expected)
    wrong = [(t, got, want) for t, (got, want) in enumerate(zip(found, expected, strict=True))
             if t >= skip and want is not None and got != want]
    assert wrong == []
    return cells
