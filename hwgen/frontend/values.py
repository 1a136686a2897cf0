"""What flows through a network while it is read: codes, and exact real values not yet quantized.

A value between two Quant nodes is, per channel (row),

    y = clip(slope * v + coefficient * r + intercept, low, high)

where ``v`` is an integer (accumulator, sum of a pooling window, or code) and ``r`` the code
of a second tensor.  Batch norm, bias, scales, ReLU, clips and the second operand of an add
only change these Fractions.
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from hwgen.frontend.quantizers import Quantizer

Shape = tuple[int, int, int]


class Refusal(Exception):
    """Why a node cannot be taken, and what would help; always turned into a listed problem."""

    def __init__(self, reason: str, help: str = ""):
        super().__init__(reason)
        self.reason = reason
        self.help = help


@dataclass(frozen=True)
class Codes:
    """A quantized tensor."""

    tensor: str
    shape: Shape
    quantizer: Quantizer
    flat: bool = False
    """Seen as a vector by the source network; the map is still ``shape``."""
    raw: bool = False
    """The integers of a QuantizeLinear, which a DequantizeLinear has yet to make real values."""
    guessed: bool = False
    """Stands in for the result of a refused quantizer."""


@dataclass(frozen=True)
class Hosted:
    """What the host computes from the network's output: Softmax and the like."""

    codes: Codes
    node: str


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
        ends = [sorted_limits(low, high, m, c)
                for low, high, m, c in zip(self.low, self.high, factor, offset, strict=True)]
        return replace(
            self,
            slope=[a * m for a, m in zip(self.slope, factor, strict=True)],
            intercept=[b * m + c for b, m, c in zip(self.intercept, factor, offset, strict=True)],
            size=[b * abs(m) + abs(c) for b, m, c in zip(self.size, factor, size or offset, strict=True)],
            low=[low for low, _ in ends], high=[high for _, high in ends],
            coefficient=[a * m for a, m in zip(self.coefficient, factor, strict=True)] if self.residual else [])

    def limited(self, low: Fraction | None, high: Fraction | None) -> "Pending":
        """``min(max(y, low), high)``."""
        lows, highs = [], []
        for old_low, old_high in zip(self.low, self.high, strict=True):
            lows.append(_within(old_low, low, high, low))
            highs.append(_within(old_high, low, high, high))
        return replace(self, low=lows, high=highs)


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
    quantizer, channels = codes.quantizer, codes.shape[0]
    offset = -quantizer.scale * quantizer.code_zero
    return Pending(CodeSource(name, codes), codes.shape, [quantizer.scale] * channels, [offset] * channels,
                   [Fraction(0)] * channels, [None] * channels, [None] * channels, flat=codes.flat)


def on_grid(x: Pending) -> Quantizer | None:
    """The quantizer whose grid holds every value of ``x``: codes that met nothing but limits on their own grid."""
    if not isinstance(x.source, CodeSource) or x.residual is not None:
        return None
    unit = x.source.input.quantizer
    limits = {x.low[0], x.high[0]} - {None}
    plain = (all(a == unit.scale for a in x.slope) and all(b == -unit.scale * unit.code_zero for b in x.intercept)
             and len(set(x.low)) == len(set(x.high)) == 1)
    exact = all((limit / unit.scale).denominator == 1 for limit in limits if limit is not None)
    return unit if plain and exact and not unit.bipolar else None


def with_residual(pending: Pending, codes: Codes) -> Pending:
    """``y + scale * (r - z)``."""
    quantizer = codes.quantizer
    moved = pending.scaled([Fraction(1)] * pending.channels,
                           [-quantizer.scale * quantizer.code_zero] * pending.channels,
                           [Fraction(0)] * pending.channels)
    return replace(moved, residual=codes, coefficient=[quantizer.scale] * pending.channels)


@dataclass(frozen=True, eq=False)
class Layer:
    """A value that met its Quant node: one operation of the integer network (plus max pools)."""

    pending: Pending
    quantizer: Quantizer
    output: str
    node: str
    """Name of the Quant or QuantizeLinear node."""
    made: bool = False
    """A move of codes that the file has no tensor for."""


@dataclass(frozen=True)
class PoolLayer:
    """A max pool of codes."""

    step: MaxPoolStep
    input: Codes
    output: str
