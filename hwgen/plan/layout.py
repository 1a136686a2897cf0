"""A network laid out on one engine: tiles, orders, memory map, and the widths that follow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..graph.ir import Graph, Requant, Tensor
from ..engine import GROUPS, STORE_WORDS, Engine
from ..lanes import DSP_WIDE, KINDS
from ..requantizer import dsp_bits, narrow_bits
from ..schemes import signed_bits
from .geometry import Walk, walk
from .lower import Layer, Network, lower
from .memory import Region, whole_maps
from .place import Placement, place
from .tiles import Tile, Unplaceable
from .shifts import base_of, stored
from .steps import Schedule, Step
from .chains import Load
from .strips import schedule
from .timing import MIN_INTERVAL, THRESHOLD_STEP

MULTIPLIER_BITS = 18
"""Of M, R, A and B at least: what a multiplier block takes."""
MAX_WORDS = 4095
"""Words of a row tile's weights, per row."""
MAX_DEPTH = 1 << 14
"""Words of a scratchpad bank that addresses reach."""


@dataclass(frozen=True, eq=False)
class Layout:
    network: Network
    engine: Engine
    walks: dict[str, Walk]
    """Per layer the walk over its whole output."""
    placements: dict[str, Placement]
    maps: dict[str, Region]
    """Every tensor as a whole, without a place."""
    schedule: Schedule | None = None
    """Set by :func:`lay_out`."""

    @property
    def regions(self) -> dict[str, Region]:
        """Every tensor as a whole; the base counts for those that are resident in the scratchpad."""
        return self.schedule.regions if self.schedule else self.maps

    @property
    def steps(self) -> tuple[Step, ...]:
        """LAYER commands in their order."""
        assert self.schedule
        return self.schedule.steps

    @property
    def in_memory(self) -> tuple[str, ...]:
        """Tensors that lie in memory: the input first, outputs, and maps that the scratchpad does not hold."""
        assert self.schedule
        return self.schedule.in_memory

    def per_layer(self, values: Sequence[int]) -> tuple[int, ...]:
        """Values per step, added up per layer."""
        sums = dict.fromkeys((layer.name for layer in self.layers), 0)
        for step, value in zip(self.steps, values, strict=True):
            sums[step.layer.name] += value
        return tuple(sums.values())

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.network.layers

    def tensor(self, name: str) -> Tensor:
        return self.network.tensors[name]

    def tiles(self, layer: Layer) -> tuple[Tile, ...]:
        return self.placements[layer.name].tiles

    def words(self, layer: Layer, tile: Tile) -> int:
        """Ring words of a tile: one per kernel position and channel block that it reads."""
        return layer.conv.weight.shape[2] * layer.conv.weight.shape[3] * tile.blocks - layer.spare_words

    def most_words(self, layer: Layer) -> int:
        """Of the tile that has the most."""
        return max(self.words(layer, tile) for tile in self.tiles(layer))

    def planes(self, name: str) -> int:
        return self.maps[name].planes

    @cached_property
    def shift_base(self) -> int:
        """The engine's, or what the network needs if that is more."""
        return max(self.engine.shift_base, base_of(layer.conv.requant for layer in self.layers))

    def wide_m(self, layer: Layer) -> bool:
        """Whether M of a layer exceeds the narrow operand of the engine's multiplier blocks."""
        values = stored(layer.conv.requant, self.shift_base).multiplier
        return signed_bits(int(values.min()), int(values.max())) > narrow_bits(dsp_bits(self.engine.family))

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

    def store_words(self, layer: Layer) -> int:
        """Words of a group of pixels of the largest tile, in the store queue."""
        return max(self.out_words(tile) for tile in self.tiles(layer)) * self.planes(layer.output) * self.engine.px

    def load_words(self, layer: Layer) -> int:
        """Memory words of the weights of all tiles."""
        return sum(sum(tile.beats(self.engine).values()) * self.words(layer, tile) for tile in self.tiles(layer))

    def group_cycles(self, layer: Layer) -> int:
        """Cycles of a group of pixels over all row tiles, without bank collisions."""
        planes = self.planes(layer.input)
        return sum(max(self.words(layer, tile) * planes + self.residual_words(layer, tile), self.interval(layer, tile))
                   for tile in self.tiles(layer))


