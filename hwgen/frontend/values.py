"""What flows through a network while it is read: codes, and exact real values not yet quantized.

A value between two Quant nodes is, per channel (row),

    y = clip(bend(slope * v + coefficient * r + intercept), low, high)

where ``v`` is an integer (accumulator, sum of a pooling window, or code) and ``r`` the code
of a second tensor.  Batch norm, bias, scales, ReLU, clips and the second operand of an add
only change these Fractions; ``bend`` is a leaky ReLU, if there is one.

Maps have the shape (channels, height, width) whatever the file's order of axes is: ``axes`` names the
axes of the file's tensor behind the batch ("CHW", "HWC", "CW" of a 1-D layer), and a ``flat`` tensor has
them flattened into one, in that order.
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from hwgen.frontend.bend import Bend
from hwgen.frontend.quantizers import Quantizer

Shape = tuple[int, int, int]
Sides = tuple[int, int, int, int]
"""(top, left, bottom, right)."""
Factors = tuple[Fraction, ...] | None
"""Scales of channels beside their quantizer's, positive; None where all have just that."""


class Refusal(Exception):
    """Why a node cannot be taken, and what would help; always turned into a listed problem."""

    def __init__(self, reason: str, help: str = ""):
        super().__init__(reason)
        self.reason = reason
        self.help = help


@dataclass(frozen=True)
class Border:
    """A Pad node that the next layer may take over: real zeros around the map."""

    pads: Sides
    name: str
    """Tensor of the file that has the border."""


@dataclass(frozen=True)
class Image:
    """The network's input before it is quantized."""

    shape: Shape
    flat: bool
    axes: str = "CHW"
    border: Border | None = None
    factor: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)
    """The file has made ``factor * x + offset`` of its input by now."""

    def prepared(self, factor: Fraction, offset: Fraction) -> "Image":
        """The same after ``factor * y + offset``, one for all channels."""
        if self.border is not None:
            raise Refusal("arithmetic between Pad and the input's Quant node", "put Pad behind the Quant node")
        if factor <= 0:
            raise Refusal(f"a factor of {float(factor):g} before the input is quantized", "use a positive one")
        return replace(self, factor=self.factor * factor, offset=self.offset * factor + offset)


@dataclass(frozen=True)
class Codes:
    """A quantized tensor."""

    tensor: str
    shape: Shape
    quantizer: Quantizer
    flat: bool = False
    """Seen as a vector by the source network; the map is still ``shape``."""
    axes: str = "CHW"
    border: Border | None = None
    raw: bool = False
    """The integers of a QuantizeLinear, which a DequantizeLinear has yet to make real values."""
    guessed: bool = False
    """Stands in for the result of a refused quantizer."""
    factors: Factors = None
    """What the values of every channel are multiplied by, positive; None where all have the quantizer's scale."""

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def scales(self) -> list[Fraction]:
        """The real value of a step, per channel."""
        return [self.quantizer.scale * factor for factor in self.factors or (Fraction(1),) * self.channels]

    def to_map(self, array: np.ndarray) -> np.ndarray:
        """The file's tensor, batch first, as (batch, channels, height, width)."""
        sides = [self.shape["CHW".index(axis)] for axis in self.axes]
        ordered = np.reshape(array, (-1, *sides)).transpose(
            0, *(1 + self.axes.index(axis) for axis in "CHW" if axis in self.axes))
        return ordered.reshape(-1, *self.shape)

    def from_map(self, array: np.ndarray) -> np.ndarray:
        """The reverse of :meth:`to_map`, without the axes of size 1 that the file does not have."""
        kept = [axis for axis in "CHW" if axis in self.axes]
        sides = [self.shape["CHW".index(axis)] for axis in kept]
        return np.reshape(array, (-1, *sides)).transpose(0, *(1 + kept.index(axis) for axis in self.axes))


@dataclass(frozen=True, eq=False)
class ConvSource:
    """Accumulators ``v = sum w*q`` of a convolution or linear layer."""

    name: str
    input: Codes
    weight: np.ndarray
    schemes: tuple[str, ...]
    row_scales: np.ndarray
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    groups: int = 1


@dataclass(frozen=True)
class PoolSource:
    """Sums ``v`` of the codes of average-pooling windows."""

    name: str
    input: Codes
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]


@dataclass(frozen=True)
class CodeSource:
    """The codes ``v`` of a tensor themselves (operand of an add, or quantized again)."""

    name: str
    input: Codes


Source = ConvSource | PoolSource | CodeSource


@dataclass(frozen=True)
class MaxPoolStep:
    """A max pool between a layer and its Quant node; it commutes with everything that rises."""

    name: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    shape: Shape


