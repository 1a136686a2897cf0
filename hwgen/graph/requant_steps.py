"""Requantizers as step functions: where the code changes, exactly.

A requantizer is monotone in the accumulator, so over a bounded range it is fully described
by the accumulators at which its code rises.  Two requantizers are equal on that range if
and only if those switch points are equal, which is how equality is proven here: nothing is
sampled.  The formulas are in docs/numerics.md, section "Requantization".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

import numpy as np

ROUNDINGS = ("half_even", "half_up", "floor", "half_down", "half_away", "half_toward_zero",
             "ceil", "toward_zero", "away_from_zero")
"""Rounding modes a source network may use; the first three exist in hardware."""


def boundary(rounding: str, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where ``round(v) >= k`` begins: twice the boundary, and whether it is excluded.

    ``round(v) >= k`` holds if and only if ``2*v >= first``, or ``2*v > first`` where the
    second array is true.  ``k`` is any integer array.
    """
    never = np.zeros(k.shape, dtype=bool)
    up = k >= 1
    if rounding == "floor":
        return 2 * k, never
    if rounding == "ceil":
        return 2 * k - 2, ~never
    if rounding == "toward_zero":
        return np.where(up, 2 * k, 2 * k - 2), ~up
    if rounding == "away_from_zero":
        return np.where(up, 2 * k - 2, 2 * k), up
    strict = {"half_up": never, "half_down": ~never, "half_even": k % 2 == 1,
              "half_away": ~up, "half_toward_zero": up}
    if rounding not in strict:
        raise ValueError(f"rounding must be one of {', '.join(ROUNDINGS)}, not {rounding!r}")
    return 2 * k - 1, strict[rounding]


