"""A network laid out on one engine: tiles, orders, memory map, and the widths that follow."""

from dataclasses import dataclass

from ..graph.ir import Graph, Tensor
from ..engine import STORE_WORDS, Engine
from .geometry import Walk, walk
from .lower import Layer, Network, lower
from .memory import Region, depth, regions
from .place import Placement, Tile, Unplaceable, place
from .timing import MIN_INTERVAL, THRESHOLD_STEP

MAX_WORDS = 4095
"""Words of a row tile's weights, per row."""
MAX_DEPTH = 1 << 14
"""Words of a scratchpad bank that addresses reach."""


@dataclass(frozen=True, eq=False)
class Layout:
    network: Network
    engine: Engine
    walks: dict[str, Walk]
    placements: dict[str, Placement]
    regions: dict[str, Region]

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.network.layers

    def tensor(self, name: str) -> Tensor:
        return self.network.tensors[name]

    def tiles(self, layer: Layer) -> tuple[Tile, ...]:
        return self.placements[layer.name].tiles

    def blocks(self, layer: Layer) -> int:
        """Channel blocks of the layer's input."""
        return self.regions[layer.input].blocks

    def words(self, layer: Layer) -> int:
        """Ring words of a tile: one per kernel position and channel block."""
        return layer.conv.weight.shape[2] * layer.conv.weight.shape[3] * self.blocks(layer)

    def planes(self, name: str) -> int:
        return self.regions[name].planes

    def step(self, layer: Layer) -> int:
        """Cycles of one step of the drain."""
        if layer.conv.requant.thresholds is not None:
            return THRESHOLD_STEP
        return self.planes(layer.output)

    def interval(self, layer: Layer, tile: Tile) -> int:
        """Least cycles from the end of this tile to the end of the next: what the drain needs."""
        return max(MIN_INTERVAL, tile.chunks(self.engine.drain_lanes) * self.engine.px * self.step(layer))

    def out_words(self, tile: Tile) -> int:
        """Output words of a tile per pixel and plane."""
        return -(-len(tile.rows) // self.engine.ki)

    def residual_words(self, layer: Layer, tile: Tile) -> int:
        return self.out_words(tile) * self.planes(layer.residual) if layer.residual else 0

    def stored(self, layer: Layer) -> bool:
        return layer.output in self.network.graph.outputs


def lay_out(graph: Graph, engine: Engine) -> Layout:
    """Raises Unplaceable when the engine's lane groups cannot run the network's rows."""
    network = lower(graph, engine.ki)
    walks = {layer.name: walk(layer, engine.px) for layer in network.layers}
    placements = place(network, engine)
    layout = Layout(network, engine, walks, placements, regions(network, placements, engine, walks))
    check_limits(layout)
    return layout


def check_limits(layout: Layout) -> None:
    """Raises Unplaceable when a number does not fit its field of the instruction set."""
    for layer in layout.layers:
        source, target = layout.regions[layer.input], layout.regions[layer.output]
        _, _, kh, kw = layer.conv.weight.shape
        tiles = layout.tiles(layer)
        stored = max(layout.out_words(tile) for tile in tiles) * target.planes * layout.engine.px
        for what, value, most in (
            ("weight words of a tile (kernel positions times channel blocks)", layout.words(layer), MAX_WORDS),
            ("channel blocks", source.blocks, 1024), ("kernel height", kh, 64), ("kernel width", kw, 64),
            ("rows of the input map", source.height, 4095), ("columns of the input map", source.width, 4095),
            ("chunks of a tile", max(tile.chunks(layout.engine.drain_lanes) for tile in tiles), 255),
            ("cycles of a tile's drain", max(layout.interval(layer, tile) for tile in tiles), 16383),
            ("pooling window height", layer.window.kernel[0], 64), ("pooling window width", layer.window.kernel[1], 64),
            ("result words of a tile", stored if layout.stored(layer) else 0, STORE_WORDS),
        ):
            if value > most:
                raise Unplaceable(f"layer {layer.name!r}: {value:,} {what}, at most {most:,} are possible")
    words = depth(layout.regions)
    if words > MAX_DEPTH:
        raise Unplaceable(f"the maps that live at the same time need {words:,} words per scratchpad bank, at most "
                          f"{MAX_DEPTH:,} are possible")


def sum_bits(layout: Layout) -> int:
    """Width of raw lane sums, from shapes and widths only, so that retrained weights fit the same hardware.

    Shift-add lanes deliver at most 155 per word and row input, multipliers 15 * 15 or
    255 * 15; two activation planes count 16 + 1 times.
    """
    most = 1
    for layer in layout.layers:
        planes = 17 if layout.planes(layer.input) == 2 else 1
        positions = layout.words(layer) * layout.engine.ki
        for tile in layout.tiles(layer):
            if tile.sp2_slots:
                most = max(most, positions * 155 * planes)
            if tile.dsp_slots:
                most = max(most, positions * 15 * planes * (255 if tile.wide else 16))
    return most.bit_length()


def needs(layout: Layout) -> dict:
    """Engine features and sizes that this layout asks for; names are those of Engine."""
    layers = layout.layers
    multipliers = [abs(int(v)) for layer in layers for array in
                   (layer.conv.requant.multiplier, layer.conv.requant.residual_multiplier) if array is not None
                   for v in array]
    for layer in layers:
        for scale in (layer.add, layer.window.rescale):
            if scale is not None:
                multipliers += [abs(scale.a), abs(scale.b)]
    acc_bits = max(12, sum_bits(layout))
    return {
        "acc_bits": acc_bits,
        "m_bits": max(max(multipliers, default=0).bit_length() + 1, _constant_bits(layout, acc_bits)),
        "wide": any(tile.wide for layer in layers for tile in layout.tiles(layer)),
        "residual": any(layer.residual for layer in layers),
        "rescale": any(layer.add or layer.window.rescale for layer in layers),
        "pool": any(layer.pool for layer in layers),
        "thresholds": any(layer.conv.requant.thresholds is not None for layer in layers),
        "ring_depth": max(layout.words(layer) for layer in layers),
        "scratch_depth": depth(layout.regions),
    }


def lacking(layout: Layout) -> str | None:
    """What the layout's engine lacks to run it, or None; multipliers are checked when they are packed."""
    for name, value in needs(layout).items():
        if name != "m_bits" and getattr(layout.engine, name) < value:
            return f"{name} is {getattr(layout.engine, name)}, the network needs {value}"
    return None


def _constant_bits(layout: Layout, acc_bits: int) -> int:
    """Least ``m_bits`` for the constants, whose widths in the engine follow from it.

    c_bits = acc_bits + m_bits + 2 leaves |C| + 2**(S-1) the half below 2**(acc_bits + m_bits),
    because a lane's correction times M stays below 2**(acc_bits + m_bits - 1).
    """
    least = 0
    for layer in layout.layers:
        rule = layer.conv.requant
        if rule.thresholds is None:
            for c, s in zip(rule.constant.tolist(), rule.shift.tolist(), strict=True):
                least = max(least, (abs(c) + (1 << s - 1)).bit_length() - acc_bits)
        for scale in (layer.add, layer.window.rescale):
            if scale is not None:
                # c2_bits = m_bits + 20, one of them the sign.
                least = max(least, (abs(scale.constant) + (1 << scale.shift - 1)).bit_length() - 19)
    return least


def memory_words(layout: Layout, program_words: int) -> int:
    """Words of the memory that holds the program and, behind it, the results."""
    return program_words + sum(16 * layout.regions[layer.output].size for layer in layout.layers
                               if layout.stored(layer))
