"""What each ONNX operator means: the table of all operators.

A handler is ``(importer, node, options) -> (words, value)``; it raises Refusal.
"""

from onnx import NodeProto

from hwgen.frontend import channels, padding, pointwise, pools, shapes
from hwgen.frontend.curves import curved
from hwgen.frontend.host import on_host
from hwgen.frontend.importer import Importer
from hwgen.frontend.inputs import CHANNELS_LAST_DOMAIN
from hwgen.frontend.layout import channels_last
from hwgen.frontend.multithreshold import multi_threshold
from hwgen.frontend.qdq_nodes import clip, dequantize_linear, quantize_linear
from hwgen.frontend.quantize_nodes import bipolar_quant, quant
from hwgen.frontend.truncate import trunc
from hwgen.frontend.values import Refusal
from hwgen.frontend.weight_layers import conv, gemm, matmul


def _refused(reason: str, help: str):
    def handler(importer: Importer, node: NodeProto, options: dict):
        raise Refusal(reason, help)
    return handler


_AS_QDQ = "quantize with quantize_static and QuantFormat.QDQ"
_LOWERED = "give the QONNX file from before the convolutions were lowered to matrix products"

HANDLERS = {
    "Quant": quant, "IntQuant": quant, "BipolarQuant": bipolar_quant, "MultiThreshold": multi_threshold, "Trunc": trunc,
    "QuantizeLinear": quantize_linear, "DequantizeLinear": dequantize_linear,
    "Conv": conv, "Gemm": gemm, "MatMul": matmul,
    "BatchNormalization": pointwise.batch_norm,
    "Mul": pointwise.mul, "Div": pointwise.div, "Add": pointwise.add, "Sub": pointwise.sub, "Neg": pointwise.neg,
    "Sum": pointwise.sum_of_two,
    "Relu": pointwise.relu, "Clip": clip, "LeakyRelu": pointwise.leaky_relu, "PRelu": pointwise.prelu,
    "HardSigmoid": pointwise.hard_sigmoid, "Max": pointwise.extreme(True), "Min": pointwise.extreme(False),
    "MaxPool": pools.max_pool, "AveragePool": pools.average_pool, "GlobalAveragePool": pools.global_average_pool,
    "GlobalMaxPool": pools.global_max_pool, "ReduceMean": pools.reduce_mean,
    "Flatten": shapes.flatten, "Reshape": shapes.reshape, "Squeeze": shapes.squeeze, "Unsqueeze": shapes.unsqueeze,
    "Transpose": shapes.transpose, "Identity": shapes.identity, "Dropout": shapes.dropout, "Cast": shapes.cast,
    "Slice": channels.slice_, "Split": channels.split, "Gather": channels.gather,
    "Shape": shapes.shape, "Pad": padding.pad, "Concat": padding.concat,
    "Softmax": on_host, "LogSoftmax": on_host, "Hardmax": on_host, "ArgMax": on_host, "TopK": on_host,
    "ConvTranspose": _refused("transposed convolution is not supported", "use a convolution"),
    "DepthToSpace": _refused("pixels made of channels are not supported", "end the network before it"),
    "Resize": _refused("resizing is not supported", "use strides or pools"),
    "Upsample": _refused("resizing is not supported", "use strides or pools"),
    "Sigmoid": curved, "Tanh": curved,
    "QuantAvgPool2d": _refused("QuantAvgPool2d is not supported", "use AveragePool followed by Trunc or Quant"),
    "FloatQuant": _refused("FloatQuant (minifloat) is not supported", "use Quant"),
    **{f"{CHANNELS_LAST_DOMAIN}.{op}": channels_last(handler) for op, handler in (
        ("Conv", conv), ("MaxPool", pools.max_pool), ("BatchNormalization", pointwise.batch_norm))},
    "Im2Col": _refused("Im2Col is not supported", _LOWERED),
    "XnorPopcountMatMul": _refused("XnorPopcountMatMul is not supported", _LOWERED),
    "MaxPoolNHWC": _refused("MaxPoolNHWC is not supported", _LOWERED),
    **{op: _refused(f"{op} is an operator on integers (onnxruntime's QOperator format)", _AS_QDQ) for op in (
        "QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul", "QLinearAveragePool", "QLinearGlobalAveragePool",
        "QLinearConcat", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QGemm", "ConvInteger",
        "MatMulInteger", "DynamicQuantizeLinear")},
}
"""By operator type; what is not here is refused with a general reason."""
