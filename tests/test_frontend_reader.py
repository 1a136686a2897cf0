"""What the reader makes of each construct of a model file, checked against qonnx and by hand."""

from fractions import Fraction
import json

import numpy as np
from onnx import TensorProto
from onnx_graphs import Hand
import pytest

from hwgen.frontend import inspect, load
from hwgen.frontend.execute import compare
from hwgen.golden import run
from hwgen.graph.ir import Add, AvgPool, Conv, MaxPool

RNG_SEED = 5


def linear_weight(rows=4, features=72):
    return (np.arange(rows * features) % 15 - 7).reshape(rows, features)


def start(hand):
    """The input's Quant node; no simple ratio to other scales, as half to even of acc/6 is in no multiplier's power."""
    return hand.quant("image", 0.9871, 0.0, 4.0)


# -- each returns the network's last tensor; all are executed by qonnx and by the golden model


def gemm_plain(h):
    x = h.node("Flatten", start(h))
    return h.quant(h.node("Gemm", x, h.weight(linear_weight().T), h.const(np.arange(4.0))), 20.0, signed=1)


def gemm_transposed(h):
    x = h.node("Reshape", start(h), h.const(np.array([1, -1])))
    return h.quant(h.node("Gemm", x, h.weight(linear_weight()), transB=1), 20.0, signed=1)


def gemm_scalar_bias(h):
    x = h.node("Flatten", start(h))
    return h.quant(h.node("Gemm", x, h.weight(linear_weight()), h.const(3.5), transB=1), 20.0, signed=1)


def matmul_and_bias(h):
    x = h.node("Flatten", start(h))
    y = h.node("MatMul", x, h.node("Transpose", h.weight(linear_weight()), perm=[1, 0]))
    return h.quant(h.node("Add", h.const(np.arange(4.0) * 7), y), 20.0, signed=1)


def quantized_bias(h):
    bias = h.quant(h.const(np.array([10.3, -7.9, 30.6])), 0.5, 0.0, 16.0, signed=1)
    return h.quant(h.node("Conv", start(h), h.weight(np.ones((3, 2, 3, 3), int)), bias), 3.0)


def passing_nodes(h):
    x = h.node("Cast", h.node("Identity", start(h)), to=TensorProto.FLOAT)
    return h.quant(h.conv(h.node("Dropout", x)), 7.0, signed=1)


def constants_through_identity(h):
    scale = h.node("Cast", h.node("Identity", h.const(np.float64(6.5))), to=TensorProto.FLOAT)
    x = h.conv(start(h))
    return h.node("Quant", x, scale, h.const(0.0), h.const(4.0), domain="qonnx.custom_op.general", signed=0, narrow=0)


def int_quant(h):
    x = h.quant("image", 0.9871, bits=4.0, op="IntQuant")
    return h.quant(h.conv(x), 5.0, op="IntQuant", domain="onnx.brevitas")


def batch_norm_negative(h):
    y = h.node("BatchNormalization", h.conv(start(h)), *(h.const(np.array(v)) for v in (
        [1.5, -0.75, 0.0], [1.0, -2.0, 5.0], [10.0, -3.0, 2.0], [4.0, 0.3, 2.0])), epsilon=0.01)
    return h.quant(h.node("Relu", y), 4.0, bits=4.0)


def affine_chain(h):
    column = np.array([1.5, -2.0, 0.25]).reshape(1, 3, 1, 1)
    y = h.node("Mul", h.const(column), h.conv(start(h)))
    y = h.node("Sub", h.const(np.float32(3.0)), y)
    y = h.node("Div", y, h.const(column[0] * 3))
    return h.quant(h.node("Sub", y, h.const(np.array([[[[0.5]]]]))), 4.0, 3.0, bits=4.0)


def relu6(h):
    return h.quant(h.node("Clip", h.conv(start(h)), h.const(0.0), h.const(60.0)), 5.0, bits=8.0)


def clip_of_signed_with_zero(h):
    return h.quant(h.node("Clip", h.conv(start(h)), h.const(-20.0), h.const(31.0)), 3.0, -2.0, bits=6.0, signed=1)


def relu_between_factors(h):
    y = h.node("Mul", h.node("Relu", h.conv(start(h))), h.const(np.float32(-0.5)))
    return h.quant(y, 4.0, bits=6.0, signed=1)


def bipolar_activations(h):
    x = h.node("BipolarQuant", h.conv(start(h)), h.const(0.53), domain="qonnx.custom_op.general")
    return h.quant(h.conv(x, channels=3, pads=[1, 1, 1, 1]), 3.0, signed=1)


