"""Sizing and scheduling: which engine, which rows where, which cycle."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from ..device.parts import Part
from ..device.resources import Resources
from ..graph.check import check
from ..graph.ir import Graph
from ..engine import Engine as Engine
from .explain import explain
from .layout import Layout
from .search import Search, Sized


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
        """The engine without its program memory."""
        return self.sized.estimate

    @property
    def layers(self) -> list[dict]:
        """Per layer: name, operations, planned cycles, MACs, utilization and where cycles were lost."""
        cycles, result = self.sized.cycles, []
        for index, layer in enumerate(self.layout.layers):
            macs = layer_macs(self.layout, index)
            result.append({
                "name": layer.name, "operations": list(layer.ops), "planned": cycles.layers[index], "macs": macs,
                "utilization": macs / (cycles.layers[index] * self.engine.macs_per_cycle),
                "waiting_for_weights": cycles.waiting[index], "waiting_for_drain": cycles.drain_bound[index],
                "bank_collisions": cycles.collisions[index], "tiles": len(self.layout.tiles(layer)),
            })
        return result

    def to_json(self) -> dict:
        regions = {name: asdict(region) for name, region in self.layout.regions.items()}
        tiles = {layer.name: [{"rows": tile.rows.tolist(), "slots": tile.slots.tolist(), "wide": tile.wide}
                              for tile in self.layout.tiles(layer)] for layer in self.layout.layers}
        return {"engine": asdict(self.engine), "engine_id": f"{self.engine.id:08x}", "clock_mhz": self.clock_mhz,
                "cycles": self.cycles, "first_load": self.sized.cycles.first_load, "layers": self.layers,
                "regions": regions, "tiles": tiles, "explanation": self.explanation}


def layer_macs(layout: Layout, index: int) -> int:
    """Useful multiply-accumulates of a layer: those of the network, none for copies."""
    layer = layout.layers[index]
    if layer.conv.name.endswith("/copy"):
        return 0
    _, height, width = layer.conv_shape
    return layer.conv.weight.size * height * width


def make_plan(graph: Graph, part: Part, *, clock_mhz: float, fps: float | None = None,
              progress: Callable[[str], None] = lambda text: None) -> Plan:
    """The fastest engine that fits the part, or with ``fps`` the smallest that reaches it.

    Raises HwgenError, with numbers and the nearest alternative, when there is none.
    """
    check(graph)
    search = Search(graph, part, progress)
    sized = search.smallest(clock_mhz * 1e6 / fps) if fps else search.fastest()
    return Plan(sized, clock_mhz, explain(search, sized, part, clock_mhz, fps))
