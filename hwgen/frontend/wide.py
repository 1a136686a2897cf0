"""Outputs that no Quant node ends: the accumulators themselves leave the engine, and the host scales them.

A layer's result is ``slope * acc + intercept`` per row, exactly, so nothing is lost if ``acc`` comes out whole.  It
does in digits to the base 256, ``floor((acc - base) / 256**k) mod 256`` with the smallest accumulator of a row as its
base.  Every digit is an output of its own, for which the layer is computed once more.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from hwgen.frontend.copies import as_convolution
from hwgen.frontend.layers import Layer
from hwgen.frontend.network import HostStep
from hwgen.frontend.quantizers import Quantizer
from hwgen.frontend.steps import reach
from hwgen.frontend.values import Codes, CodeSource, ConvSource, Pending, Refusal
from hwgen.graph.ir import Requant

GRID = Quantizer(Fraction(1), bits=8, mode="FLOOR")
MAX_DIGITS = 4
"""An engine's accumulators have at most 32 bits."""


@dataclass(frozen=True, eq=False)
class FloatOutput:
    """A real output of the file and the codes that hold it."""

    tensor: str
    pending: Pending
    base: np.ndarray
    """int64 per row."""
    codes: tuple[Codes, ...]
    """Highest digit first."""
    layers: tuple[Layer, ...]

    def accumulators(self, codes: dict[str, np.ndarray]) -> np.ndarray:
        """Accumulators from the network's output codes (images, rows, height, width); int64."""
        total = np.zeros_like(codes[self.codes[0].tensor], np.int64)
        for part in self.codes:
            total = 256 * total + codes[part.tensor]
        return total + self.base.reshape(1, -1, 1, 1)

    def values(self, codes: dict[str, np.ndarray]) -> np.ndarray:
        """The output's real values from codes, float64."""
        x = self.pending
        real = self.accumulators(codes) * _column(x.slope) + _column(x.intercept)
        return np.clip(real, _limits(x.low, -np.inf), _limits(x.high, np.inf))

    def step(self) -> HostStep:
        """What the host does with the codes."""
        x = self.pending
        options = {"codes": [part.tensor for part in self.codes], "base": self.base.tolist(),
                   "slope": [float(value) for value in x.slope], "intercept": [float(value) for value in x.intercept]}
        return HostStep(x.source.name, "Affine", self.codes[0].tensor, self.tensor, options)


def _column(values: list[Fraction]) -> np.ndarray:
    return np.array([float(value) for value in values]).reshape(1, -1, 1, 1)


def _limits(values: list[Fraction | None], missing: float) -> np.ndarray:
    return np.array([missing if value is None else float(value) for value in values]).reshape(1, -1, 1, 1)


def float_output(x: Pending, tensor: str) -> FloatOutput:
    """The codes that hold ``x``, and the layers that make them; Refusal where 32 bits do not."""
    if x.residual is not None or x.pools or x.bend is not None or x.border is not None:
        raise Refusal("the output is not quantized, nor the plain result of a layer",
                      "end the network with a Quant node")
    if isinstance(x.source, CodeSource):
        base = np.zeros(x.channels, np.int64)
        return FloatOutput(tensor, x, base, (replace(x.source.input, flat=x.flat, axes=x.axes),), ())
    x = as_convolution(x)
    assert isinstance(x.source, ConvSource)
    plain = replace(x, slope=[Fraction(1)] * x.channels, intercept=[Fraction(0)] * x.channels,
                    low=[None] * x.channels, high=[None] * x.channels)
    low, high = reach(Layer(plain, GRID, tensor, x.source.name))
    n_digits = max(1, -(-int((high - low).max()).bit_length() // 8))
    if n_digits > MAX_DIGITS:
        raise Refusal(f"the output is not quantized, and its accumulators have more than {8 * MAX_DIGITS} bits",
                      "end the network with a Quant node")
    base = low.tolist()
    layers: list[Layer] = []
    parts: list[Codes] = []
    for digit in reversed(range(n_digits)):
        unit = Fraction(1, 256**digit)
        part = replace(plain, slope=[unit] * x.channels, intercept=[-unit * value for value in base])
        layers.append(Layer(part, GRID, f"{tensor}.digit{digit}", x.source.name, internal=True,
                            digit=digit if layers else None))
        parts.append(layers[-1].codes)
    return FloatOutput(tensor, x, low, tuple(parts), tuple(layers))


def digit_requant(layer: Layer) -> Requant:
    """Low eight bits of ``slope * acc + intercept``, the slope being ``256**-digit``; every row exact as it is."""
    assert layer.digit is not None
    x, rows = layer.pending, layer.pending.channels
    shift = 8 * layer.digit + 1
    constant = [int(value * 2**shift) for value in x.intercept]
    return Requant(np.full(rows, 2), np.array(constant, np.int64), np.full(rows, shift), "floor", 0, 0, 255,
                   proven=rows, wrap=True)
