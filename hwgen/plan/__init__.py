"""Sizing and scheduling: which engine, which rows where, which cycle."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from ..device.parts import Part
from ..device.resources import Resources
from ..graph.check import check
from ..graph.ir import Graph
from ..engine import Engine as Engine
from .cycles import count_cycles
from .explain import explain, explain_given
from .figures import layer_figures, unit_figures
from .layout import Layout
from .presets import parse_engine, size_engine
from .search import Search
from .sizing import Sized
from .timeline import Span, chrome_trace


@dataclass(frozen=True, eq=False)
class Plan:
    """An engine and how the network runs on it."""

    sized: Sized
    clock_mhz: float
    explanation: list[str]

    @property
    def layout(self) -> Layout:
        return self.sized.layout

    @property
    def engine(self) -> Engine:
        return self.sized.engine

    @property
    def cycles(self) -> int:
        """Cycles of one inference with the on-chip memory."""
        return self.sized.cycles.total

    @property
    def estimate(self) -> Resources:
        """The engine with its ports to external memory, without its program memory."""
        return self.sized.estimate

    @property
    def layers(self) -> list[dict]:
        """Figures of the layers (:func:`hwgen.plan.figures.layer_figures`)."""
        return layer_figures(self.layout, self.sized.cycles)

    @property
    def units(self) -> dict[str, dict[str, int]]:
        """Figures of the units (:func:`hwgen.plan.figures.unit_figures`)."""
        return unit_figures(self.sized.cycles)

    def timeline(self) -> dict:
        """Everything that the units do, as a trace for Perfetto (:func:`hwgen.plan.timeline.chrome_trace`)."""
        spans: list[Span] = []
        count_cycles(self.layout, spans=spans)
        return chrome_trace(spans, self.layout.network.graph.name, self.clock_mhz)

    def to_json(self) -> dict:
        regions = {name: asdict(region) for name, region in self.layout.regions.items()}
        tiles = {layer.name: [{"rows": tile.rows.tolist(), "slots": tile.slots.tolist(), "wide": tile.wide}
                              for tile in self.layout.tiles(layer)] for layer in self.layout.layers}
        return {"engine": asdict(self.engine), "engine_id": f"{self.engine.id:08x}", "clock_mhz": self.clock_mhz,
                "cycles": self.cycles, "first_load": self.sized.cycles.first_load, "layers": self.layers,
                "units": self.units,
                "regions": regions, "tiles": tiles, "explanation": self.explanation}


def make_plan(graph: Graph, part: Part, *, clock_mhz: float, fps: float | None = None, engine: str | None = None,
              progress: Callable[[str], None] = lambda text: None) -> Plan:
    """The fastest engine that fits the part, or with ``fps`` the smallest that reaches it, or the given ``engine``.

    ``engine``: a preset or parameters (:mod:`hwgen.plan.presets`); it need not fit the part.
    Raises HwgenError, with numbers and the nearest alternative, when there is none.
    """
    check(graph)
    if engine is not None:
        sized = size_engine(graph, parse_engine(engine, part), part)
        return Plan(sized, clock_mhz, explain_given(sized, part, clock_mhz))
    search = Search(graph, part, progress)
    sized = search.smallest(clock_mhz * 1e6 / fps) if fps else search.fastest()
    return Plan(sized, clock_mhz, explain(search, sized, part, clock_mhz, fps))
