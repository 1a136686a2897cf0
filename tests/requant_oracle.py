"""Brute-force oracle of the requantizer tests: Fractions and Python integers, one accumulator at a time.

Nothing here uses the compiler under test.  ``source_code`` is the network's definition,
``hardware_code`` the definition of hwgen.graph.ir.Requant.
"""

from fractions import Fraction
from math import ceil, floor


def round_to_integer(value: Fraction, mode: str) -> int:
    below, fraction = floor(value), value - floor(value)
    half = Fraction(1, 2)
    if mode == "floor":
        return below
    if mode == "ceil":
        return ceil(value)
    if mode == "toward_zero":
        return int(value)
    if mode == "away_from_zero":
        return ceil(value) if value > 0 else below
    if fraction != half:
        return below + (fraction > half)
    tie = {"half_up": below + 1, "half_down": below, "half_even": below + below % 2,
           "half_away": below + (value > 0), "half_toward_zero": below + (value < 0)}
    return tie[mode]


def source_code(value: Fraction, mode: str, zero: int, zero_after: bool, low: int, high: int) -> int:
    rounded = zero + round_to_integer(value, mode) if zero_after else round_to_integer(value + zero, mode)
    return min(max(rounded, low), high)


def hardware_code(requant, row: int, acc: int, residual: int = 0) -> int:
    if requant.thresholds is not None:
        v = -acc - 1 if requant.negate[row] else acc
        return requant.low + sum(v >= int(t) for t in requant.thresholds[row])
    total = acc * int(requant.multiplier[row]) + int(requant.constant[row])
    if requant.residual_multiplier is not None:
        total += residual * int(requant.residual_multiplier[row])
    value = round_to_integer(Fraction(total, 2 ** int(requant.shift[row])), requant.rounding)
    return min(max(value + requant.zero_point, requant.low), requant.high)


def rescale_code(rule, x: int, y: int = 0) -> int:
    total = Fraction(x * rule.a + y * rule.b + rule.constant, 2**rule.shift)
    return min(max(round_to_integer(total, rule.rounding) + rule.zero_point, rule.low), rule.high)