def lay_out(graph: Graph, engine: Engine) -> Layout:
    """The network on an engine, within its scratchpad.

    Raises Unplaceable when the engine's lane groups cannot run the network's rows, or when its
    scratchpad does not hold one strip of a layer.
    """
    network = lower(graph, engine.ki, engine.px, engine.rows)
    walks = {layer.name: walk(layer, engine.px, engine.pool_columns) for layer in network.layers}
    placements = place(network, engine)
    layout = Layout(network, engine, walks, placements, whole_maps(network, placements, engine, walks))
    check_limits(layout)
    return fit_scratchpad(layout, engine)


def fit_scratchpad(layout: Layout, engine: Engine) -> Layout:
    """The layout on an engine with the same array, and perhaps another scratchpad.  Raises Unplaceable."""
    loads = {layer.name: Load(layout.group_cycles(layer), len(layout.tiles(layer)),
                              layout.store_words(layer) <= STORE_WORDS, layout.load_words(layer))
             for layer in layout.layers}
    layout = replace(layout, engine=engine, schedule=schedule(layout.network, engine, layout.maps, loads))
    check_steps(layout)
    return layout


def max_side(layout: Layout) -> int:
    """Most rows or columns of a map."""
    return (1 << layout.engine.size_bits) - 1


def check_limits(layout: Layout) -> None:
    """Raises Unplaceable when a number of a layer does not fit its field of the instruction set."""
    bits = layout.engine.register_bits
    for layer in layout.layers:
        source, target = layout.maps[layer.input], layout.maps[layer.output]
        _, _, kh, kw = layer.conv.weight.shape
        tiles = layout.tiles(layer)
        walk = layout.walks[layer.name]
        _need(layer, (
            ("weight words of a tile (kernel positions times channel blocks)", layout.most_words(layer), MAX_WORDS),
            ("channel blocks", max(tile.blocks for tile in tiles), 1024),
            ("kernel height", kh, 64), ("kernel width", kw, 64),
            ("rows of the input map", source.height, max_side(layout)),
            ("columns of the input map", source.width, max_side(layout)),
            ("rows before pooling, pads included", walk.last_row + 1 - min(0, walk.origin[0]), max_side(layout)),
            ("columns before pooling, pads included", walk.columns * walk.strides[1] + walk.inner[1],
             max_side(layout)),
            ("chunks of a tile", max(tile.chunks(layout.engine.drain_lanes) for tile in tiles), 255),
            ("cycles of a tile's drain", max(layout.interval(layer, tile) for tile in tiles),
             (1 << bits["interval"]) - 1),
            ("pooling window height", layer.window.kernel[0], 64), ("pooling window width", layer.window.kernel[1], 64),
            ("words per bank of its output", target.size, (1 << bits["out_address"]) - 1),
        ))


