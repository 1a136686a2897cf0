"""Engines that could run a network, with a quick lower bound of their cycles."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
import functools

import numpy as np

from ..device.parts import Part
from ..engine import GROUPS, MAX_COLUMNS, Engine, EngineError
from ..lanes import dsp_blocks
from .assign import DSP, fewest_tiles, takers
from .geometry import walk
from .lower import Layer, Network
from .timing import THRESHOLD_STEP

Mix = tuple[tuple[int, int, int], ...]
"""Rows that are alike: groups that can run them with 4-bit weights on multipliers, with 8-bit ones, and how many."""


REQUANTIZER_BLOCKS = 3, 4
"""DSP blocks of a requantizer lane, about: a narrow multiplier, a wide one."""


def block_words(part: Part) -> int:
    """Words of a block RAM at the width that engines use."""
    return 256 if part.family == "ice40" else 512


@dataclass(frozen=True)
class Work:
    """What a layer asks of any engine."""

    evaluations: int
    channels: int
    """That a row reads at least, for which its tile needs weights."""
    taps: int
    planes: int
    rows: int
    mix: Mix
    step: int
    spare: int = 0
    """Words that are left out."""
    times: int = 1
    """Layers of the network that are alike."""
    reach: int = 0
    """Channels that some row reads."""

    def row_words(self, ki: int) -> int:
        """Words per plane that a row needs at least; without groups or missing weights those of every tile."""
        return self.taps * -(-self.channels // ki) - self.spare

    def words(self, ki: int, tiles: int) -> int:
        """Words of all row tiles per plane, at least: some tile reads each channel block."""
        return max(tiles * self.row_words(ki), self.taps * -(-self.reach // ki) - self.spare)

    @property
    def macs(self) -> int:
        """Of all these layers."""
        return self.times * self.evaluations * self.channels * self.taps * self.rows


def work_of(network: Network) -> list[Work]:
    """What the network asks for, layers that are alike together."""
    result: list[Work] = []
    for layer in network.layers:
        cheap, every = takers(layer.conv)
        mix = Counter(zip(cheap.tolist(), every.tolist(), strict=True))
        rows, channels, kh, kw = layer.conv.weight.shape
        reach = channels * layer.conv.groups
        if layer.sparse is not None:
            channels = max(1, int(layer.sparse.sum(axis=1).min()))
            reach = int(np.count_nonzero(layer.sparse.any(axis=0)))
        result.append(Work(walk(layer, 1, MAX_COLUMNS).evaluations, channels, kh * kw,
                           2 if network.tensors[layer.input].bits > 4 else 1, rows,
                           tuple((*key, n) for key, n in sorted(mix.items())), _step(network, layer),
                           layer.spare_words, reach=reach))
    return [replace(work, times=times) for work, times in Counter(result).items()]


def _step(network: Network, layer: Layer) -> int:
    if layer.conv.requant.thresholds is not None:
        return THRESHOLD_STEP
    return 2 if network.tensors[layer.output].bits > 4 else 1


def bound(work: list[Work], engine: Engine) -> int:
    """Cycles that the layers take at least.

    Per layer the larger of its words and its drain; or the loading of all weights, which
    goes on beside the computing of earlier layers, if that takes longer.
    """
    compute = sum(layer.times * _computing(layer, engine) for layer in work)
    return max(compute, weight_words(work, engine))


def weight_words(work: list[Work], engine: Engine) -> int:
    """Memory words that the weights take at least, in the program."""
    return sum(layer.times * layer.row_words(engine.ki) * -(-layer.rows * engine.word_bits // engine.mem_bits)
               for layer in work)


def guess(work: list[Work], engine: Engine) -> int:
    """Cycles that the layers take about, to rank engines: each layer waits for its own weights, tiles are full.

    A tile is loaded beside the one before where the ring holds both.
    """
    total = 0
    beats = -(-engine.rows * engine.word_bits // engine.mem_bits)
    for layer in work:
        tiles = _tiles(layer, engine)
        words = layer.words(engine.ki, tiles)
        computing, loading = _computing(layer, engine), words * beats
        total += layer.times * (max(computing, loading) if 2 * words <= tiles * engine.ring_depth
                                else computing + loading)
    return total


def runs(work: list[Work], engine: Engine) -> bool:
    """Whether the engine's lane groups can run every row."""
    return all(least_tiles(layer.mix, engine.group_rows, engine.wide) is not None for layer in work)


