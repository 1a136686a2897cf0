"""Layouts, ranks and old opsets of real exporters, each compared with qonnx's executor."""

from fractions import Fraction
import json

import numpy as np
from onnx import TensorProto, helper
from onnx_graphs import QONNX, Hand
import pytest
from qonnx_reference import assert_equals_qonnx, reference

from hwgen.frontend import load, read_network
from hwgen.golden import run


def ints(*shape, seed=3):
    return np.random.default_rng(seed).integers(-7, 8, shape)


def start(h, **options):
    return h.quant("image", 0.9871, 0.0, 4.0, **options)


# -- channels last, as TensorFlow's exporters leave it -----------------------------------


def keras_conv(h):
    """Input (N, H, W, C), quantized, transposed for every layer, kernels HWIO behind a Transpose."""
    x = h.node("Transpose", start(h), perm=[0, 3, 1, 2])
    w = h.node("Transpose", h.weight(ints(3, 3, 2, 5), np.full((1, 1, 1, 5), 0.5)), perm=[3, 2, 0, 1])
    y = h.node("Conv", x, w, auto_pad="SAME_UPPER", strides=[2, 2])
    y = h.node("Transpose", h.node("Add", y, h.const(np.arange(5.0).reshape(1, 5, 1, 1))), perm=[0, 2, 3, 1])
    y = h.node("Add", y, h.const(np.arange(5.0)))
    return h.quant(h.node("Relu", y), 5.3, bits=4.0)


def keras_flatten(h):
    """Flatten of a channels-last map: features are in (H, W, C) order."""
    y = h.node("Reshape", keras_conv(h), h.const(np.array([-1, 5 * 3 * 4])))
    y = h.node("Add", h.node("MatMul", y, h.weight(ints(60, 4))), h.const(np.arange(4.0)))
    return h.quant(y, 20.317, signed=1)


def keras_output_channels_last(h):
    y = h.node("Transpose", keras_conv(h), perm=[0, 3, 1, 2])
    y = h.node("Conv", y, h.weight(ints(3, 5, 2, 2)))
    return h.quant(h.node("Transpose", y, perm=[0, 2, 3, 1]), 20.317, signed=1)


def keras_pool_between(h):
    y = h.node("Transpose", keras_conv(h), perm=[0, 3, 1, 2])
    y = h.node("MaxPool", y, kernel_shape=[2, 2])
    y = h.quant(h.node("ReduceMean", h.node("Transpose", y, perm=[0, 2, 3, 1]), axes=[1, 2], keepdims=0), 0.77)
    return h.quant(h.node("MatMul", y, h.weight(ints(5, 4))), 9.0713, signed=1)


def dense_on_a_map(h):
    """A product with the last axis of (N, H, W, C): a 1x1 convolution."""
    return h.quant(h.node("MatMul", start(h), h.weight(ints(2, 4))), 3.1, signed=1)


def residual_channels_last(h):
    x = start(h)
    y = h.quant(h.node("MatMul", x, h.weight(ints(2, 2))), 3.1, bits=4.0)
    return h.quant(h.node("Add", y, x), 3.3)


LAST = [keras_conv, keras_flatten, keras_output_channels_last, keras_pool_between, dense_on_a_map,
        residual_channels_last]


@pytest.mark.parametrize("case", LAST, ids=lambda case: case.__name__)
def test_channels_last(tmp_path, case):
    hand = Hand((1, 6, 7, 2))
    path = hand.save(tmp_path / "net.onnx", case(hand))
    assert_equals_qonnx(path)
    assert read_network(path).input.shape == (2, 6, 7)


# -- one dimension -----------------------------------------------------------------------


def conv_1d(h):
    y = h.node("Conv", start(h), h.weight(ints(4, 3, 5)), strides=[2], pads=[2, 1])
    y = h.quant(h.node("Relu", y), 9.0713, bits=4.0)
    y = h.quant(h.node("MaxPool", h.node("Conv", y, h.weight(ints(5, 4, 3))), kernel_shape=[2], strides=[2]), 20.317)
    return h.quant(h.node("GlobalAveragePool", y), 7.0123)


def conv_1d_flatten(h):
    y = h.quant(h.node("Conv", start(h), h.weight(ints(4, 3, 5)), dilations=[2]), 9.0713, signed=1)
    y = h.quant(h.node("AveragePool", y, kernel_shape=[3], strides=[3]), 5.0371, signed=1)
    y = h.node("Gemm", h.node("Flatten", y), h.weight(ints(3, 12)), transB=1)
    return h.quant(y, 97.117, signed=1)