def bipolar_by_one_bit(h):
    y = h.node("BatchNormalization", h.conv(start(h)), *(h.const(np.array(v)) for v in (
        [1.5, -0.75, 0.0], [1.0, -2.0, -5.0], [10.0, -3.0, 2.0], [4.0, 0.3, 2.0])))
    x = h.quant(y, 0.53, bits=1.0, signed=1)
    return h.quant(h.conv(x, channels=3), 3.0, signed=1)


def one_bit_unsigned(h):
    return h.quant(h.conv(h.quant(h.conv(start(h)), 20.0, bits=1.0), channels=3), 3.0, signed=1)


def bipolar_weights(h):
    real = np.linspace(-1, 1, 54).reshape(3, 2, 3, 3)
    w = h.node("BipolarQuant", h.const(real), h.const(np.array([0.5, 1.0, 2.0]).reshape(3, 1, 1, 1)),
               domain="qonnx.custom_op.general")
    return h.quant(h.node("Conv", start(h), w), 4.0, signed=1)


def weights_off_the_grid(h):
    rng = np.random.default_rng(RNG_SEED)
    w = h.quant(h.const(rng.normal(0, 1, (3, 2, 3, 3))), rng.uniform(0.1, 0.3, (3, 1, 1, 1)), 0.0, 4.0, signed=1,
                narrow=1)
    return h.quant(h.node("Conv", start(h), w), 2.0, signed=1)


def weights_with_zero_point(h):
    w = h.quant(h.const((np.arange(54) % 15 - 5.0).reshape(3, 2, 3, 3)), 1.0, 5.0, 4.0)
    return h.quant(h.node("Conv", start(h), w), 20.0, signed=1)


def signed_input_padded(h):
    x = h.quant("image", 0.5, 3.0, 5.0, signed=1)
    return h.quant(h.conv(x, pads=[1, 0, 2, 1], strides=[2, 1]), 4.0, 1.0, bits=5.0)


def same_upper(h):
    return h.quant(h.conv(start(h), kernel=2, auto_pad="SAME_UPPER", strides=[2, 1]), 4.0, bits=6.0, signed=1)


def same_lower(h):
    return h.quant(h.conv(start(h), kernel=4, auto_pad="SAME_LOWER", strides=[1, 1]), 4.0, bits=6.0, signed=1)


def valid(h):
    return h.quant(h.conv(start(h), auto_pad="VALID", strides=[3, 2]), 4.0, bits=6.0, signed=1)


def same_pool(h):
    x = h.quant(h.conv(start(h)), 4.0, bits=6.0, signed=1)
    return h.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")


def quantized_scalar(h):
    """A factor without dimensions that passes a Quant node of its own."""
    factor = h.quant(h.const(np.array(0.7)), 0.1, bits=4.0)
    return h.quant(h.node("Mul", h.conv(start(h)), factor), 9.0)


def ceil_mode_without_effect(h):
    return h.node("MaxPool", h.quant(h.conv(start(h)), 9.0), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)


def ceil_mode(h):
    """Sides of 3 and of 2 steps: one more window below and to the right, which begins in the map."""
    x = h.quant(h.conv(start(h)), 9.0, signed=1)
    return h.node("MaxPool", x, kernel_shape=[3, 2], strides=[2, 3], pads=[1, 0, 0, 0], ceil_mode=1)


def ceil_mode_whose_last_window_is_beyond(h):
    """The last window would begin in the padding to the right: left out."""
    x = h.quant(h.conv(start(h)), 9.0, signed=1)
    return h.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 3], pads=[1, 1, 1, 1], ceil_mode=1)


def max_pool_before_quant(h):
    y = h.node("MaxPool", h.conv(start(h)), kernel_shape=[2, 2], strides=[1, 2], pads=[1, 0, 0, 1])
    y = h.node("Add", h.node("Mul", y, h.const(0.5)), h.const(np.arange(3.0).reshape(1, 3, 1, 1)))
    return h.quant(h.node("Relu", h.node("MaxPool", y, kernel_shape=[1, 2])), 2.0, bits=4.0)


def average_padded_with_zero_point(h):
    x = h.quant(h.conv(start(h)), 4.0, 2.0, bits=4.0)
    return h.quant(h.node("AveragePool", x, kernel_shape=[2, 3], pads=[1, 1, 0, 2], count_include_pad=1), 3.0, bits=4.0)


