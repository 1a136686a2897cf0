"""Integer multipliers, constants and shifts that switch exactly where a step function does.

For a shift S the level of a code is an integer H, and a row's switch point T asks for
``M*T + C >= H`` and ``M*(T-1) + C <= H - 1``.  For a fixed M every such condition bounds the
integer C from one side, and the room between the bounds is a concave function of M: the
feasible M form an interval that a few Newton cuts find or show to be empty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .requant_steps import Steps, affine_switches, hardware_levels

FREE = 1 << 62
"""A bound that is no bound; beyond every level minus product (these stay below 2**61 + 2**57)."""


@dataclass(eq=False)
class Candidate:
    """Per row, in terms of v (see :class:`Steps`): ``v*multiplier + res*residual + constant``."""

    multiplier: np.ndarray
    constant: np.ndarray
    shift: np.ndarray
    residual: np.ndarray
    exact: np.ndarray
    """bool: the row switches exactly where it should."""

    @classmethod
    def empty(cls, rows: int) -> "Candidate":
        zero = np.zeros(rows, dtype=np.int64)
        return cls(zero, zero.copy(), np.ones(rows, dtype=np.int64), zero.copy(), np.zeros(rows, dtype=bool))


@dataclass(frozen=True)
class Limits:
    """What multipliers and shifts may be: ``|M| <= m_max``, ``|R| <= r_max``, ``1 <= S <= s_max``."""

    m_max: int
    r_max: int
    s_max: int


def limits(steps: Steps, k: np.ndarray, m_bits: int, shift_max: int, r_bits: int | None = None) -> Limits:
    """Limits from the widths, tightened so that ``|C| < 2**(acc_bits + m_bits)``.

    Here acc_bits is the signed width of the accumulators that can occur (at least 12): a level
    of at most ``2**(acc_bits+m_bits-1)`` and a product below ``2**(acc_bits+m_bits-2)`` add up to that.
    A narrow accumulator needs no large shift, so nothing is lost.
    """
    reach = int(max(np.abs(steps.v_low).max(), np.abs(steps.v_high).max(), 1)) + 1
    acc_bits = max(12, reach.bit_length() + 1)
    level_bits = int(np.abs(k).max() + 1).bit_length()
    m_max = min((1 << (m_bits - 1)) - 1, (1 << 61) // reach)
    r_max = (1 << ((r_bits or m_bits) - 1)) - 1
    return Limits(m_max, r_max, max(1, min(shift_max, acc_bits + m_bits - 1 - level_bits)))


def fit_line(x_low: np.ndarray, h_low: np.ndarray, x_high: np.ndarray, h_high: np.ndarray,
             start: np.ndarray, m_min: int, m_max: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integers (M, C) per row with ``M*x_low + C >= h_low`` and ``M*x_high + C <= h_high`` at every point.

    Arrays are (rows, points); a point without effect has x = 0 and h = -FREE or +FREE.  Complete:
    where it finds none in [m_min, m_max], none exists.  Returns (found, M, C); where there is none,
    M is ``start`` and C the middle between the bounds there.
    """
    rows = len(start)
    low, high = np.full(rows, m_min, dtype=np.int64), np.full(rows, m_max, dtype=np.int64)
    m = np.clip(start, low, high)
    found = np.zeros(rows, dtype=bool)
    best_m, best_c = m.copy(), np.zeros(rows, dtype=np.int64)
    open_rows = np.arange(rows)
    first = True
    while len(open_rows):
        each = np.arange(len(open_rows))
        at = m[open_rows]
        below = h_low[open_rows] - at[:, None] * x_low[open_rows]
        above = h_high[open_rows] - at[:, None] * x_high[open_rows]
        i, j = below.argmax(axis=1), above.argmin(axis=1)
        floor_c, ceil_c = below[each, i], above[each, j]
        ok = floor_c <= ceil_c
        nearest_zero = np.minimum(np.maximum(0, floor_c), ceil_c)
        middle = floor_c + (ceil_c - floor_c) // 2 if first else best_c[open_rows]
        best_c[open_rows] = np.where(ok, nearest_zero, middle)
        best_m[open_rows] = np.where(ok, at, best_m[open_rows])
        found[open_rows] = ok
        # The two points that clash exclude this M and everything beyond it.
        run = x_low[open_rows, i] - x_high[open_rows, j]
        rise = h_low[open_rows, i] - h_high[open_rows, j]
        safe = np.where(run == 0, 1, run)
        low[open_rows] = np.where(run > 0, np.maximum(low[open_rows], -(-rise // safe)), low[open_rows])
        high[open_rows] = np.where(run < 0, np.minimum(high[open_rows], rise // safe), high[open_rows])
        m = np.clip(m, low, np.maximum(low, high))
        open_rows = open_rows[~ok & (run != 0) & (low[open_rows] <= high[open_rows])]
        first = False
    return found, best_m, best_c


def _bounds(steps: Steps, k: np.ndarray, rounding: str, shift: np.ndarray):
    """The points of :func:`fit_line` for steps without a residual."""
    levels = hardware_levels(rounding, k, shift)
    switch = steps.switch[:, 0, :]
    reached, started = switch <= steps.v_high[:, None], switch > steps.v_low[:, None]
    return (np.where(reached, switch, 0), np.where(reached, levels, -FREE),
            np.where(started, switch - 1, 0), np.where(started, levels - 1, FREE))


def top_shift(slopes: np.ndarray, bound: int, s_max: int) -> np.ndarray:
    """Largest shift at which ``slope * 2**S`` still fits the bound, in [1, s_max]."""
    room = np.log2(float(bound)) - np.log2(np.maximum(slopes, 2.0**-200))
    return np.clip(np.floor(room), 1, s_max).astype(np.int64)


def scaled(slopes: np.ndarray, shift: np.ndarray, bound: int) -> np.ndarray:
    """``slope * 2**shift`` to the nearest integer within the bound: where a search starts."""
    return np.clip(np.rint(np.ldexp(slopes, shift)), -bound, bound).astype(np.int64)


def floats(values: Sequence[Fraction]) -> np.ndarray:
    """Fractions as float64, limited to +-2**100; only for starting points, never for a proof."""
    limit = Fraction(2**100)
    return np.array([float(min(max(value, -limit), limit)) for value in values])


def search_affine(steps: Steps, slopes: np.ndarray, k: np.ndarray, rounding: str, lim: Limits) -> Candidate:
    """Best (M, C, S) per row without a residual; ``slopes`` are those in v, not negative, float64.

    A solution at S gives one at S + 1 (doubled), so the largest shifts decide; then the smallest
    shift with a solution is taken, which gives the smallest constants.
    """
    rows = len(slopes)
    best = Candidate.empty(rows)
    top = top_shift(slopes, lim.m_max, lim.s_max)

    def attempt(index, shift):
        part = steps.rows(index)
        start = scaled(slopes[index], shift, lim.m_max)
        found, m, c = fit_line(*_bounds(part, k, rounding, shift), start, 0, lim.m_max)
        got = affine_switches(m, c, hardware_levels(rounding, k, shift), part)
        exact = found & (got == part.switch).all(axis=(1, 2))
        return exact, m, c

    def keep(index, exact, m, c, shift):
        rows_ = index[exact]
        best.multiplier[rows_], best.constant[rows_], best.shift[rows_] = m[exact], c[exact], shift[exact]
        best.exact[rows_] = True

    todo = np.arange(rows)
    for step in (0, 1, -1):
        if not len(todo):
            break
        shift = np.clip(top[todo] + step, 1, lim.s_max)
        exact, m, c = attempt(todo, shift)
        keep(todo, exact, m, c, shift)
        if step == 0:
            best.multiplier[todo], best.constant[todo], best.shift[todo] = m, c, shift
        todo = todo[~exact]

    low, high = np.ones(rows, dtype=np.int64), np.where(best.exact, best.shift, 1)
    while (low < high).any():
        index = np.flatnonzero(low < high)
        shift = (low[index] + high[index]) // 2
        exact, m, c = attempt(index, shift)
        keep(index, exact, m, c, shift)
        high[index] = np.where(exact, shift, high[index])
        low[index] = np.where(exact, low[index], shift + 1)
    return best
