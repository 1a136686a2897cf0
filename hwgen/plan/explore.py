"""What a part can do with a network: engines of all sizes, and the frame rate for every ratio of schemes.

The ratio curve answers MSQ's off-line question (HPCA 2021): with which SP2 : fixed ratio should a model be trained
for this part?
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from ..device.parts import Part
from ..device.resources import FIELDS
from ..engine import GROUPS, Engine
from ..errors import HwgenError
from ..graph.ir import Conv, Graph
from ..schemes import get
from ..schemes.mix import Mix, by_chance
from .search import Search
from .sizing import Sized, describe, size_to_fit
from .tiles import Unplaceable

AXES = ("lut", "dsp", "bram", "bandwidth")
"""What a faster engine is paid with; bandwidth in bytes per cycle of the memory ports."""
STEPS = 12
"""Frame rates, each half of the one before, at which engines are looked for."""
FRONT_KEEP = 2
"""Engines that are counted exactly per frame rate and axis."""

RATIO_TRIES = 3
"""Engines of a shape that are counted exactly for a ratio."""
SHAPES = 3
"""Engines of the fastest ratios that are divided anew for every other one."""
NEAR = 5
"""Percent of rows that rounding to an engine's tiles may take a ratio away from the one that was asked for."""
LEVEL = 0.01
"""Frame rates that differ by less are alike: cycles depend a little on the stand-ins for weights."""
LANES = {"sp2": "sp2", "pot4": "pot"}
"""Lane groups of the shift-add schemes."""

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Point:
    """An engine that runs the network on the part."""

    sized: Sized
    part: Part
    clock_mhz: float

    @property
    def cycles(self) -> int:
        return self.sized.cycles.total

    @property
    def latency_ms(self) -> float:
        return self.cycles / self.clock_mhz / 1e3

    @property
    def fps(self) -> float:
        return self.clock_mhz * 1e6 / self.cycles

    @property
    def costs(self) -> dict[str, float]:
        """By axis: LUTs, DSPs, block RAMs of the part, bytes per cycle of the memory ports."""
        total = self.sized.total
        return {"lut": total.lut, "dsp": total.dsp, "bram": total.bram, "bandwidth": self.sized.engine.mem_bits / 8}

    @property
    def bound(self) -> str:
        """The resource of which the largest share is used."""
        share = self.sized.share(self.part)
        return max(FIELDS, key=lambda name: share[name])

    def to_json(self) -> dict:
        engine = self.sized.engine
        return {"engine": describe(engine), "parameters": _parameters(engine), "macs_per_cycle": engine.macs_per_cycle,
                "cycles": self.cycles, "latency_ms": self.latency_ms, "fps": self.fps, **self.costs,
                "ff": self.sized.total.ff, "bound": self.bound}


@dataclass(frozen=True, eq=False)
class Ratio:
    """The fastest engine for a share of SP2 rows, the other rows fixed4; no engine where none fits."""

    sp2_percent: int
    point: Point | None

    @property
    def fps(self) -> float:
        return self.point.fps if self.point else 0.0

    def to_json(self) -> dict:
        return {"sp2_percent": self.sp2_percent, "fps": self.fps, **(self.point.to_json() if self.point else {})}


@dataclass(frozen=True, eq=False)
class Exploration:
    """All of it for one network on one part."""

    network: str
    part: Part
    clock_mhz: float
    points: tuple[Point, ...]
    """Engines that no other one beats in latency and all of AXES, fastest first."""
    ratios: tuple[Ratio, ...]

    @property
    def best_ratio(self) -> Ratio:
        return best(self.ratios)

    def fronts(self) -> dict[str, list[Point]]:
        """Per axis the engines that no other one beats in latency and this axis alone, fastest first."""
        return {axis: pareto(self.points, (axis,)) for axis in AXES}

    def to_json(self) -> dict:
        fronts = self.fronts()
        return {
            "model": self.network, "part": self.part.name, "clock_mhz": self.clock_mhz,
            "available": self.part.available.to_json() | {"bandwidth": 8 * self.part.ports},
            "pareto": [point.to_json() | {"fronts": [axis for axis in AXES if point in fronts[axis]]}
                       for point in self.points],
            "ratios": [ratio.to_json() for ratio in self.ratios], "best_sp2_percent": self.best_ratio.sp2_percent,
        }