def mean_keepdims(h):
    x = h.quant(h.conv(start(h)), 4.0, bits=4.0, signed=1)
    return h.quant(h.node("ReduceMean", x, axes=[2, 3], keepdims=1), 0.7, bits=8.0, signed=1)


def mean_flat(h):
    x = h.quant(h.conv(start(h)), 4.0, bits=4.0, signed=1)
    x = h.quant(h.node("ReduceMean", x, axes=[-2, -1], keepdims=0), 0.7, bits=8.0, signed=1)
    return h.quant(h.node("MatMul", x, h.weight(linear_weight(3, 5).reshape(3, 5) % 7)), 2.0, signed=1)


def global_average_squeezed(h):
    x = h.quant(h.node("GlobalAveragePool", h.quant(h.conv(start(h)), 4.0, bits=4.0)), 1.1, bits=4.0)
    x = h.node("Squeeze", x, h.const(np.array([2, 3])))
    return h.quant(h.node("MatMul", x, h.weight(linear_weight(3, 5))), 2.0, signed=1)


def two_step(h):
    x = start(h)
    one, two = h.quant(h.conv(x), 5.17, bits=4.0), h.quant(h.conv(x, np.ones((3, 2, 3, 3), int)), 7.0, 1.0, bits=4.0)
    return h.quant(h.node("Mul", h.node("Relu", h.node("Add", one, two)), h.const(0.5)), 3.0, bits=4.0)


def fused_with_batch_norm(h):
    x = start(h)
    one, two = h.conv(x), h.quant(h.conv(x, np.ones((3, 2, 3, 3), int)), 7.0, 1.0, bits=4.0)
    y = h.node("BatchNormalization", h.node("Add", two, one), *(h.const(np.array(v)) for v in (
        [1.5, -0.75, 1.0], [1.0, -2.0, 5.0], [10.0, -3.0, 2.0], [4.0, 0.3, 2.0])))
    return h.quant(h.node("Relu", y), 4.0, bits=4.0)


def add_to_itself(h):
    x = h.quant(h.conv(start(h)), 5.0, bits=4.0)
    return h.quant(h.node("Add", x, x), 7.0, bits=4.0)


def quantized_again(h):
    x = h.quant(h.quant(h.conv(start(h)), 3.0, bits=6.0, signed=1), 7.0, 2.0, bits=4.0)
    return h.quant(h.conv(x, channels=3), 20.3, signed=1)


def relu_of_codes(h):
    x = h.quant(h.node("Relu", h.quant(h.conv(start(h)), 3.0, bits=6.0, signed=1)), 3.0, bits=5.0)
    return h.quant(h.conv(x, channels=3), 20.3, signed=1)


def unused_branch(h):
    x = start(h)
    h.quant(h.conv(x, name="dead"), 3.0)
    return h.quant(h.conv(x), 9.0)


CASES = [gemm_plain, gemm_transposed, gemm_scalar_bias, matmul_and_bias, quantized_bias, passing_nodes,
         constants_through_identity, int_quant, batch_norm_negative, affine_chain, relu6, clip_of_signed_with_zero,
         relu_between_factors, bipolar_activations, bipolar_by_one_bit, one_bit_unsigned, bipolar_weights,
         weights_off_the_grid, weights_with_zero_point, signed_input_padded, same_upper, same_lower, valid, same_pool,
         quantized_scalar, ceil_mode_without_effect, ceil_mode, ceil_mode_whose_last_window_is_beyond,
         max_pool_before_quant, average_padded_with_zero_point, mean_keepdims, mean_flat, global_average_squeezed,
         two_step, fused_with_batch_norm, add_to_itself, quantized_again, relu_of_codes, unused_branch]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_equals_qonnx(tmp_path, case):
    hand = Hand()
    path = hand.save(tmp_path / "net.onnx", case(hand))
    graph = load(path, m_bits=28)
    tensor = graph.tensors[graph.input]
    codes = np.random.default_rng(RNG_SEED).integers(0, 1 << tensor.bits, (30, *tensor.shape))
    result = compare(path, graph, codes)
    assert result.different == 0, result
    assert result.equal > 0.9 * result.compared
    assert len(np.unique(run(graph, codes)[graph.outputs[0]])) > 1
    assert inspect(path).ok


# -- structure and numbers by hand -----------------------------------------------------


