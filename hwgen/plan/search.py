"""Sizing: the fastest engine that fits a part, or the smallest that reaches a frame rate."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
import functools
from itertools import islice
import math

from ..device.costs import estimate
from ..device.parts import PARTS, Part
from ..device.resources import Resources
from ..engine import MAX_COLUMNS, Engine
from ..errors import HwgenError
from ..graph.ir import Graph
from .candidates import Work, block_words, bound, candidates, guess, weight_words, work_of
from .layout import MAX_DEPTH, lay_out, needs
from .lower import lower
from .neighbours import neighbours
from .refuse import fill, refuse_early
from .sizing import Sized, area, describe, program_memory, shares, size_to_fit
from .tiles import Unplaceable

KEEP, QUICK, OTHERS = 40, 6, 1
"""Engines that are looked at when none fits, for a first answer, and then of every other shape."""
TRIES, LAYERS = 10, 250
"""Engines of a shape of which the best is taken; fewer of networks with many layers, which take longer to count: so
many that their layers are about LAYERS together."""
ROUGHLY = 1.03
"""Share of what a plan may use by rough figures, up to which an engine is looked at."""
HOPE = 1.05
"""How much slower than the best a neighbour may look and is still counted exactly."""
FAR = 2
"""How much slower than the best a shape may look and is still tried."""
BEHIND = 1.4
"""How much slower than the best a shape's first engine may be, if others of the shape are to be counted."""
CLOSE = 1.3
"""How much slower than the best found so far an engine may be that is improved step by step."""
CLIMBS = 4
"""Searches step by step for the fastest engine, each from another shape."""


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
        return area(self.resources, self.part)

    @functools.cached_property
    def fits(self) -> bool:
        """Perhaps: which groups an engine has changes its widths a little."""
        return all(share <= ROUGHLY for share in shares(self.resources, self.part).values())


