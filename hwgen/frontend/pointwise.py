"""Batch norm, constants, adds and limits: what changes a value between two Quant nodes.

A handler is ``(importer, node, options) -> (words, value)``.
"""

from fractions import Fraction
import math

import numpy as np
from onnx import NodeProto

from hwgen.frontend.copies import as_convolution
from hwgen.frontend.grids import Grid
from hwgen.frontend.importer import Importer
from hwgen.frontend.model_file import node_name
from hwgen.frontend.values import Codes, ConvSource, Image, Pending, PoolSource, Refusal, pending_codes, with_residual


def batch_norm(importer: Importer, node: NodeProto, options: dict):
    """``y = gamma * (x - mean) / sqrt(var + epsilon) + beta``; the root to 2^-128, relative."""
    if options.get("training_mode", 0):
        raise Refusal("training mode", "export the model for inference")
    if options.get("spatial", 1) != 1 or any(node.output[1:]):
        raise Refusal("batch norm as in training, or with statistics per pixel", "export the model for inference")
    x = importer.real_or_joined(node, node.input[0])
    if not x.flat and not x.axes.startswith("C"):
        raise Refusal(f"batch norm of the axes N{x.axes}", "put a Transpose to channels first before it")
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


def _prepares(importer: Importer, node: NodeProto, index: int | None) -> tuple[Image, Fraction] | None:
    """The network's input and the number that it is scaled or shifted by before it is quantized."""
    image = importer.values.get(node.input[1 - index]) if index is not None else None
    if not isinstance(image, Image):
        return None
    numbers, _ = importer.numbers(node.input[1 if index else 0], "its constant")
    if len(set(numbers)) != 1:
        raise Refusal("a factor or offset per channel before the input is quantized",
                      "leave it to the host: start the network with a Quant node")
    return image, numbers[0]


def mul(importer: Importer, node: NodeProto, options: dict):
    index = _constant_operand(importer, node)
    found = _prepares(importer, node, index)
    if found:
        return "left to the host, before the input is quantized", found[0].prepared(found[1], Fraction(0))
    if index is None:
        for name in node.input:
            importer.codes_or_skip(name)
        raise Refusal("a product of two activations", "only products with constants are possible")
    x = importer.real_or_joined(node, node.input[1 - index])
    factor = importer.per_channel(node.input[index], "its factor", x, _axis(options))
    return "factor of the layer", x.scaled(factor, [Fraction(0)] * x.channels)


def div(importer: Importer, node: NodeProto, options: dict):
    if _constant_operand(importer, node) != 1:
        raise Refusal("a quotient whose divisor is not a constant", "only quotients by constants are possible")
    found = _prepares(importer, node, 1)
    if found and found[1]:
        return "left to the host, before the input is quantized", found[0].prepared(1 / found[1], Fraction(0))
    x = importer.real_or_joined(node, node.input[0])
    divisor = importer.per_channel(node.input[1], "its divisor", x, _axis(options))
    if not all(divisor):
        raise Refusal("a division by zero", "train or export the model again")
    return "factor of the layer", x.scaled([1 / value for value in divisor], [Fraction(0)] * x.channels)


def add(importer: Importer, node: NodeProto, options: dict):
    return _sum(importer, node, 1, _axis(options))


def sub(importer: Importer, node: NodeProto, options: dict):
    return _sum(importer, node, -1, _axis(options))


def sum_of_two(importer: Importer, node: NodeProto, options: dict):
    if len(node.input) != 2:
        raise Refusal(f"a sum of {len(node.input)} tensors", "use Add for two at a time")
    return _sum(importer, node, 1, None)


def _axis(options: dict) -> int | None:
    """Up to opset 6 the constant's first axis may be stated: ``broadcast=1, axis=1``."""
    return options.get("axis") if options.get("broadcast") else None


def _sum(importer: Importer, node: NodeProto, sign: int, axis: int | None):
    index = _constant_operand(importer, node)
    if index is None:
        return _residual(importer, node, sign)
    found = _prepares(importer, node, index)
    if found and (index == 1 or sign > 0):
        return "left to the host, before the input is quantized", found[0].prepared(Fraction(1), sign * found[1])
    x = importer.real_or_joined(node, node.input[1 - index])
    offset = importer.per_channel(node.input[index], "its constant", x, axis)
    signs = (Fraction(1), Fraction(sign)) if index == 1 else (Fraction(sign), Fraction(1))
    return "offset of the layer", x.scaled([signs[0]] * x.channels, [signs[1] * value for value in offset])


