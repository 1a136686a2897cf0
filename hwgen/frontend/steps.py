"""Layers whose codes are given by their switch points: MultiThreshold, leaky ReLU, limits per channel."""

from fractions import Fraction
import math

import numpy as np

from hwgen.frontend.layers import Layer
from hwgen.frontend.quantizers import Quantizer
from hwgen.frontend.values import ConvSource
from hwgen.graph.ir import Requant
from hwgen.graph.requant_steps import boundary
from hwgen.graph.requantize import compile_affine
from hwgen.graph.thresholds import parts_of, requant_of, threshold_steps

ROUNDINGS = {"HALF_EVEN": "half_even", "FLOOR": "floor", "CEIL": "ceil", "DOWN": "toward_zero",
             "UP": "away_from_zero", "HALF_UP": "half_away", "HALF_DOWN": "half_toward_zero"}
"""QONNX's names to those of hwgen.graph.requantize."""


MOST = 255
"""Switch points of a layer: of more than 15 several layers are made."""


def reach(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest accumulator per row, int64, for any codes of the input's width."""
    source = layer.pending.source
    assert isinstance(source, ConvSource)
    top = (1 << source.input.quantizer.code_bits) - 1
    rows = source.weight.reshape(len(source.weight), -1)
    falls, rises = (part.sum(axis=1, dtype=np.int64) for part in (np.minimum(rows, 0), np.maximum(rows, 0)))
    return top * falls, top * rises


def by_switch_points(layer: Layer, m_bits: int = 18) -> Requant:
    """The requantizer of a layer without residual, exact in every row: a multiplier, or its switch points."""
    x, given = layer.pending, layer.thresholds
    ends = (layer.quantizer.low, layer.quantizer.high) if given is None else (0, len(given[0]))
    low = min(ends[0] if limit is None else layer.code(channel, limit) for channel, limit in enumerate(x.low))
    high = max(ends[1] if limit is None else layer.code(channel, limit) for channel, limit in enumerate(x.high))
    if given is None:
        starts, strict = starts_of(layer.quantizer, low, high)
        table: list[list[Fraction | float]] = [list(starts)] * x.channels
    else:
        table, strict = [list(row[low:high]) for row in given], [False] * (high - low)
    if low == high:
        return compile_affine(x.slope, x.intercept, rounding="floor", low=low, high=high, acc_lo=0, acc_hi=0)
    points: list[list[Fraction | float]] = []
    for channel, row in enumerate(table):
        least, most = ((None if limit is None else layer.code(channel, limit))
                       for limit in (x.low[channel], x.high[channel]))
        least = low if least is None else max(least, low)
        most = high if most is None else most
        points.append([-math.inf if code <= least else math.inf if code > most else
                       start if x.bend is None or isinstance(start, float) else x.bend.undo(channel, start)
                       for code, start in enumerate(row, low + 1)])
    steps = threshold_steps(x.slope, x.intercept, points, *reach(layer), strict)
    return requant_of(steps, x.slope, points, low, m_bits, most=MOST)


def counted_by(layer: Layer) -> int:
    """How many layers the engine needs to count the thresholds: one where a multiplier is exact."""
    requant = by_switch_points(layer)
    return 1 if requant.thresholds is None else len(parts_of(requant))


def starts_of(quantizer: Quantizer, low: int, high: int) -> tuple[list[Fraction], list[bool]]:
    """Where the codes low + 1 to high begin, in real units, and whether the start itself is excluded."""
    if low == high:
        return [], []
    twice, strict = boundary(ROUNDINGS[quantizer.mode], np.arange(low + 1, high + 1) - quantizer.offset)
    starts = [(Fraction(int(value), 2) - quantizer.zero) * quantizer.scale for value in twice]
    return starts, strict.tolist()
