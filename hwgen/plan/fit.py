"""A first answer, within seconds: which boards and parts take a network, at which frame rate, or what is missing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..device.boards import Board
from ..device.parts import Part
from ..engine import GROUPS, Engine
from ..errors import HwgenError
from ..graph.ir import Graph
from .search import Search
from .sizing import Sized


EVERY = 3
"""Of the row counts of an engine's shape that are tried."""


@dataclass(frozen=True)
class Fit:
    """A network on a board or a bare part."""

    board: str | None
    part: str
    clock_mhz: float
    engine: str | None
    """Input channels x pixels x rows per lane group; None where nothing fits."""
    macs_per_cycle: int
    cycles: int
    """Of one image, with ideal memory; 0 where nothing fits."""
    missing: str | None
    """Why nothing fits."""

    @property
    def fps(self) -> float:
        """Images per second, 0 where nothing fits."""
        return self.clock_mhz * 1e6 / self.cycles if self.cycles else 0.0


def fits(graph: Graph, boards: Iterable[Board], parts: Iterable[Part],
         progress: Callable[[str], None] = lambda text: None) -> list[Fit]:
    """Every board, then every part that is on none of them; one search per part.

    The engines are those of :meth:`hwgen.plan.search.Search.quick`: ``hwgen build`` finds the same or faster ones.
    """
    found: dict[str, Sized | str] = {}
    result = []
    boards = list(boards)
    used = {board.part.name for board in boards}
    targets: list[tuple[str | None, Part, float]] = [(board.name, board.part, board.clock_mhz) for board in boards]
    targets += [(None, part, part.clock_mhz) for part in parts if part.name not in used]
    for name, part, clock in targets:
        if part.name not in found:
            progress(part.name)
            found[part.name] = _quick(graph, part)
        answer = found[part.name]
        if isinstance(answer, str):
            result.append(Fit(name, part.name, clock, None, 0, 0, answer))
        else:
            engine = answer.engine
            result.append(Fit(name, part.name, clock, short(engine), engine.macs_per_cycle, answer.cycles.total, None))
    return result


def _quick(graph: Graph, part: Part) -> Sized | str:
    try:
        return Search(graph, part, every=EVERY).quick()
    except HwgenError as refusal:
        return str(refusal).removeprefix(f"network {graph.name!r} ").removeprefix("does not fit ").removeprefix(
            f"{part.name}; ").removeprefix(f"{part.name}: ")


def short(engine: Engine) -> str:
    """Input channels x pixels x rows per lane group."""
    rows = "+".join(f"{engine.rows_of(group)} {group}" for group in GROUPS if engine.rows_of(group))
    return f"{engine.ki} x {engine.px} x ({rows})"
