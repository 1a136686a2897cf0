"""Quantizers of activations as exact numbers, and their roundings.

QONNX: ``Quant(x) = scale * (round(clamp(x/scale + zero)) - zero)``; clamping to integers and
rounding commute, so it is read as clamp(round(...)).  Source of the formula: the QONNX
operator description of Quant (IntQuant) and BipolarQuant.

QDQ: ``QuantizeLinear(x) = clamp(round(x/scale) + zero)``, half to even: the zero point is added behind
the rounding, which decides ties where it is odd.  Source: the ONNX operator description.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
import math

import numpy as np

MODES = {"ROUND": "HALF_EVEN", "HALF_EVEN": "HALF_EVEN", "ROUND_TO_ZERO": "DOWN", "DOWN": "DOWN", "UP": "UP",
         "CEIL": "CEIL", "FLOOR": "FLOOR", "HALF_UP": "HALF_UP", "HALF_DOWN": "HALF_DOWN"}
"""QONNX's rounding names; UP and DOWN are away from and towards zero, HALF_x ties likewise."""


def round_exact(value: Fraction, mode: str) -> int:
    """``value`` rounded to an integer in one of the modes (values of ``MODES``)."""
    if mode == "FLOOR":
        return math.floor(value)
    if mode == "CEIL":
        return math.ceil(value)
    if mode == "HALF_EVEN":
        return round(value)
    sign, size = (-1 if value < 0 else 1), abs(value)
    if mode == "DOWN":
        return sign * math.floor(size)
    if mode == "UP":
        return sign * math.ceil(size)
    if mode == "HALF_UP":
        return sign * math.floor(size + Fraction(1, 2))
    if mode == "HALF_DOWN":
        return sign * math.ceil(size - Fraction(1, 2))
    raise ValueError(f"unknown rounding mode {mode!r}")


@dataclass(frozen=True)
class Quantizer:
    """A per-tensor Quant or QuantizeLinear node: real values to integers, and integers to unsigned codes.

    ``code = round(value/scale + zero) + offset``: signed integers are carried as unsigned codes.  A bipolar
    quantizer has the codes 0 and 2 and the zero point 1.
    """

    scale: Fraction
    zero: int = 0
    """Zero point that is added before rounding, in the source's integers."""
    bits: int = 8
    signed: bool = False
    narrow: bool = False
    mode: str = "HALF_EVEN"
    bipolar: bool = False
    after: int = 0
    """Zero point that is added after rounding, in the source's integers."""

    @property
    def sign_offset(self) -> int:
        """Code of the source's integer 0."""
        if self.bipolar:
            return 1
        return 1 << (self.bits - 1) if self.signed else 0

    @property
    def offset(self) -> int:
        """What is added to the rounded number to give the code."""
        return self.after + self.sign_offset

    @property
    def code_bits(self) -> int:
        return 2 if self.bipolar else self.bits

    @property
    def code_zero(self) -> int:
        return self.zero + self.offset

    @property
    def low(self) -> int:
        """Smallest code."""
        return 1 if self.signed and self.narrow and not self.bipolar else 0

    @property
    def high(self) -> int:
        """Largest code."""
        if self.bipolar:
            return 2
        return (1 << self.bits) - 1 - (1 if self.narrow and not self.signed else 0)

    def position(self, value: Fraction) -> Fraction:
        """``value`` as it is rounded: in units of the scale, ``zero`` included."""
        return value / self.scale + self.zero

    def code(self, value: Fraction) -> int:
        """The code of a real value."""
        if self.bipolar:
            return 2 if value >= 0 else 0
        return min(max(round_exact(self.position(value), self.mode) + self.offset, self.low), self.high)

    def limited(self, low: int, high: int) -> "Quantizer | None":
        """The quantizer of as many bits or fewer whose integers are ``low..high``; None where there is none."""
        for bits in range(2 if self.signed else 1, self.bits + 1):
            for narrow in (False, True) if bits > 1 else (False,):
                found = replace(self, bits=bits, narrow=narrow)
                if (found.low - found.sign_offset, found.high - found.sign_offset) == (low, high):
                    return found if low <= self.after <= high else None
        return None

    def same_grid(self, other: "Quantizer") -> bool:
        """Whether equal codes mean equal values."""
        return (self.scale, self.code_zero) == (other.scale, other.code_zero)


def round_array(real: np.ndarray, scales: np.ndarray, zeros: np.ndarray, mode: str) -> np.ndarray:
    """``round(real/scale + zero)`` of float arrays as exact rationals, int64, shape of ``real``.

    float64 (its relative error is below 2^-51) decides every element whose position is not
    within 2^-20 of a rounding boundary; Fractions decide the others.
    """
    shape = np.shape(real)
    real = np.atleast_1d(np.asarray(real, np.float64))
    scales, zeros = (np.broadcast_to(np.asarray(part, np.float64), shape).reshape(real.shape)
                     for part in (scales, zeros))
    position = real / scales + zeros
    if not (np.abs(position) < 1 << 40).all():
        raise ValueError("a value lies more than 2^40 steps from zero")
    half = 0.5 if mode.startswith("HALF") else 0.0
    near = np.abs(position - half - np.round(position - half)) < (1.0 + np.abs(position)) * 2.0**-20
    if half:
        rounded = np.floor(position + 0.5)
    elif mode == "UP":
        rounded = np.sign(position) * np.ceil(np.abs(position))
    else:
        rounded = {"FLOOR": np.floor, "CEIL": np.ceil, "DOWN": np.trunc}[mode](position)
    rounded = rounded.astype(np.int64)
    for index in zip(*np.nonzero(near), strict=True):
        value = Fraction(float(real[index])) / Fraction(float(scales[index])) + Fraction(float(zeros[index]))
        rounded[index] = round_exact(value, mode)
    return rounded.reshape(shape)
