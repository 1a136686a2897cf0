"""How fast an engine could run a network at best: the bound that plans and simulations are held against."""

from dataclasses import dataclass

from ..graph.groups import weight_count
from ..graph.ir import Conv
from .layout import Layout
from .timeline import Cycles
from .traffic import Traffic, traffic


@dataclass(frozen=True)
class Ideal:
    """Cycles of an image if nothing ever waited."""

    computing: float
    """Multiply-accumulates, counted once per activation plane, at all of the engine's per cycle."""
    moving: float
    """Bytes read at the memory's bandwidth; results leave on a channel of their own."""
    first_load: int
    last_drain: int

    @property
    def total(self) -> float:
        """First load, computing and last drain, one after the other; or all bytes read, if these take longer."""
        return max(self.computing + self.first_load + self.last_drain, self.moving)


def ideal(layout: Layout, cycles: Cycles, bytes_per_cycle: float) -> Ideal:
    """The bound of a layout; first load and last drain are those of the counted ``cycles``."""
    macs = sum(layer_macs(layout, index) * layout.planes(layer.input) for index, layer in enumerate(layout.layers))
    moved = sum((traffic(layout, layer) for layer in layout.layers), Traffic())
    read = moved.total - moved.maps_out
    return Ideal(macs / layout.engine.macs_per_cycle, read / bytes_per_cycle, cycles.first_load,
                 cycles.total - cycles.last_word)


def layer_macs(layout: Layout, index: int) -> int:
    """Useful multiply-accumulates of a layer: those of the network, none for copies and packing."""
    layer = layout.layers[index]
    own = [op for op in layout.network.graph.ops if isinstance(op, Conv) and op.name == layer.conv.name]
    _, height, width = layer.conv_shape
    return sum(weight_count(op.weight, op.sparse) for op in own) * height * width
