"""What each ONNX operator means: a function per operator, ``(importer, node, options) -> (words, value)``."""

from dataclasses import replace
from fractions import Fraction
import math

import numpy as np
from onnx import NodeProto, TensorProto

from hwgen.frontend.importer import Image, Importer
from hwgen.frontend.model_file import node_name
from hwgen.frontend.quantizers import Grid
from hwgen.frontend.quantize_nodes import bipolar_quant, quant
from hwgen.frontend.values import (
    Codes,
    CodeSource,
    ConvSource,
    MaxPoolStep,
    Pending,
    PoolLayer,
    PoolSource,
    Refusal,
    with_residual,
)
from hwgen.frontend.windows import kernel_of, window


def _weight_layer(name: str, x: Codes, grid: Grid, scales: np.ndarray, schemes, bias, strides, pads,
                  shape, flat) -> Pending:
    """``y = s_in * alpha_r * (acc - z_in * sum w) + bias``."""
    quantizer = x.quantizer
    rows = len(grid.integers)
    slope = [quantizer.scale * Fraction(scale) for scale in scales.tolist()]
    sums = grid.integers.reshape(rows, -1).sum(axis=1).tolist()
    bias = bias or [Fraction(0)] * rows
    intercept = [b - a * quantizer.code_zero * total for a, b, total in zip(slope, bias, sums, strict=True)]
    source = ConvSource(name, x, grid.integers, schemes, scales, strides, pads)
    none = [None] * rows
    return Pending(source, shape, slope, intercept, [abs(b) for b in bias], list(none), list(none), flat=flat)


def conv(importer: Importer, node: NodeProto, options: dict):
    group = options.get("group", 1)
    dilations = tuple(options.pop("dilations", None) or (1, 1))
    if group != 1:
        importer.note(node, Refusal(f"grouped convolution (group={group})", "use group=1; depthwise layers are planned"))
    if any(step != 1 for step in dilations):
        importer.note(node, Refusal(f"dilation {dilations}", "train the layer with dilation 1"))
    grid = importer.weight(node.input[1], 4)
    scales, schemes = importer.rows(node, grid)
    rows, channels, *kernel = grid.integers.shape
    bias = importer.vector(node.input[2], "its bias", rows) if len(node.input) > 2 and node.input[2] else None
    x = importer.codes(node, node.input[0])
    if x.flat:
        raise Refusal("its input is a vector", "use Gemm or MatMul")
    if x.shape[0] != channels * group:
        raise Refusal(f"its weight has {channels} input channels, its input has {x.shape[0]}", "export the model again")
    reach = tuple((side - 1) * step + 1 for side, step in zip(kernel, dilations, strict=True))
    strides, pads, size = window(options, x.shape, reach)
    y = _weight_layer(node_name(node), x, grid, scales, schemes, bias, strides, pads, (rows, *size), False)
    return f"convolution {kernel[0]}x{kernel[1]}, {channels} to {rows} channels", y


def _linear(importer: Importer, node: NodeProto, name: str, grid: Grid, bias):
    scales, schemes = importer.rows(node, grid)
    rows, features = grid.integers.shape
    x = importer.codes(node, name)
    if not x.flat:
        raise Refusal("its input is a map, not a vector", "put Flatten before it")
    if math.prod(x.shape) != features:
        raise Refusal(f"its weight has {features} input features, its input has {math.prod(x.shape)}",
                      "export the model again")
    grid = replace(grid, integers=np.ascontiguousarray(grid.integers.reshape(rows, *x.shape)))
    y = _weight_layer(node_name(node), x, grid, scales, schemes, bias, (1, 1), (0, 0, 0, 0), (rows, 1, 1), True)
    return f"linear layer, {features} to {rows} features", y


