"""An engine sized for a network on a part: its layout, the widths and depths that follow, resources, and cycles."""

from dataclasses import dataclass, replace
from functools import cached_property

from ..device.costs import estimate, memory_blocks
from ..device.parts import Part
from ..device.resources import FIELDS, Resources
from ..engine import GROUPS, MAX_COLUMNS, Engine, EngineError
from ..graph.ir import Graph
from .candidates import block_words
from .cycles import count_cycles
from .layout import MAX_DEPTH, Layout, fit_scratchpad, lay_out, needs
from .refuse import fill
from .stream import memory_words, program_words
from .tiles import Unplaceable
from .timeline import Cycles


@dataclass(frozen=True, eq=False)
class Sized:
    """An engine with everything that is known about it."""

    layout: Layout
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

    @cached_property
    def cycles(self) -> Cycles:
        """Counted when it is asked for: that takes longest."""
        return count_cycles(self.layout)

    @property
    def counted(self) -> bool:
        """Whether cycles were asked for."""
        return "cycles" in vars(self)

    @cached_property
    def least(self) -> int:
        """Cycles at least: those of :attr:`cycles` if nothing ever waited."""
        layout, engine = self.layout, self.engine
        computing = fetching = 0
        for step in layout.steps:
            fetching += sum(-(-fetch.words // engine.fetch_words) for place in step.fetches for fetch in place)
            for tile in layout.tiles(step.layer):
                words = layout.words(step.layer, tile) * step.source.planes + layout.residual_words(step.layer, tile)
                computing += words + (step.walk.groups - 1) * max(words, layout.interval(step.layer, tile))
        return max(computing, program_words(layout) + fetching)

    def share(self, part: Part) -> dict[str, float]:
        """Use of each resource as a part of what may be used."""
        return shares(self.total, part)

    def fits(self, part: Part) -> bool:
        return fits(self.total, part)

    def over(self, part: Part) -> dict[str, str]:
        """What exceeds the part, in words."""
        return {name: f"{name.upper()} {getattr(self.total, name):,.0f} of {getattr(part.available, name):,}"
                for name, share in self.share(part).items() if share > 1}


def shares(total: Resources, part: Part) -> dict[str, float]:
    """Use of each resource as a part of what may be used."""
    available = part.available
    return {name: getattr(total, name) / (getattr(available, name) * fill(part)[name]) for name in FIELDS}


def fits(total: Resources, part: Part) -> bool:
    """Whether a plan may use so much of the part."""
    return all(share <= 1 for share in shares(total, part).values())


def size(graph: Graph, engine: Engine, part: Part) -> Sized:
    """Lay the network out on an engine, give the engine the widths and depths it needs, and count.

    A ``scratch_depth`` above the default is the most that the scratchpad may have; else it is as deep as the part
    holds.  Raises Unplaceable.
    """
    return _sized(_whole(graph, engine), part, _most_depth(engine))


def size_to_fit(graph: Graph, engine: Engine, part: Part) -> Sized:
    """The same; where too few LUTs are left with multiplier blocks that take some of their work, if the part has these,
    or where the deepest scratchpad leaves too few with a depth that needs fewer."""
    whole = _whole(graph, replace(engine, upper_blocks=False))
    sized = _sized(whole, part, _most_depth(engine))
    spared = replace(sized.engine, upper_blocks=True)
    if not sized.fits(part) and fits(estimate(spared, part) + sized.memory, part):
        return _sized(replace(whole, engine=replace(whole.engine, upper_blocks=True)), part, _most_depth(engine))
    deepest, power = sized.engine.scratch_depth, 1 << sized.engine.scratch_depth.bit_length() - 1
    # Fewer LUTs choose among block RAMs behind half as deep ones again, none behind powers of two.
    for depth in (power * 3 // 2, power):
        if Engine.scratch_depth < depth < deepest and not sized.fits(part):
            shallow = estimate(replace(sized.engine, scratch_depth=depth), part) + sized.memory
            if fits(shallow, part):
                sized = _sized(whole, part, depth)
    return sized


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
    words = memory_words(layout, program_words(layout))
    return Sized(layout, estimate(layout.engine, part), program_memory(words, layout.engine, part))


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

    def holds(blocks: int) -> bool:
        shaped = replace(engine, scratch_depth=blocks * block)
        return estimate(shaped, part).bram <= part.available.bram * fill(part)["bram"]

    least, most = 1, -(-engine.scratch_depth // block)
    if holds(most):
        return engine.scratch_depth
    while least < most:
        middle = -(-(least + most) // 2)
        least, most = (middle, most) if holds(middle) else (least, middle - 1)
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


def area(resources: Resources, part: Part) -> float:
    """One number for an engine's size: its share of the LUTs, and a quarter of the other shares.

    LUTs are what a user's own logic needs most; DSPs that an engine leaves idle save nothing.
    """
    shares = {name: getattr(resources, name) / getattr(part.available, name) for name in FIELDS}
    return shares["lut"] + (sum(shares.values()) - shares["lut"]) / 4


def describe(engine: Engine) -> str:
    """The engine in a few words."""
    rows = " + ".join(f"{engine.rows_of(group)} {group}" for group in GROUPS if engine.rows_of(group))
    return f"{engine.ki} channels x {engine.px} pixels x ({rows}) rows, {engine.drain_lanes} drain lanes"
