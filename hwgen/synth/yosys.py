"""Synthesis with Yosys (pyosys) in a child process."""

from dataclasses import dataclass
import json
from pathlib import Path
import re
import sys

from hwgen.device.parts import Part
from hwgen.device.resources import Resources
from hwgen.errors import HwgenError
from hwgen.synth.count import count_cells
from hwgen.synth.levels import Depth, logic_depth
from hwgen.synth.process import Progress, run_tool, silent

PASSES = {
    "ecp5": "synth_ecp5 -top {top}",
    # Flattened as the other two are by default, and without pads: the engine is not a whole chip.  Without shift
    # registers: three flip-flops in a row would become a LUT, and LUTs run out first.
    "xilinx7": "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -nosrl -top {top}",
    "ice40": "synth_ice40 -dsp -top {top}",
}
WRONG = "Networks are NOT EQUIVALENT"
"""What ABC9 writes when it finds that its result differs from its input; Yosys goes on all the same."""
STEP = re.compile(r"^\d+\.\d+\. Executing ([A-Z0-9_]+)", re.MULTILINE)


@dataclass(frozen=True)
class Synthesis:
    """What synthesis made of a design."""

    resources: Resources
    cells: dict[str, int]
    """Cell types of the mapped netlist and how often each occurs."""
    lutram: int
    carry: int
    spram: int
    yosys: str
    """Version of Yosys."""
    depth: Depth | None = None
    """Most levels of logic between registers; None for parts whose clock place and route finds."""

    def to_json(self) -> dict:
        """What synth.json holds."""
        depth = self.depth
        return {"resources": self.resources.to_json(), "cells": self.cells, "lutram": self.lutram, "carry": self.carry,
                "spram": self.spram, "yosys": self.yosys, "levels": depth and depth.levels,
                "deepest": depth and {"from": depth.source, "to": depth.sink}}


def synthesize(verilog_path: Path, top: str, part: Part, out_dir: Path, *, options: str = "",
               progress: Progress = silent) -> Synthesis:
    """Map one Verilog file to ``part`` and count what it takes.

    ``options``: more options for the family's flow.  ``out_dir`` gets the script, Yosys' log and the statistics.
    Raises HwgenError when Yosys fails.
    """
    netlist = out_dir / "netlist.json" if part.pnr is None else None
    cells, version = map_design([verilog_path], top, part, out_dir, netlist=netlist, options=options, progress=progress)
    counted = count_cells(cells, part)
    depth = None
    if netlist is not None:
        depth = logic_depth(netlist, top, [verilog_path])
        netlist.unlink()
    return Synthesis(resources=counted.resources, cells=cells, lutram=counted.lutram, carry=counted.carry,
                     spram=counted.spram, yosys=version, depth=depth)


def map_design(sources: list[Path], top: str, part: Part, out_dir: Path, *, netlist: Path | None = None,
               verilog: Path | None = None, options: str = "",
               progress: Progress = silent) -> tuple[dict[str, int], str]:
    """Run the part's synthesis, with more ``options`` for it; returns cell counts and Yosys' version.

    ``netlist`` gets the mapped design as JSON for nextpnr, ``verilog`` as Verilog for gate-level simulation.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    statistics = out_dir / "stat.json"
    statistics.unlink(missing_ok=True)
    script = [f"read_verilog -sv {_quoted(source)}" for source in sources]
    # Wires that Amaranth names like a bit of a port ("x[0]" beside port x) stop ABC9 with an assertion: hide the names.
    # The names of instances stay, and flatten writes into every register where it came from (hwgen.synth.names).
    # Without -check: the family's cells are not read yet; the flow checks once they are.
    script += [f"hierarchy -top {top}", "rename -hide w:*", "proc", "flatten -scopename"]
    script.append(f"{PASSES[part.family].format(top=top)} {options}".rstrip())
    script.append("tee -q -o stat.json stat -json")
    if netlist is not None:
        script.append(f"write_json {_quoted(netlist)}")
    if verilog is not None:
        script.append(f"write_verilog -noattr {_quoted(verilog)}")
    log = run_passes(script, out_dir, what="synthesis", progress=progress)
    if WRONG in log:
        raise HwgenError(f"Yosys mapped {', '.join(map(str, sources))} wrong: its own check finds the netlist not "
                         f"equivalent to the design (log: {out_dir / 'yosys.log'}); use another version of pyosys")
    try:
        data = json.loads(statistics.read_bytes())
        return dict(sorted(data["design"]["num_cells_by_type"].items())), data["creator"].split(" (")[0]
    except (OSError, ValueError, KeyError) as error:
        raise HwgenError(f"synthesis left no statistics in {statistics}; its log is {out_dir / 'yosys.log'}") from error


def run_passes(script: list[str], out_dir: Path, *, what: str, progress: Progress = silent) -> str:
    """Run Yosys passes in ``out_dir``; returns the log."""
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "passes.txt").write_text("\n".join(script) + "\n", encoding="utf-8")
    worker = Path(__file__).with_name("worker.py")
    return run_tool([sys.executable, str(worker), "passes.txt"], cwd=out_dir, log=out_dir / "yosys.log", what=what,
                    step=STEP, progress=progress)


def _quoted(path: Path) -> str:
    text = str(path.resolve())
    if '"' in text or "\n" in text:
        raise HwgenError(f"Yosys cannot read a path with quotes or line breaks: {text}")
    return f'"{text}"'
