"""Threshold mode: the sorted switch points themselves, for what no multiplier expresses."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import isinf

import numpy as np

from hwgen.errors import HwgenError
from hwgen.graph import ir

from .requant_search import floats, limits, search_affine
from .requant_steps import Steps, v_range

MAX_STEPS = 15
"""Thresholds per row that the drain searches: outputs of up to 4 bits."""


def threshold_requant(steps: Steps, low: int, high: int, rounding: str = "floor") -> ir.Requant:
    """A layer without residual in threshold mode; every row is equal by construction.

    A switch point below (beyond) the accumulators that can occur is stored as the smallest one (one
    more than the largest), so that it fits the accumulator's width.
    """
    rows = len(steps.falling)
    zeros = np.zeros(rows, dtype=np.int64)
    return ir.Requant(zeros, zeros.copy(), np.ones(rows, dtype=np.int64),
                      rounding if rounding in ir.ROUNDINGS else "floor", 0, low, high,
                      thresholds=steps.switch[:, 0, :].copy(), negate=steps.falling.copy(), proven=rows)


def threshold_steps(slope: Sequence[Fraction], intercept: Sequence[Fraction],
                    thresholds: Sequence[Sequence[Fraction | float]], acc_low: np.ndarray, acc_high: np.ndarray,
                    strict: bool | Sequence[bool] = False) -> Steps:
    """Steps of ``#{k : slope*acc + intercept >= thresholds[row][k]}`` (``>`` where strict), exact.

    Thresholds are sorted per row; infinite ones are reached always or never.  strict: for all, or one per k.
    A slope of 0 is allowed: the row is constant.
    """
    falling = np.array([value < 0 for value in slope], dtype=bool)
    v_low, v_high = v_range(falling, acc_low, acc_high)
    table = []
    for row, (a, b) in enumerate(zip(slope, intercept, strict=True)):
        low, high = int(v_low[row]), int(v_high[row])
        if a < 0:
            a, b = -a, b - a
        points = []
        for k, threshold in enumerate(thresholds[row]):
            beyond = strict if isinstance(strict, bool) else strict[k]
            if isinstance(threshold, float) and isinf(threshold):
                points.append(low if threshold < 0 else high + 1)
                continue
            if a == 0:
                points.append(low if b > threshold or (b == threshold and not beyond) else high + 1)
                continue
            x = (Fraction(threshold) - b) / a
            first = x.numerator // x.denominator + 1 if beyond else -(-x.numerator // x.denominator)
            points.append(min(max(first, low), high + 1))
        table.append(points)
    return Steps(np.array(table, dtype=np.int64)[:, None, :], falling, v_low, v_high, np.zeros(1, dtype=np.int64))


def compile_thresholds(slope: Sequence[Fraction], intercept: Sequence[Fraction],
                       thresholds: Sequence[Sequence[Fraction]], *, acc_lo, acc_hi, low: int = 0,
                       strict: bool = False, m_bits: int = 18, shift_max: int = ir.MAX_SHIFT) -> ir.Requant:
    """Requantizer of a multi-threshold: ``low + #{k : slope*acc + intercept >= thresholds[row][k]}``.

    slope, intercept: Fractions, one per row, from accumulators to the unit of the thresholds.  thresholds:
    Fractions, sorted, as many in every row.  Uniform ones become (M, C, S) where that is exact in every
    row; others stay thresholds if there are at most 15 of them; HwgenError for the rest.
    """
    rows, count = len(slope), len(thresholds[0]) if thresholds else 0
    if not rows or not count or any(len(values) != count for values in thresholds) or len(thresholds) != rows:
        raise ValueError("thresholds must have one row per slope, with the same number of values, at least 1")
    for row, values in enumerate(thresholds):
        if any(one > other for one, other in zip(values, values[1:], strict=False)):
            raise HwgenError(f"the thresholds of row {row} are not sorted; a multi-threshold needs ascending values")
    acc_low = np.broadcast_to(np.asarray(acc_lo, dtype=np.int64), (rows,))
    acc_high = np.broadcast_to(np.asarray(acc_hi, dtype=np.int64), (rows,))
    steps = threshold_steps(slope, intercept, thresholds, acc_low, acc_high, strict)
    return requant_of(steps, slope, thresholds, low, m_bits, shift_max)


def requant_of(steps: Steps, slope: Sequence[Fraction], thresholds: Sequence[Sequence[Fraction | float]], low: int,
               m_bits: int = 18, shift_max: int = ir.MAX_SHIFT, most: int = MAX_STEPS) -> ir.Requant:
    """(M, C, S) with the given steps where that is exact in every row, else ``most`` thresholds at most.

    See compile_thresholds; of more than MAX_STEPS the caller makes several layers (:func:`parts_of`).
    """
    rows, count = len(slope), steps.switch.shape[2]
    k = np.arange(1, count + 1, dtype=np.int64)

    # Codes per accumulator: the average over the row's own thresholds is where the search starts.
    finite = [[value for value in values if not isinf(value)] for values in thresholds]
    spread = [(Fraction(values[-1]) - Fraction(values[0])) / (len(values) - 1) if len(values) > 1 else Fraction(1)
              for values in finite]
    per_code = [abs(a) / width if width else Fraction(0) for a, width in zip(slope, spread, strict=True)]
    found = search_affine(steps, floats(per_code), k, "floor", limits(steps, k, m_bits, shift_max))
    if found.exact.all():
        sign = np.where(steps.falling, -1, 1)
        constant = found.constant - np.where(steps.falling, found.multiplier, 0)
        return ir.Requant(sign * found.multiplier, constant, found.shift, "floor", low, low, low + count, proven=rows)
    if count > most:
        missing = int((~found.exact).sum())
        raise HwgenError(f"{missing} of {rows} rows have {count} non-uniform thresholds, and at most {most} fit "
                         "the hardware; use an output of at most 4 bits or uniform steps")
    return threshold_requant(steps, low, low + count)


def parts_of(rule: ir.Requant) -> list[ir.Requant]:
    """Requantizers that count up to MAX_STEPS thresholds of ``rule`` each: its code is ``low`` plus their sum."""
    assert rule.thresholds is not None
    starts = range(0, rule.thresholds.shape[1], MAX_STEPS)
    tables = [rule.thresholds[:, start:start + MAX_STEPS] for start in starts]
    return [replace(rule, low=0, high=table.shape[1], thresholds=table) for table in tables]
