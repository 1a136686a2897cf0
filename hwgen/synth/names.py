"""Names of a mapped netlist's cells: the place in the hierarchy, and the register or memory of the source.

Synthesis makes cells anew again and again; what goes along with a flip-flop is the scope it came from (``scopename``
of Yosys' flatten) and the line that describes it (``src``).  Memories and instances keep a name of their own.
"""

from collections.abc import Iterable
from pathlib import Path
import re

ASSIGNED = re.compile(r"(\\\S+|\w+)\s*(?:\[[^\]]*\]\s*)*<=")
MODULE = re.compile(r"^module (\\\S+|\w+)", re.MULTILINE)
LINES = re.compile(r"(.*):(\d+)\.\d+-(\d+)\.\d+")
MADE = re.compile(r"_(?:TRELLIS_|LUT|PFUMX|L6MUX|CCU2C|FD[RSCP]E|MUXF|CARRY4|INV|MULT|DP16|DSP|RAM)[A-Z0-9]*_.*"
                  r"|(\.\d+)+$")
"""What Yosys appends to a name: the cells on the way to one that has it, and the numbers of a memory's blocks."""

FEW = 3
"""Registers of one block that are told side by side."""


class Names:
    """Names for the cells of one flat netlist, ``{name: cell}`` as in Yosys' JSON, made from ``sources``."""

    def __init__(self, cells: dict[str, dict], sources: Iterable[Path]):
        self.cells = cells
        self.lines = {str(path.resolve()): path.read_text(encoding="utf-8").splitlines() for path in sources}

    def __call__(self, name: str) -> str:
        """``scope.register`` of a flip-flop, ``scope.memory`` of a block of it, ``scope.TYPE`` of other cells.

        The scope is the way through the hierarchy, or the module's name where synthesis has lost the way.
        """
        # nextpnr takes cells apart and tells the pieces by what is behind a dollar sign.
        if name not in self.cells and name.rpartition("$")[0] in self.cells:
            name = name.rpartition("$")[0]
        cell = self.cells.get(name, {})
        attributes = cell.get("attributes", {})
        if "hdlname" in attributes:
            return ".".join(attributes["hdlname"].split())
        scope = attributes.get("scopename", "").split()
        found = self._assigned(attributes.get("src", ""))
        if found is None:
            hidden = scope or name.startswith("$")
            return ".".join([*scope, cell.get("type", name)]) if hidden else MADE.sub("", name)
        module, register = found
        return ".".join([*(scope or [module]), register])

    def _assigned(self, src: str) -> tuple[str, str] | None:
        """Module and register that the lines of ``src`` assign to, a few where these are one block."""
        for place in src.split("|"):
            match = LINES.fullmatch(place)
            if match is None or match[1] not in self.lines:
                continue
            lines = self.lines[match[1]]
            names = set(ASSIGNED.findall("\n".join(lines[int(match[2]) - 1:int(match[3])])))
            if 0 < len(names) <= FEW:
                module = MODULE.findall("\n".join(lines[:int(match[2])]))[-1]
                return module.lstrip("\\"), "/".join(sorted(name.lstrip("\\") for name in names))
        return None