def explore(graph: Graph, part: Part, *, clock_mhz: float, progress: Progress = lambda text: None) -> Exploration:
    """Engines of all sizes for the network as it is, and the ratio curve.  Raises HwgenError when nothing fits."""
    points = engine_front(graph, part, clock_mhz=clock_mhz, progress=progress)
    return Exploration(graph.name, part, clock_mhz, tuple(points),
                       tuple(ratio_curve(graph, part, clock_mhz=clock_mhz, progress=progress)))


def ratio_curve(graph: Graph, part: Part, *, clock_mhz: float, percents: Iterable[int] = range(0, 101, 10),
                low: str = "sp2", wide: int = 0, progress: Progress = lambda text: None) -> list[Ratio]:
    """The fastest engine on the part for every share of SP2 rows, in percent, the other rows fixed4.

    Only shapes, bit widths and row variances of the network matter, not its own schemes.  ``low`` takes the place
    of SP2 (RMSMP: pot4); ``wide`` percent of all rows are fixed8 and the shares are those of the remaining rows.
    Where that is faster, a ratio is rounded, layer by layer, so that rows fill whole tiles of its engine, as a policy
    trains it for a part.
    """
    curve: list[Ratio] = []
    for percent in percents:
        other = with_mix(graph, mix_of(percent, low, wide))
        best_before = [ratio.point.sized.engine for ratio in curve[-1:] if ratio.point]
        try:
            sized = Search(other, part).fastest(tries=RATIO_TRIES, climbs=1, starts=best_before)
            curve.append(Ratio(percent, Point(sized, part, clock_mhz)))
            progress(f"{percent} % {low.upper()}: {curve[-1].fps:,.1f} fps")
        except HwgenError:
            curve.append(Ratio(percent, None))
    if not any(ratio.point for ratio in curve):
        # The message of the network as it is says what is missing.
        Search(graph, part).fastest()
        raise HwgenError(f"network {graph.name!r} fits {part.name} with no SP2 : fixed4 ratio, only with its own "
                         "schemes; choose a larger part")
    ranked = sorted((ratio.point for ratio in curve if ratio.point), key=lambda point: point.cycles)
    shapes = [point.sized.engine for point in ranked[:SHAPES]]
    return [_rounded(ratio, graph, part, clock_mhz, shapes, low, wide) for ratio in curve]


def _rounded(ratio: Ratio, graph: Graph, part: Part, clock_mhz: float, shapes: list[Engine], low: str,
             wide: int) -> Ratio:
    """The ratio on the fastest of its own engine and ``shapes`` divided anew, with rows that fill whole tiles."""
    percent, mix = ratio.sp2_percent, mix_of(ratio.sp2_percent, low, wide)
    own = [ratio.point.sized.engine] if ratio.point else []
    found = ratio
    for engine in dict.fromkeys([*own, *(engine for shape in shapes for engine in _divided(shape, percent, low))]):
        quotas = quotas_of(engine, mix)
        if quotas is None:
            continue
        other = with_mix(graph, mix, quotas)
        schemes = [name for op in other.ops if isinstance(op, Conv) for name in op.schemes]
        if abs(100 * schemes.count(low) / len(schemes) - percent) > NEAR:
            continue
        try:
            sized = size_to_fit(other, engine, part)
        except Unplaceable:
            continue
        if sized.fits(part) and (found.point is None or sized.cycles.total < found.point.cycles):
            found = Ratio(percent, Point(sized, part, clock_mhz))
    return found


def _divided(engine: Engine, percent: int, low: str) -> list[Engine]:
    """The engine with as many shift-add rows as the share asks for; none where they do not stand beside the others."""
    rows = round(engine.rows * percent / 100)
    others = engine.rows - engine.dsp_rows - rows
    if others < 0:
        return []
    by_group = {"sp2": 0, "pot": 0, LANES[low]: rows}
    return [replace(engine, sp2_rows=by_group["sp2"], pot_rows=by_group["pot"], int4_rows=others)]


def quotas_of(engine: Engine, mix: Mix) -> dict[str, int] | None:
    """Rows by scheme of one tile, where each of two schemes has lanes of its own; else nothing to round to.

    8-bit rows take two places of either kind, and rows of a scheme without lanes of its own share the multipliers.
    """
    names = {name for name, _ in mix.shares}
    low = next((name for name in LANES if names == {name, "fixed4"}), None)
    if low is None:
        return None
    places = {low: engine.rows_of(LANES[low]), "fixed4": engine.rows_of("dsp") + engine.rows_of("int4")}
    return places if min(places.values()) > 0 else None


