"""QuantizeLinear and DequantizeLinear as exporters write them, against onnxruntime; and what is refused of them."""

from dataclasses import replace

import numpy as np
from onnx import TensorProto, helper
import pytest

from hwgen.errors import HwgenError
from hwgen.frontend import inspect, load
from hwgen.frontend.execute import compare
from hwgen.golden import run

from qdq_networks import QdqHand, onnxruntime_tensors

RNG = np.random.default_rng(6)
WEIGHT = RNG.integers(-128, 128, (3, 2, 3, 3))
WEIGHT[0, 1, 2, 0] = -128


def codes_of(count=20, shape=(2, 6, 6), top=255):
    return np.random.default_rng(9).integers(0, top + 1, (count, *shape))


def check(hand, path, y, scale=0.5, zero=0, codes=None, **options):
    """The golden model's codes are the integers of onnxruntime's tensor ``y``, all of them."""
    hand.save(path, y, **options)
    graph = load(path)
    codes = codes_of() if codes is None else codes
    feed = (scale * (codes - float(zero))).astype(np.float32)
    if options.get("kind", TensorProto.FLOAT) != TensorProto.FLOAT:
        feed = codes.astype(np.uint8)
    golden = run(graph, codes)[graph.outputs[0]]
    theirs, = onnxruntime_tensors(path, feed, [y])
    least = -128 if theirs.dtype == np.int8 else 0
    assert theirs.dtype.kind in "iu"
    assert np.array_equal(golden.reshape(theirs.shape), theirs.astype(int) - least)
    assert len(np.unique(golden)) > 3
    assert compare(path, graph, codes, every_layer=True).tie_rounds == 0
    return graph


@pytest.mark.parametrize("zero", [np.uint8(0), np.uint8(7), np.uint8(200), np.int8(0), np.int8(-33), np.int8(-128)])
@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_zero_points_are_added_after_rounding(tmp_path, zero, scale):
    """Codes in halves and eighths: every second position is a tie at scale 0.5, odd zero points decide nothing."""
    hand = QdqHand()
    x = hand.dq(hand.q("image", 0.25, np.uint8(31)), 0.25, np.uint8(31))
    y = hand.node("Conv", x, hand.weight(np.sign(WEIGHT), 0.25 if scale < 1 else 2.0))
    check(hand, tmp_path / "a.onnx", hand.q(y, scale, zero), 0.25, 31)


def test_per_channel_weights_and_bias(tmp_path):
    hand = QdqHand()
    scales = np.array([0.25, 0.5, 2.0])
    w = hand.dq(hand.const(WEIGHT.astype(np.int8)), scales, np.zeros(3, np.int8), axis=0)
    b = hand.dq(hand.const(np.array([-700, 70000, 12], np.int32)), 0.5 * scales, np.zeros(3, np.int32), axis=0)
    y = hand.node("Relu", hand.node("Conv", hand.qdq("image"), w, b, pads=[1, 1, 1, 1]))
    check(hand, tmp_path / "a.onnx", hand.q(y, 64.0, np.uint8(9)))


def test_columns_of_a_matmul(tmp_path):
    """A MatMul's weight has its rows along axis 1."""
    hand = QdqHand()
    x = hand.node("Flatten", hand.qdq("image"))
    w = hand.dq(hand.const(RNG.integers(-128, 128, (72, 4)).astype(np.int8)), [0.25, 1.0, 0.5, 2.0],
                np.zeros(4, np.int8), axis=-1)
    check(hand, tmp_path / "a.onnx", hand.q(hand.node("MatMul", x, w), 128.0, np.int8(3)))


def test_pytorchs_casts_and_clips(tmp_path):
    """7-bit activations and weights without -128 are Clips of integers; zero points come from ConstantOfShape."""
    hand = QdqHand()
    q = hand.node("Clip", hand.q("image"), hand.const(np.uint8(0)), hand.const(np.uint8(127)))
    x = hand.dq(hand.node("Cast", q, to=TensorProto.UINT8))
    w = hand.q(hand.const(WEIGHT * 0.25), 0.25, np.int8(0))
    w = hand.node("Clip", w, hand.const(np.int8(-127)), hand.const(np.int8(127)))
    shape = hand.node("Constant", value=helper.make_tensor("s", TensorProto.INT64, [1], [3]))
    zeros = hand.node("Cast", hand.node("ConstantOfShape", shape), to=TensorProto.INT8)
    scale = hand.const(np.full(3, 0.25, np.float32))
    w = hand.node("DequantizeLinear", hand.node("Cast", w, to=TensorProto.INT8), scale, zeros, axis=0)
    q = hand.q(hand.node("Relu", hand.node("Conv", x, w)), 8.0)
    q = hand.node("Clip", q, hand.const(np.uint8(0)), hand.const(np.uint8(127)))
    y = hand.node("Conv", hand.dq(q, 8.0), hand.weight(np.ones((2, 3, 1, 1))))
    graph = check(hand, tmp_path / "a.onnx", hand.q(y, 16.0), codes=codes_of(top=127))
    assert [tensor.bits for tensor in graph.tensors.values()] == [7, 7, 8]
    assert graph.ops[0].weight.min() == -127 and WEIGHT.min() == -128


