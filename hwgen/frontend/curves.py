"""Sigmoid and Tanh directly before a quantizer: a code begins where the real value passes the function's inverse.

Both rise, so a code of ``f(y)`` is a number of thresholds of ``y``, as with MultiThreshold.  The inverses are
logarithms, which are taken to 80 digits: no sum of a layer comes that close to one, for they are irrational but at 0.
"""

from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
import math

from onnx import NodeProto

from hwgen.frontend.copies import as_convolution
from hwgen.frontend.host import on_host
from hwgen.frontend.importer import Importer
from hwgen.frontend.layers import Curve, Layer
from hwgen.frontend.model_file import node_name
from hwgen.frontend.quantizers import Quantizer
from hwgen.frontend.steps import counted_by, starts_of
from hwgen.frontend.values import Pending, Refusal

QUANTIZERS = {"Quant", "IntQuant", "QuantizeLinear"}
DIGITS = 80
BEHIND_ZERO = Fraction(1, 10**1000)
"""The first value beyond 0."""


def _logarithm(value: Fraction) -> Fraction:
    with localcontext(prec=DIGITS):
        return Fraction((Decimal(value.numerator) / Decimal(value.denominator)).ln())


CURVES = {
    "Sigmoid": Curve("Sigmoid", 0, lambda y: 0.0 if y < -700 else 1 / (1 + math.exp(-y)),
                     lambda v: _logarithm(v / (1 - v))),
    "Tanh": Curve("Tanh", -1, math.tanh, lambda v: _logarithm((1 + v) / (1 - v)) / 2),
}


@dataclass(frozen=True, eq=False)
class Curved:
    """A value that goes through a curve and then to quantizers, nowhere else."""

    pending: Pending
    curve: Curve


def curved(importer: Importer, node: NodeProto, options: dict):
    """A Sigmoid or Tanh node."""
    op, name = node.op_type, node.output[0]
    readers = importer.readers.get(name, [])
    if not readers:
        return on_host(importer, node, options)
    if not set(readers) <= QUANTIZERS or name in importer.file.outputs:
        raise Refusal(f"a {op} that no quantizer follows directly", f"put {importer.quantizing} behind it")
    x = importer.real(node, node.input[0])
    if x.residual is not None or x.bend is not None or x.border is not None:
        raise Refusal(f"a {op} of a sum, a leaky ReLU or a padded tensor", f"put {importer.quantizing} before it")
    return "switch points of the quantizer behind it", Curved(x, CURVES[op])


def quantized(importer: Importer, node: NodeProto, quantizer: Quantizer, value: Curved):
    """The layer that a quantizer behind a curve makes."""
    curve, x = value.curve, as_convolution(value.pending)
    if quantizer.bipolar:
        raise Refusal(f"1-bit signed activations of a {curve.name}", "quantize what it reads instead")
    starts, strict = starts_of(quantizer, quantizer.low, quantizer.high)
    row: list[Fraction | float] = [-math.inf] * quantizer.low
    for start, excluded in zip(starts, strict, strict=True):
        point = -math.inf if start <= curve.low else math.inf if start >= 1 else curve.inverse(start)
        row.append(BEHIND_ZERO if point == 0 and excluded else point)
    layer = Layer(x, quantizer, node.output[0], node_name(node), (tuple(row),) * x.channels, curve=curve)
    layers = counted_by(layer) if quantizer.bits > 4 else 1
    importer.network.layers.append(layer)
    return f"{quantizer.bits}-bit codes of a {curve.name}{f', counted by {layers} layers' if layers > 1 else ''}", \
        layer.codes
