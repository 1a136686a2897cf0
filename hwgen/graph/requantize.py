"""The requantizer compiler: from real constants to integers that give the same codes, with proof.

A layer's output code is ``clamp(z + round(slope*acc + intercept), low, high)`` in exact rational
arithmetic (a float in a file is the rational it stands for).  :func:`compile_affine` finds
integers (M, C, S) for every row and proves them equal on every accumulator that can occur;
:func:`compile_fused` does so with a residual operand.  docs/numerics.md has the formulas.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import isfinite

import numpy as np

from hwgen.errors import HwgenError
from hwgen.graph import ir

from .requant_plane import search_plane
from .requant_search import Candidate, floats, limits, search_affine
from .requant_steps import ROUNDINGS, Steps, affine_steps, affine_switches, boundary, hardware_levels, worst_difference
from .thresholds import MAX_STEPS, threshold_requant

Real = float | int | Fraction

CHUNK = 1 << 22
"""Switch points worked on at a time, which bounds memory."""


def exact(value: Real, what: str = "constant") -> Fraction:
    """The rational that a number stands for; HwgenError where it is NaN or infinite."""
    if isinstance(value, Fraction):
        return value
    if not isfinite(value):
        raise HwgenError(f"{what} is {value}: it must be finite; export the model again without NaN or infinity")
    return Fraction(float(value)) if not isinstance(value, int) else Fraction(value)


def compile_affine(slope: Iterable[Real], intercept: Iterable[Real], *, rounding: str, low: int, high: int,
                   acc_lo, acc_hi, zero_point: int = 0, zero_after: bool = True, m_bits: int | Sequence[int] = 18,
                   shift_max: int = ir.MAX_SHIFT, threshold_steps: int = MAX_STEPS) -> ir.Requant:
    """Requantizer of a layer without residual: ``clamp(z + round(slope*acc + intercept), low, high)``.

    slope, intercept: one number per row.  rounding: one of ROUNDINGS.  With ``zero_after`` false the
    zero point is added before rounding.  acc_lo, acc_hi: the accumulators that can occur, inclusive, per
    row or one for all.  m_bits: width of M, or several, narrowest first, of which a row takes the first that is
    exact.  Where a row has no exact (M, C, S) the whole layer goes to thresholds if
    ``high - low <= threshold_steps``; otherwise ``proven`` and ``worst`` of the result tell.
    """
    slope, intercept = _exact_rows(slope, intercept)
    source = _Source(slope, intercept, None, np.zeros(1, dtype=np.int64), rounding, low, high, zero_point, zero_after,
                     *_ranges(acc_lo, acc_hi, len(slope)))
    _check_widths(m_bits, shift_max)
    if low == high or not slope:
        return _constant(source)
    best = source.search(m_bits, shift_max)
    if best.proven < len(slope) and high - low <= threshold_steps:
        return threshold_requant(source.steps(source.kinds), low, high, rounding)
    return best


def compile_fused(slope: Iterable[Real], intercept: Iterable[Real], residual_slope: Real | Iterable[Real], *,
                  residual_lo: int = 0, residual_hi: int = 15, rounding: str, low: int, high: int, acc_lo, acc_hi,
                  zero_point: int = 0, zero_after: bool = True, m_bits: int | Sequence[int] = 18,
                  shift_max: int = ir.MAX_SHIFT,
                  r_bits: int | None = None, span: int = 8) -> ir.Requant:
    """Requantizer with a fused residual: ``clamp(z + round(slope*acc + rho*res + intercept), low, high)``.

    ``residual_slope`` is rho, for the tensor or per row; the residual's zero point is in the intercept.  A
    row is proven when it switches at the right accumulators for every residual code.  There is no
    threshold mode here: rows without a solution are counted by ``proven`` and ``worst``.  M and R share the
    shift, so that M has ``log2(rho/slope)`` bits fewer than R: ``r_bits`` (default: m_bits) sets the width
    of R by itself.  ``span`` multipliers on each side of the ideal are tried.
    """
    slope, intercept = _exact_rows(slope, intercept)
    if isinstance(residual_slope, (int, float, Fraction)):
        rho = [exact(residual_slope, "residual factor")] * len(slope)
    else:
        rho = [exact(value, f"residual factor of row {row}") for row, value in enumerate(residual_slope)]
    residuals = np.arange(residual_lo, residual_hi + 1, dtype=np.int64)
    source = _Source(slope, intercept, rho, residuals, rounding, low, high, zero_point, zero_after,
                     *_ranges(acc_lo, acc_hi, len(slope)))
    _check_widths(m_bits, shift_max)
    _check_widths(r_bits or m_bits, shift_max)
    if low == high or not slope:
        return _constant(source)
    return source.search(m_bits, shift_max, r_bits, span)


def verify(requant: ir.Requant, wanted: Steps) -> tuple[np.ndarray, int]:
    """Which rows of a requantizer have exactly the wanted steps, and the worst difference in codes.

    Independent of how the constants were found: the switch points of (M, R, C, S) follow by integer
    division.  Complete, because step functions are equal if and only if they switch at the same places.
    """
    steps = requant.high - requant.low
    if requant.thresholds is not None:
        negate = np.zeros(len(wanted.falling), dtype=bool) if requant.negate is None else requant.negate
        got = np.clip(requant.thresholds, wanted.v_low[:, None], wanted.v_high[:, None] + 1)[:, None, :]
        flat = ((got <= wanted.v_low[:, None, None]) | (got > wanted.v_high[:, None, None])).all(axis=(1, 2))
        broken = (negate != wanted.falling) & ~flat
    else:
        k = np.arange(requant.low + 1, requant.high + 1, dtype=np.int64) - requant.zero_point
        m = np.where(wanted.falling, -requant.multiplier, requant.multiplier)
        c = np.where(wanted.falling, requant.constant - requant.multiplier, requant.constant)
        levels = hardware_levels(requant.rounding, k, requant.shift)
        got = affine_switches(m, c, levels, wanted, requant.residual_multiplier)
        broken = (got < wanted.v_low[:, None, None]).any(axis=(1, 2))
    good = (got == wanted.switch).all(axis=(1, 2)) & ~broken
    if good.all():
        return good, 0
    return good, steps if broken.any() else worst_difference(wanted.switch[~good], got[~good])


def constant_bits(requant: ir.Requant) -> int:
    """Bits of a signed number that hold every constant C (0 in threshold mode)."""
    if requant.thresholds is not None or not requant.constant.size:
        return 0
    values = (int(requant.constant.min()), int(requant.constant.max()))
    return max((value if value >= 0 else ~value).bit_length() + 1 for value in values)


def picked(values: Sequence[Fraction], index: np.ndarray) -> list[Fraction]:
    """Some of a list's values."""
    return [values[i] for i in index.tolist()]


