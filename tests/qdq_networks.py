"""Float networks quantized by onnxruntime's own quantize_static, and QDQ graphs made by hand; run by onnxruntime."""

import logging

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from onnx_graphs import Hand


class FloatNet:
    """A float network with random weights; every method returns the name of the tensor it makes."""

    def __init__(self, seed: int, shape=(3, 8, 8)):
        self.rng, self.shape = np.random.default_rng(seed), shape
        self.nodes, self.initializers = [], []

    def const(self, array, dtype=np.float32) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def weight(self, *shape) -> str:
        return self.const(self.rng.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:]))))

    def node(self, op, *inputs, **attributes) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def conv(self, x, rows, channels, kernel=3, **attributes) -> str:
        attributes.setdefault("pads", [kernel // 2] * 4)
        return self.node("Conv", x, self.weight(rows, channels, kernel, kernel), self.weight(rows), **attributes)

    def model(self, output) -> onnx.ModelProto:
        kind = TensorProto.INT64 if self.nodes[-1].op_type == "ArgMax" else TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes, "net", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *self.shape])],
            [helper.make_tensor_value_info(output, kind, None)], self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)

    def quantized(self, path, output, activations=QuantType.QUInt8, weights=QuantType.QInt8, **options):
        """The file that quantize_static writes for the network."""
        float_path = path.with_suffix(".float.onnx")
        onnx.save(self.model(output), float_path)
        images = iter([{"image": self.images(1)} for _ in range(8)])

        class Reader(CalibrationDataReader):
            def get_next(self):
                return next(images, None)

        logging.disable(logging.WARNING)  # it advises to preprocess the model
        try:
            quantize_static(str(float_path), str(path), Reader(), quant_format=QuantFormat.QDQ,
                            activation_type=activations, weight_type=weights, **options)
        finally:
            logging.disable(logging.NOTSET)
        return path

    def images(self, count) -> np.ndarray:
        return self.rng.normal(size=(count, *self.shape)).astype(np.float32)


def plain(net: FloatNet) -> str:
    """Convolutions with ReLU and Clip, max pool, average pool, linear layer."""
    x = net.node("Relu", net.conv("image", 8, 3))
    x = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.node("Clip", net.conv(x, 6, 8, strides=[2, 2]), net.const(0.0), net.const(6.0))
    x = net.node("AveragePool", x, kernel_shape=[2, 2])
    return net.node("Gemm", net.node("Flatten", x), net.weight(5, 6), net.weight(5), transB=1)


def residual(net: FloatNet) -> str:
    """Two residual adds, global average pool, MatMul with a bias of its own, Softmax."""
    x = net.node("Relu", net.conv("image", 8, 3))
    x = net.node("Relu", net.node("Add", x, net.conv(x, 8, 8)))
    y = net.conv(net.node("Relu", net.conv(x, 6, 8, strides=[2, 2])), 6, 6)
    x = net.node("Add", y, net.conv(x, 6, 8, 1, strides=[2, 2]))
    x = net.node("Reshape", net.node("GlobalAveragePool", x), net.const([-1, 6], np.int64))
    return net.node("Softmax", net.node("Add", net.node("MatMul", x, net.weight(6, 4)), net.weight(4)))