def test_signed_codes_are_shifted(tmp_path):
    """A signed n-bit tensor has codes q + 2^(n-1) and the zero point 2^(n-1) + z; a bipolar one {0, 2} and 1."""
    hand = Hand()
    x = hand.quant("image", 0.5, 3.0, 5.0, signed=1, narrow=1, name="in")
    x = hand.quant(hand.conv(x), 4.0, -1.0, bits=4.0, signed=1, name="mid")
    x = hand.node("BipolarQuant", hand.conv(x, channels=3, kernel=1), hand.const(2.0), name="two",
                  domain="qonnx.custom_op.general")
    y = hand.quant(hand.conv(x, channels=3, kernel=1), 4.0, bits=3.0, name="out")
    graph = load(hand.save(tmp_path / "net.onnx", y))
    assert {name: (t.bits, t.scale, t.zero_point) for name, t in graph.tensors.items()} == {
        "in_out": (5, 0.5, 19), "mid_out": (4, 4.0, 7), "two_out": (2, 2.0, 1), "out_out": (3, 4.0, 0)}
    assert (graph.input, graph.outputs) == ("in_out", ("out_out",))
    assert (graph.ops[1].requant.low, graph.ops[1].requant.high) == (0, 2)
    codes = np.random.default_rng(RNG_SEED).integers(0, 32, (4, 2, 6, 6))
    assert set(np.unique(run(graph, codes, keep=True)["two_out"])) == {0, 2}


def test_codes_by_hand(tmp_path):
    """A padded convolution with zero points, bias, negative factor and Relu, in Fractions and plain loops."""
    rng = np.random.default_rng(RNG_SEED)
    weight, bias = rng.integers(-7, 8, (3, 2, 3, 3)), rng.normal(0, 30, 3).astype(np.float32)
    factor = np.array([1.25, -0.75, 0.0], np.float32)
    s_in, s_out, alpha = (np.float32(v) for v in (0.3, 2.1, 0.7))
    hand = Hand()
    x = hand.quant("image", s_in, 2.0, 4.0)
    y = hand.node("Conv", x, hand.weight(weight, alpha), hand.const(bias), pads=[1, 0, 0, 2], strides=[2, 1])
    y = hand.node("Relu", hand.node("Mul", y, hand.const(factor.reshape(1, 3, 1, 1))))
    graph = load(hand.save(tmp_path / "net.onnx", hand.quant(y, s_out, 1.0, 4.0)))
    codes = rng.integers(0, 16, (2, 2, 6, 6))
    got = run(graph, codes)[graph.outputs[0]]
    for image, row, y_out, x_out in np.ndindex(got.shape):
        total = Fraction(0)
        for c, i, j in np.ndindex(2, 3, 3):
            up, left = y_out * 2 + i - 1, x_out + j
            if 0 <= up < 6 and 0 <= left < 6:
                real = Fraction(float(s_in)) * (int(codes[image, c, up, left]) - 2)
                total += real * Fraction(float(alpha)) * int(weight[row, c, i, j])
        value = max((total + Fraction(float(bias[row]))) * Fraction(float(factor[row])), Fraction(0))
        expected = min(max(round(value / Fraction(float(s_out)) + 1), 0), 15)
        assert got[image, row, y_out, x_out] == expected


def test_operations(tmp_path):
    """Fused and two-step adds, a max pool before its Quant node, codes quantized again, dropped branches."""
    hand = Hand()
    x = start(hand)
    hand.quant(hand.conv(x, name="dead"))
    one = hand.quant(hand.conv(x, name="one"), 3.0, bits=4.0)
    x = hand.quant(hand.node("Add", hand.conv(x, name="two"), one, name="fused"), 5.0, bits=4.0)
    x = hand.quant(hand.node("Add", x, one, name="sum"), 7.0, bits=4.0)
    x = hand.quant(hand.node("MaxPool", hand.conv(x, name="three", channels=3, kernel=1), name="pool",
                             kernel_shape=[2, 2]), 9.0, bits=4.0, name="last")
    x = hand.quant(x, 11.0, bits=4.0, name="again")
    graph = load(hand.save(tmp_path / "net.onnx", x))
    assert [(type(op), op.name) for op in graph.ops] == [
        (Conv, "one"), (Conv, "two"), (Add, "sum"), (Conv, "three"), (MaxPool, "pool"), (AvgPool, "again")]
    assert graph.ops[1].residual == graph.ops[0].output
    assert graph.ops[3].output == graph.ops[4].input == "last_out.before_pool"
    assert graph.ops[5].kernel == (1, 1)