def check_steps(layout: Layout) -> None:
    """The same for the steps of the walker: a step that leads too far to be written down raises Unplaceable."""
    _need(layout.layers[0], (("steps of the whole network", len(layout.steps), (1 << layout.engine.step_bits) - 1),))
    for step in layout.steps:
        pitches = [region.pitch if region else 0 for region in (step.source, step.residual, step.target)]
        points, moves = step.walk.deltas(step.layer, *pitches, *(
            region.first_row if region else 0 for region in (step.source, step.residual, step.target)))
        _need(step.layer, (
            ("result words of a tile", layout.store_words(step.layer) if step.store else 0, STORE_WORDS),
            ("words per bank from one pixel to the next", int(abs(points // layout.engine.banks).max()), (1 << 15) - 1),
            ("columns or rows from one pixel to the next", int(abs(moves).max()), max_side(layout)),
            ("words per bank between rows of the kernel", step.source.pitch // layout.engine.banks, (1 << 11) - 1)))


def _need(layer: Layer, limits) -> None:
    for what, value, most in limits:
        if value > most:
            raise Unplaceable(f"layer {layer.name!r}: {value:,} {what}, at most {most:,} are possible")


def sum_bits(layout: Layout) -> int:
    """Width of raw lane sums, from shapes and widths only, so that retrained weights fit the same hardware.

    Lane groups say how much one input adds at most; two activation planes count 16 + 1 times.
    """
    return max((_largest_sum(layout, layer) for layer in layout.layers), default=1).bit_length()


def _largest_sum(layout: Layout, layer: Layer) -> int:
    planes = 17 if layout.planes(layer.input) == 2 else 1
    kinds = [DSP_WIDE if group == "dsp" and tile.wide else KINDS[group] for tile in layout.tiles(layer)
             for group, rows in zip(GROUPS, tile.fetched, strict=True) if rows]
    return layout.most_words(layer) * layout.engine.ki * planes * max((kind.largest for kind in kinds), default=0)


def needs(layout: Layout) -> dict:
    """Engine features and sizes that this layout asks for; names are those of Engine."""
    layers = layout.layers
    assert layout.schedule
    rules = [stored(layer.conv.requant, layout.shift_base) for layer in layers]
    multipliers = [abs(int(v)) for rule in rules for array in (rule.multiplier, rule.residual_multiplier)
                   if array is not None for v in array]
    for layer in layers:
        for scale in (layer.add, layer.window.rescale):
            if scale is not None:
                multipliers += [abs(scale.a), abs(scale.b)]
    acc_bits = max(12, sum_bits(layout))
    block = dsp_bits(layout.engine.family)
    m_bits = max(MULTIPLIER_BITS, max(multipliers, default=0).bit_length() + 1)
    return {
        "acc_bits": acc_bits,
        "m_bits": m_bits,
        "shift_base": layout.shift_base,
        "swap": narrow_bits(block) < m_bits <= block and acc_bits < block and _swappable(layout),
        "c_extra": max(0, _constant_bits(layout, rules, acc_bits) - m_bits),
        "wide": any(tile.wide for layer in layers for tile in layout.tiles(layer)),
        "residual": any(layer.residual for layer in layers),
        "fused": any(layer.conv.requant.residual_multiplier is not None for layer in layers),
        "wide_residual": any(layout.planes(layer.residual) == 2 for layer in layers if layer.residual),
        "rescale": any(layer.add or layer.window.rescale for layer in layers),
        "pool": any(layer.pool for layer in layers),
        "pool_columns": max((steps.columns for steps in layout.walks.values() if steps.raster), default=0),
        "thresholds": any(layer.conv.requant.thresholds is not None for layer in layers),
        "wrap": any(layer.conv.requant.wrap for layer in layers),
        "ring_depth": max(layout.most_words(layer) for layer in layers),
        "scratch_depth": max(layout.schedule.depth, max(_span(layout, step) for step in layout.steps)),
    }


def _swappable(layout: Layout) -> bool:
    """Whether every layer has a narrow M or narrow lane sums; what is subtracted from these is no larger."""
    narrow = narrow_bits(dsp_bits(layout.engine.family))
    return all(_largest_sum(layout, layer) < 1 << narrow - 1 for layer in layout.layers if layout.wide_m(layer))


def _span(layout: Layout, step: Step) -> int:
    """Words per bank of one block of the output, as the drain counts them."""
    return -(-step.walk.out_rows * step.target.pitch // layout.engine.banks) if not step.keep else 0


def lacking(layout: Layout) -> str | None:
    """What the layout's engine lacks to run it, or None; multipliers are checked when they are packed."""
    if layout.engine.swap and not _swappable(layout):
        return "M and accumulators of some layer are both wide, and the engine multiplies only one wide operand"
    for name, value in needs(layout).items():
        if name not in ("m_bits", "c_extra", "swap") and getattr(layout.engine, name) < value:
            return f"{name} is {getattr(layout.engine, name)}, the network needs {value}"
    return None


def _constant_bits(layout: Layout, rules: Sequence[Requant], acc_bits: int) -> int:
    """Least ``m_bits + c_extra`` for the constants, whose widths in the engine follow from it.

    c_bits = acc_bits + m_bits + c_extra + 2 leaves |C| + 2**(S-1) the half below 2**(acc_bits + m_bits),
    because a lane's correction times M stays below 2**(acc_bits + m_bits - 1).
    """
    least = 0
    for layer, rule in zip(layout.layers, rules, strict=True):
        if rule.thresholds is None:
            for c, s in zip(rule.constant.tolist(), rule.shift.tolist(), strict=True):
                least = max(least, (abs(c) + (1 << s - 1)).bit_length() - acc_bits)
        for scale in (layer.add, layer.window.rescale):
            if scale is not None:
                # c2_bits = m_bits + c_extra + 20, one of them the sign.
                least = max(least, (abs(scale.constant) + (1 << scale.shift - 1)).bit_length() - 19)
    return least
