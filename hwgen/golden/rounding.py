"""From accumulators to codes: roundings, multipliers, thresholds (docs/numerics.md, Requantization)."""

import numpy as np

from hwgen.errors import HwgenError
from hwgen.graph.ir import ROUNDINGS, Requant, Rescale

_INT64_SAFE = 1 << 62


def _largest(values: np.ndarray) -> int:
    """max |x| as a Python integer (numpy's abs wraps at -2**63)."""
    return max(-int(values.min()), int(values.max())) if values.size else 0


def shift_round(value: np.ndarray, shift: np.ndarray | int, rounding: str) -> np.ndarray:
    """``round(value / 2**shift)`` for shift >= 1, exact; ``value`` int64 or Python integers (object).

    * ``half_up``: floor((value + 2**(S-1)) >> S), ties towards plus infinity
    * ``half_even``: half_up, minus 1 where the S discarded bits of value + 2**(S-1) are 0 (a tie) and the
      result is odd
    * ``floor``: value >> S

    The caller leaves room for + 2**(S-1).
    """
    if rounding not in ROUNDINGS:
        raise HwgenError(f"unknown rounding {rounding!r}; known are {', '.join(ROUNDINGS)}")
    if rounding == "floor":
        return value >> shift
    one = np.ones_like(shift)
    value = value + (one << (shift - one))
    result = value >> shift
    if rounding == "half_even":
        tie = (value & ((one << shift) - one)) == 0
        result -= (tie & ((result & 1) == 1)).astype(result.dtype)
    return result


def _affine(terms: list[tuple[np.ndarray, np.ndarray]], constant: np.ndarray, shift: np.ndarray, rounding: str,
            zero_point: int, low: int, high: int, wrap: bool = False) -> np.ndarray:
    """``clamp(zero_point + round((sum x*m + constant) / 2**shift), low, high)`` as uint8; with ``wrap`` modulo 256.

    Computed in int64 where |sum| + 2**(S-1) is proven to stay below 2**62, else in Python integers.
    """
    bound = sum(_largest(x) * _largest(m) for x, m in terms) + _largest(constant) + (1 << int(shift.max(initial=1)))
    dtype: type = np.int64 if bound < _INT64_SAFE else object
    value: np.ndarray = np.array(constant, dtype=dtype)
    for x, m in terms:
        value = value + x.astype(dtype, copy=False) * m.astype(dtype)
    result = shift_round(value, shift.astype(dtype), rounding)
    return (result & 255 if wrap else np.clip(result + zero_point, low, high)).astype(np.uint8)


def _by_row(values: np.ndarray) -> np.ndarray:
    return np.asarray(values).reshape(1, -1, 1, 1)


def requantize(acc: np.ndarray, requant: Requant, residual: np.ndarray | None = None) -> np.ndarray:
    """Codes of accumulators, uint8 of the same shape.

    acc: int64 (images, rows, height, width), sums of w*q without zero-point correction (it is in C).
    residual: codes of the same shape when ``requant.residual_multiplier`` is there (fused residual).
    """
    if requant.thresholds is not None:
        return _count_thresholds(acc, requant)
    terms = [(acc, _by_row(requant.multiplier))]
    if requant.residual_multiplier is not None:
        if residual is None:
            raise HwgenError("a fused residual needs its second operand")
        terms.append((residual, _by_row(requant.residual_multiplier)))
    return _affine(terms, _by_row(requant.constant), _by_row(requant.shift), requant.rounding,
                   requant.zero_point, requant.low, requant.high, requant.wrap)


def _count_thresholds(acc: np.ndarray, requant: Requant) -> np.ndarray:
    """``low + #{k : v >= thresholds[row, k]}``, v = acc or, in negated rows, -acc - 1."""
    assert requant.thresholds is not None
    codes = np.empty_like(acc, dtype=np.uint8)
    for row, thresholds in enumerate(requant.thresholds):
        value = acc[:, row]
        if requant.negate is not None and requant.negate[row]:
            value = ~value
        codes[:, row] = requant.low + np.searchsorted(thresholds, value, side="right")
    return codes


def rescale(x: np.ndarray, rule: Rescale, y: np.ndarray | None = None) -> np.ndarray:
    """``clamp(zero_point + round((x*A + y*B + C) / 2**S), low, high)`` as uint8; without y, B must be 0."""
    terms = [(x, np.array(rule.a))]
    if y is not None:
        terms.append((y, np.array(rule.b)))
    elif rule.b:
        raise HwgenError("a rescale with a second multiplier needs its second operand")
    return _affine(terms, np.array(rule.constant), np.array(rule.shift), rule.rounding,
                   rule.zero_point, rule.low, rule.high)