class Search:
    """All candidates of a network on a part, cheap figures first."""

    def __init__(self, graph: Graph, part: Part, progress: Callable[[str], None] = lambda text: None, every: int = 1):
        """``every``: of the row counts of a shape only every n-th is tried, for an answer that much sooner."""
        refuse_early(graph, part)
        self.graph, self.part, self.progress, self.every = graph, part, progress, every
        self.work: list[Work] = work_of(lower(graph, 8))
        self._work_at = functools.lru_cache(maxsize=None)(lambda ki: work_of(lower(graph, ki)))
        self.features = self._features()
        self.reasons: list[str] = []
        """Why engines could not take the network at all."""
        self._sized: dict[Engine, Sized | None] = {}

    def _features(self) -> dict:
        """Widths and features are nearly the same on every engine: take them from one layout."""
        any_rows = Engine(ki=8, px=2, sp2_rows=8, pot_rows=8, int4_rows=8, dsp_rows=8, drain_lanes=8,
                          scratch_depth=MAX_DEPTH, pool_columns=MAX_COLUMNS)
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
        widths = ("acc_bits", "m_bits", "shift_base", "c_extra", "residual", "fused", "wide_residual", "rescale",
                  "pool", "pool_columns", "thresholds", "wrap")
        # Whether operands of a wide M can change places is seen on the engine itself.
        return {name: asked[name] for name in widths} | {"swap": False}

    def candidates(self, idle_blocks: bool = False, ports: int | None = None) -> Iterator[Engine]:
        """Engines of all shapes, with the part's memory ports or some of them."""
        return candidates(self.work, self.part, idle_blocks, self.part.ports if ports is None else ports, self.every)

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
        return [sized for sized in self._sized.values() if sized is not None and sized.counted]

    def _exact(self, engine: Engine) -> Sized | None:
        try:
            return size_to_fit(self.graph, engine, self.part)
        except Unplaceable as reason:
            self.reasons.append(str(reason))
            return None

    def fastest(self, tries: int | None = None, climbs: int = CLIMBS, starts: Iterable[Engine] = ()) -> Sized:
        """The engine with the fewest cycles that fits.  Raises HwgenError when none fits.

        ``tries`` engines of every shape are counted exactly; the best ``climbs`` of these and of ``starts`` are
        improved step by step.
        """
        tries = tries or max(3, min(TRIES, LAYERS // sum(layer.times for layer in self.work)))
        found = self._best_of_shapes(tries, KEEP, KEEP, starts)
        if not found:
            raise HwgenError(self._refusal())
        best = found[0]
        for start in found[:climbs]:
            # What is further behind than a climb ever led saves its time.
            if start.cycles.total <= CLOSE * best.cycles.total:
                best = min(best, self._climb(start, self._cycles), key=self._cycles)
        return best

    def quick(self) -> Sized:
        """An engine that fits, within seconds: the likely best of its shape, up to a few tens of percent slower than
        :meth:`fastest`.  HwgenError, with what is missing, when a few engines of all sizes do not fit.
        """
        found = self._best_of_shapes(1, QUICK, OTHERS, ())
        if found:
            return found[0]
        several = [sized for sized in self._of_all_sizes(QUICK) if sized is not None and sized.fits(self.part)]
        if not several:
            raise HwgenError(self._refusal(others=False))
        return min(several, key=self._cycles)

    def _best_of_shapes(self, tries: int, keep: int, others: int, starts: Iterable[Engine]) -> list[Sized]:
        """The best engine of every promising shape that fits, fastest first, among its first ``keep``, or ``others``
        once an engine of another shape fits."""
        rough = sorted(self.rough(idle_blocks=True), key=lambda item: item.likely)
        # The likely cycles err differently for every shape: the best few of each shape are counted exactly,
        # and the best of several shapes improved step by step.
        shapes: dict[tuple[int, str], list[Rough]] = {}
        least = None
        for item in rough:
            # Shapes that look much slower take longest to count and are never the fastest.
            if least is not None and item.likely > FAR * least:
                break
            if least is None and item.fits:
                least = item.likely
            if least is not None:
                shapes.setdefault((item.engine.ki, item.engine.dsp_weights), []).append(item)
        # Resources take longer to estimate than cycles: only of those that are looked at.
        choices = [(item.engine for item in items if item.fits) for items in shapes.values()]
        found: list[Sized] = []
        for engines in (*choices, starts):
            first = self._first(islice(engines, others if found else keep), tries,
                                min((sized.cycles.total for sized in found), default=math.inf))
            found += [first] if first is not None else []
        return sorted(found, key=self._cycles)

    def _first(self, engines: Iterable[Engine], tries: int, known: float) -> Sized | None:
        """The fastest of the first few that fit; of all when none of them does.

        ``known``: cycles of the fastest engine of other shapes; one that is far behind stands for its shape.
        """
        best: Sized | None = None
        for index, engine in enumerate(engines):
            if best is not None and (index >= tries or best.cycles.total > BEHIND * known):
                break
            if best is None or self.measure(engine).least <= best.cycles.total:
                best = self._better(best, engine, self._cycles)
        return best

    def smallest(self, limit: float) -> Sized:
        """The smallest engine that needs at most ``limit`` cycles.  Raises HwgenError when none does."""
        def key(sized: Sized) -> tuple[float, float]:
            if sized.least > limit or sized.cycles.total > limit:
                return math.inf, 0
            return area(sized.total, self.part), sized.cycles.total

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
        if sized is None or not sized.fits(self.part):
            return best
        if best is not None and (key == self._cycles and sized.least > best.cycles.total or key(best) <= key(sized)):
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
        return any(sized is not None and sized.fits(self.part) for sized in self._of_all_sizes(KEEP))

    def _of_all_sizes(self, count: int) -> Iterator[Sized | None]:
        engines = sorted(self.candidates(), key=lambda engine: engine.macs_per_cycle)
        return (self.exact(engine) for engine in engines[::max(1, len(engines) // count)])

    def _refusal(self, others: bool = True) -> str:
        """Why nothing fits, in numbers, and what would."""
        everything = sorted(self.rough(), key=lambda item: item.area)
        smallest = next((s for s in (self.exact(item.engine) for item in everything[:KEEP]) if s), None)
        lines = [f"network {self.graph.name!r} does not fit {self.part.name}"]
        if smallest is None and self.reasons:
            lines.append(self.reasons[-1])
        if smallest is not None:
            over = [f"{what} (at most {fill(self.part)[name]:.0%} may be used)"
                    for name, what in smallest.over(self.part).items()]
            lines.append(f"the smallest engine ({describe(smallest.engine)}) with its program memory needs "
                         + ", ".join(over))
        if smallest is not None and others:
            fitting = [part.name for part in sorted(PARTS.values(), key=lambda p: p.lut)
                      if part.name != self.part.name and _fits_other(self.graph, part)]
            lines.append(f"parts that it fits: {', '.join(fitting)}" if fitting else "it fits no known part")
        return "; ".join(lines)


def _fits_other(graph: Graph, part: Part) -> bool:
    try:
        return Search(graph, part).any_fits()
    except HwgenError:
        # Refused before any engine is laid out.
        return False