def conv_1d_as_2d(h):
    """How TensorFlow's exporter writes Conv1D: Unsqueeze, Conv, Squeeze."""
    x = h.node("Unsqueeze", start(h), h.const(np.array([2])))
    y = h.node("Squeeze", h.node("Conv", x, h.weight(ints(4, 3, 1, 5)), pads=[0, 2, 0, 2]), h.const(np.array([2])))
    return h.quant(y, 9.0713, signed=1)


def conv_1d_upright(h):
    x = h.node("Unsqueeze", start(h), h.const(np.array([3])))
    y = h.quant(h.node("Conv", x, h.weight(ints(4, 3, 5, 1)), pads=[2, 0, 1, 0], strides=[2, 1]), 9.0713, signed=1)
    return h.quant(h.node("MaxPool", y, kernel_shape=[2, 1]), 9.0713, signed=1)


ONE_DIMENSION = [conv_1d, conv_1d_flatten, conv_1d_as_2d, conv_1d_upright]


@pytest.mark.parametrize("case", ONE_DIMENSION, ids=lambda case: case.__name__)
def test_one_dimension(tmp_path, case):
    hand = Hand((1, 3, 17))
    assert_equals_qonnx(hand.save(tmp_path / "net.onnx", case(hand)))


def test_one_dimension_channels_last(tmp_path):
    hand = Hand((1, 17, 3))
    x = hand.node("Transpose", start(hand), perm=[0, 2, 1])
    y = hand.node("Transpose", hand.node("Conv", x, hand.weight(ints(4, 3, 5))), perm=[0, 2, 1])
    assert_equals_qonnx(hand.save(tmp_path / "net.onnx", hand.quant(y, 9.0713, signed=1)))


# -- groups, dilation, padding -----------------------------------------------------------


def depthwise(h):
    return h.quant(h.node("Conv", start(h), h.weight(ints(2, 1, 3, 3)), h.const(np.array([1.5, -2.0])), group=2), 5.0,
                   signed=1)


def grouped(h):
    y = h.quant(h.conv(start(h), ints(4, 2, 1, 1)), 3.0, bits=4.0)
    return h.quant(h.node("Conv", y, h.weight(ints(6, 2, 3, 3), np.linspace(0.2, 0.9, 6).reshape(6, 1, 1, 1)), group=2),
                   9.0713, signed=1)


def dilated(h):
    return h.quant(h.conv(start(h), ints(3, 2, 3, 2), dilations=[2, 3], pads=[1, 0, 2, 1]), 9.0713, signed=1)


def padded_before_conv(h):
    x = h.node("Pad", h.quant("image", 0.9871, 3.0, 4.0), h.const(np.array([0, 0, 1, 2, 0, 0, 0, 1])))
    return h.quant(h.conv(x, strides=[2, 1]), 9.0713, signed=1)


def padded_image(h):
    """Pad before the input's Quant node."""
    x = h.node("Pad", "image", h.const(np.array([0, 0, 1, 1, 0, 0, 1, 1])), h.const(np.float32(0.0)))
    return h.quant(h.conv(h.quant(x, 0.5123, 3.0, 4.0)), 9.0713, signed=1)


def padded_twice_with_own_pads(h):
    x = h.node("Pad", start(h), h.const(np.array([0, 0, 1, 0, 0, 0, 0, 0])))
    x = h.node("Pad", x, h.const(np.array([0, 0, 0, 1, 0, 0, 0, 0])))
    return h.quant(h.conv(x, pads=[0, 0, 1, 1]), 9.0713, signed=1)


def padded_result(h):
    """Pad between a layer and its Quant node."""
    y = h.node("Relu", h.node("Pad", h.conv(start(h)), h.const(np.array([0, 0, 1, 1, 0, 0, 1, 1]))))
    return h.quant(h.conv(h.quant(y, 5.0371, bits=4.0), channels=3), 9.0713, signed=1)


def padded_max_pool(h):
    x = h.node("Pad", start(h), h.const(np.array([0, 0, 1, 1, 0, 0, 0, 0])))
    return h.quant(h.conv(h.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), kernel=2), 9.0713, signed=1)


def padded_max_pool_signed(h):
    """Zeros of a Pad node win over negative values, those of the pool itself do not."""
    x = h.node("Pad", h.quant("image", 1.5123, 9.0, 4.0), h.const(np.array([0, 0, 1, 1, 0, 0, 0, 0])))
    return h.quant(h.conv(h.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), kernel=2), 9.0713, signed=1)


def padded_average(h):
    x = h.node("Pad", h.quant("image", 1.5123, 9.0, 4.0), h.const(np.array([0, 0, 1, 1, 0, 0, 0, 0])))
    return h.quant(h.node("AveragePool", x, kernel_shape=[3, 2], strides=[2, 1]), 1.3071, signed=1)


def padded_add(h):
    x = start(h)
    y = h.quant(h.conv(x, pads=[2, 2, 2, 2], rows=2), 5.0371)
    return h.quant(h.node("Add", y, h.node("Pad", x, h.const(np.array([0, 0, 1, 1, 0, 0, 1, 1])))), 5.0371)