def _residual(importer: Importer, node: NodeProto, sign: int):
    values: list[Codes | Pending] = []
    for name in node.input:
        value = importer.codes_or_skip(name)
        if isinstance(value, Pending):
            value = importer.regained(name, value)
        values.append(value if isinstance(value, Pending) else importer.codes(node, name))
    if all(isinstance(value, Pending) for value in values):
        raise Refusal("neither of its operands is quantized", f"put {importer.quantizing} before at least one of them")
    main, other = values if isinstance(values[0], Pending) else values[::-1]
    if (main.shape, main.flat, main.axes) != (other.shape, other.flat, other.axes):
        raise Refusal(f"its operands have the shapes {main.shape} and {other.shape}"
                      + ("" if main.axes == other.axes else f" and the axes N{main.axes} and N{other.axes}"),
                      "only equal shapes can be added")
    assert isinstance(other, Codes)
    if isinstance(main, Codes):
        first, second = values
        assert isinstance(first, Codes) and isinstance(second, Codes)
        return "residual add, two roundings", with_residual(pending_codes(node_name(node), first), second, sign)
    if main.residual or main.pools or main.clipped or main.bend or main.border:
        raise Refusal("its operand that is not quantized is not the plain result of a layer",
                      f"put {importer.quantizing} before both operands")
    if isinstance(main.source, PoolSource):
        main = as_convolution(main)
    fused = isinstance(main.source, ConvSource)
    if sign < 0 and main is not values[0] and values[0] is other:
        main = main.scaled([Fraction(-1)] * main.channels, [Fraction(0)] * main.channels)
        sign = 1
    return "residual add, one rounding" if fused else "residual add", with_residual(main, other, sign)


def _limit(importer: Importer, node: NodeProto, low: Fraction | None, high: Fraction | None):
    x = importer.codes_or_skip(node.input[0])
    if isinstance(x, Codes):
        quantizer = x.quantizer
        least, most = (max(x.scales) * (code - quantizer.code_zero) for code in (quantizer.low, quantizer.high))
        if (low is None or low <= least) and (high is None or high >= most):
            return "nothing: the codes are within the limits already", x
    return "limits of the codes", importer.real_or_joined(node, node.input[0]).limited(low, high)


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


def leaky_relu(importer: Importer, node: NodeProto, options: dict):
    alpha = Fraction(options.get("alpha", float(np.float32(0.01))))
    x = importer.real_or_joined(node, node.input[0])
    return f"slope {float(alpha):g} of negative values", x.bent([alpha] * x.channels)


def prelu(importer: Importer, node: NodeProto, options: dict):
    x = importer.real_or_joined(node, node.input[0])
    return "slope of negative values", x.bent(importer.per_channel(node.input[1], "its slope", x))


def hard_sigmoid(importer: Importer, node: NodeProto, options: dict):
    """``max(0, min(1, alpha * x + beta))``."""
    x = importer.real_or_joined(node, node.input[0])
    alpha, beta = (Fraction(options.get(key, float(np.float32(value))))
                   for key, value in (("alpha", 0.2), ("beta", 0.5)))
    moved = x.scaled([alpha] * x.channels, [beta] * x.channels)
    return "factor, offset and limits", moved.limited(Fraction(0), Fraction(1))


def neg(importer: Importer, node: NodeProto, options: dict):
    x = importer.real_or_joined(node, node.input[0])
    return "factor of the layer", x.scaled([Fraction(-1)] * x.channels, [Fraction(0)] * x.channels)


def extreme(largest: bool):
    """Max or Min with a constant, as some exporters write Relu and Clip."""
    def handler(importer: Importer, node: NodeProto, options: dict):
        index = _constant_operand(importer, node) if len(node.input) == 2 else None
        if index is None:
            raise Refusal("a comparison of activations", "only limits by a constant are possible")
        x = importer.real_or_joined(node, node.input[1 - index])
        limits = importer.per_channel(node.input[index], "its limit", x)
        if len(set(limits)) > 1:
            raise Refusal("a limit per channel", "use one per tensor")
        return "limits of the codes", x.limited(limits[0], None) if largest else x.limited(None, limits[0])
    return handler
