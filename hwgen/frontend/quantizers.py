"""Quantizers as exact numbers: of activations, and of weights.

QONNX: ``Quant(x) = scale * (round(clamp(x/scale + zero)) - zero)``; clamping to integers and
rounding commute, so it is read as clamp(round(...)).  Source of the formula: the QONNX
operator description of Quant (IntQuant) and BipolarQuant.

QDQ: ``QuantizeLinear(x) = clamp(round(x/scale) + zero)``, half to even: the zero point is added behind
the rounding, which decides ties where it is odd.  Source: the ONNX operator description.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
import math

import numpy as np

MODES = {"ROUND": "HALF_EVEN", "HALF_EVEN": "HALF_EVEN", "ROUND_TO_ZERO": "DOWN", "DOWN": "DOWN", "UP": "UP",
         "CEIL": "CEIL", "FLOOR": "FLOOR", "HALF_UP": "HALF_UP", "HALF_DOWN": "HALF_DOWN"}
"""QONNX's rounding names; UP and DOWN are away from and towards zero, HALF_x ties likewise."""

CHUNK = 1 << 20
"""Numbers of a constant that are rounded at a time."""


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


@dataclass(frozen=True, eq=False)
class Grid:
    """A quantized constant: ``integers * scales`` (zero point already subtracted)."""

    integers: np.ndarray
    """int8 where that holds them, else int64."""
    scales: np.ndarray
    """float64, broadcastable to the integers' shape; exactly the file's numbers."""
    bits: int
    source: str
    """Name of the initializer."""
    zeros: np.ndarray | None = None
    """Only between QuantizeLinear and DequantizeLinear: the zero point, broadcastable to the integers' shape."""

    def transpose(self, perm) -> "Grid":
        return self._moved(lambda array: array.transpose(perm))

    def reshape(self, shape) -> "Grid":
        return self._moved(lambda array: array.reshape(shape))

    def _moved(self, move: Callable[[np.ndarray], np.ndarray]) -> "Grid":
        scales, zeros = (None if array is None else move(np.broadcast_to(array, self.integers.shape))
                         for array in (self.scales, self.zeros))
        assert scales is not None
        return Grid(move(self.integers), scales, self.bits, self.source, zeros)

    def values(self) -> list[Fraction]:
        """Every element, in C order."""
        scales = np.broadcast_to(self.scales, self.integers.shape).reshape(-1).tolist()
        return [integer * Fraction(scale)
                for integer, scale in zip(self.integers.reshape(-1).tolist(), scales, strict=True)]

    def row_scales(self) -> np.ndarray | None:
        """One scale per row (first axis), shape (rows,); None if scales differ within a row."""
        if self.scales.ndim == self.integers.ndim and self.scales.size == self.scales.shape[0]:
            return np.array(np.broadcast_to(self.scales.reshape(-1), len(self.integers)))
        scales = np.broadcast_to(self.scales, self.integers.shape).reshape(len(self.integers), -1)
        return scales[:, 0].copy() if (scales == scales[:, :1]).all() else None


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


def quantize_constant(real: np.ndarray, scale: np.ndarray, zero: np.ndarray, bits: int, signed: bool, narrow: bool,
                      mode: str, source: str) -> Grid:
    """A constant through its Quant node."""
    low = (1 if narrow else 0) - (1 << (bits - 1)) if signed else 0
    high = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1 - (1 if narrow else 0)
    scales = np.asarray(scale, np.float64)
    if bits == 1 and signed:
        position = np.asarray(real, np.float64) / scales + zero
        integers = np.where(position >= 0, 1, -1).astype(np.int64)
        return Grid(integers - np.asarray(zero, np.int64), _trim(scales, integers), bits, source)
    origin = np.asarray(zero, np.int64)
    slim = low - origin.max() >= -128 and high - origin.min() <= 127
    integers = np.empty(np.shape(real), np.int8 if slim else np.int64)
    _trim(scales, integers)
    # Row by row in blocks: the largest constants have a hundred million numbers.
    rows = max(1, CHUNK // max(1, integers.size // max(1, len(real)))) if integers.ndim else 1
    for start in range(0, len(real) if integers.ndim else 1, rows):
        part = (slice(start, start + rows),) if integers.ndim else ()
        scales_, origin_ = (np.broadcast_to(array, integers.shape)[part] for array in (scales, origin))
        integers[part] = np.clip(round_array(real[part], scales_, origin_, mode), low, high) - origin_
    return Grid(integers, scales, bits, source)


def bipolar_constant(real: np.ndarray, scale: np.ndarray, source: str) -> Grid:
    """A constant through BipolarQuant: +1 where it is at least 0."""
    integers = np.where(np.asarray(real) >= 0, 1, -1).astype(np.int64)
    return Grid(integers, _trim(np.asarray(scale, np.float64), integers), 1, source)


def _trim(scales: np.ndarray, integers: np.ndarray) -> np.ndarray:
    """Fails with ValueError when the scales do not broadcast to the constant's shape."""
    if np.broadcast_shapes(scales.shape, integers.shape) != integers.shape:
        raise ValueError(f"a scale of shape {scales.shape} does not fit a constant of shape {integers.shape}")
    return scales
