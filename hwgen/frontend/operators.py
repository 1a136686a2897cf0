"""What each ONNX operator means: weight layers, and the table of all operators.

A handler is ``(importer, node, options) -> (words, value)``; it raises Refusal.
"""

from dataclasses import replace
from fractions import Fraction
import math

import numpy as np
from onnx import NodeProto

from hwgen.frontend import pointwise, pools
from hwgen.frontend.host import hosted
from hwgen.frontend.importer import Importer
from hwgen.frontend.model_file import node_name
from hwgen.frontend.moves import concat
from hwgen.frontend.qdq_nodes import clip, dequantize_linear, quantize_linear
from hwgen.frontend.quantize_nodes import bipolar_quant, quant
from hwgen.frontend.quantizers import Grid
from hwgen.frontend.values import Codes, ConvSource, Pending, Refusal
from hwgen.frontend.windows import window


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
        importer.note(node, Refusal(f"grouped convolution (group={group})", "use group=1"))
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


def _refused(reason: str, help: str):
    def handler(importer: Importer, node: NodeProto, options: dict):
        raise Refusal(reason, help)
    return handler


_ON_HOST = "end the network before it; the host can compute it from the output"
_AS_QDQ = "quantize with quantize_static and QuantFormat.QDQ"
_TABLE = "use Relu or Clip; tables for other functions are planned"

HANDLERS = {
    "Quant": quant, "IntQuant": quant, "BipolarQuant": bipolar_quant,
    "QuantizeLinear": quantize_linear, "DequantizeLinear": dequantize_linear,
    "Conv": conv, "Gemm": gemm, "MatMul": matmul,
    "BatchNormalization": pointwise.batch_norm,
    "Mul": pointwise.mul, "Div": pointwise.div, "Add": pointwise.add, "Sub": pointwise.sub,
    "Relu": pointwise.relu, "Clip": clip,
    "MaxPool": pools.max_pool, "AveragePool": pools.average_pool, "GlobalAveragePool": pools.global_average_pool,
    "ReduceMean": pools.reduce_mean,
    "Flatten": pools.flatten, "Reshape": pools.reshape, "Squeeze": pools.squeeze, "Transpose": pools.transpose,
    "Identity": pools.identity, "Dropout": pools.dropout, "Cast": pools.cast,
    "ConvTranspose": _refused("transposed convolution is not supported", "use a convolution"),
    "Resize": _refused("resizing is not supported", "use strides or pools"),
    "Upsample": _refused("resizing is not supported", "use strides or pools"),
    "Concat": concat,
    "Softmax": hosted, "LogSoftmax": hosted, "ArgMax": hosted,
    "TopK": _refused("TopK is not supported", _ON_HOST),
    "Sigmoid": _refused("Sigmoid is not supported yet", _TABLE),
    "Tanh": _refused("Tanh is not supported yet", _TABLE),
    "LeakyRelu": _refused("LeakyRelu is not supported yet", _TABLE),
    "Shape": _refused("a shape that is computed in the graph", "fold it with qonnx-cleanup, or use Flatten"),
    "Trunc": _refused("Trunc (integer truncation) is not supported", "use AveragePool followed by Quant"),
    "QuantAvgPool2d": _refused("QuantAvgPool2d is not supported", "use AveragePool followed by Quant"),
    "FloatQuant": _refused("FloatQuant (minifloat) is not supported", "use Quant"),
    "MultiThreshold": _refused("MultiThreshold is not supported yet", "keep the Quant nodes of the QONNX export"),
    **{op: _refused(f"{op} is an operator on integers (onnxruntime's QOperator format)", _AS_QDQ) for op in (
        "QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul", "QLinearAveragePool", "QLinearGlobalAveragePool",
        "QLinearConcat", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QGemm", "ConvInteger",
        "MatMulInteger", "DynamicQuantizeLinear")},
}
"""By operator type; what is not here is refused with a general reason."""
