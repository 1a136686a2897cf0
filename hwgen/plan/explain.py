"""Why this engine: what bounds it, where the cycles go, and what its neighbours would cost."""

from dataclasses import replace
from typing import Any

from ..device.parts import Part
from ..engine import GROUPS, EngineError
from .search import Search
from .sizing import Sized, describe
from .timeline import Split


def explain(search: Search, sized: Sized, part: Part, clock_mhz: float, fps: float | None) -> list[str]:
    """A few lines for people."""
    share = sized.share(part)
    bounds = max(share, key=lambda name: share[name])
    lines = [_headline(sized, clock_mhz)]
    if fps is None:
        lines.append(f"fastest engine that fits; bound by {bounds.upper()}, of which it uses {share[bounds]:.0%} "
                     "of what a plan may use")
    else:
        lines.append(f"smallest engine found for {fps:,.0f} fps; its largest share is {bounds.upper()}, "
                     f"{share[bounds]:.0%} of what a plan may use")
    lines += _cycle_notes(sized)
    lines += _linear_notes(sized) + _neighbours(search, sized, part)
    return lines


def explain_given(sized: Sized, part: Part, clock_mhz: float) -> list[str]:
    """The same of an engine that was asked for, with what exceeds the part."""
    over = sized.over(part).values()
    verdict = f"does not fit what a plan may use of {part.name}: {', '.join(over)}" if over else f"fits {part.name}"
    return [_headline(sized, clock_mhz), f"the engine that was asked for; {verdict}", *_cycle_notes(sized),
            *_linear_notes(sized)]


def _headline(sized: Sized, clock_mhz: float) -> str:
    engine, total = sized.engine, sized.cycles.total
    return (f"{describe(engine)}: {engine.macs_per_cycle} MACs per cycle, {total:,} cycles, "
            f"{clock_mhz * 1e6 / total:,.0f} fps planned at {clock_mhz:g} MHz")


def _cycle_notes(sized: Sized) -> list[str]:
    cycles = sized.cycles
    split = sum(cycles.splits, Split())
    lines = [f"cycles: {split.busy:,} busy; waiting {split.weights:,} for weights, {split.activations:,} for "
                 f"activations ({sum(cycles.collisions):,} of them bank collisions), {split.drain:,} for the drain, "
                 f"{split.memory:,} for maps in memory; {cycles.first_load:,} before the first layer"]
    for layer, waiting in zip(sized.layout.layers, (split.weights for split in cycles.splits), strict=True):
        if waiting > cycles.total // 20:
            lines.append(f"layer {layer.name}: {waiting:,} cycles bound by the weight memory")
    return lines


def _linear_notes(sized: Sized) -> list[str]:
    names = [layer.name for layer in sized.layout.layers
             if sized.layout.walks[layer.name].evaluations == 1 and sized.engine.px > 1]
    return [f"linear layers use 1 of {sized.engine.px} pixels: {', '.join(names)}"] if names else []


def _neighbours(search: Search, sized: Sized, part: Part) -> list[str]:
    engine, lines = sized.engine, []
    d = engine.drain_lanes
    changes: list[tuple[str, dict[str, Any]]] = [
        ("one more pixel", {"px": engine.px + 1}), ("one pixel less", {"px": engine.px - 1}),
        *((f"{d} more {group} rows", {f"{group}_rows": engine.rows_of(group) + d})
          for group in GROUPS if engine.rows_of(group)),
        ("half the rows", {f"{group}_rows": engine.rows_of(group) // 2 // d * d for group in GROUPS}),
    ]
    for label, change in changes:
        try:
            other = search.exact(replace(engine, **change))
        except EngineError:
            continue
        if other is None:
            continue
        over = other.over(part).values()
        verdict = f"does not fit: {', '.join(over)}" if over else \
            f"LUT {other.total.lut:,.0f} ({other.total.lut - sized.total.lut:+,.0f}), DSP {other.total.dsp:,.0f}"
        lines.append(f"{label}: {other.cycles.total:,} cycles ({other.cycles.total / sized.cycles.total - 1:+.0%}), "
                     f"{verdict}")
    return lines