def gemm(importer: Importer, node: NodeProto, options: dict):
    if options.get("transA", 0) or options.get("alpha", 1.0) != 1.0 or options.get("beta", 1.0) != 1.0:
        raise Refusal("Gemm with transA, alpha or beta", "use transA=0, alpha=1, beta=1")
    grid = importer.weight(node.input[1], 2)
    if not options.get("transB", 0):
        grid = grid.transpose((1, 0))
    rows, bias = len(grid.integers), None
    if len(node.input) > 2 and node.input[2]:
        bias, shape = importer.numbers(node.input[2], "its bias")
        if len(bias) not in (1, rows) or (len(bias) == rows and shape and shape[-1] != rows):
            raise Refusal(f"its bias has shape {tuple(shape)}, not ({rows},)", "export the model again")
        bias = bias * (rows // len(bias))
    return _linear(importer, node, node.input[0], grid, bias)


def matmul(importer: Importer, node: NodeProto, options: dict):
    if isinstance(importer.values.get(node.input[0]), Grid) or node.input[0] in importer.file.constants:
        raise Refusal("the constant is its first operand", "multiply the activation by the weight, not the reverse")
    if not isinstance(importer.values.get(node.input[1]), Grid) and node.input[1] not in importer.file.constants:
        importer.codes_or_skip(node.input[1])
        raise Refusal("a product of two activations", "only products with a constant weight are possible")
    return _linear(importer, node, node.input[0], importer.weight(node.input[1], 2).transpose((1, 0)), None)


# -- affine ----------------------------------------------------------------------------


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
    values = [importer.codes_or_skip(name) for name in node.input]
    for name, value in zip(node.input, values, strict=True):
        if not isinstance(value, Pending):
            importer.codes(node, name)
    if all(isinstance(value, Pending) for value in values):
        raise Refusal("neither of its operands is quantized", "put a Quant node before at least one of them")
    if sign < 0:
        raise Refusal("a difference of two activations", "only sums are possible")
    main, other = values if isinstance(values[0], Pending) else values[::-1]
    if (main.shape, main.flat) != (other.shape, other.flat):
        raise Refusal(f"its operands have the shapes {main.shape} and {other.shape}", "only equal shapes can be added")
    if isinstance(main, Codes):
        return "residual add, two roundings", with_residual(importer.real(node, node.input[1]), other)
    if not isinstance(main.source, (ConvSource, CodeSource)) or main.residual or main.pools or main.clipped:
        raise Refusal("its operand that is not quantized is not the plain result of a layer",
                      "put a Quant node before both operands")
    fused = isinstance(main.source, ConvSource)
    return "residual add, one rounding" if fused else "residual add", with_residual(main, other)


# -- limits ----------------------------------------------------------------------------


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
    limits: list[Fraction | None] = []
    for index, key in ((1, "min"), (2, "max")):
        number = options.get(key)
        if len(node.input) > index and node.input[index]:
            array = importer.file.constants.get(node.input[index])
            if array is None or array.size != 1:
                raise Refusal(f"its {key} is not one constant", "use constant limits")
            number = array.reshape(-1)[0].item()
        if number is not None and math.isnan(number):
            raise Refusal(f"its {key} is NaN", "train or export the model again")
        # the limits of float32 are how "no limit" is written in old files
        limits.append(None if number is None or abs(number) > 3.4e38 else Fraction(number))
    low, high = limits
    if low is not None and high is not None and low > high:
        raise Refusal("its min is larger than its max", "export the model again")
    return _limit(importer, node, low, high)


# -- pools and shapes ------------------------------------------------------------------


def max_pool(importer: Importer, node: NodeProto, options: dict):
    if len(node.output) > 1 and node.output[1]:
        raise Refusal("its indices are used", "use only the values of MaxPool")
    kernel = kernel_of(options)
    x = importer.codes_or_skip(node.input[0])
    if not isinstance(x, Pending):
        x = importer.codes(node, node.input[0])
    strides, pads, size = _pool_window(options, x, kernel)
    step = MaxPoolStep(node_name(node), kernel, strides, pads, (x.shape[0], *size))
    words = f"max pool {kernel[0]}x{kernel[1]}"
    if isinstance(x, Pending):
        return words, replace(x, shape=step.shape, pools=(*x.pools, step))
    importer.network.layers.append(PoolLayer(step, x, node.output[0]))
    return words, replace(x, tensor=node.output[0], shape=step.shape)


def _pool_window(options: dict, x: Codes | Pending, kernel: tuple[int, int]):
    if x.flat:
        raise Refusal("a pool of a vector", "put it before Flatten")
    strides, pads, size = window(options, x.shape, kernel)
    if any(pad >= side for pad, side in zip(pads, kernel * 2, strict=True)):
        raise Refusal(f"padding {pads} is not smaller than the kernel {kernel}", "use less padding")
    return strides, pads, size


def _average(importer: Importer, node: NodeProto, x: Codes, kernel, strides, pads, shape, flat: bool):
    quantizer, channels = x.quantizer, x.shape[0]
    source = PoolSource(node_name(node), x, kernel, strides, pads)
    slope = quantizer.scale / (kernel[0] * kernel[1])
    none = [None] * channels
    return f"average pool {kernel[0]}x{kernel[1]}", Pending(
        source, shape, [slope] * channels, [-quantizer.scale * quantizer.code_zero] * channels,
        [Fraction(0)] * channels, list(none), list(none), flat=flat)


def average_pool(importer: Importer, node: NodeProto, options: dict):
    kernel = kernel_of(options)
    x = importer.codes(node, node.input[0])
    strides, pads, size = _pool_window(options, x, kernel)
    if any(pads) and not options.get("count_include_pad", 0):
        raise Refusal("padding that does not count (count_include_pad=0)", "use count_include_pad=1 or no padding")
    return _average(importer, node, x, kernel, strides, pads, (x.shape[0], *size), False)


def global_average_pool(importer: Importer, node: NodeProto, options: dict):
    x = importer.codes(node, node.input[0])
    if x.flat:
        raise Refusal("a pool of a vector", "put it before Flatten")
    return _average(importer, node, x, x.shape[1:], (1, 1), (0, 0, 0, 0), (x.shape[0], 1, 1), False)


def reduce_mean(importer: Importer, node: NodeProto, options: dict):
    axes = options.get("axes")
    if len(node.input) > 1 and node.input[1]:
        axes = importer.constant(node.input[1], "its axes").reshape(-1).tolist()
    if axes is None or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        raise Refusal(f"a mean over the axes {axes}", "only the mean over height and width is possible")
    x = importer.codes(node, node.input[0])
    if x.flat:
        raise Refusal("a mean of a vector", "put it before Flatten")
    return _average(importer, node, x, x.shape[1:], (1, 1), (0, 0, 0, 0), (x.shape[0], 1, 1),
                    not options.get("keepdims", 1))


def flatten(importer: Importer, node: NodeProto, options: dict):
    if isinstance(importer.values.get(node.input[0]), Grid):
        raise Refusal("Flatten of a weight", "store the weight with its final shape")
    x = importer.codes_or_skip(node.input[0])
    assert isinstance(x, (Codes, Pending, Image))
    rank = 2 if x.flat else 4
    if int(options.get("axis", 1)) % rank != 1:
        raise Refusal(f"Flatten with axis {options['axis']}", "use axis 1")
    return "nothing: a linear layer reads a whole map", replace(x, flat=True)


def reshape(importer: Importer, node: NodeProto, options: dict):
    target = [int(side) for side in importer.constant(node.input[1], "its shape").reshape(-1)]
    value = importer.values.get(node.input[0])
    if isinstance(value, Grid):
        return "shape of the weight", value.reshape([value.integers.shape[i] if side == 0 else side
                                                     for i, side in enumerate(target)])
    x = importer.codes_or_skip(node.input[0])
    assert isinstance(x, (Codes, Pending, Image))
    features = math.prod(x.shape)
    if len(target) == 2 and target[1] in (-1, features):
        return "nothing: a linear layer reads a whole map", replace(x, flat=True)
    if len(target) == 4 and _same_map(target[1:], x.shape):
        return "nothing: the shape of the map", replace(x, flat=False)
    raise Refusal(f"a reshape of {x.shape} to {tuple(target)}", "only (N, -1) is possible")


def _same_map(target: list[int], shape) -> bool:
    if target.count(-1) > 1:
        return False
    sides = [full if side in (0, -1) else side for side, full in zip(target, shape, strict=True)]
    return tuple(sides) == tuple(shape)


def squeeze(importer: Importer, node: NodeProto, options: dict):
    axes = options.get("axes")
    if len(node.input) > 1 and node.input[1]:
        axes = importer.constant(node.input[1], "its axes").reshape(-1).tolist()
    x = importer.codes_or_skip(node.input[0])
    if not isinstance(x, (Codes, Pending)) or x.flat or x.shape[1:] != (1, 1) or axes is None \
            or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        raise Refusal("a Squeeze that is not of height and width 1", "use Flatten")
    return "nothing: a linear layer reads a whole map", replace(x, flat=True)


def transpose(importer: Importer, node: NodeProto, options: dict):
    value = importer.values.get(node.input[0])
    if isinstance(value, Grid):
        return "shape of the weight", value.transpose(options.get("perm"))
    importer.codes_or_skip(node.input[0])
    raise Refusal("a Transpose of an activation", "export the model with channels first")


def identity(importer: Importer, node: NodeProto, options: dict):
    value = importer.values.get(node.input[0])
    return "nothing", value if isinstance(value, Grid) else importer.codes_or_skip(node.input[0])


def dropout(importer: Importer, node: NodeProto, options: dict):
    if len(node.input) > 2 and node.input[2]:
        training = importer.file.constants.get(node.input[2])
        if training is None or training.any():
            raise Refusal("Dropout in training mode", "export the model for inference")
    return identity(importer, node, options)


def cast(importer: Importer, node: NodeProto, options: dict):
    if options.get("to") not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        raise Refusal("a Cast of an activation to a type that is not float", "remove it")
    return identity(importer, node, options)


def _refused(reason: str, help: str):
    def handler(importer: Importer, node: NodeProto, options: dict):
        raise Refusal(reason, help)
    return handler


_ON_HOST = "end the network before it; the host can compute it from the output"
_TABLE = "use Relu or Clip; tables for other functions are planned"

HANDLERS = {
    "Quant": quant, "IntQuant": quant, "BipolarQuant": bipolar_quant,
    "Conv": conv, "Gemm": gemm, "MatMul": matmul,
    "BatchNormalization": batch_norm, "Mul": mul, "Div": div, "Add": add, "Sub": sub,
    "Relu": relu, "Clip": clip,
    "MaxPool": max_pool, "AveragePool": average_pool, "GlobalAveragePool": global_average_pool,
    "ReduceMean": reduce_mean,
    "Flatten": flatten, "Reshape": reshape, "Squeeze": squeeze, "Transpose": transpose,
    "Identity": identity, "Dropout": dropout, "Cast": cast,
    "ConvTranspose": _refused("transposed convolution is not supported", "use a convolution"),
    "Resize": _refused("resizing is not supported", "use strides or pools"),
    "Upsample": _refused("resizing is not supported", "use strides or pools"),
    "Concat": _refused("concatenation is not supported yet", "use an add"),
    "Softmax": _refused("Softmax is not supported", _ON_HOST),
    "LogSoftmax": _refused("LogSoftmax is not supported", _ON_HOST),
    "ArgMax": _refused("ArgMax is not supported", _ON_HOST),
    "TopK": _refused("TopK is not supported", _ON_HOST),
    "Sigmoid": _refused("Sigmoid is not supported yet", _TABLE),
    "Tanh": _refused("Tanh is not supported yet", _TABLE),
    "LeakyRelu": _refused("LeakyRelu is not supported yet", _TABLE),
    "Trunc": _refused("Trunc (integer truncation) is not supported", "use AveragePool followed by Quant"),
    "QuantAvgPool2d": _refused("QuantAvgPool2d is not supported", "use AveragePool followed by Quant"),
    "FloatQuant": _refused("FloatQuant (minifloat) is not supported", "use Quant"),
    "MultiThreshold": _refused("MultiThreshold is not supported yet", "keep the Quant nodes of the QONNX export"),
}
"""By operator type; what is not here is refused with a general reason."""