def mix_of(percent: int, low: str = "sp2", wide: int = 0) -> Mix:
    """The mix of a point of :func:`ratio_curve`."""
    rest = 100 - wide
    return Mix.of(**{low: percent * rest, "fixed4": (100 - percent) * rest, "fixed8": 100 * wide})


def best(curve: Iterable[Ratio], near: int | None = None) -> Ratio:
    """Of the ratios whose frame rate is the highest or alike the one next to ``near`` percent, or with fewest LUTs."""
    points = [(ratio, ratio.point) for ratio in curve if ratio.point]
    least = min(point.cycles for _, point in points)
    alike = [item for item in points if item[1].cycles <= (1 + LEVEL) * least]
    return min(alike, key=lambda item: (0 if near is None else abs(item[0].sp2_percent - near),
                                        item[1].sized.total.lut, item[1].cycles))[0]


def with_mix(graph: Graph, mix: Mix, quotas: dict[str, int] | None = None) -> Graph:
    """The network with other schemes and stand-ins for its weights, for planning only.

    Rows of low variance come first, as MSQ assigns them; ``quotas``: rows by scheme of a tile to fill.  A row's
    stand-in has the two top levels of its scheme, which long trained rows reach nearly always and which decide
    where a row can run: the top of sp2 alone is a power of two.
    """
    rng = np.random.default_rng(0)
    ops = []
    for op in graph.ops:
        if isinstance(op, Conv):
            rows = op.weight.reshape(len(op.weight), -1)
            schemes = mix.assign(rows.std(axis=1) * op.row_scales, by_chance(len(rows), rng), quotas)
            tops = np.array([get(name).levels[:-3:-1] for name in schemes], np.int8)
            weight = tops[:, np.arange(rows.shape[1]) % 2]
            op = replace(op, schemes=schemes, weight=weight.reshape(op.weight.shape))
        ops.append(op)
    return replace(graph, ops=tuple(ops))


def engine_front(graph: Graph, part: Part, *, clock_mhz: float, progress: Progress = lambda text: None) -> list[Point]:
    """Engines that no other one found beats in latency and all of AXES, fastest first.

    Those that look best in one of the axes, at frame rates down to 2**-STEPS of the fastest, are counted
    exactly; what the search for the fastest has met counts too.
    """
    search = Search(graph, part, progress)
    fastest = search.fastest()
    found = {sized.engine: sized for sized in search.known() if sized.fits(part)}
    rough = [item for ports in port_counts(part) for item in search.rough(ports=ports) if item.fits]
    for step in range(STEPS):
        limit = fastest.cycles.total * 2**step
        enough = [item for item in rough if item.likely <= limit]
        for axis in AXES:
            for item in sorted(enough, key=lambda item: (_cost(item, axis), item.area))[:FRONT_KEEP]:
                sized = search.exact(item.engine)
                if sized is not None and sized.fits(part):
                    found[sized.engine] = sized
        progress(f"{len(found)} engines, down to {clock_mhz * 1e6 / limit:,.1f} fps")
    return pareto([Point(sized, part, clock_mhz) for sized in found.values()])


def port_counts(part: Part) -> list[int]:
    """Numbers of memory ports to try; 0 is on-chip memory."""
    return [ports for ports in (1, 2, 4) if ports <= part.ports] or [0]


def _cost(item, axis: str) -> float:
    return item.engine.mem_bits if axis == "bandwidth" else getattr(item.resources, axis)


def pareto(points: Iterable[Point], axes: tuple[str, ...] = AXES) -> list[Point]:
    """The points that no other one beats or equals in latency and all of ``axes``, fastest first."""
    front: list[tuple[float, ...]] = []
    kept = []
    # Sorted, a point can only be beaten by one before it.
    for point in sorted(points, key=lambda p: (p.cycles, *(p.costs[axis] for axis in axes), describe(p.sized.engine))):
        costs = tuple(point.costs[axis] for axis in axes)
        if not any(all(a <= b for a, b in zip(other, costs, strict=True)) for other in front):
            front.append(costs)
            kept.append(point)
    return kept


def _parameters(engine: Engine) -> dict:
    return {"ki": engine.ki, "px": engine.px, "drain_lanes": engine.drain_lanes, "mem_bits": engine.mem_bits,
            **{f"{group}_rows": engine.rows_of(group) for group in GROUPS}}