@dataclass(frozen=True, eq=False)
class Pending:
    """A real-valued tensor; every list has one entry per channel."""

    source: Source
    shape: Shape
    slope: list[Fraction]
    intercept: list[Fraction]
    size: list[Fraction]
    """Bound on the sum of magnitudes of the constants added on the way (for float32 error bounds)."""
    low: list[Fraction | None]
    high: list[Fraction | None]
    residual: Codes | None = None
    coefficient: list[Fraction] = field(default_factory=list)
    pools: tuple[MaxPoolStep, ...] = ()
    flat: bool = False
    axes: str = "CHW"
    bend: Bend | None = None
    border: Border | None = None

    @property
    def channels(self) -> int:
        return len(self.slope)

    @property
    def clipped(self) -> bool:
        return any(limit is not None for limit in (*self.low, *self.high))

    def scaled(self, factor: list[Fraction], offset: list[Fraction], size: list[Fraction] | None = None) -> "Pending":
        """``factor * y + offset`` per channel; ``size`` bounds the magnitudes that made ``offset``."""
        if self.pools and any(value < 0 for value in factor):
            raise Refusal("a negative factor after a max pool", "quantize before the max pool")
        if self.border and any(offset):
            raise Refusal("an offset between Pad and the next Quant node", "put the Pad node behind the Quant node")
        ends = [sorted_limits(low, high, m, c)
                for low, high, m, c in zip(self.low, self.high, factor, offset, strict=True)]
        return replace(
            self,
            slope=[a * m for a, m in zip(self.slope, factor, strict=True)],
            intercept=[b * m + c for b, m, c in zip(self.intercept, factor, offset, strict=True)],
            size=[b * abs(m) + abs(c) for b, m, c in zip(self.size, factor, size or offset, strict=True)],
            low=[low for low, _ in ends], high=[high for _, high in ends],
            coefficient=[a * m for a, m in zip(self.coefficient, factor, strict=True)] if self.residual else [],
            bend=self.bend and self.bend.moved(factor, offset))

    def divided(self, factors: tuple[Fraction, ...]) -> "Pending":
        """``y / factor`` per channel."""
        return self.scaled([1 / factor for factor in factors], [Fraction(0)] * self.channels)

    def limited(self, low: Fraction | None, high: Fraction | None) -> "Pending":
        """``min(max(y, low), high)``."""
        if self.border and ((low is not None and low > 0) or (high is not None and high < 0)):
            raise Refusal("a limit that moves the zeros of a Pad node", "put the Pad node behind the Quant node")
        lows, highs = [], []
        for old_low, old_high in zip(self.low, self.high, strict=True):
            lows.append(_within(old_low, low, high, low))
            highs.append(_within(old_high, low, high, high))
        return replace(self, low=lows, high=highs)


    def bent(self, factor: list[Fraction]) -> "Pending":
        """``y`` where it is at least 0, else ``factor * y``; factors are not negative."""
        if all(value == 1 for value in factor):
            return self
        if not any(factor):
            return self.limited(Fraction(0), None)
        if min(factor) <= 0:
            raise Refusal(f"a slope of {float(min(factor)):g} for negative values", "use positive slopes")
        if self.bend is not None:
            raise Refusal("a second leaky ReLU before the values are quantized", "put a Quant node between them")
        zero = [Fraction(0)] * self.channels
        bend = Bend(zero, list(factor), [False] * self.channels)
        low, high = ([None if limit is None else bend.apply(channel, limit) for channel, limit in enumerate(limits)]
                     for limits in (self.low, self.high))
        return replace(self, bend=bend, low=low, high=high)


def _within(limit, low, high, unlimited):
    if limit is None:
        return unlimited
    if low is not None:
        limit = max(limit, low)
    return limit if high is None else min(limit, high)


def sorted_limits(low, high, factor: Fraction, offset: Fraction):
    """The limits after ``factor * y + offset``."""
    if factor == 0:
        return None, None
    low, high = (None if limit is None else limit * factor + offset for limit in (low, high))
    return (low, high) if factor > 0 else (high, low)


def pending_codes(name: str, codes: Codes) -> Pending:
    """``y = scale * (q - z)`` of a quantized tensor."""
    scales, channels, zero = codes.scales, codes.channels, codes.quantizer.code_zero
    return Pending(CodeSource(name, codes), codes.shape, scales, [-scale * zero for scale in scales],
                   [Fraction(0)] * channels, [None] * channels, [None] * channels, flat=codes.flat, axes=codes.axes,
                   border=codes.border)


def with_residual(pending: Pending, codes: Codes, sign: int = 1) -> Pending:
    """``y + sign * scale * (r - z)``."""
    factors = [sign * scale for scale in codes.scales]
    moved = pending.scaled([Fraction(1)] * pending.channels,
                           [-factor * codes.quantizer.code_zero for factor in factors],
                           [Fraction(0)] * pending.channels)
    return replace(moved, residual=codes, coefficient=factors)
