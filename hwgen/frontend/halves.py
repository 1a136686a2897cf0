"""Layers that one multiplier per row does not express as they are: signs, values bent at a point, ties to even."""

from dataclasses import replace
from fractions import Fraction
import math

import numpy as np

from hwgen.frontend.layers import Layer
from hwgen.frontend.quantizers import Quantizer
from hwgen.frontend.values import PoolSource
from hwgen.graph.ir import Requant, Rescale


def halves(layer: Layer, pivot: list[Fraction]) -> tuple[Layer, Layer]:
    """The layer above and below the pivot: each is ``code(pivot)`` on the other side, so that

    code = above + below - code(pivot), for a value is on one side only and codes rise with values.
    """
    x = layer.pending
    found = []
    for upper in (True, False):
        part = replace(x, bend=None, low=[None] * x.channels, high=[None] * x.channels)
        if x.bend is not None:
            factor = [value if above == upper else Fraction(1)
                      for value, above in zip(x.bend.factor, x.bend.above, strict=True)]
            part = part.scaled(factor, [p * (1 - f) for p, f in zip(pivot, factor, strict=True)], x.size)
        low, high = (pivot[0], None) if upper else (None, pivot[0])
        for old_low, old_high in {(a, b) for a, b in zip(x.low, x.high, strict=True)}:
            part = part.limited(old_low, old_high)
        part = replace(part.limited(low, high), pools=())
        found.append(replace(layer, pending=part))
    return found[0], found[1]


def has_ties(layer: Layer) -> bool:
    """Whether some sums of an average lie half way between two codes, while no multiplier is their exact ratio."""
    x, quantizer = layer.pending, layer.quantizer
    if not isinstance(x.source, PoolSource) or quantizer.mode != "HALF_EVEN" or quantizer.bipolar or x.residual or \
            x.bend or x.border:
        return False
    slope, rest = x.slope[0] / quantizer.scale, x.intercept[0] / quantizer.scale - Fraction(1, 2)
    if slope.denominator & (slope.denominator - 1) == 0:
        return False
    whole = math.lcm(slope.denominator, rest.denominator)
    step, value = int(slope * whole) % whole, int(rest * whole) % whole
    for _ in range(x.source.input.quantizer.high * math.prod(x.source.kernel) + 1):
        if not value:
            return True
        value = (value + step) % whole
    return False


def tied(layer: Layer) -> tuple[Layer, Layer]:
    """The layer with ties up and with ties down; the even one of the two codes is its own (:func:`even_sum`).

    A multiplier that is only close to the ratio sends all ties one way: 1/36 of a sum of 36 codes has no other.
    """
    x, half = layer.pending, layer.quantizer.scale / 2
    up, down = (replace(layer, quantizer=replace(layer.quantizer, mode=mode),
                        pending=x.scaled([Fraction(1)] * x.channels, [offset] * x.channels))
                for offset, mode in ((half, "FLOOR"), (-half, "CEIL")))
    return up, down


def even_sum(quantizer: Quantizer) -> Rescale:
    """``round((up + down) / 2)``, ties to even, of the integers before the zero point that is added after rounding."""
    middle = quantizer.offset
    return Rescale(1, -2 * middle, 1, 1, "half_even", middle, quantizer.low, quantizer.high, True)


def bipolar_requant(slope: list[Fraction], intercept: list[Fraction], acc_lo: np.ndarray,
                    acc_hi: np.ndarray) -> Requant:
    """Code 2 where ``slope*acc + intercept >= 0``, else 0.

    With T the first accumulator of a rising row, ``(4*acc + 4 - 4*T) / 2`` is 2 at T and 0 at T - 1;
    a falling row is its mirror image around its last accumulator.  Exact for every row.
    """
    multipliers, constants = [], []
    for a, b, low, high in zip(slope, intercept, acc_lo.tolist(), acc_hi.tolist(), strict=True):
        if a > 0:
            first = min(max(math.ceil(-b / a), low), high + 1)
            multipliers.append(4)
            constants.append(4 - 4 * first)
        elif a < 0:
            last = min(max(math.floor(-b / a), low - 1), high)
            multipliers.append(-4)
            constants.append(4 + 4 * last)
        else:
            multipliers.append(0)
            constants.append(4 if b >= 0 else 0)
    rows = len(slope)
    return Requant(np.array(multipliers, np.int64), np.array(constants, np.int64), np.ones(rows, np.int64), "half_up",
                   0, 0, 2, proven=rows)
