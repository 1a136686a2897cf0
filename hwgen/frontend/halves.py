"""Layers that one multiplier per row does not express as they are: signs, and values bent at a point."""

from dataclasses import replace
from fractions import Fraction
import math

import numpy as np

from hwgen.frontend.values import Layer
from hwgen.graph.ir import Requant


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