def branches(net: FloatNet) -> str:
    """A concatenation of three branches of very unequal scales."""
    x = net.node("Relu", net.conv("image", 5, 3))
    parts = [net.node("Relu", net.conv(x, 3, 5)), net.node("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])]
    wide = net.conv(x, 4, 5, 1)
    parts.append(net.node("Mul", wide, net.const(7.3)))
    x = net.node("Concat", *parts, axis=1)
    x = net.node("GlobalAveragePool", net.conv(x, 6, 12, strides=[2, 2]))
    return net.node("Gemm", net.node("Flatten", x), net.weight(6, 3))


def mobile(net: FloatNet) -> str:
    """Inverted residuals with depthwise convolutions, ReLU6, Softmax."""
    limits = net.const(0.0), net.const(6.0)
    x = net.node("Clip", net.conv("image", 8, 3, strides=[2, 2]), *limits)
    for _ in range(2):
        y = net.node("Clip", net.conv(x, 24, 8, 1), *limits)
        y = net.node("Conv", y, net.weight(24, 1, 3, 3), net.weight(24), group=24, pads=[1, 1, 1, 1])
        x = net.node("Add", x, net.conv(net.node("Clip", y, *limits), 8, 24, 1))
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net.node("Softmax", net.node("Gemm", x, net.weight(8, 10), net.weight(10)))


def shuffled(net: FloatNet) -> str:
    """Units of ShuffleNet v2: half of the channels through convolutions, the others past them, then all shuffled."""
    x = net.node("Relu", net.conv("image", 8, 3))
    for _ in range(2):
        past, y = (net.node("Slice", x, *(net.const([value], np.int64) for value in (begin, begin + 4, 1)))
                   for begin in (0, 4))
        y = net.node("Relu", net.conv(y, 4, 4, 1))
        y = net.node("Conv", y, net.weight(4, 1, 3, 3), net.weight(4), group=4, pads=[1, 1, 1, 1])
        x = net.node("Concat", past, net.node("Relu", net.conv(y, 4, 4, 1)), axis=1)
        x = net.node("Transpose", net.node("Reshape", x, net.const([0, 2, 4, 8, 8], np.int64)), perm=[0, 2, 1, 3, 4])
        x = net.node("Reshape", x, net.const([0, -1, 8, 8], np.int64))
    x = net.node("GlobalAveragePool", net.conv(x, 6, 8, strides=[2, 2]))
    return net.node("Gemm", net.node("Flatten", x), net.weight(6, 3))


def channels_last(net: FloatNet) -> str:
    """An image (N, H, W, C), a Transpose to and fro, LeakyRelu, Pad."""
    x = net.node("LeakyRelu", net.conv(net.node("Transpose", "image", perm=[0, 3, 1, 2]), 5, 8), alpha=0.125)
    x = net.node("Pad", x, net.const([0, 0, 1, 0, 0, 0, 0, 1], np.int64))
    x = net.node("Transpose", net.node("Relu", net.conv(x, 4, 5, pads=[0, 0, 0, 0])), perm=[0, 2, 3, 1])
    return net.node("MatMul", net.node("Flatten", x), net.weight(56, 5))


def loose(net: FloatNet) -> str:
    """Operators that quantize_static leaves in float between quantizers, pools with padding, ArgMax."""
    x = net.node("Relu", net.conv(net.node("Relu", net.conv("image", 9, 3)), 9, 9, 5, strides=[2, 2]))
    y = net.node("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    x = net.node("Add", x, net.node("Relu", net.conv(x, 9, 9)))
    x = net.node("Div", net.node("Sub", x, net.const(0.3)), net.const(1.7))
    x = net.node("ReduceMean", net.node("Concat", x, y, axis=1), axes=[2, 3], keepdims=0)
    x = net.node("Relu", net.node("Gemm", x, net.weight(18, 10), net.weight(10)))
    return net.node("ArgMax", net.node("Gemm", x, net.weight(10, 7)), axis=1)


def dyadic(path):
    """Every scale of a quantized file becomes the nearest power of two, so that float32 computes it exactly."""
    model = onnx.load(path)
    scales = {node.input[1] for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    for tensor in model.graph.initializer:
        if tensor.name in scales:
            values = np.exp2(np.round(np.log2(numpy_helper.to_array(tensor)))).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, path)
    return path


def onnxruntime_tensors(path, feed: np.ndarray, names) -> list[np.ndarray]:
    """Tensors of a file by name for every image, without graph optimizations."""
    model = onnx.load(path)
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    found = [session.run(list(names), {name: image[None]}) for image in feed]
    return [np.concatenate(arrays) for arrays in zip(*found, strict=True)]


ZERO, SIGNED_ZERO = np.uint8(0), np.int8(0)


class QdqHand(Hand):
    """QDQ graphs node by node; weights are int8 with a scale of their own."""

    def q(self, x, scale=0.5, zero=ZERO, name=None, **attributes) -> str:
        return self.node("QuantizeLinear", x, self.const(np.asarray(scale, np.float32)), self.const(np.asarray(zero)),
                         name=name, **attributes)

    def dq(self, x, scale=0.5, zero=ZERO, name=None, **attributes) -> str:
        return self.node("DequantizeLinear", x, self.const(np.asarray(scale, np.float32)),
                         self.const(np.asarray(zero)), name=name, **attributes)

    def qdq(self, x, scale=0.5, zero=ZERO, name=None) -> str:
        """Both nodes; the second has ``_dq`` at the end of its name."""
        return self.dq(self.q(x, scale, zero, name), scale, zero, name and f"{name}_dq")

    def weight(self, integers, scale=0.25, zero=SIGNED_ZERO) -> str:
        return self.dq(self.const(np.asarray(integers, np.asarray(zero).dtype)), scale, zero)

    def conv_of(self, x, name=None, **attributes) -> str:
        """A convolution 3x3 with seeded weights, 2 to 3 channels."""
        integers = np.random.default_rng(1).integers(-127, 128, (3, 2, 3, 3))
        return self.node("Conv", x, self.weight(integers), name=name, **attributes)

    def model(self, *outputs, opset=13, kind=TensorProto.FLOAT):
        info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        image = helper.make_tensor_value_info("image", kind, self.shape)
        graph = helper.make_graph(self.nodes, self.name, [image], info, self.initializers)
        imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, ir_version=10, opset_imports=imports)

    def save(self, path, *outputs, **options):
        for value in (model := self.model(*outputs, **options)).graph.output:
            value.ClearField("type")  # float or integers: onnxruntime infers it
        path.write_bytes(model.SerializeToString())
        return path