def hardware_levels(rounding: str, k: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Smallest integer N with ``round(N / 2**shift) >= k``, shape (rows, len(k)).

    ``shift`` has shape (rows,), each at least 1, so that half a code is an integer.
    """
    twice, strict = boundary(rounding, k)
    return (twice[None, :] << (shift[:, None] - 1)) + strict[None, :]


@dataclass(frozen=True, eq=False)
class Steps:
    """The step functions of a layer, one per row and per residual code.

    A row is described in ``v``: the accumulator, or ``-acc - 1`` where the code falls as the
    accumulator rises, so that the code never falls with ``v``.  With residual code
    ``residuals[j]``, the code is ``low + #{i : v >= switch[row, j, i]}``.
    """

    switch: np.ndarray
    """int64 (rows, residual codes, high - low), sorted; in [v_low, v_high + 1]."""
    falling: np.ndarray
    """bool (rows,)."""
    v_low: np.ndarray
    """Smallest v that can occur, int64 (rows,)."""
    v_high: np.ndarray
    """Largest v that can occur, int64 (rows,)."""
    residuals: np.ndarray
    """int64 (residual codes,); [0] without a residual."""

    def rows(self, index) -> "Steps":
        """The same for some of the rows."""
        return Steps(self.switch[index], self.falling[index], self.v_low[index], self.v_high[index], self.residuals)


def v_range(falling: np.ndarray, acc_low: np.ndarray, acc_high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The range of v that belongs to a range of accumulators."""
    return np.where(falling, -acc_high - 1, acc_low), np.where(falling, -acc_low - 1, acc_high)


def affine_steps(slope: Sequence[Fraction], intercept: Sequence[Fraction], k: np.ndarray, rounding: str,
                 acc_low: np.ndarray, acc_high: np.ndarray, rho: Sequence[Fraction] | None = None,
                 residuals: np.ndarray | None = None) -> Steps:
    """Steps of ``round(slope*acc + rho*res + intercept)`` at the integers ``k``, ascending.

    Exact: each switch point is ``ceil(x)`` or ``floor(x) + 1`` of a rational x; float64 is
    used only where x is provably away from an integer.
    """
    residuals = np.zeros(1, dtype=np.int64) if residuals is None else np.asarray(residuals, dtype=np.int64)
    twice, strict = boundary(rounding, k)
    falling = np.array([value < 0 for value in slope], dtype=bool)
    v_low, v_high = v_range(falling, acc_low, acc_high)
    switch = np.empty((len(slope), len(residuals), len(k)), dtype=np.int64)
    for row, (a, b) in enumerate(zip(slope, intercept, strict=True)):
        c = Fraction(0) if rho is None else rho[row]
        if a < 0:
            a, b = -a, b - a
        low, high = int(v_low[row]), int(v_high[row])
        if a == 0:
            switch[row] = _constant_row(b, c, residuals, twice, strict, low, high)
        else:
            switch[row] = _rising_row(a, b, c, residuals, twice, strict, low, high)
    return Steps(switch, falling, v_low, v_high, residuals)


def _constant_row(b, c, residuals, twice, strict, low, high):
    """Switch points of a row without a slope: with a residual code it has one value, above or below each boundary.

    ``2*v >= t`` is ``t <= floor(2*v)`` for the integer t, and ``2*v > t`` is ``t <= ceil(2*v) - 1``.
    """
    doubled = [2 * (b + c * int(res)) for res in residuals]
    reach = 1 << 40  # beyond every boundary
    floors, ceils = (np.array([min(max(value, -reach), reach) for value in values])[:, None] for values in (
        [value.numerator // value.denominator for value in doubled],
        [-(-value.numerator // value.denominator) - 1 for value in doubled]))
    return np.where(twice[None, :] <= np.where(strict[None, :], ceils, floors), low, high + 1).astype(np.int64)


def _rising_row(a, b, c, residuals, twice, strict, low, high):
    """Switch points of one row: x = (t/2 - b - c*res) / a over a common denominator."""
    scale = b.denominator * c.denominator
    n0 = -2 * b.numerator * c.denominator * a.denominator
    n1 = scale * a.denominator
    n2 = -2 * c.numerator * b.denominator * a.denominator
    den = 2 * scale * a.numerator
    common = gcd(gcd(n0, n1), gcd(n2, den))
    n0, n1, n2, den = n0 // common, n1 // common, n2 // common, den // common

    # Three correctly rounded quotients, two products, two sums: the error is below
    # 8 * 2**-53 of the sum of magnitudes; twice that is allowed for.
    f0, f1, f2 = (_ratio(n, den) for n in (n0, n1, n2))
    terms = (np.full((1, 1), f0), f1 * twice[None, :].astype(float), f2 * residuals[:, None].astype(float))
    with np.errstate(invalid="ignore", over="ignore"):
        x = terms[0] + terms[1] + terms[2]
        error = 2.0**-49 * sum(np.abs(t) for t in terms)
        sure = np.abs(x - np.rint(x)) > error
        sure |= (x - error > high + 2) | (x + error < low - 2)
    inside = np.clip(np.where(sure, x, 0.0), low - 2.0, high + 2.0)
    switch = np.floor(inside).astype(np.int64) + 1
    for j, i in zip(*np.nonzero(~sure), strict=True):
        num = n0 + n1 * int(twice[i]) + n2 * int(residuals[j])
        exact = num // den + 1 if strict[i] else -(-num // den)
        switch[j, i] = min(max(exact, low), high + 1)
    return np.clip(switch, low, high + 1)


def _ratio(num: int, den: int) -> float:
    try:
        return num / den
    except OverflowError:
        return float("nan")


def affine_switches(multiplier: np.ndarray, constant: np.ndarray, levels: np.ndarray, steps: Steps,
                    residual_multiplier: np.ndarray | None = None) -> np.ndarray:
    """Where ``v*M + res*R + C`` reaches each level, by integer division; shape of ``steps.switch``.

    ``multiplier`` and ``constant`` are those of v and may have either sign.  Rows with a
    negative multiplier are not rising in v: they get -1 below ``v_low`` (equal to no
    step function) unless their code is constant over the range.
    """
    offset = constant[:, None]
    if residual_multiplier is not None:
        offset = offset + residual_multiplier[:, None] * steps.residuals[None, :]
    else:
        offset = np.repeat(offset, len(steps.residuals), axis=1)
    need = levels[:, None, :] - offset[:, :, None]
    m = multiplier[:, None, None]
    low, high = steps.v_low[:, None, None], steps.v_high[:, None, None]
    first = np.where(m > 0, -(-need // np.where(m > 0, m, 1)), np.where(need <= 0, low, high + 1))
    first = np.clip(first, low, high + 1)
    at_low, at_high = m * low >= need, m * high >= need
    flat = np.where(at_low, low, high + 1)
    backwards = np.where((at_low == at_high).all(axis=(1, 2), keepdims=True), flat, low - 1)
    return np.where(m < 0, backwards, first)


def worst_difference(wanted: np.ndarray, got: np.ndarray) -> int:
    """Largest difference in codes between step functions given by sorted switch points (last axis)."""
    count = wanted.shape[-1]
    worst = 0
    for one, other in ((wanted, got), (got, wanted)):
        # one is ahead by d codes somewhere if and only if its switch k comes before the other's switch k-d+1.
        d = worst
        while d < count and (one[..., d:] < other[..., : count - d]).any():
            d += 1
        worst = max(worst, d)
    return worst
