"""The search of requant_search with a residual operand: integers (M, R, C, S), three unknowns per shift.

For a given M, each switch point bounds ``R*res + C`` from one side: a line to be fitted.  With
8-bit codes a row has 65,280 switch points, so the line is fitted to the tightest ones and
checked on all; points that it misses are added.
"""

import numpy as np

from .requant_search import FREE, Candidate, Limits, fit_line, scaled, top_shift
from .requant_steps import Steps, hardware_levels

MAX_POINTS = 512
"""Switch points per row and side that the search starts with."""

ROUNDS = 6
"""How often missed points are added for one multiplier."""


def search_plane(steps: Steps, slopes: np.ndarray, rho: np.ndarray, intercepts: np.ndarray, k: np.ndarray,
                 twice: np.ndarray, rounding: str, lim: Limits, span: int) -> Candidate:
    """Best (M, R, C, S) per row with a residual: a line in the residual for M near ``slope * 2**S``.

    ``slopes``, ``rho`` and ``intercepts`` are float64 and in v; ``twice`` is :func:`boundary` of the source at
    ``k``.  At most ``2*span + 1`` multipliers are tried at each of four shifts.
    """
    best = Candidate.empty(len(slopes))
    points = _Points(steps, slopes, rho, intercepts, twice)
    top = np.minimum(top_shift(slopes, lim.m_max, lim.s_max), top_shift(np.abs(rho), lim.r_max, lim.s_max))
    offsets = sorted(range(-span, span + 1), key=lambda d: (abs(d), d))
    for step in (0, 1, -1, -2):
        for offset in offsets:
            todo = np.flatnonzero(~best.exact)
            for turn in range(ROUNDS):
                if not len(todo):
                    break
                shift = np.clip(top[todo] + step, 1, lim.s_max)
                levels = hardware_levels(rounding, k, shift)
                m = np.clip(scaled(slopes[todo], shift, lim.m_max) + offset, 0, lim.m_max)
                res_low, h_low, res_high, h_high = points.line(todo, m, levels)
                start = scaled(rho[todo], shift, lim.r_max)
                found, r, _ = fit_line(res_low, h_low, res_high, h_high, start, -lim.r_max, lim.r_max)
                first = step == 0 and offset == 0 and turn == 0
                # without a line through some of the points there is none through all; the first try is kept anyway
                look = np.ones_like(found) if first else found
                if not look.any():
                    break
                todo, m, r, shift = todo[look], m[look], r[look], shift[look]
                exact, c = points.fits(todo, m, r, levels[look])
                keep = np.ones_like(exact) if first else exact
                done = todo[keep]
                best.multiplier[done], best.residual[done] = m[keep], r[keep]
                best.constant[done], best.shift[done], best.exact[done] = c[keep], shift[keep], exact[keep]
                todo = todo[found[look] & ~exact] if points.partial else todo[:0]
    return best


class _Points:
    """The conditions ``M*v + R*res + C >= H`` (lower) and ``<= H - 1`` (upper) of every switch point.

    Each side is (v, residual code, index of the level, whether it binds), arrays of (rows, points).
    """

    def __init__(self, steps: Steps, slopes, rho, intercepts, twice):
        self.steps = steps
        rows, n_res, n_k = steps.switch.shape
        self.partial = n_res * n_k > MAX_POINTS
        everything = np.broadcast_to(np.arange(n_res * n_k), (rows, n_res * n_k))
        self.sides = []
        for upper in (False, True):
            pick = everything
            if self.partial:
                v, res, level, binds = self._side(np.arange(rows), pick, upper)
                value = slopes[:, None] * v + rho[:, None] * res + intercepts[:, None] - twice[level] / 2
                slack = np.where(binds, -value if upper else value, np.inf)
                pick = np.argpartition(slack, MAX_POINTS, axis=1)[:, :MAX_POINTS]
            self.sides.append(self._side(np.arange(rows), pick, upper))

    def _side(self, rows, pick, upper):
        """The points of a side with flat indices ``pick`` (rows, points)."""
        steps, n_k = self.steps, self.steps.switch.shape[2]
        v = np.take_along_axis(steps.switch[rows].reshape(len(rows), -1), pick, axis=1)
        binds = v > steps.v_low[rows, None] if upper else v <= steps.v_high[rows, None]
        return v - upper, steps.residuals[pick // n_k], pick % n_k, binds

    def line(self, index, m, levels):
        """The points as :func:`fit_line` takes them, for R and C at given M."""
        arrays = []
        for upper, (v, res, level, binds) in enumerate(self.sides):
            need = np.take_along_axis(levels, level[index], axis=1) - upper - m[:, None] * v[index]
            arrays += [np.where(binds[index], res[index], 0), np.where(binds[index], need, FREE if upper else -FREE)]
        return arrays

    def fits(self, index, m, r, levels):
        """Whether some C serves all points, and the C (the middle of the clash where none does).

        Where it fails, the two points that clash join the ones that are worked with.
        """
        steps = self.steps.rows(index)
        base = levels[:, None, :] - r[:, None, None] * steps.residuals[None, :, None] - m[:, None, None] * steps.switch
        reached = steps.switch <= steps.v_high[:, None, None]
        started = steps.switch > steps.v_low[:, None, None]
        below = np.where(reached, base, -FREE).reshape(len(index), -1)
        above = np.where(started, base - 1 + m[:, None, None], FREE).reshape(len(index), -1)
        worst = below.argmax(axis=1), above.argmin(axis=1)
        each = np.arange(len(index))
        low, high = below[each, worst[0]], above[each, worst[1]]
        fits = low <= high
        if self.partial and not fits.all():
            for upper in (False, True):
                self._add(index[~fits], worst[upper][~fits], upper)
        nearest_zero = np.minimum(np.maximum(0, low), high)
        return fits, np.where(fits, nearest_zero, low + (high - low) // 2)

    def _add(self, index, pick, upper):
        old = self.sides[upper]
        column = [np.zeros((len(array), 1), dtype=array.dtype) for array in old]
        for whole, part in zip(column, self._side(index, pick[:, None], upper), strict=True):
            whole[index] = part
        self.sides[upper] = tuple(np.concatenate(pair, axis=1) for pair in zip(old, column, strict=True))