def test_limits_of_integer_constants(tmp_path):
    """Weights of fewer than 8 bits pass a Clip before DequantizeLinear, as Brevitas writes them; limits may lack."""
    hand = QdqHand()
    x = hand.qdq("image")
    integers = RNG.integers(-7, 8, (3, 2, 2, 2)).astype(np.int8)
    w = hand.node("Clip", hand.const(integers), hand.const(np.int8(-7)), hand.const(np.int8(7)))
    y = hand.qdq(hand.node("Conv", x, hand.dq(w, 0.25, np.int8(0))), 16.0, np.uint8(128))
    w = hand.node("Clip", hand.const(integers[:, :1].repeat(3, axis=1)), "", hand.const(np.int8(3)))
    z = hand.node("Conv", y, hand.dq(w, 0.25, np.int8(0)))
    graph = check(hand, tmp_path / "a.onnx", hand.q(z, 64.0, np.uint8(128)))
    assert np.array_equal(graph.ops[0].weight, integers) and set(graph.ops[0].schemes) <= {"sp2", "fixed4", "pot4"}
    assert np.array_equal(graph.ops[1].weight, integers[:, :1].repeat(3, axis=1).clip(max=3))


def test_relu_without_a_quantizer_behind_it(tmp_path):
    """Codes limited on their own grid are codes, for a layer behind a pool and for a concatenation."""
    hand = QdqHand()
    x = hand.qdq(hand.conv_of(hand.qdq("image"), pads=[1, 1, 1, 1]), 32.0, np.uint8(100))
    y = hand.node("MaxPool", hand.node("Relu", x), kernel_shape=[2, 2])
    z = hand.qdq(hand.node("Conv", y, hand.weight(np.ones((3, 3, 2, 2)), 0.5)), 64.0, np.uint8(90))
    z = hand.node("Concat", hand.node("Clip", z, hand.const(-64.0), hand.const(1024.0)), z, axis=1)
    z = hand.qdq(hand.node("Conv", z, hand.weight(RNG.integers(-9, 9, (3, 6, 1, 1)))), 64.0, np.int8(3))
    check(hand, tmp_path / "a.onnx", hand.q(hand.node("Relu", z), 32.0, np.uint8(7)))


def test_float_weights_on_ties(tmp_path):
    """max/127.5 as scale puts the largest weights of float32 on a tie; their integers are onnxruntime's."""
    real = np.random.default_rng(3).normal(size=(16, 2, 3, 3)).astype(np.float32)
    for row, peak in enumerate(np.abs(real).reshape(16, -1).argmax(axis=1)):
        real.reshape(16, -1)[row, peak] *= -1 if row % 2 else 1
    scale = np.abs(real).reshape(16, -1).max(axis=1) / np.float32(127.5)
    hand = QdqHand()
    q = hand.q(hand.const(real), scale, np.zeros(16, np.int8), axis=0)
    y = hand.node("Conv", hand.qdq("image"), hand.dq(q, scale, np.zeros(16, np.int8), axis=0))
    path = hand.save(tmp_path / "a.onnx", hand.q(y, 0.1, np.uint8(120)))
    theirs, = onnxruntime_tensors(path, np.zeros((1, 2, 6, 6), np.float32), [q])
    assert np.array_equal(load(path).ops[0].weight, theirs)
    assert compare(path, None, codes_of(), every_layer=True).ok


def test_input_of_integers(tmp_path):
    hand = QdqHand()
    x = hand.dq("image", 0.5, np.uint8(100))
    check(hand, tmp_path / "a.onnx", hand.q(hand.conv_of(x), 64.0, np.uint8(128)), kind=TensorProto.UINT8)


def test_integers_may_be_moved_and_pooled(tmp_path):
    """MaxPool, Reshape and Flatten between QuantizeLinear and DequantizeLinear."""
    hand = QdqHand()
    q = hand.node("MaxPool", hand.q("image", 0.5, np.uint8(3)), kernel_shape=[2, 2], strides=[2, 2])
    q = hand.node("Reshape", hand.node("Identity", q), hand.const(np.array([1, -1])))
    w = hand.weight(RNG.integers(-128, 128, (4, 18)))
    y = hand.node("Gemm", hand.dq(q, 0.5, np.uint8(3)), w, transB=1)
    check(hand, tmp_path / "a.onnx", hand.q(y, 32.0, np.uint8(128)), 0.5, 3)