class _Source:
    """A layer as its network states it, and the search over the roundings of the hardware."""

    def __init__(self, slope, intercept, rho, residuals, rounding, low, high, zero_point, zero_after, acc_lo, acc_hi):
        if rounding not in ROUNDINGS:
            raise ValueError(f"rounding must be one of {', '.join(ROUNDINGS)}, not {rounding!r}")
        if not 0 <= low <= high <= 255:
            raise ValueError(f"codes must satisfy 0 <= low <= high <= 255, not {low}..{high}")
        self.residuals, self.rounding = residuals, rounding
        first, self.kinds = _distinct(slope, intercept, rho, acc_lo, acc_hi)
        """The row of the search that stands for each row of the layer: branches of a concatenation have many alike."""
        self.slope, self.intercept = picked(slope, first), picked(intercept, first)
        self.rho = None if rho is None else picked(rho, first)
        self.acc_lo, self.acc_hi = acc_lo[first], acc_hi[first]
        if not zero_after:
            self.intercept = [value + zero_point for value in self.intercept]
        self.low, self.high, self.zero_point = low, high, zero_point if zero_after else 0
        self.k = np.arange(low + 1, high + 1, dtype=np.int64) - self.zero_point
        self.points = max(1, len(self.k) * len(residuals))
        """Switch points of a row."""
        self._steps: Steps | None = None

    def steps(self, index: np.ndarray) -> Steps:
        """The steps the source network asks for, in some of the rows; kept where they are few."""
        if self._steps is None and len(self.slope) * self.points <= CHUNK:
            self._steps = self._steps_of(np.arange(len(self.slope)))
        return self._steps_of(index) if self._steps is None else self._steps.rows(index)

    def _steps_of(self, index: np.ndarray) -> Steps:
        rho = None if self.rho is None else picked(self.rho, index)
        return affine_steps(picked(self.slope, index), picked(self.intercept, index), self.k, self.rounding,
                            self.acc_lo[index], self.acc_hi[index], rho, self.residuals)

    def search(self, m_bits: int | Sequence[int], shift_max: int, r_bits: int | None = None,
               span: int = 0) -> ir.Requant:
        """The requantizer with the most proven rows over the roundings of the hardware, the source's first.

        half_up and floor express the same functions (C takes up half a code), so one of them is enough.  Of several
        widths a wider one is tried only for the rows that no narrower one proves.
        """
        others = {"half_even": ("half_even", "floor"), "half_up": ("half_up",), "floor": ("floor",)}
        attempts = [_Attempt(self, rounding) for rounding in others.get(self.rounding, ("floor", "half_even"))]
        for width in (m_bits,) if isinstance(m_bits, int) else m_bits:
            for attempt in attempts:
                attempt.widen((width, shift_max, r_bits), span)
                if attempt.good.all():
                    return attempt.requant()
        return max(attempts, key=lambda attempt: (attempt.good[self.kinds].sum(), -attempt.worst)).requant()

    def find(self, steps: Steps, index: np.ndarray, rounding: str, widths: tuple[int, int, int | None],
             span: int) -> Candidate:
        """The best integers of some rows in one rounding and width."""
        lim = limits(steps, self.k, *widths)
        slope, intercept = picked(self.slope, index), picked(self.intercept, index)
        slopes = np.abs(floats(slope))
        if self.rho is None:
            return search_affine(steps, slopes, self.k, rounding, lim)
        pairs = zip(slope, intercept, strict=True)
        intercepts = floats([b - a if a < 0 else b for a, b in pairs])
        twice, _ = boundary(self.rounding, self.k)
        rho = floats(picked(self.rho, index))
        return search_plane(steps, slopes, rho, intercepts, self.k, twice, rounding, lim, span)

    def of(self, found: Candidate, steps: Steps, rounding: str) -> ir.Requant:
        """From v back to the accumulator: ``M*(-acc-1) + C = -M*acc + (C - M)`` in falling rows."""
        sign = np.where(steps.falling, -1, 1)
        constant = found.constant - np.where(steps.falling, found.multiplier, 0)
        residual = None if self.rho is None else found.residual
        return ir.Requant(sign * found.multiplier, constant, found.shift, rounding, self.zero_point, self.low,
                          self.high, residual)


