"""Activations with a scale per channel, as Brevitas has them in front of depthwise layers: against the executors.

A depthwise layer takes any scales; a layer over several channels those that 8-bit integers hold in its weights.
"""

from exactness import assert_exact
import numpy as np
from onnx_graphs import QONNX, Hand
import pytest
from qdq_networks import QdqHand

from hwgen.errors import HwgenError
from hwgen.frontend import load, read_network
from hwgen.frontend.execute import compare
from hwgen.graph.ir import Conv

ODD = np.array([0.3, 1.7, 0.09, 0.55])
POWERS = np.array([0.5, 2.0, 0.25, 0.5])


def ints(*shape, seed=3, most=7):
    return np.random.default_rng(seed).integers(-most, most + 1, shape)


def per(scales):
    return np.asarray(scales).reshape(1, -1, 1, 1)


def start(hand, scales, bits=4.0, signed=0, zero=0.0, relu=True, **options):
    """A layer of 4 channels that ends in a Quant node with a scale per channel."""
    channels = hand.shape[1]
    if not hand.nodes:
        hand.quant("image", 1.0, bits=3.0, name="input")
    x = hand.node("Conv", "input_out", hand.weight(ints(4, channels, 3, 3), 0.03),
                  hand.const(np.array([0.4, -0.2, 0.1, 0.3])), pads=[1, 1, 1, 1])
    return hand.quant(hand.node("Relu", x) if relu else x, per(scales), zero, bits, signed, **options)


def exact(path):
    graph, _ = assert_exact(path, 30, 4, 1 / 20)
    return graph


def end(hand, y, path, scale=0.37):
    return exact(hand.save(path / "net.onnx", hand.quant(y, scale, signed=1, bits=8.0)))


def refused(hand, y, path) -> str:
    with pytest.raises(HwgenError) as caught:
        load(hand.save(path / "net.onnx", y))
    return str(caught.value)


@pytest.mark.parametrize("signed, zero, relu", [(0, 0.0, True), (1, 0.0, False), (0, 3.0, False)])
@pytest.mark.parametrize("bits", [2.0, 4.0, 8.0])
@pytest.mark.parametrize("strides", [1, 2])
def test_depthwise(tmp_path, signed, zero, relu, bits, strides):
    hand = Hand((1, 3, 6, 7))
    x = start(hand, ODD, bits, signed, zero, relu)
    y = hand.node("Conv", x, hand.weight(ints(4, 1, 3, 3), np.array([0.2, 0.3, 0.1, 0.7]).reshape(4, 1, 1, 1)),
                  hand.const(np.arange(4.0)), group=4, pads=[1, 1, 1, 1], strides=[strides] * 2)
    graph = end(hand, hand.node("Relu", y), tmp_path)
    assert [type(op) for op in graph.ops] == [Conv, Conv]


def test_rows_of_a_depthwise_layer_with_two_outputs_per_channel(tmp_path):
    hand = Hand((1, 3, 6, 7))
    end(hand, hand.node("Conv", start(hand, ODD), hand.weight(ints(8, 1, 3, 3)), group=4), tmp_path)


@pytest.mark.parametrize("mode", ["ROUND", "FLOOR", "CEIL", "UP", "DOWN", "HALF_UP", "HALF_DOWN"])
def test_rounding_modes(tmp_path, mode):
    hand = Hand((1, 3, 6, 7))
    x = start(hand, POWERS, signed=1, relu=False, mode=mode, narrow=1)
    end(hand, hand.node("Conv", x, hand.weight(ints(4, 1, 3, 3)), group=4), tmp_path)