WINDOWS = [depthwise, grouped, dilated, padded_before_conv, padded_image, padded_twice_with_own_pads, padded_result,
           padded_max_pool, padded_max_pool_signed, padded_average, padded_add]


@pytest.mark.parametrize("case", WINDOWS, ids=lambda case: case.__name__)
def test_windows(tmp_path, case):
    hand = Hand()
    assert_equals_qonnx(hand.save(tmp_path / "net.onnx", case(hand)))


# -- shapes ------------------------------------------------------------------------------


def torch_view(h):
    """``x.view(x.size(0), -1)`` as older exporters of PyTorch leave it."""
    x = start(h)
    size = h.node("Gather", h.node("Shape", x), h.const(np.array(0)), axis=0)
    parts = [h.node("Unsqueeze", part, h.const(np.array([0]))) for part in (size, h.const(np.array(-1)))]
    x = h.node("Reshape", x, h.node("Concat", *parts, axis=0))
    return h.quant(h.node("Gemm", x, h.weight(ints(4, 72)), transB=1), 20.317, signed=1)


def squeezed_and_back(h):
    x = h.quant(h.node("GlobalAveragePool", start(h)), 0.3071)
    x = h.node("Unsqueeze", h.node("Squeeze", x, h.const(np.array([2, 3]))), h.const(np.array([2, 3])))
    return h.quant(h.conv(x, kernel=1), 1.0317, signed=1)


def reshaped_pool(h):
    x = h.node("Reshape", h.quant(h.node("GlobalMaxPool", start(h)), 1.3), h.const(np.array([0, -1])))
    return h.quant(h.node("MatMul", x, h.weight(ints(2, 3))), 1.0317, signed=1)


def folded_constants(h):
    scale = h.node("Div", h.const(np.float32(4.1)), h.const(np.float32(0.3)))
    bias = h.node("Mul", h.const(np.arange(3.0)), h.node("Sqrt", h.const(np.float32(5.5))))
    y = h.node("Conv", start(h), h.weight(ints(3, 2, 3, 3)), bias)
    return h.node("Quant", y, scale, h.const(0.0), h.const(8.0), domain=QONNX, signed=1, narrow=0)


def gemm_alpha_beta(h):
    x = h.node("Flatten", start(h))
    y = h.node("Gemm", x, h.weight(ints(4, 72)), h.const(np.arange(4.0)), transB=1, alpha=0.37, beta=2.5)
    return h.quant(y, 5.0371, signed=1)


def integer_weights(h):
    """Weights whose scale a transformation has moved into a Mul behind the layer."""
    y = h.node("Conv", start(h), h.const(ints(3, 2, 3, 3) * 1.0))
    return h.quant(h.node("Mul", y, h.const(np.array([0.2, -0.3, 0.7]).reshape(1, 3, 1, 1))), 3.0, signed=1)


def scale_arrays_of_one_value(h):
    """Per-channel scales that are all the same, as some exporters write activations."""
    x = h.node("Quant", h.conv(start(h)), h.const(np.full((1, 3, 1, 1), 4.7131)), h.const(np.zeros((1, 3, 1, 1))),
               h.const(np.float32(4)), domain=QONNX, signed=0, narrow=0)
    return h.quant(h.conv(x, channels=3), 9.0713, signed=1)


@pytest.mark.parametrize("case", [torch_view, squeezed_and_back, reshaped_pool, folded_constants, gemm_alpha_beta,
                                  integer_weights, scale_arrays_of_one_value], ids=lambda case: case.__name__)
def test_shapes_and_constants(tmp_path, case):
    hand = Hand()
    assert_equals_qonnx(hand.save(tmp_path / "net.onnx", case(hand)))


@pytest.mark.parametrize("quant_first", [False, True])
def test_vector_that_becomes_a_map(tmp_path, quant_first):
    hand = Hand((1, 72))
    x = start(hand) if quant_first else "image"
    x = hand.node("Reshape", x, hand.const(np.array([-1, 2, 6, 6])))
    x = x if quant_first else hand.quant(x, 0.9871, 0.0, 4.0)
    path = hand.save(tmp_path / "net.onnx", hand.quant(hand.conv(x), 9.0713, signed=1))
    assert_equals_qonnx(path)
    assert load(path).tensors[load(path).input].shape == (2, 6, 6)


