"""What the walk makes of a file: layers in order, each of them one operation of the integer network."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from hwgen.frontend.quantizers import Quantizer
from hwgen.frontend.values import Codes, Factors, MaxPoolStep, Pending


@dataclass(frozen=True, eq=False)
class Curve:
    """A function that rises from ``low`` to 1 without reaching either."""

    name: str
    low: int
    value: Callable[[float], float]
    inverse: Callable[[Fraction], Fraction]


@dataclass(frozen=True, eq=False)
class Layer:
    """A value that met its Quant node: one operation of the integer network (plus max pools)."""

    pending: Pending
    quantizer: Quantizer
    output: str
    node: str
    """Name of the Quant or QuantizeLinear node."""
    thresholds: tuple[tuple[Fraction | float, ...], ...] | None = None
    """Of a MultiThreshold node or a curve, sorted, per channel in real units: the code is the number of those reached.

    Infinite ones are always or never reached.
    """
    internal: bool = False
    """The output is a step in between that the file has no tensor of."""
    digit: int | None = None
    """Of an internal layer: the code is digit number so much, to the base 256, of a value that has more above it."""
    factors: Factors = None
    """Of the codes; ``pending`` is divided by them."""
    curve: Curve | None = None
    """What the file computes of ``pending`` before it quantizes; the thresholds know of it."""

    @property
    def codes(self) -> Codes:
        """The tensor that it makes."""
        x = self.pending
        return Codes(self.output, x.shape, self.quantizer, x.flat, x.axes, x.border, factors=self.factors)

    def exact(self, channel: int, value: int, residual: int = 0) -> Fraction:
        """The real value before it is quantized, of an integer ``v`` and the residual's code."""
        x = self.pending
        real = x.slope[channel] * value + x.intercept[channel]
        if x.residual is not None:
            real += x.coefficient[channel] * residual
        return self.limited(channel, real if x.bend is None else x.bend.apply(channel, real))

    def limited(self, channel: int, real: Fraction) -> Fraction:
        low, high = self.pending.low[channel], self.pending.high[channel]
        real = real if low is None else max(real, low)
        return real if high is None else min(real, high)

    def code(self, channel: int, real: Fraction) -> int:
        """The code of a real value."""
        if self.thresholds is None:
            return self.quantizer.code(real)
        return sum(real >= threshold for threshold in self.thresholds[channel])


@dataclass(frozen=True)
class PoolLayer:
    """A max pool of codes."""

    step: MaxPoolStep
    input: Codes
    output: str
