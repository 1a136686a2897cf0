"""How high the strips of a layer may be: every choice with the cycles that it takes, about, and the room it needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from .geometry import Walk, input_rows, residual_rows, walk_rows
from .lower import Footprint

STEP_OVERHEAD = 80
"""Cycles, about, that one more step costs: the pipeline runs empty and the constants are loaded."""


@dataclass(frozen=True)
class Heights:
    """Output rows of a layer's strips."""

    first: int
    others: int
    double: bool
    """A strip is fetched while the one before computes."""

    def strips(self, rows: int) -> list[tuple[int, int]]:
        """First row and end of every strip of ``rows`` output rows."""
        ends = [*range(self.first, rows, self.others), rows]
        return list(zip([0, *ends[:-1]], ends, strict=True))


@dataclass(frozen=True)
class Operand:
    """A map that a layer fetches strip by strip: as its input, as its residual operand, or as both."""

    input: bool
    residual: bool
    height: int
    pitch: int
    planes: int
    """Planes of all channel blocks."""

    def rows(self, footprint: Footprint, steps: Walk) -> tuple[int, int]:
        """First row and end of the rows that a walk reads."""
        spans = []
        if self.input:
            spans.append(input_rows(footprint, steps, self.height))
        if self.residual:
            spans.append(residual_rows(steps))
        return min(span[0] for span in spans), max(span[1] for span in spans)


@dataclass(frozen=True)
class Rates:
    """What the strips of a layer cost on an engine."""

    px: int
    pool_columns: int
    banks: int
    fetch_words: int
    """Scratchpad words that are fetched per cycle."""
    group_cycles: int
    """Cycles of a group of pixels over all row tiles."""


@dataclass(frozen=True)
class Option:
    cycles: int
    """About, from the end of the layer before to the end of this one."""
    room: int
    """Words per bank that strips take at the same time."""
    heights: Heights


@lru_cache(maxsize=4096)
def options(footprint: Footprint, rows: int, tallest: int, operands: tuple[Operand, ...], rates: Rates
            ) -> tuple[Option, ...]:
    """All choices for a layer of ``rows`` output rows with strips of at most ``tallest``.

    Remembered: a scratchpad is tried with several depths, and engines and layers have much in common.
    """
    known: dict[tuple[int, int], tuple[int, int]] = {}

    def strip(begin: int, end: int) -> tuple[int, int]:
        """Cycles that a strip computes, and the words per bank of what it reads."""
        if (begin, end) not in known:
            steps = walk_rows(footprint, rates.px, rates.pool_columns, begin, end)
            size = 0
            for operand in operands:
                first, last = operand.rows(footprint, steps)
                size += operand.planes * -(-(last - first) * operand.pitch // rates.banks)
            known[begin, end] = steps.groups * rates.group_cycles + STEP_OVERHEAD, size
        return known[begin, end]

    result = []
    for heights in _choices(rows, tallest):
        compute, sizes = zip(*(strip(*span) for span in heights.strips(rows)), strict=True)
        fetch = [-(-size * rates.banks // rates.fetch_words) for size in sizes]
        pairs = max(a + b for a, b in zip(sizes, (*sizes[1:], 0), strict=True))
        beside = fetch[0] + sum(max(c, f) for c, f in zip(compute, (*fetch[1:], 0), strict=True))
        result += [Option(beside, pairs, heights),
                   Option(sum(compute) + sum(fetch), max(sizes), Heights(heights.first, heights.others, False))]
    return tuple(result)


def _choices(rows: int, tallest: int) -> Iterator[Heights]:
    """Heights to try: the first strip of a layer may be lower, because nobody computes while it is fetched."""
    heights, number = {min(tallest, rows), 1}, 1
    while number < rows:
        heights |= {-(-rows // number), -(-rows // (number * 3 // 2))}
        number *= 2
    for height in sorted(heights):
        if height <= tallest:
            yield from (Heights(first, height, True) for first in sorted({height, -(-height // 2), -(-height // 4)}))