def test_arithmetic_before_the_input(tmp_path):
    """``(x / 127.5 - 1) * 3`` in the file: codes stand for its result, and the host computes it."""
    hand = Hand()
    x = hand.node("Sub", hand.node("Div", "image", hand.const(np.float32(127.5))), hand.const(np.float32(1.0)))
    x = hand.quant(hand.node("Mul", x, hand.const(np.float32(3.0))), 0.2517, bits=5.0, signed=1)
    path = hand.save(tmp_path / "net.onnx", hand.quant(hand.conv(x), 9.0713, signed=1))
    graph = assert_equals_qonnx(path)
    assert read_network(path).before == (3 / Fraction(127.5), -3)
    assert json.loads(graph.metadata["hwgen.before"]) == [3 / 127.5, -3.0]


def test_binary_input_of_finn_examples(tmp_path):
    """``2x - 1``, then the sign: pixels of 0 and 1 are the codes 0 and 2."""
    hand = Hand((1, 20))
    x = hand.node("Sub", hand.node("Mul", "image", hand.const(np.float32(2.0))), hand.const(np.float32(1.0)))
    x = hand.node("BipolarQuant", x, hand.const(np.float32(1.0)), domain=QONNX)
    y = hand.quant(hand.node("MatMul", x, hand.weight(ints(20, 4))), 1.0317, signed=1)
    path = hand.save(tmp_path / "net.onnx", y)
    graph = load(path)
    codes = 2 * np.random.default_rng(2).integers(0, 2, (30, 20, 1, 1))
    assert np.array_equal(run(graph, codes)[graph.outputs[0]], reference(path, codes)[graph.outputs[0]])


# -- old opsets --------------------------------------------------------------------------


def old(hand, y, opset):
    graph = hand.model(y).graph
    return helper.make_model(graph, ir_version=6, opset_imports=[helper.make_opsetid("", opset),
                                                                 helper.make_opsetid(QONNX, 1)])


def opset9(h):
    x = h.node("Pad", start(h), pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="constant", value=0.0)
    y = h.node("BatchNormalization", h.conv(x), *(h.const(np.array(v)) for v in (
        [1.5, -0.75, 0.5], [1.0, -2.0, 5.0], [10.0, -3.0, 2.0], [4.0, 0.3, 2.0])), epsilon=0.01, momentum=0.9)
    y = h.node("Dropout", h.node("Clip", y, min=-3.0, max=7.5), ratio=0.5)
    y = h.quant(y, 0.9173, bits=4.0, signed=1)
    y = h.node("Unsqueeze", h.node("Squeeze", h.quant(h.node("GlobalAveragePool", y), 0.1037, signed=1), axes=[2, 3]),
               axes=[2])
    return h.quant(h.node("Conv", y, h.weight(ints(4, 3, 1))), 0.4017, signed=1)


def test_opset_9(tmp_path):
    hand = Hand()
    path = tmp_path / "net.onnx"
    path.write_bytes(old(hand, opset9(hand), 9).SerializeToString())
    assert_equals_qonnx(path)


def test_opset_6_broadcast_by_hand(tmp_path):
    """``broadcast=1, axis=1``: onnxruntime no longer runs it, so the same network without is the reference."""
    offset = np.array([1.0, -20.0, 30.0])
    one, two = Hand(), Hand()
    first = one.quant(one.node("Add", one.conv(start(one)), one.const(offset), broadcast=1, axis=1), 9.0713, signed=1)
    second = two.quant(two.node("Add", two.conv(start(two)), two.const(offset.reshape(1, 3, 1, 1))), 9.0713, signed=1)
    (tmp_path / "old.onnx").write_bytes(old(one, first, 6).SerializeToString())
    graph = assert_equals_qonnx(two.save(tmp_path / "new.onnx", second))
    found = load(tmp_path / "old.onnx").ops[0].requant
    assert np.array_equal(found.constant, graph.ops[0].requant.constant)
    assert np.array_equal(found.multiplier, graph.ops[0].requant.multiplier)


# -- the host's part ---------------------------------------------------------------------


@pytest.mark.parametrize("requantized", [False, True])
@pytest.mark.parametrize("op, options", [("Softmax", {"axis": 1}), ("ArgMax", {"axis": 1, "keepdims": 0})])
def test_host(tmp_path, op, options, requantized):
    """Also with a Quant node behind Softmax, which some exporters write: the host's part, too."""
    if requantized and op == "ArgMax":
        pytest.skip("integers are not quantized")
    hand = Hand()
    y = hand.quant(hand.node("Gemm", hand.node("Flatten", start(hand)), hand.weight(ints(4, 72)), transB=1), 20.317,
                   signed=1, name="logits")
    y = hand.node(op, y, name="last", **options)
    model = hand.model(hand.quant(y, 1 / 255) if requantized else y)
    if op == "ArgMax":
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    assert_equals_qonnx(tmp_path / "net.onnx")
    step, = read_network(tmp_path / "net.onnx").host
    assert (step.node, step.op, step.output, step.tensor) == ("last", op, "logits_out", y)
    assert step.options["axis"] == 1