def test_offset_per_channel_behind_a_quantizer(tmp_path):
    """A bias added to codes runs as a convolution of ones and zeros with a requantizer per row."""
    hand = QdqHand()
    x = hand.node("Add", hand.qdq("image"), hand.const(np.array([1.5, -8.0]).reshape(1, 2, 1, 1)))
    check(hand, tmp_path / "a.onnx", hand.q(x, 1.0, np.uint8(5)))


def test_concat_of_one_grid_and_of_three(tmp_path):
    for scales in ((0.5, 0.5), (0.5, 8.0, 0.125)):
        hand = QdqHand()
        x = hand.qdq("image")
        parts = [x] + [hand.qdq(hand.conv_of(x, pads=[1, 1, 1, 1]), scale, np.uint8(60)) for scale in scales]
        y = hand.q(hand.node("Concat", *parts, axis=1), 0.5, np.uint8(77))
        check(hand, tmp_path / "a.onnx", y)


def test_concat_read_without_a_quantizer(tmp_path):
    hand = QdqHand()
    x = hand.qdq("image")
    y = hand.node("Conv", hand.node("Concat", x, x, axis=-3), hand.weight(RNG.integers(-9, 9, (3, 4, 1, 1))))
    check(hand, tmp_path / "a.onnx", hand.q(y, 2.0, np.uint8(128)))


def test_four_bits(tmp_path):
    """Opset 21 has 4-bit integers."""
    hand = QdqHand()
    initial = helper.make_tensor("w4", TensorProto.INT4, [3, 2, 1, 1], [-8, 7, 1, 0, 3, -2])
    zero = helper.make_tensor("z4", TensorProto.INT4, [], [0])
    hand.initializers += [initial, zero]
    w = hand.node("DequantizeLinear", "w4", hand.const(0.25), "z4")
    y = hand.node("Conv", hand.qdq("image"), w)
    check(hand, tmp_path / "a.onnx", hand.q(y, 4.0, np.uint8(128)), opset=21)


def test_a_wrong_network_is_found(tmp_path):
    """A quarter of a code in one row's constant, and one weight: both are differences, named by layer and row."""
    hand = QdqHand()
    path = hand.save(tmp_path / "a.onnx", hand.q(hand.conv_of(hand.qdq("image", 0.3)), 11.3, np.uint8(128), "last"))
    graph = load(path)
    op = graph.ops[0]
    constant, weight = op.requant.constant.copy(), op.weight.copy()
    constant[2] += 1 << int(op.requant.shift[2] - 2)
    weight[1, 0, 0, 0] += 3
    faults = ((replace(op, requant=replace(op.requant, constant=constant)), 2), (replace(op, weight=weight), 1))
    for wrong, row in faults:
        result = compare(path, replace(graph, ops=(wrong,)), codes_of(), every_layer=True)
        assert not result.ok and result.different > 0 and result.layers[-1].different > 0
        assert f"last at (channel, y, x) = ({row}, " in result.first_difference
        assert "golden" in result.first_difference and "exact" in result.first_difference
    assert compare(path, graph, codes_of(), every_layer=True).ok


# -- refusals --------------------------------------------------------------------------


def problems(hand, path, *outputs, **options) -> list[str]:
    hand.save(path, *outputs, **options)
    with pytest.raises(HwgenError) as caught:
        load(path)
    listed = [str(problem) for problem in inspect(path).problems]
    assert listed and all(line in str(caught.value) for line in listed)
    return listed


def test_everything_refused_at_once(tmp_path):
    hand = QdqHand()
    x = hand.qdq("image", 0.5, np.uint8(3), name="first")
    weight = 249 + np.arange(54).reshape(3, 2, 3, 3) % 2
    x = hand.node("Conv", x, hand.weight(weight, 0.5, np.uint8(20)), name="wide")
    x = hand.dq(hand.q(x, 0.5, np.uint8(0), name="one"), 0.25, np.uint8(0), name="other")
    x = hand.node("Conv", x, hand.const(np.full((3, 3, 1, 1), 0.3)), name="float")
    x = hand.qdq(x, 1.0, np.uint16(0), name="word")
    x = hand.qdq(hand.node("MaxPool", x, kernel_shape=[2, 2], name="pool"), [0.5, 1.0], np.uint8([0, 9]), "per")
    x = hand.q(hand.node("Elu", x, name="curve"), -1.0, np.uint8(0), name="negative")
    found = problems(hand, tmp_path / "a.onnx", x)
    for name, reason in (("wide (Conv)", "row 0 of its weight holds integers from 229 to 230"),
                         ("other (DequantizeLinear)", "not that of the QuantizeLinear before it"),
                         ("float (Conv)", "its weight is not quantized; put DequantizeLinear"),
                         ("word (QuantizeLinear)", "16 bits"), ("per (QuantizeLinear)", "per channel"),
                         ("curve (Elu)", "not supported"), ("negative (QuantizeLinear)", "must be positive")):
        assert any(line.startswith(name) and reason in line for line in found), (name, found)
    assert len(found) == 7