class _Attempt:
    """The search with one rounding of the hardware, from narrow multipliers to wide ones."""

    def __init__(self, source: _Source, rounding: str):
        rows = len(source.slope)
        self.source, self.rounding = source, rounding
        self.multiplier, self.constant, self.shift, self.residual = (np.zeros(rows, dtype=np.int64) for _ in range(4))
        self.good = np.zeros(rows, dtype=bool)
        """Rows that are proven."""
        self.worst = 255
        """Largest difference of the others."""

    def widen(self, widths: tuple[int, int, int | None], span: int) -> None:
        """One width for the rows that are not proven; without success they stay as they were."""
        open_rows = np.flatnonzero(~self.good)
        size = max(1, CHUNK // self.source.points)
        found, worst, first = [], 0, not self.shift.any()
        for begin in range(0, len(open_rows), size):
            index = open_rows[begin:begin + size]
            steps = self.source.steps(index)
            part = self.source.of(self.source.find(steps, index, self.rounding, widths, span), steps, self.rounding)
            good, difference = verify(part, steps)
            found.append((index, part, good))
            worst = max(worst, difference)
        if not first and not any(good.any() for _, _, good in found):
            return
        self.worst = worst
        for index, part, good in found:
            self.multiplier[index], self.constant[index], self.shift[index] = part.multiplier, part.constant, part.shift
            if part.residual_multiplier is not None:
                self.residual[index] = part.residual_multiplier
            self.good[index] = good

    def requant(self) -> ir.Requant:
        source, kinds = self.source, self.source.kinds
        return ir.Requant(self.multiplier[kinds], self.constant[kinds], self.shift[kinds], self.rounding,
                          source.zero_point, source.low, source.high,
                          None if source.rho is None else self.residual[kinds], proven=int(self.good[kinds].sum()),
                          worst=self.worst)


def _constant(source: _Source) -> ir.Requant:
    """A layer with one possible code: the clamp alone decides."""
    rows = len(source.kinds)
    zeros = np.zeros(rows, dtype=np.int64)
    hardware = source.rounding if source.rounding in ir.ROUNDINGS else "floor"
    return ir.Requant(zeros, zeros.copy(), np.ones(rows, dtype=np.int64), hardware, source.zero_point, source.low,
                      source.high, None if source.rho is None else zeros.copy(), proven=rows)


def _distinct(slope: list[Fraction], intercept: list[Fraction], rho: list[Fraction] | None, acc_lo: np.ndarray,
              acc_hi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row of every kind, and for every row the index of its kind."""
    numbers: dict[tuple, int] = {}
    first: list[int] = []
    kinds: list[int] = []
    for row, constants in enumerate(zip(slope, intercept, slope if rho is None else rho, strict=True)):
        key = (*(part for value in constants for part in (value.numerator, value.denominator)),
               int(acc_lo[row]), int(acc_hi[row]))
        if key not in numbers:
            numbers[key] = len(first)
            first.append(row)
        kinds.append(numbers[key])
    return np.array(first, dtype=np.int64), np.array(kinds, dtype=np.int64)


def _exact_rows(slope: Iterable[Real], intercept: Iterable[Real]) -> tuple[list[Fraction], list[Fraction]]:
    slopes = [exact(value, f"factor of row {row}") for row, value in enumerate(slope)]
    intercepts = [exact(value, f"constant of row {row}") for row, value in enumerate(intercept)]
    if len(slopes) != len(intercepts):
        raise ValueError(f"slope and intercept must be equally long, not {len(slopes)} and {len(intercepts)}")
    return slopes, intercepts


def _ranges(acc_lo, acc_hi, rows: int) -> tuple[np.ndarray, np.ndarray]:
    low = np.broadcast_to(np.asarray(acc_lo, dtype=np.int64), (rows,))
    high = np.broadcast_to(np.asarray(acc_hi, dtype=np.int64), (rows,))
    if (low > high).any():
        raise ValueError("acc_lo must not exceed acc_hi")
    if rows and (low.min() < -(1 << 40) or high.max() > 1 << 40):
        raise ValueError("accumulators must stay within 41 bits")
    return low, high


def _check_widths(m_bits: int | Sequence[int], shift_max: int) -> None:
    for bits in (m_bits,) if isinstance(m_bits, int) else m_bits:
        if not 2 <= bits <= 32:
            raise ValueError(f"m_bits must be in 2..32, not {bits!r}")
    if not 1 <= shift_max <= ir.MAX_SHIFT:
        raise ValueError(f"shift_max must be in 1..{ir.MAX_SHIFT}, not {shift_max!r}")
