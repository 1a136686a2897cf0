"""Quantized constants: integers and their scales."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
import math

import numpy as np

from hwgen.frontend.quantizers import round_array
from hwgen.frontend.values import Refusal
from hwgen.graph.groups import first_channels

CHUNK = 1 << 20
"""Numbers of a constant that are rounded at a time."""


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


def common_step(steps: list[Fraction]) -> Fraction:
    """The largest number of which all ``steps`` are multiples, positive."""
    return reduce(lambda a, b: Fraction(math.gcd(a.numerator * b.denominator, b.numerator * a.denominator),
                                        a.denominator * b.denominator), steps, Fraction(0))


def _multiples(steps: list[Fraction]) -> tuple[Fraction, np.ndarray]:
    """The common step, and how often each of ``steps`` has it (beyond 2^16 it is 2^16)."""
    unit = common_step(steps)
    return unit, np.array([max(min(int(step / unit), 1 << 16), -1 << 16) for step in steps], np.int64)


def _checked(integers: np.ndarray, what: str, help: str) -> np.ndarray:
    if integers.min() < -128 or integers.max() > 255:
        raise Refusal(f"{what}, and no integers of 8 bits hold the products", help)
    return integers


def by_rows(grid: Grid) -> Grid:
    """The same real values with one scale per row (first axis); Refusal where its integers do not fit 8 bits."""
    rows, scales = len(grid.integers), grid.row_scales()
    shape = (rows, *[1] * (grid.integers.ndim - 1))
    if scales is not None:
        return replace(grid, scales=scales.reshape(shape))
    integers = grid.integers.astype(np.int64)
    steps, units = np.broadcast_to(grid.scales, integers.shape), np.ones(rows)
    for row in range(rows):
        used = integers[row] != 0
        found, index = np.unique(steps[row][used], return_inverse=True)
        if found.size:
            unit, ratios = _multiples([Fraction(step) for step in found.tolist()])
            integers[row][used] *= ratios[index.reshape(-1)]
            units[row] = float(unit)
    _checked(integers, "its weight's scale differs within a row", "use one scale per output channel")
    return replace(grid, integers=integers, scales=units.reshape(shape))


def times(integers: np.ndarray, factors: tuple[Fraction, ...], groups: int) -> tuple[np.ndarray, list[Fraction]]:
    """Weights (rows, channels of a group, ...) times a factor per input channel, none of them 0.

    As integers and a factor per row; Refusal where those do not fit 8 bits.  A row of a depthwise layer reads one
    channel, so any factor will do there.
    """
    result, units = integers.astype(np.int64), []
    rows, channels = integers.shape[:2]
    for row, first in enumerate(first_channels(rows, channels, groups).tolist()):
        used = np.flatnonzero(result[row].reshape(channels, -1).any(axis=1))
        unit = Fraction(1)
        if used.size:
            unit, ratios = _multiples([factors[first + channel] for channel in used.tolist()])
            result[row, used] *= ratios.reshape(-1, *[1] * (integers.ndim - 2))
        units.append(unit)
    low, high = float(min(factors)), float(max(factors))
    return _checked(result, f"its input has a scale per channel, from {low:g} to {high:g}",
                    "use one scale per tensor, or a depthwise layer behind it"), units