def test_input_described_by_metadata(tmp_path):
    hand = Hand()
    hand.metadata = {"hwgen.input": json.dumps({"bits": 3, "scale": 0.37, "zero_point": 2}), "hwgen.name": "given"}
    path = hand.save(tmp_path / "net.onnx", hand.quant(hand.conv("image", pads=[1, 1, 1, 1]), 2.0, bits=4.0, signed=1))
    graph = load(path)
    tensor = graph.tensors["image"]
    assert (graph.name, tensor.bits, tensor.scale, tensor.zero_point) == ("given", 3, 0.37, 2)
    codes = np.random.default_rng(RNG_SEED).integers(0, 8, (5, 2, 6, 6))
    result = compare(path, graph, codes)
    assert result.different == 0 and result.equal > 0


@pytest.mark.parametrize("shape", [("N", 2, 6, 6), (1, 2, 6, 6), (4, 2, 6, 6)])
def test_any_batch(tmp_path, shape):
    hand = Hand(shape)
    path = hand.save(tmp_path / "net.onnx", relu6(hand))
    assert load(path).tensors[load(path).input].shape == (2, 6, 6)
    assert compare(path, None, np.ones((3, 2, 6, 6), int)).different == 0


def test_flat_input(tmp_path):
    hand = Hand((1, 72))
    y = hand.quant(hand.node("MatMul", start(hand), hand.weight(linear_weight().T)), 20.0, signed=1)
    path = hand.save(tmp_path / "net.onnx", y)
    graph = load(path)
    assert graph.tensors[graph.input].shape == (72, 1, 1) and graph.ops[0].weight.shape == (4, 72, 1, 1)
    codes = np.random.default_rng(RNG_SEED).integers(0, 16, (10, 72, 1, 1))
    assert compare(path, graph, codes).different == 0


def test_linear_reads_a_map(tmp_path):
    """Features are in (C, H, W) order."""
    hand = Hand()
    graph = load(hand.save(tmp_path / "net.onnx", gemm_transposed(hand)))
    assert np.array_equal(graph.ops[0].weight, linear_weight().reshape(4, 2, 6, 6))


def test_schemes_found_and_given(tmp_path):
    """Without metadata the most special grid of each row; with it, what it says, by layer or by weight name."""
    weight = np.zeros((5, 2, 1, 1), int)
    weight[:, :, 0, 0] = [[1, -1], [8, -6], [7, 3], [64, -2], [100, 3]]
    given = ["fixed4", "sp2", "fixed4", "fixed8", "fixed8"]
    for key in (None, "layer", "const1"):
        hand = Hand()
        w = hand.quant(hand.const(weight * 0.5), 0.5, 0.0, 8.0, signed=1)
        y = hand.quant(hand.node("Conv", start(hand), w, name="layer"), 4.0)
        if key:
            hand.metadata["hwgen.schemes"] = json.dumps({key: given})
        graph = load(hand.save(tmp_path / "net.onnx", y))
        assert graph.ops[0].schemes == (tuple(given) if key else ("binary", "sp2", "fixed4", "pot4", "fixed8"))
        assert np.array_equal(graph.ops[0].weight, weight)
        assert np.array_equal(graph.ops[0].row_scales, np.full(5, 0.5))


def test_inspection(tmp_path):
    hand = Hand()
    path = hand.save(tmp_path / "net.onnx", gemm_plain(hand))
    found = inspect(path)
    assert found.ok and found.macs == 4 * 72 and found.rows == {"fixed4": 4} and found.input_shape == (2, 6, 6)
    assert [node.op for node in found.nodes] == ["Quant", "Flatten", "Quant", "Gemm", "Quant"]
    assert found.to_json()["ok"] is True


def test_multipliers_are_as_wide_as_the_proof_needs(tmp_path):
    """A linear layer of 800 8-bit inputs and outputs: 18 bits do not reach every accumulator, a few more do."""
    rng = np.random.default_rng(RNG_SEED)
    hand = Hand((1, 8, 10, 10))
    x = hand.node("Flatten", hand.quant("image", 0.0123, 0.0, 8.0))
    w = hand.weight(rng.integers(-7, 8, (6, 800)), 0.0171)
    y = hand.node("Gemm", x, w, hand.const(rng.normal(0, 1, 6)), transB=1)
    path = hand.save(tmp_path / "net.onnx", hand.quant(y, 0.0377, 0.0, 8.0, signed=1))
    narrow, wide = load(path, m_bits=18).ops[0].requant, load(path).ops[0].requant
    assert narrow.proven < 6 and narrow.worst == 1 and np.abs(narrow.multiplier).max() < 1 << 17
    assert wide.proven == 6 and wide.worst == 0 and np.abs(wide.multiplier).max() < 1 << 31