@functools.lru_cache(maxsize=1 << 18)
def least_tiles(mix: Mix, caps: tuple[int, ...], wide: bool) -> int | None:
    """Row tiles at least, from the rows of each lane group; None when a row fits none."""
    counts: Counter[int] = Counter()
    for cheap, every, n in mix:
        counts[every if wide else cheap] += n
    return fewest_tiles(counts, caps)


def _tiles(layer: Work, engine: Engine) -> int:
    """Row tiles at least; of an engine that cannot run the layer as many as its rows need."""
    return least_tiles(layer.mix, engine.group_rows, engine.wide) or -(-layer.rows // engine.rows)


def _computing(layer: Work, engine: Engine) -> int:
    """Cycles of all groups of all tiles: words read, or rows drained."""
    words = layer.words(engine.ki, _tiles(layer, engine))
    groups = -(-layer.evaluations // engine.px)
    drain = -(-layer.rows // engine.drain_lanes) * engine.px * layer.step
    return groups * max(words * layer.planes, drain)


@dataclass(frozen=True)
class Demand:
    """Shares of a network's multiply-accumulates by what can run them."""

    only: tuple[float, ...]
    """Per lane group: by this one alone, multipliers with 8-bit weights left aside."""
    fixed: float
    """By int4 lanes or multipliers."""
    wide: float
    """By nothing but multipliers with 8-bit weights."""
    wider: float
    """By multipliers too, if these have 8-bit weights."""


def demand_of(work: list[Work]) -> Demand:
    total = sum(layer.macs for layer in work)
    plain: dict[tuple[int, int], float] = {}
    for layer in work:
        for cheap, every, n in layer.mix:
            plain[cheap, every] = plain.get((cheap, every), 0.0) + layer.macs / layer.rows * n / total
    both = 1 << DSP | 1 << GROUPS.index("int4")
    return Demand(tuple(sum(part for (cheap, _), part in plain.items() if cheap == 1 << g) for g in range(len(GROUPS))),
                  sum(part for (cheap, _), part in plain.items() if cheap and cheap & ~both == 0),
                  sum(part for (cheap, _), part in plain.items() if not cheap),
                  sum(part for (cheap, every), part in plain.items() if cheap and cheap != every))


def candidates(work: list[Work], part: Part, idle_blocks: bool = False, ports: int = 0,
               every: int = 1) -> Iterator[Engine]:
    """Every engine within the part's arithmetic that can run all rows, in a fixed order.

    Multipliers are made of logic where the part has too few blocks for a useful number of
    rows; with ``idle_blocks`` also where more rows than the blocks can hold may be faster.
    ``ports``: memory ports of 64 bits; 0 is on-chip memory.  ``every``: of the row counts of a shape only every n-th.
    """
    demand = demand_of(work)
    most = max(layer.rows for layer in work)
    lane_luts = 12 if part.lut_inputs == 6 else 24
    for ki in (2, 4, 8, 16):
        for px in range(1, 9):
            for drain in (d for d in (1, 2, 4, 8, 16) if ki % d == 0 and d * 8 >= ki):
                shape = Engine(ki=ki, px=px, dsp_rows=drain, drain_lanes=drain, family=part.family,
                               small=part.small, mem_bits=64 * max(1, ports), ports=max(1, ports),
                               ring_depth=block_words(part))
                for rows in _row_counts(drain, min(96, most + drain))[::every]:
                    if ki * px * rows * lane_luts // 2 > part.lut:
                        break
                    yield from _engines(shape, rows, demand, work, part, idle_blocks)


def _row_counts(drain: int, most: int) -> list[int]:
    """Multiples of ``drain``: all small ones, then in steps of about an eighth."""
    counts, rows = [], drain
    while rows <= most:
        counts.append(rows)
        rows += max(drain, rows // 8 // drain * drain)
    return counts


def _engines(shape: Engine, rows: int, demand: Demand, work: list[Work], part: Part,
             idle_blocks: bool) -> Iterator[Engine]:
    for counts in splits(shape, rows, demand, part):
        sized = dict(zip((f"{group}_rows" for group in GROUPS), counts, strict=True))
        for wide in (False, True):
            try:
                engine = Engine(**{**_fields(shape), **sized, "wide": wide})
            except EngineError:
                break
            if not counts[DSP] and wide:
                break
            if wide and not demand.wider and not demand.wide:
                break
            if not runs(work, engine):
                continue
            if counts[DSP] and dsp_blocks(engine) > part.dsp:
                if part.dsp > 2 * shape.ki * shape.px and not idle_blocks:
                    continue
                engine = Engine(**{**_fields(shape), **sized, "wide": wide, "dsp_weights": "lut"})
            yield engine


def _fields(shape: Engine) -> dict:
    names = ("ki", "px", "drain_lanes", "family", "small", "mem_bits", "ports", "ring_depth")
    return {name: getattr(shape, name) for name in names}


@functools.lru_cache(maxsize=1 << 12)
def _blocks(shape: Engine, rows: int) -> int:
    """DSP blocks of so many multiplier rows with 4-bit weights."""
    others = shape.drain_lanes - rows % shape.drain_lanes
    return dsp_blocks(Engine(**{**_fields(shape), "int4_rows": others, "dsp_rows": rows, "wide": False})) if rows else 0


def splits(shape: Engine, rows: int, demand: Demand, part: Part) -> list[tuple[int, ...]]:
    """Rows per lane group to try, in the order of GROUPS.

    Multipliers: none, all that the part's blocks hold, half of these, as many for every drain lane beside its
    requantizer, what only they can run.  The others as the network's mix asks, one step up and down, and the extremes.
    """
    drain = shape.drain_lanes
    unit = max(1, drain // 4)

    def near(share: float, unit: int = 1) -> int:
        return round(rows * share / unit) * unit

    def most(spare: int) -> int:
        """Rows for which the part has blocks when ``spare`` of them are wanted elsewhere."""
        return max(0, bisect_right(range(rows + 1), part.dsp - spare, key=lambda n: _blocks(shape, n)) - 1)

    beside = {most(blocks * drain) for blocks in (0, *REQUANTIZER_BLOCKS)}
    multipliers = {0, *beside, *(n // drain * drain for n in beside), most(0) // 2 // unit * unit, near(demand.wide),
                   max(drain, near(demand.fixed))}
    wanted = {near(demand.fixed), *(near(demand.fixed, unit) + step for step in (-unit, 0, unit))}
    found = set()
    for dsp in sorted(n for n in multipliers if 0 <= n <= rows):
        left = rows - dsp
        for pot in {0, near(demand.only[1]), max(near(demand.only[1]), drain)} if demand.only[1] else {0}:
            for int4 in {0, *(min(left, max(0, fixed - dsp)) for fixed in wanted)} if demand.fixed else {0}:
                sp2 = left - pot - int4
                if sp2 >= 0 and (demand.only[0] or not sp2 or demand.fixed + demand.only[1] < 1):
                    found.add((sp2, pot, int4, dsp))
            if demand.fixed and not demand.only[0] and left - pot >= 0:
                found.add((0, pot, left - pot, dsp))
    return sorted(found)
