"""Outputs that no Quant node ends: the accumulators themselves leave the engine, and the host scales them.

A layer's result is ``slope * acc + intercept`` per row, exactly, so nothing is lost if ``acc`` comes out whole.  Up to
8 bits are one output; up to 16 bits are two, for the layer is computed twice:

    high = floor((acc - base) / 256)        low = acc - base - 256 * high

``low`` is a fused residual with the multipliers 1 and -256.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from hwgen.frontend.copies import as_convolution
from hwgen.frontend.network import HostStep
from hwgen.frontend.quantizers import Quantizer
from hwgen.frontend.steps import reach
from hwgen.frontend.values import Codes, CodeSource, ConvSource, Layer, Pending, Refusal

GRID = Quantizer(Fraction(1), bits=8, mode="FLOOR")


@dataclass(frozen=True, eq=False)
class FloatOutput:
    """A real output of the file and the codes that hold it."""

    tensor: str
    pending: Pending
    base: np.ndarray
    """int64 per row."""
    codes: tuple[Codes, ...]
    """Highest part first."""
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
    """The codes that hold ``x``, and the layers that make them; Refusal where 16 bits do not."""
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
    bits = int((high - low).max()).bit_length()
    if bits > 16:
        raise Refusal(f"the output is not quantized, and its accumulators have {bits} bits; at most 16 can leave the "
                      "engine", "end the network with a Quant node")
    base = low.tolist()
    parts: list[Codes] = []
    layers: list[Layer] = []
    for name in ("low",) if bits <= 8 else ("high", "low"):
        unit = Fraction(1, 256) if name == "high" else Fraction(1)
        part = replace(plain, slope=[unit] * x.channels, intercept=[-unit * value for value in base])
        if parts:
            part = replace(part, residual=parts[0], coefficient=[Fraction(-256)] * x.channels)
        codes = Codes(f"{tensor}.{name}", x.shape, GRID, x.flat, x.axes)
        layers.append(Layer(part, GRID, codes.tensor, x.source.name, internal=True))
        parts.append(codes)
    return FloatOutput(tensor, x, low, tuple(parts), tuple(layers))
