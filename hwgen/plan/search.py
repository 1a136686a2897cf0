"""Sizing: the fastest engine that fits a part, or the smallest that reaches a frame rate."""

from collections.abc import Callable
from dataclasses import dataclass, replace
import functools

from ..device.costs import estimate, memory_blocks
from ..device.parts import PARTS, Part
from ..device.resources import FIELDS, Resources
from ..errors import HwgenError
from ..graph.ir import Graph
from .candidates import Work, bound, candidates, work_of
from .cycles import Cycles, count_cycles
from .engine import Engine
from .layout import Layout, lay_out, memory_words, needs
from .lower import lower
from .place import Unplaceable

FILL = {"lut": 0.85, "ff": 0.85, "dsp": 1.0, "bram": 0.95}
"""Share of a part that a plan may use: routing needs air."""
KEEP = 40
"""Engines that are laid out and counted exactly when the fastest is wanted."""


@dataclass(frozen=True, eq=False)
class Sized:
    """An engine with everything that is known about it."""

    layout: Layout
    cycles: Cycles
    estimate: Resources
    """The engine alone."""
    memory: Resources
    """The on-chip memory of program and results."""

    @property
    def engine(self) -> Engine:
        return self.layout.engine

    @property
    def total(self) -> Resources:
        return self.estimate + self.memory

    def share(self, part: Part) -> dict[str, float]:
        """Use of each resource as a part of what may be used."""
        total, available = self.total, part.available
        return {name: getattr(total, name) / (getattr(available, name) * FILL[name]) for name in FIELDS}

    def fits(self, part: Part) -> bool:
        return all(share <= 1 for share in self.share(part).values())


def size(graph: Graph, engine: Engine, part: Part) -> Sized:
    """Lay the network out on an engine, give the engine the widths and depths it needs, and count.

    Raises Unplaceable.
    """
    layout = lay_out(graph, engine)
    asked = needs(layout)
    block = 256 if part.family == "ice40" else 512
    # A ring as deep as a block RAM costs no more than a shallow one, and weights are fetched ahead.
    ring = max(block, 1 << (asked.pop("ring_depth") - 1).bit_length())
    depth = -(-asked.pop("scratch_depth") // block) * block
    asked["m_bits"] = max(18, asked["m_bits"])
    layout = replace(layout, engine=replace(engine, ring_depth=ring, scratch_depth=depth, **asked))
    cycles = count_cycles(layout)
    words = memory_words(layout, cycles.program_words)
    return Sized(layout, cycles, estimate(layout.engine, part),
                 Resources(bram=memory_blocks(words, layout.engine.mem_bits, part)))


class Search:
    """All candidates of a network on a part, cheap figures first."""

    def __init__(self, graph: Graph, part: Part, progress: Callable[[str], None] = lambda text: None):
        self.graph, self.part, self.progress = graph, part, progress
        self.work: list[Work] = work_of(lower(graph, 8))
        self.features = self._features()
        self.exact = functools.lru_cache(maxsize=None)(self._exact)

    def _features(self) -> dict:
        """Widths and features are nearly the same on every engine: take them from one layout."""
        try:
            asked = needs(lay_out(self.graph, Engine(ki=8, px=2, sp2_rows=8, dsp_rows=8, drain_lanes=8)))
        except Unplaceable:
            return {}
        asked["m_bits"] = max(18, asked["m_bits"])
        return {name: asked[name] for name in ("acc_bits", "m_bits", "wide", "residual", "rescale", "pool", "thresholds")}

    def rough(self) -> list[tuple[Engine, int, Resources]]:
        """(engine, least cycles, rough resources) of every candidate."""
        result = []
        for engine in candidates(self.work, self.part):
            shaped = replace(engine, **self.features)
            result.append((engine, bound(self.work, shaped), estimate(shaped, self.part)))
        return result

    def _exact(self, engine: Engine) -> Sized | None:
        try:
            return size(self.graph, engine, self.part)
        except Unplaceable:
            return None

    def _roughly_fits(self, resources: Resources) -> bool:
        available = self.part.available
        return all(getattr(resources, name) <= getattr(available, name) * FILL[name] for name in FIELDS)

    def fastest(self) -> Sized:
        """The engine with the fewest cycles that fits.  Raises HwgenError when none fits."""
        rough = [item for item in self.rough() if self._roughly_fits(item[2])]
        rough.sort(key=lambda item: (item[1], _area(item[2], self.part)))
        best: Sized | None = None
        tried = 0
        for engine, least, _ in rough:
            if best is not None and (least >= best.cycles.total or tried >= KEEP):
                break
            sized = self.exact(engine)
            if sized is None or not sized.fits(self.part):
                continue
            tried += 1
            self.progress(f"{tried} engines counted, best {best.cycles.total if best else sized.cycles.total} cycles")
            if best is None or sized.cycles.total < best.cycles.total:
                best = sized
        if best is None:
            raise HwgenError(self._refusal())
        return best

    def smallest(self, limit: float) -> Sized:
        """The smallest engine that needs at most ``limit`` cycles.  Raises HwgenError when none does."""
        rough = [item for item in self.rough() if item[1] <= limit and self._roughly_fits(item[2])]
        rough.sort(key=lambda item: (_area(item[2], self.part), item[1]))
        for index, (engine, _, _) in enumerate(rough):
            self.progress(f"engine {index + 1} of {len(rough)}")
            sized = self.exact(engine)
            if sized is not None and sized.cycles.total <= limit and sized.fits(self.part):
                return sized
        best = self.fastest()
        raise HwgenError(f"no engine on {self.part.name} needs at most {limit:,.0f} cycles per image; the fastest that "
                         f"fits needs {best.cycles.total:,} ({describe(best.engine)}). Ask for fewer frames per "
                         "second, a faster clock or a larger part")

    def _refusal(self) -> str:
        """Why nothing fits, in numbers, and what would."""
        everything = sorted(self.rough(), key=lambda item: _area(item[2], self.part))
        smallest = next((s for s in (self.exact(engine) for engine, _, _ in everything[:KEEP]) if s), None)
        lines = [f"network {self.graph.name!r} does not fit {self.part.name}"]
        if smallest is not None:
            over = [f"{name.upper()} {getattr(smallest.total, name):,.0f} of {getattr(self.part.available, name):,}"
                    f" (at most {FILL[name]:.0%} may be used)"
                    for name, share in smallest.share(self.part).items() if share > 1]
            lines.append(f"the smallest engine ({describe(smallest.engine)}) with its program memory needs "
                         + ", ".join(over))
            larger = [part.name for part in sorted(PARTS.values(), key=lambda p: p.lut)
                      if part.name != self.part.name and _fits_other(self.graph, smallest.engine, part)]
            lines.append(f"parts that it fits: {', '.join(larger)}" if larger else "it fits no known part")
        return "; ".join(lines)


def _fits_other(graph: Graph, engine: Engine, part: Part) -> bool:
    return size(graph, engine, part).fits(part)


def _area(resources: Resources, part: Part) -> float:
    """One number for an engine's size: the shares of LUTs, flip-flops, DSPs and block RAMs, added."""
    return sum(getattr(resources, name) / getattr(part.available, name) for name in FIELDS)


def describe(engine: Engine) -> str:
    """The engine in a few words."""
    rows = " + ".join(f"{n} {name}" for name, n in (("sp2", engine.sp2_rows), ("dsp", engine.dsp_rows)) if n)
    return f"{engine.ki} channels x {engine.px} pixels x ({rows}) rows, {engine.drain_lanes} drain lanes"