def test_convolution_with_the_scales_in_its_weights(tmp_path):
    """Ratios of 1, 2, 4 and 8 make 6-bit integers of 3-bit ones; a row without the small channel is shorter."""
    hand = Hand((1, 3, 6, 7))
    integers = ints(5, 4, 3, 3, most=3)
    integers[1, 2] = 0
    graph = end(hand, hand.node("Conv", start(hand, POWERS), hand.weight(integers, bits=3.0), pads=[1, 1, 1, 1]),
                tmp_path)
    ratios = np.array([2, 8, 1, 2]).reshape(4, 1, 1)
    assert np.array_equal(graph.ops[-1].weight[0], integers[0] * ratios)
    assert np.array_equal(graph.ops[-1].weight[1], integers[1] * ratios // 2)


def test_linear_layers(tmp_path):
    """Behind Flatten every channel has several features; behind a MatMul as 1x1 convolution one."""
    hand = Hand((1, 3, 4, 5))
    end(hand, hand.node("Gemm", hand.node("Flatten", start(hand, POWERS)), hand.weight(ints(6, 80)),
                        hand.const(np.arange(6.0)), transB=1, alpha=0.5), tmp_path)
    hand = Hand((1, 3, 4, 5))
    x = hand.node("Transpose", start(hand, POWERS), perm=[0, 2, 3, 1])
    end(hand, hand.node("MatMul", x, hand.weight(ints(4, 6))), tmp_path)


def test_of_a_vector(tmp_path):
    hand = Hand((1, 12))
    x = hand.node("MatMul", hand.quant("image", bits=3.0), hand.weight(ints(12, 4), 0.1))
    x = hand.quant(x, POWERS.reshape(1, 4), bits=4.0)
    end(hand, hand.node("MatMul", x, hand.weight(ints(4, 6))), tmp_path)


@pytest.mark.parametrize("scales, most", [(ODD, 1), (POWERS * np.array([1, 1, 0.125, 1]), 3)])
def test_scales_that_weights_cannot_hold(tmp_path, scales, most):
    hand = Hand((1, 3, 6, 7))
    y = hand.node("Conv", start(hand, scales), hand.weight(ints(5, 4, 3, 3, most=most)), name="dense")
    text = refused(hand, hand.quant(y), tmp_path)
    assert "dense (Conv): its input has a scale per channel, from" in text and "8 bits" in text


def test_pools(tmp_path):
    for op, options in (("MaxPool", {"strides": [2, 2]}), ("AveragePool", {}), ("AveragePool", {"strides": [2, 2]})):
        hand = Hand((1, 3, 6, 8))
        y = hand.node(op, start(hand, ODD, signed=1, relu=False), kernel_shape=[2, 2], **options)
        y = y if op == "MaxPool" else hand.quant(y, per(ODD[::-1]), bits=5.0, signed=1)
        end(hand, hand.node("Conv", y, hand.weight(ints(4, 1, 3, 3)), group=4), tmp_path)


def test_average_without_a_quantizer(tmp_path):
    hand = Hand((1, 3, 6, 8))
    y = hand.node("Flatten", hand.node("GlobalAveragePool", start(hand, POWERS, 8.0)))
    end(hand, hand.node("MatMul", y, hand.weight(ints(4, 5))), tmp_path)


def test_sums(tmp_path):
    """Two tensors with scales of their own, and one of them with a layer's sums."""
    hand = Hand((1, 3, 6, 8))
    one, two = start(hand, ODD), start(hand, ODD[::-1], signed=1, relu=False)
    end(hand, hand.node("Add", one, two), tmp_path, 0.11)
    hand = Hand((1, 3, 6, 8))
    one = start(hand, ODD)
    y = hand.node("Conv", one, hand.weight(ints(4, 1, 3, 3)), group=4, pads=[1, 1, 1, 1])
    end(hand, hand.node("Sub", one, y), tmp_path, 0.61)


def test_limits_and_constants_behind(tmp_path):
    """A ReLU of signed codes needs no quantizer; a factor does."""
    hand = Hand((1, 3, 6, 8))
    y = hand.node("Relu", start(hand, ODD, signed=1, relu=False))
    end(hand, hand.node("Conv", y, hand.weight(ints(4, 1, 3, 3)), group=4), tmp_path)
    hand = Hand((1, 3, 6, 8))
    y = hand.node("Mul", start(hand, ODD), hand.const(per(1 / ODD)))
    y = hand.quant(y, 1.5, bits=3.0)
    end(hand, hand.node("Conv", y, hand.weight(ints(5, 4, 3, 3))), tmp_path)


@pytest.mark.parametrize("op, by, group", [("Mul", per(POWERS), 1), ("Div", per(ODD), 4), ("Mul", np.array(0.3), 1)])
def test_factors_between_a_quantizer_and_a_layer(tmp_path, op, by, group):
    hand = Hand((1, 3, 6, 8))
    y = hand.node(op, start(hand, np.full(4, 0.4)), hand.const(by))
    graph = end(hand, hand.node("Conv", y, hand.weight(ints(4, 4 // group, 3, 3)), group=group), tmp_path)
    assert len(graph.ops) == 2


@pytest.mark.parametrize("std, group", [(np.full(3, 0.226), 1), (np.array([0.229, 0.224, 0.225]), 3),
                                        (np.array([0.25, -0.5, 0.25]), 1), (np.array([-0.229, 0.224, 0.225]), 3)])
def test_normalized_inputs(tmp_path, std, group):
    """Mean and deviation per channel between the input's codes and the first layer, which has no padding."""
    hand = Hand((1, 3, 6, 8))
    y = hand.node("Sub", hand.quant("image", 1 / 255), hand.const(per([0.485, 0.456, 0.406])))
    y = hand.node("Div", y, hand.const(per(std)))
    y = hand.node("Conv", y, hand.weight(ints(6, 3 // group, 3, 3), 0.1), hand.const(np.arange(6) / 4), group=group)
    graph = end(hand, y, tmp_path)
    assert len(graph.ops) == 1


def test_factor_before_a_max_pool(tmp_path):
    hand = Hand((1, 3, 6, 8))
    y = hand.node("MaxPool", hand.node("Mul", start(hand, ODD), hand.const(per(POWERS))), kernel_shape=[2, 2])
    end(hand, hand.node("Conv", y, hand.weight(ints(4, 1, 3, 3)), group=4), tmp_path)


def test_negative_factor_before_a_max_pool(tmp_path):
    """The largest value is that of the smallest code, so that the pool works on codes of a quantizer behind it."""
    hand = Hand((1, 3, 6, 8))
    y = hand.node("MaxPool", hand.node("Mul", start(hand, ODD), hand.const(per(-POWERS))), kernel_shape=[2, 2])
    y = hand.quant(y, 0.21, bits=5.0, signed=1)
    end(hand, hand.node("Conv", y, hand.weight(ints(4, 1, 3, 3)), group=4), tmp_path)


def test_layers_that_no_quantizer_follows(tmp_path):
    """The message is that of any other layer, whatever its input's scales."""
    for op, options in (("Conv", {}), ("GlobalAveragePool", None)):
        hand = Hand((1, 3, 6, 8))
        y = hand.node("Conv", start(hand, POWERS), hand.weight(ints(6, 4, 3, 3, most=1)))
        y = hand.node(op, y, hand.weight(ints(5, 6, 3, 3)), name="second") if options is not None else \
            hand.node(op, y, name="second")
        assert f"second ({op}): its input" in refused(hand, hand.quant(y), tmp_path)


def test_batch_norm_before_linear_layers(tmp_path):
    """Factors whose ratios are powers of two, with one variance; and a Mul and an Add."""
    hand = Hand((1, 12))
    constants = [hand.const(values.repeat(3)) for values in (POWERS, ODD, ODD / 3, np.full(4, 0.7))]
    y = hand.node("BatchNormalization", hand.quant("image", 0.2, bits=3.0), *constants, epsilon=1e-5)
    end(hand, hand.node("MatMul", y, hand.weight(ints(12, 4))), tmp_path)
    hand = Hand((1, 12))
    y = hand.node("Mul", hand.quant("image", 0.2, bits=3.0), hand.const(POWERS.repeat(3)))
    y = hand.node("Add", y, hand.const(ODD.repeat(3)))
    end(hand, hand.node("Gemm", y, hand.weight(ints(4, 12)), hand.const(np.arange(4.0)), transB=1), tmp_path)


def test_negative_factors_before_a_border_and_a_max_pool(tmp_path):
    """The largest value is that of the smallest code there."""
    hand = Hand((1, 3, 6, 8))
    y = hand.node("Pad", hand.node("Neg", start(hand, ODD)), hand.const(np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    text = refused(hand, hand.quant(hand.node("MaxPool", y, kernel_shape=[2, 2])), tmp_path)
    assert "a max pool of a padded tensor that is not quantized" in text


def test_padding_behind_an_offset(tmp_path):
    """Zeros of the border are real zeros there, which no code is."""
    hand = Hand((1, 3, 6, 8))
    y = hand.node("Sub", hand.quant("image", 1 / 255), hand.const(per([0.485, 0.456, 0.406])))
    y = hand.conv(y, rows=4, channels=3, name="first", pads=[1, 1, 1, 1])
    assert "first (Conv): padding behind an offset that is not quantized" in refused(hand, hand.quant(y), tmp_path)


@pytest.mark.parametrize("scale", [0.25, 1.0])
def test_quantized_again(tmp_path, scale):
    """The same scales do nothing, one scale for all makes codes of another grid."""
    hand = Hand((1, 3, 6, 8))
    x = start(hand, ODD)
    y = hand.quant(hand.quant(x, per(ODD), bits=4.0, name="same"), scale, bits=4.0, name="other")
    graph = end(hand, hand.node("Conv", y, hand.weight(ints(5, 4, 3, 3))), tmp_path)
    assert "same_out" not in graph.tensors and "other_out" in graph.tensors


@pytest.mark.parametrize("quantized", [True, False])
def test_concatenations(tmp_path, quantized):
    hand = Hand((1, 3, 6, 8))
    y = hand.node("Concat", start(hand, POWERS), start(hand, POWERS[::-1], 3.0), axis=1)
    if quantized:
        y = hand.quant(y, per(np.arange(1, 9) * 0.21), bits=4.0)
    end(hand, hand.node("Conv", y, hand.weight(ints(8, 1, 3, 3)), group=8), tmp_path)


def test_some_channels(tmp_path):
    """Split, and a shuffle of channels: a dense layer reads the whole tensor, a depthwise one gets a copy."""
    for group in (1, 2):
        hand = Hand((1, 3, 6, 8))
        x = start(hand, POWERS)
        hand.node("Split", x, hand.const(np.array([2, 2])), name="part", outputs=2, axis=1)
        first, second = hand.nodes[-1].output
        y = hand.node("Conv", second, hand.weight(ints(4, 2 // group, 3, 3)), group=group)
        z = hand.node("Conv", first, hand.weight(ints(4, 2 // group, 3, 3, seed=5)), group=group)
        end(hand, hand.node("Add", hand.quant(y, 0.4, signed=1), hand.quant(z, 0.3, signed=1)), tmp_path)
    hand = Hand((1, 3, 6, 8))
    y = hand.node("Reshape", start(hand, ODD), hand.const(np.array([1, 2, 2, 6, 8])))
    y = hand.node("Reshape", hand.node("Transpose", y, perm=[0, 2, 1, 3, 4]), hand.const(np.array([1, 4, 6, 8])))
    end(hand, hand.node("Conv", y, hand.weight(ints(4, 1, 3, 3)), group=4), tmp_path)


@pytest.mark.parametrize("reader", ["Conv", "MaxPool"])
def test_borders(tmp_path, reader):
    """Zeros that the next layer takes over, and those that must be stored."""
    hand = Hand((1, 3, 6, 8))
    x = start(hand, ODD, signed=1, relu=False)
    y = hand.node("Pad", x, hand.const(np.array([0, 0, 1, 2, 0, 0, 0, 1])))
    if reader == "MaxPool":
        y = hand.node("MaxPool", y, kernel_shape=[2, 2])
    end(hand, hand.node("Conv", y, hand.weight(ints(4, 1, 3, 3)), group=4), tmp_path)


@pytest.mark.parametrize("op", ["Quant", "BipolarQuant"])
def test_signs(tmp_path, op):
    hand = Hand((1, 3, 6, 8))
    x = hand.node("Conv", hand.quant("image", bits=3.0), hand.weight(ints(4, 3, 3, 3)),
                  hand.const(np.array([0.25, -0.75, 0.25, 0.75])))
    if op == "Quant":
        x = hand.quant(x, per(POWERS), bits=1.0, signed=1)
    else:
        x = hand.node(op, x, hand.const(per(POWERS)), domain=QONNX)
    end(hand, hand.node("Conv", x, hand.weight(ints(5, 4, 3, 3))), tmp_path)


def test_output_left_to_the_host(tmp_path):
    """The host multiplies the codes of every channel with its own number; the executor's real values are equal."""
    hand = Hand((1, 3, 6, 7))
    path = hand.save(tmp_path / "net.onnx", start(hand, ODD))
    graph, network = load(path), read_network(path)
    assert network.host[0].op == "Affine" and np.allclose(network.host[0].options["slope"], ODD)
    found = compare(path, graph, np.random.default_rng(4).integers(0, 8, (30, 3, 6, 7)), every_layer=True)
    assert found.ok and len(found.layers) == 2


def test_weights_with_scales_within_a_row(tmp_path):
    """A scale per input channel, or per weight: integers of their common step."""
    hand = Hand((1, 4, 6, 7))
    scales = POWERS.reshape(1, 4, 1, 1) * np.array([0.3, 1.0, 0.7]).reshape(3, 1, 1, 1)
    weight = hand.weight(ints(3, 4, 3, 3), np.float32(scales))
    graph = end(hand, hand.node("Conv", hand.quant("image", bits=3.0), weight), tmp_path)
    assert graph.ops[0].weight.max() > 7
    hand = Hand((1, 12))
    weight = hand.weight(ints(12, 5), 0.5 ** np.random.default_rng(1).integers(0, 4, (12, 5)))
    end(hand, hand.node("MatMul", hand.quant("image", bits=3.0), weight), tmp_path)


@pytest.mark.parametrize("change", ["scale", "zero"])
def test_what_is_refused(tmp_path, change):
    hand = Hand((1, 3, 6, 7))
    if change == "scale":
        x, text = hand.quant("image", per([1.0, 0.5, 1.0]), name="bad"), "one scale per channel of the network's input"
    else:
        zero = hand.const(per([0.0, 1.0, 0.0, 0.0]))
        x = hand.node("Conv", hand.quant("image"), hand.weight(ints(4, 3, 3, 3)))
        x = hand.node("Quant", x, hand.const(np.float64(1.0)), zero, hand.const(np.float64(4.0)), name="bad",
                      domain=QONNX, signed=0, narrow=0, rounding_mode="ROUND")
        text = "one zero point per channel"
    assert f"bad (Quant): {'an activation with ' if change == 'zero' else ''}{text}" in refused(hand, x, tmp_path)


# -- other forms of these networks, which test_network_forms.py makes ------------------


def scales_before_depthwise(h):
    x = h.quant(h.node("Relu", h.conv(h.quant("image", 0.5, bits=3.0), rows=4)), per(ODD * 9), bits=4.0)
    y = h.node("Conv", x, h.weight(ints(4, 1, 3, 3)), group=4, pads=[1, 1, 1, 1])
    return h.quant(y, 3.1, bits=8.0, signed=1)


def scales_before_a_pool_and_a_convolution(h):
    x = h.quant(h.conv(h.quant("image", 0.5, bits=3.0), rows=4), per(POWERS * 9), bits=4.0, signed=1)
    y = h.node("Conv", h.node("MaxPool", x, kernel_shape=[2, 2]), h.weight(ints(5, 4, 2, 2)))
    return h.quant(y, 31.1, bits=8.0, signed=1)


def scales_of_a_sum(h):
    x = h.quant("image", 0.5, bits=3.0)
    parts = [h.quant(h.conv(x, rows=4), per(scales * 9), bits=4.0, signed=1) for scales in (ODD, ODD[::-1])]
    return h.quant(h.node("Add", *parts), 4.7, bits=8.0, signed=1)


CASES = scales_before_depthwise, scales_before_a_pool_and_a_convolution, scales_of_a_sum


# -- QuantizeLinear with an axis -------------------------------------------------------


def qdq(hand, x, scales, zero, axis=1, factor=1, back=None):
    """Both nodes; the second may have other scales or another axis."""
    scales, zeros = np.float32(scales), np.full(len(scales), zero)
    return hand.dq(hand.q(x, scales, zeros, axis=axis), scales * factor, zeros, axis=back or axis, name="back")


@pytest.mark.parametrize("zero", [np.uint8(0), np.uint8(9), np.int8(0), np.int8(-5)])
@pytest.mark.parametrize("axis", [1, -3])
def test_qdq(tmp_path, zero, axis):
    hand = QdqHand((1, 2, 6, 7))
    x = hand.node("Conv", hand.qdq("image", 0.25), hand.weight(ints(4, 2, 3, 3, most=100), 0.03125))
    x = qdq(hand, x, ODD, zero, axis)
    y = hand.node("Conv", x, hand.weight(ints(4, 1, 3, 3, most=100)), group=4, pads=[1, 1, 1, 1])
    exact(hand.save(tmp_path / "net.onnx", hand.q(y, 64.0, np.int8(3))))


@pytest.mark.parametrize("back", [{"factor": 2}, {"back": 2}])
def test_dequantized_otherwise(tmp_path, back):
    hand = QdqHand((1, 2, 6, 6))
    x = qdq(hand, hand.conv_of(hand.qdq("image")), ODD[:3], np.uint8(0), **back)
    text = refused(hand, hand.q(hand.node("MaxPool", x, kernel_shape=[2, 2])), tmp_path)
    assert "back (DequantizeLinear)" in text
