"""Average pools that no quantizer follows, in front of a convolution or a linear layer.

Their values are sums of codes: exact where a sum fits a code.  Wider ones never come about: the layer behind
reads the codes of the window, or sums of parts of it that fit, and has its weights once for each of them.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
import math
from typing import TYPE_CHECKING

import numpy as np
from onnx import NodeProto

from hwgen.frontend.layers import Layer
from hwgen.frontend.settle import moved_codes, on_grid, proportional, unscaled
from hwgen.frontend.values import Codes, Pending, PoolSource, Refusal, Shape

if TYPE_CHECKING:
    from hwgen.frontend.importer import Importer

MAX_WEIGHTS = 1 << 24
"""Numbers of a weight that is repeated over windows."""


@dataclass(frozen=True, eq=False)
class Summands:
    """What a weight layer reads."""

    codes: Codes
    shape: Shape
    """Of the values that the file has there; ``codes`` may have several positions for each of them."""
    repeat: tuple[int, int] = (1, 1)
    """Positions (vertical, horizontal) of a value; their sum is the value."""
    zeros: tuple[Fraction, ...] | None = None
    """The codes of 0 per channel, where they are not the quantizer's zero point; no whole numbers in general."""

    def stretched(self, weight: np.ndarray) -> np.ndarray:
        """A weight (rows, channels, height, width) with every position repeated; Refusal where it grows too large."""
        if self.repeat == (1, 1):
            return weight
        if weight.size * math.prod(self.repeat) > MAX_WEIGHTS:
            raise Refusal(f"its weights, repeated over windows of {self.repeat[0]}x{self.repeat[1]}, are more than "
                          f"{MAX_WEIGHTS:,} numbers", "quantize the average pool before it")
        return weight.repeat(self.repeat[0], axis=2).repeat(self.repeat[1], axis=3)


def summands(importer: "Importer", node: NodeProto, name: str, border: bool = False) -> Summands:
    """The codes behind the activation ``name``; where it is neither quantized nor such an average that is noted."""
    value = importer.codes_or_skip(name)
    if isinstance(value, Pending):
        plain, _ = unscaled(value)
        inner = _inner(plain) if on_grid(plain) is None else None
        if inner is not None:
            return _parts(importer, name, plain, inner)
        moved = moved_codes(value)
        if moved is not None and (border or moved[0].border is None):
            codes, zeros = moved
            return Summands(codes, codes.shape, zeros=zeros)
    codes = importer.codes(node, name, border=border)
    return Summands(codes, codes.shape)


def _inner(x: Pending) -> tuple[int, int] | None:
    """The largest part of a window whose sum fits a code; None where ``x`` is no plain average, side by side."""
    source = x.source
    if not isinstance(source, PoolSource) or any(source.pads) or x.clipped or x.residual is not None or x.pools or \
            x.bend is not None or x.border is not None:
        return None
    if source.strides != source.kernel and x.shape[1:] != (1, 1):
        return None
    if not proportional(x, math.prod(source.kernel) * source.input.quantizer.code_zero):
        return None
    most = 255 // source.input.quantizer.high
    sides = [[side for side in range(1, kernel + 1) if kernel % side == 0] for kernel in source.kernel]
    return max(((h, w) for h in sides[0] for w in sides[1] if h * w <= most), key=math.prod)


def _parts(importer: "Importer", name: str, x: Pending, inner: tuple[int, int]) -> Summands:
    source, part = x.source, f"{name}.parts"
    assert isinstance(source, PoolSource)
    repeat = source.kernel[0] // inner[0], source.kernel[1] // inner[1]
    known = importer.values.get(part)
    if isinstance(known, Codes):
        return Summands(known, x.shape, repeat)
    codes = replace(source.input, quantizer=replace(source.input.quantizer, scale=x.slope[0]), flat=x.flat, axes=x.axes)
    if inner != (1, 1):
        channels, height, width = source.input.shape
        zero = -x.slope[0] * math.prod(inner) * source.input.quantizer.code_zero
        sums = replace(x, source=replace(source, kernel=inner, strides=inner), intercept=[zero] * channels,
                       shape=(channels, height // inner[0], width // inner[1]))
        quantizer = on_grid(sums)
        assert quantizer is not None
        layer = Layer(sums, quantizer, part, source.name, internal=True, factors=source.input.factors)
        importer.network.layers.append(layer)
        codes = layer.codes
    importer.values[part] = codes
    return Summands(codes, x.shape, repeat)
