"""Batch norm, constants, adds and limits: what changes a value between two Quant nodes.

A handler is ``(importer, node, options) -> (words, value)``.
"""

from fractions import Fraction
import math

import numpy as np
from onnx import NodeProto

from hwgen.frontend.importer import Importer
from hwgen.frontend.model_file import node_name
from hwgen.frontend.quantizers import Grid
from hwgen.frontend.values import Codes, CodeSource, ConvSource, Pending, Refusal, pending_codes, with_residual


def batch_norm(importer: Importer, node: NodeProto, options: dict):
    """``y = gamma * (x - mean) / sqrt(var + epsilon) + beta``; the root to 2^-128, relative."""
    if options.get("training_mode", 0):
        raise Refusal("training mode", "export the model for inference")
    x = importer.real(node, node.input[0])
    parts = [importer.vector(name, f"its {what}", x.channels)
             for name, what in zip(node.input[1:5], ("scale", "bias", "mean", "variance"), strict=True)]
    if x.flat and x.shape[1:] != (1, 1):
        raise Refusal("batch norm of a flattened map", "put it before Flatten")
    epsilon = Fraction(options.get("epsilon", float(np.float32(1e-5))))
    factors, offsets, sizes = [], [], []
    for gamma, beta, mean, var in zip(*parts, strict=True):
        if var + epsilon <= 0:
            raise Refusal("a variance that is not positive", "train or export the model again")
        factor = gamma / _root(var + epsilon)
        factors.append(factor)
        offsets.append(beta - mean * factor)
        sizes.append(abs(beta) + abs(mean * factor))
    return "factor and offset of the layer", x.scaled(factors, offsets, sizes)


def _root(value: Fraction) -> Fraction:
    """Square root of a positive number, relative error below 2^-128."""
    shift = max(0, 140 - (value.numerator.bit_length() - value.denominator.bit_length()) // 2)
    return Fraction(math.isqrt((value.numerator << (2 * shift)) // value.denominator), 1 << shift)


def _constant_operand(importer: Importer, node: NodeProto) -> int | None:
    """Index of the operand that is a constant; None if neither is."""
    for index in (1, 0):
        name = node.input[index]
        if isinstance(importer.values.get(name), Grid) or (name in importer.file.constants
                                                           and name not in importer.values):
            return index
    return None


def mul(importer: Importer, node: NodeProto, options: dict):
    index = _constant_operand(importer, node)
    if index is None:
        for name in node.input:
            importer.codes_or_skip(name)
        raise Refusal("a product of two activations", "only products with constants are possible")
    x = importer.real(node, node.input[1 - index])
    factor = importer.per_channel(node.input[index], "its factor", x)
    return "factor of the layer", x.scaled(factor, [Fraction(0)] * x.channels)


def div(importer: Importer, node: NodeProto, options: dict):
    if _constant_operand(importer, node) != 1:
        raise Refusal("a quotient whose divisor is not a constant", "only quotients by constants are possible")
    x = importer.real(node, node.input[0])
    divisor = importer.per_channel(node.input[1], "its divisor", x)
    if not all(divisor):
        raise Refusal("a division by zero", "train or export the model again")
    return "factor of the layer", x.scaled([1 / value for value in divisor], [Fraction(0)] * x.channels)


def add(importer: Importer, node: NodeProto, options: dict):
    return _sum(importer, node, 1)


def sub(importer: Importer, node: NodeProto, options: dict):
    return _sum(importer, node, -1)


def _sum(importer: Importer, node: NodeProto, sign: int):
    index = _constant_operand(importer, node)
    if index is None:
        return _residual(importer, node, sign)
    x = importer.real(node, node.input[1 - index])
    offset = importer.per_channel(node.input[index], "its constant", x)
    signs = (Fraction(1), Fraction(sign)) if index == 1 else (Fraction(sign), Fraction(1))
    return "offset of the layer", x.scaled([signs[0]] * x.channels, [signs[1] * value for value in offset])


def _residual(importer: Importer, node: NodeProto, sign: int):
    values: list[Codes | Pending] = []
    for name in node.input:
        value = importer.codes_or_skip(name)
        if isinstance(value, Pending):
            value = importer.settled(name, value)
        values.append(value if isinstance(value, Pending) else importer.codes(node, name))
    if all(isinstance(value, Pending) for value in values):
        raise Refusal("neither of its operands is quantized", f"put {importer.quantizing} before at least one of them")
    if sign < 0:
        raise Refusal("a difference of two activations", "only sums are possible")
    main, other = values if isinstance(values[0], Pending) else values[::-1]
    if (main.shape, main.flat) != (other.shape, other.flat):
        raise Refusal(f"its operands have the shapes {main.shape} and {other.shape}", "only equal shapes can be added")
    assert isinstance(other, Codes)
    if isinstance(main, Codes):
        return "residual add, two roundings", with_residual(pending_codes(node_name(node), main), other)
    if not isinstance(main.source, (ConvSource, CodeSource)) or main.residual or main.pools or main.clipped:
        raise Refusal("its operand that is not quantized is not the plain result of a layer",
                      f"put {importer.quantizing} before both operands")
    fused = isinstance(main.source, ConvSource)
    return "residual add, one rounding" if fused else "residual add", with_residual(main, other)


def _limit(importer: Importer, node: NodeProto, low: Fraction | None, high: Fraction | None):
    x = importer.codes_or_skip(node.input[0])
    if isinstance(x, Codes):
        quantizer = x.quantizer
        least, most = (quantizer.scale * (code - quantizer.code_zero) for code in (quantizer.low, quantizer.high))
        if (low is None or low <= least) and (high is None or high >= most):
            return "nothing: the codes are within the limits already", x
    return "limits of the codes", importer.real(node, node.input[0]).limited(low, high)


def relu(importer: Importer, node: NodeProto, options: dict):
    return _limit(importer, node, Fraction(0), None)


def clip(importer: Importer, node: NodeProto, options: dict):
    return _limit(importer, node, *limits(importer, node, options))


def limits(importer: Importer, node: NodeProto, options: dict) -> tuple[Fraction | None, Fraction | None]:
    """(min, max) of a Clip, None where there is no limit."""
    found: list[Fraction | None] = []
    for index, key in ((1, "min"), (2, "max")):
        number = options.get(key)
        if len(node.input) > index and node.input[index]:
            number = _one_number(importer, node.input[index], key)
        if number is not None and math.isnan(number):
            raise Refusal(f"its {key} is NaN", "train or export the model again")
        # the limits of float32 are how "no limit" is written in old files
        found.append(None if number is None or abs(number) > 3.4e38 else Fraction(number))
    low, high = found
    if low is not None and high is not None and low > high:
        raise Refusal("its min is larger than its max", "export the model again")
    return low, high


def _one_number(importer: Importer, name: str, key: str) -> Fraction | float:
    value = importer.values.get(name)
    if isinstance(value, Grid) and value.integers.size == 1:
        return value.values()[0]
    array = importer.file.constants.get(name)
    if array is None or array.size != 1:
        raise Refusal(f"its {key} is not one constant", "use constant limits")
    return array.reshape(-1)[0].item()