def test_integers_where_real_values_are_expected(tmp_path):
    hand = QdqHand()
    w = hand.const(WEIGHT.astype(np.int8))
    y = hand.node("Relu", hand.node("Conv", hand.q("image"), w, name="integers"))
    found = problems(hand, tmp_path / "a.onnx", hand.q(y))
    assert len(found) == 1 and "integers (Conv)" in found[0]


@pytest.mark.parametrize("change, text", [
    ({"block_size": 2}, "one scale per block"),
    ({"scale": np.float16(0.5)}, "float16"),
    ({"scale": np.float32(0.0)}, "must be positive"),
    ({"scale": np.float32("nan")}, "NaN"),
    ({"zero": np.zeros(2, np.uint8)}, "2 zero points for 1 scales"),
    ({"zero": np.int32(0)}, "32 bits"),
    ({"zero": np.float32(0)}, "quantization to float32"),
])
def test_quantizers_that_are_refused(tmp_path, change, text):
    hand = QdqHand()
    scale, zero = change.pop("scale", np.float32(0.5)), change.pop("zero", np.uint8(0))
    hand.initializers.append(helper.make_tensor("scale", helper.np_dtype_to_tensor_dtype(scale.dtype), [],
                                                [float(scale)]))
    x = hand.node("QuantizeLinear", "image", "scale", hand.const(zero), name="bad", **change)
    y = hand.q(hand.conv_of(hand.dq(x)))
    assert any("bad (QuantizeLinear)" in line and text in line for line in problems(hand, tmp_path / "a.onnx", y))


@pytest.mark.parametrize("op, text", [("QLinearConv", "QOperator"), ("DynamicQuantizeLinear", "QOperator"),
                                      ("ConvInteger", "QuantFormat.QDQ")])
def test_operators_on_integers(tmp_path, op, text):
    hand = QdqHand()
    y = hand.node(op, hand.q("image"), name="bad")
    assert any(line.startswith(f"bad ({op})") and text in line for line in problems(hand, tmp_path / "a.onnx", y))


def test_softmax_in_the_middle(tmp_path):
    hand = QdqHand()
    y = hand.conv_of(hand.node("Softmax", hand.qdq("image"), name="soft", axis=1), name="behind")
    found = problems(hand, tmp_path / "a.onnx", hand.q(y))
    assert len(found) == 1 and found[0].startswith("behind (Conv): its input comes from Softmax")


@pytest.mark.parametrize("axis, shapes, text", [(2, ((2, 6, 6), (2, 6, 6)), "axis 2"),
                                                (1, ((2, 6, 6), (2, 3, 3)), "maps of one size")])
def test_concats_that_are_refused(tmp_path, axis, shapes, text):
    hand = QdqHand()
    x = hand.qdq("image")
    other = x if shapes[1] == shapes[0] else hand.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    y = hand.q(hand.node("Concat", x, other, axis=axis, name="cat"))
    assert any("cat (Concat)" in line and text in line for line in problems(hand, tmp_path / "a.onnx", y))


def test_zero_point_outside_a_clip(tmp_path):
    hand = QdqHand()
    q = hand.node("Clip", hand.q("image", 0.5, np.uint8(200)), hand.const(np.uint8(0)), hand.const(np.uint8(127)),
                  name="cut")
    found = problems(hand, tmp_path / "a.onnx", hand.q(hand.conv_of(hand.dq(q, 0.5, np.uint8(200)))))
    assert any(line.startswith("cut (Clip)") for line in found)


def test_a_huge_tensor_in_a_small_file(tmp_path):
    hand = QdqHand()
    shape = hand.node("Constant", value=helper.make_tensor("s", TensorProto.INT64, [2], [1 << 20, 1 << 11]))
    hand.node("ConstantOfShape", shape, name="huge")
    path = hand.save(tmp_path / "a.onnx", hand.q(hand.conv_of(hand.qdq("image"))))
    with pytest.raises(HwgenError, match="'huge' is damaged .its shape .* is too large"):
        load(path)


def test_flipped_bytes(tmp_path):
    """Any byte of the file may be wrong: it loads, or there is one message."""
    hand = QdqHand()
    path = hand.save(tmp_path / "a.onnx", hand.q(hand.conv_of(hand.qdq("image", 0.5, np.uint8(3))), 32.0))
    data, rng = bytearray(path.read_bytes()), np.random.default_rng(12)
    for position in rng.integers(0, len(data), 400).tolist():
        broken = bytearray(data)
        broken[position] ^= int(rng.integers(1, 256))
        path.write_bytes(broken)
        try:
            load(path)
        except HwgenError as error:
            assert str(error)
