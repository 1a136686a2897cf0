"""Sizing: the fastest engine that fits a part, or the smallest that reaches a frame rate."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
import functools
import math

from ..device.costs import estimate, memory_blocks
from ..device.parts import PARTS, Part
from ..device.resources import FIELDS, Resources
from ..errors import HwgenError
from ..graph.ir import Graph
from .candidates import Work, block_words, bound, candidates, guess, weight_words, work_of
from .cycles import Cycles, count_cycles
from ..engine import GROUPS, MAX_COLUMNS, Engine, EngineError
from .layout import MAX_DEPTH, Layout, fit_scratchpad, lay_out, needs
from .lower import lower
from .place import Unplaceable
from .refuse import fill, refuse_early
from .stream import memory_words

KEEP = 40
"""Engines that are looked at when none fits."""
TRIES = 10
"""Engines of a shape of which the best is taken."""
HOPE = 1.05
"""How much slower than the best a neighbour may look and is still counted exactly."""
FAR = 2
"""How much slower than the best a shape may look and is still tried."""
CLIMBS = 4
"""Searches step by step for the fastest engine, each from another shape."""


@dataclass(frozen=True, eq=False)
class Sized:
    """An engine with everything that is known about it."""

    layout: Layout
    cycles: Cycles
    estimate: Resources
    """The engine alone."""
    memory: Resources
    """The on-chip memory of program and results; none where the part has ports to external memory."""

    @property
    def engine(self) -> Engine:
        return self.layout.engine

    @property
    def total(self) -> Resources:
        return self.estimate + self.memory

    def share(self, part: Part) -> dict[str, float]:
        """Use of each resource as a part of what may be used."""
        total, available = self.total, part.available
        return {name: getattr(total, name) / (getattr(available, name) * fill(part)[name]) for name in FIELDS}

    def fits(self, part: Part) -> bool:
        return all(share <= 1 for share in self.share(part).values())


def size(graph: Graph, engine: Engine, part: Part) -> Sized:
    """Lay the network out on an engine, give the engine the widths and depths it needs, and count.

    A ``scratch_depth`` above the default is the most that the scratchpad may have; else it is as deep as the part
    holds.  Raises Unplaceable.
    """
    return _sized(_whole(graph, engine), part, _most_depth(engine))


def _most_depth(engine: Engine) -> int:
    return engine.scratch_depth if engine.scratch_depth > Engine.scratch_depth else MAX_DEPTH


def _whole(graph: Graph, engine: Engine) -> Layout:
    """The network on the engine with a scratchpad as deep as addresses reach.

    The walks depend on the row buffer: it is as long as it may be until its length is known.
    """
    return lay_out(graph, replace(engine, scratch_depth=MAX_DEPTH, pool_columns=MAX_COLUMNS if engine.pool else 0))


def _sized(whole: Layout, part: Part, most: int) -> Sized:
    """From such a layout to one with a scratchpad of ``most`` words per bank, or as many as the part holds."""
    layout = _shaped(whole, part, most)
    cycles = count_cycles(layout)
    words = memory_words(layout, cycles.program_words)
    return Sized(layout, cycles, estimate(layout.engine, part), program_memory(words, layout.engine, part))


def _shaped(layout: Layout, part: Part, most: int) -> Layout:
    """The layout on the engine that it asks for, with a scratchpad that the part holds, if any does."""
    shaped = _widths(layout, part)
    deepest = min(most, _deepest(shaped.engine, part))
    if deepest < shaped.engine.scratch_depth:
        try:
            shaped = _widths(fit_scratchpad(layout, replace(layout.engine, scratch_depth=deepest)), part)
        except Unplaceable:
            pass
    # What a build directory keeps is the engine: its own layout must be the one that was counted.
    return fit_scratchpad(shaped, shaped.engine)


def _deepest(engine: Engine, part: Part) -> int:
    """Words per scratchpad bank, up to the engine's, that leave room for the rest; one block where nothing does."""
    block = block_words(part)

    def fits(blocks: int) -> bool:
        shaped = replace(engine, scratch_depth=blocks * block)
        return estimate(shaped, part).bram <= part.available.bram * fill(part)["bram"]

    least, most = 1, -(-engine.scratch_depth // block)
    if fits(most):
        return engine.scratch_depth
    while least < most:
        middle = -(-(least + most) // 2)
        least, most = (middle, most) if fits(middle) else (least, middle - 1)
    return least * block


def _widths(layout: Layout, part: Part) -> Layout:
    """The same layout on an engine with the widths and depths that it needs."""
    engine, asked = layout.engine, needs(layout)
    block = block_words(part)
    # A ring as deep as a block RAM costs no more than a shallow one; a deeper one fetches further ahead.
    ring = max(block, engine.ring_depth, 1 << (asked.pop("ring_depth") - 1).bit_length())
    depth = -(-asked.pop("scratch_depth") // block) * block
    try:
        return replace(layout, engine=replace(engine, ring_depth=ring, scratch_depth=depth, **asked))
    except EngineError as error:
        raise Unplaceable(f"the network needs an engine that cannot be made: {error}") from error


def program_memory(words: int, engine: Engine, part: Part) -> Resources:
    """What the part's block RAMs give for a program of ``words`` memory words."""
    return Resources() if part.ports else Resources(bram=memory_blocks(words, engine.mem_bits, part))


@dataclass(frozen=True, eq=False)
class Rough:
    """An engine with figures that need no layout."""

    engine: Engine
    features: dict
    """Widths and features of about any engine for this network."""
    work: list[Work]
    part: Part

    @functools.cached_property
    def least(self) -> int:
        """Cycles at least."""
        return bound(self.work, self.engine)

    @functools.cached_property
    def likely(self) -> int:
        """Cycles, about."""
        return guess(self.work, self.engine)

    @functools.cached_property
    def resources(self) -> Resources:
        """With the shallowest scratchpad: one block."""
        shaped = replace(self.engine, **self.features, scratch_depth=block_words(self.part))
        return estimate(shaped, self.part) + program_memory(weight_words(self.work, shaped), shaped, self.part)

    @functools.cached_property
    def area(self) -> float:
        return _area(self.resources, self.part)

    @functools.cached_property
    def fits(self) -> bool:
        available = self.part.available
        return all(getattr(self.resources, name) <= getattr(available, name) * fill(self.part)[name] for name in FIELDS)


class Search:
    """All candidates of a network on a part, cheap figures first."""

    def __init__(self, graph: Graph, part: Part, progress: Callable[[str], None] = lambda text: None):
        refuse_early(graph, part)
        self.graph, self.part, self.progress = graph, part, progress
        self.work: list[Work] = work_of(lower(graph, 8))
        self._work_at = functools.lru_cache(maxsize=None)(lambda ki: work_of(lower(graph, ki)))
        self.features = self._features()
        self.reasons: list[str] = []
        """Why engines could not take the network at all."""
        self._sized: dict[Engine, Sized | None] = {}

    def _features(self) -> dict:
        """Widths and features are nearly the same on every engine: take them from one layout."""
        any_rows = Engine(ki=8, px=2, sp2_rows=8, pot_rows=8, int4_rows=8, dsp_rows=8, drain_lanes=8,
                          scratch_depth=MAX_DEPTH)
        # Sums of 8-bit weights are wider: only where there are such rows.
        for wide in (False, True):
            try:
                asked = needs(lay_out(self.graph, replace(any_rows, wide=wide)))
                break
            except Unplaceable:
                continue
        else:
            return {}
        # Too wide for any engine: the exact layout says so.
        asked["m_bits"], asked["acc_bits"] = min(32, asked["m_bits"]), min(31, asked["acc_bits"])
        asked["c_extra"] = min(16, asked["c_extra"])
        widths = ("acc_bits", "m_bits", "c_extra", "residual", "fused", "wide_residual", "rescale", "pool",
                  "thresholds")
        # Whether operands of a wide M can change places is seen on the engine itself.
        return {name: asked[name] for name in widths} | {"swap": False}

    def candidates(self, idle_blocks: bool = False, ports: int | None = None) -> Iterator[Engine]:
        """Engines of all shapes, with the part's memory ports or some of them."""
        return candidates(self.work, self.part, idle_blocks, self.part.ports if ports is None else ports)

    def measure(self, engine: Engine) -> Rough:
        """The cheap figures of an engine."""
        return Rough(engine, self.features, self._work_at(engine.ki), self.part)

    def rough(self, idle_blocks: bool = False, ports: int | None = None) -> list[Rough]:
        """The cheap figures of every candidate."""
        return [self.measure(engine) for engine in self.candidates(idle_blocks, ports)]

    def exact(self, engine: Engine) -> Sized | None:
        """The engine with its layout and exact cycles; None when it cannot run the network."""
        if engine not in self._sized:
            self._sized[engine] = self._exact(engine)
        return self._sized[engine]

    def known(self) -> list[Sized]:
        """All engines that were counted exactly so far."""
        return [sized for sized in self._sized.values() if sized is not None]

    def _exact(self, engine: Engine) -> Sized | None:
        try:
            whole = _whole(self.graph, engine)
            sized = _sized(whole, self.part, _most_depth(engine))
            deepest, power = sized.engine.scratch_depth, 1 << sized.engine.scratch_depth.bit_length() - 1
            # Fewer LUTs choose among block RAMs behind half as deep ones again, none behind powers of two.
            for depth in (power * 3 // 2, power):
                if Engine.scratch_depth < depth < deepest and not sized.fits(self.part):
                    sized = _sized(whole, self.part, depth)
            return sized
        except Unplaceable as reason:
            self.reasons.append(str(reason))
            return None

    def fastest(self, tries: int = TRIES, climbs: int = CLIMBS, starts: Iterable[Engine] = ()) -> Sized:
        """The engine with the fewest cycles that fits.  Raises HwgenError when none fits.

        ``tries`` engines of every shape are counted exactly; the best ``climbs`` of these and of ``starts`` are
        improved step by step.
        """
        rough = sorted(self.rough(idle_blocks=True), key=lambda item: item.likely)
        # The likely cycles err differently for every shape: the best few of each shape are counted exactly,
        # and the best of several shapes improved step by step.
        shapes: dict[tuple[int, str], list[Engine]] = {}
        least = None
        for item in rough:
            shape = shapes.setdefault((item.engine.ki, item.engine.dsp_weights), [])
            # Resources take longer to estimate than cycles: only of those that are looked at.
            if len(shape) < KEEP and (least is None or item.likely <= FAR * least or not shape) and item.fits:
                least = least or item.likely
                shape.append(item.engine)
        if least is not None:
            # Shapes that look much slower take longest to count and are never the fastest.
            shapes = {key: engines for key, engines in shapes.items()
                      if engines and self.measure(engines[0]).likely <= FAR * least}
        found = [best for engines in (*shapes.values(), list(starts)) if (best := self._first(engines, tries))]
        if not found:
            raise HwgenError(self._refusal())
        found.sort(key=self._cycles)
        return min((self._climb(start, self._cycles) for start in found[:climbs]), key=self._cycles)

    def _first(self, engines: list[Engine], tries: int) -> Sized | None:
        """The fastest of the first few that fit; of all when none of them does."""
        best: Sized | None = None
        for index, engine in enumerate(engines):
            if best is not None and index >= tries:
                break
            best = self._better(best, engine, self._cycles)
        return best

    def smallest(self, limit: float) -> Sized:
        """The smallest engine that needs at most ``limit`` cycles.  Raises HwgenError when none does."""
        def key(sized: Sized) -> tuple[float, float]:
            return (math.inf, 0) if sized.cycles.total > limit else (_area(sized.total, self.part), sized.cycles.total)

        rough = [item for item in self.rough() if item.least <= limit and item.fits]
        rough.sort(key=lambda item: (item.area, item.least))
        best, found = None, 0
        for item in rough:
            best = self._better(best, item.engine, key)
            # The order is by a rough size: a few more may be smaller still.
            found += best is not None and key(best)[0] < math.inf
            if found > TRIES:
                break
        if best is not None and key(best)[0] < math.inf:
            return self._climb(best, key)
        best = self.fastest()
        if best.cycles.total <= limit:
            return self._climb(best, key)
        raise HwgenError(f"no engine on {self.part.name} needs at most {limit:,.0f} cycles per image; the fastest that "
                         f"fits needs {best.cycles.total:,} ({describe(best.engine)}). Ask for fewer frames per "
                         "second, a faster clock or a larger part")

    @staticmethod
    def _cycles(sized: Sized) -> tuple[float, float]:
        return sized.cycles.total, sized.total.lut

    def _better(self, best: Sized | None, engine: Engine, key) -> Sized | None:
        """The better of ``best`` and ``engine``; an engine that does not fit is never better."""
        sized = self.exact(engine)
        if sized is None or not sized.fits(self.part) or best is not None and key(best) <= key(sized):
            return best
        self.progress(f"{describe(engine)}: {sized.cycles.total:,} cycles")
        return sized

    def _climb(self, best: Sized, key) -> Sized:
        """Move to better neighbours until there is none."""
        while True:
            start = best
            for engine in neighbours(start.engine):
                if self._promising(engine, best, key):
                    best = self._better(best, engine, key) or best
            if best is start:
                return best

    def _promising(self, engine: Engine, best: Sized, key) -> bool:
        """Whether the exact figures, which take long, may be better."""
        rough = self.measure(engine)
        if not rough.fits:
            return False
        if key != self._cycles:
            return True
        # What is likely errs alike for engines that are alike.
        return rough.least < best.cycles.total and rough.likely <= HOPE * self.measure(best.engine).likely

    def any_fits(self) -> bool:
        """Whether one of a few engines of all sizes fits: small ones save logic, large ones program memory."""
        engines = sorted(self.candidates(), key=lambda engine: engine.macs_per_cycle)
        found = (self.exact(engine) for engine in engines[::max(1, len(engines) // KEEP)])
        return any(sized is not None and sized.fits(self.part) for sized in found)

    def _refusal(self) -> str:
        """Why nothing fits, in numbers, and what would."""
        everything = sorted(self.rough(), key=lambda item: item.area)
        smallest = next((s for s in (self.exact(item.engine) for item in everything[:KEEP]) if s), None)
        lines = [f"network {self.graph.name!r} does not fit {self.part.name}"]
        if smallest is None and self.reasons:
            lines.append(self.reasons[-1])
        if smallest is not None:
            over = [f"{name.upper()} {getattr(smallest.total, name):,.0f} of {getattr(self.part.available, name):,}"
                    f" (at most {fill(self.part)[name]:.0%} may be used)"
                    for name, share in smallest.share(self.part).items() if share > 1]
            lines.append(f"the smallest engine ({describe(smallest.engine)}) with its program memory needs "
                         + ", ".join(over))
            others = [part.name for part in sorted(PARTS.values(), key=lambda p: p.lut)
                      if part.name != self.part.name and _fits_other(self.graph, part)]
            lines.append(f"parts that it fits: {', '.join(others)}" if others else "it fits no known part")
        return "; ".join(lines)


def _fits_other(graph: Graph, part: Part) -> bool:
    try:
        return Search(graph, part).any_fits()
    except HwgenError:
        # Refused before any engine is laid out.
        return False


def neighbours(engine: Engine) -> list[Engine]:
    """Engines one step away in one or two parameters."""
    d, result = engine.drain_lanes, []
    changes: list[dict] = [{"px": engine.px + step} for step in (-1, 1)]
    present = [group for group in GROUPS if engine.rows_of(group)]
    for first in present:
        changes += [{f"{first}_rows": engine.rows_of(first) + step} for step in (-d, d)]
        for second in GROUPS:
            if second != first:
                # Rows move from one group to another, or (pairs of present ones) both grow or shrink.
                changes += [{f"{first}_rows": engine.rows_of(first) - step,
                             f"{second}_rows": engine.rows_of(second) + step} for step in sorted({max(1, d // 2), d})]
            if second in present[present.index(first) + 1:]:
                changes += [{f"{name}_rows": engine.rows_of(name) + step for name in (first, second)}
                            for step in (-d, d)]
    changes.append({"wide": not engine.wide})
    changes += [{"ring_depth": 2 * engine.ring_depth}, {"ring_depth": engine.ring_depth // 2}]
    changes += [{"drain_lanes": 2 * d}, {"drain_lanes": d // 2}]
    changes += [{"ki": engine.ki * 2, "px": max(1, engine.px // 2)}, {"ki": engine.ki // 2, "px": engine.px * 2}]
    changes += [{"ki": engine.ki * 2}, {"ki": engine.ki // 2}]
    for change in changes:
        try:
            result.append(replace(engine, **change))
        except (EngineError, ZeroDivisionError):
            continue
    return result


def _area(resources: Resources, part: Part) -> float:
    """One number for an engine's size: its share of the LUTs, and a quarter of the other shares.

    LUTs are what a user's own logic needs most; DSPs that an engine leaves idle save nothing.
    """
    shares = {name: getattr(resources, name) / getattr(part.available, name) for name in FIELDS}
    return shares["lut"] + (sum(shares.values()) - shares["lut"]) / 4


def describe(engine: Engine) -> str:
    """The engine in a few words."""
    rows = " + ".join(f"{engine.rows_of(group)} {group}" for group in GROUPS if engine.rows_of(group))
    return f"{engine.ki} channels x {engine.px} pixels x ({rows}) rows, {engine.drain_lanes} drain lanes"
