"""Means and sums without a quantizer in front of weight layers, as Keras and torch users leave them: against qonnx."""

import numpy as np
from onnx_graphs import Hand
import pytest
from qonnx_reference import assert_equals_qonnx

from hwgen.errors import HwgenError
from hwgen.frontend import load
from hwgen.graph.ir import AvgPool, Conv


def ints(*shape, seed=3):
    return np.random.default_rng(seed).integers(-7, 8, shape)


def start(hand, bits, scale=0.3071, zero=0.0, signed=0):
    return hand.quant("image", scale, zero, bits, signed)


def end(hand, y, path, scale=1.37):
    return assert_equals_qonnx(hand.save(path / "net.onnx", hand.quant(y, scale, signed=1, bits=8.0)))


@pytest.mark.parametrize("bits, zero, signed", [(2.0, 0.0, 0), (4.0, 0.0, 1), (4.0, 3.0, 0), (8.0, 0.0, 0),
                                                (8.0, 0.0, 1)])
@pytest.mark.parametrize("shape", [(2, 6, 6), (3, 7, 5), (2, 1, 9)])
def test_global_average_and_linear(tmp_path, bits, zero, signed, shape):
    hand = Hand((1, *shape))
    y = hand.node("Flatten", hand.node("GlobalAveragePool", start(hand, bits, zero=zero, signed=signed)))
    y = hand.node("Gemm", y, hand.weight(ints(6, shape[0])), hand.const(np.arange(6.0)), transB=1)
    graph = end(hand, y, tmp_path, 0.031 * 2**bits)
    parts = [op for op in graph.ops if isinstance(op, AvgPool)]
    assert all(graph.tensors[op.output].bits <= 8 for op in parts) and len(parts) <= 1


def test_parts_of_a_window(tmp_path):
    """49 codes of 4 bits: seven sums of seven, each with the weight once."""
    hand = Hand((1, 3, 7, 7))
    y = hand.node("Flatten", hand.node("GlobalAveragePool", start(hand, 4.0)))
    graph = end(hand, hand.node("MatMul", y, hand.weight(ints(3, 5))), tmp_path)
    pool, layer = graph.ops
    assert isinstance(pool, AvgPool) and isinstance(layer, Conv)
    assert sorted(pool.kernel) == [1, 7] and layer.weight.shape[:2] == (5, 3) and layer.weight[0, 0].size == 7


@pytest.mark.parametrize("bits, kernel, summands", [(4.0, 2, 1), (4.0, 6, 3), (8.0, 2, 4), (8.0, 3, 9)])
@pytest.mark.parametrize("size, pads, zero", [(12, [0, 0, 0, 0], 0.0), (13, [0, 0, 0, 0], 0.0),
                                              (12, [1, 0, 0, 1], 3.0)])
def test_average_and_convolution(tmp_path, bits, kernel, summands, size, pads, zero):
    """Windows side by side, with rows and columns left over, in front of a convolution; zeros around the averages."""
    hand = Hand((1, 2, size, size))
    y = hand.node("AveragePool", start(hand, bits, zero=zero), kernel_shape=[kernel] * 2, strides=[kernel] * 2)
    graph = end(hand, hand.node("Conv", y, hand.weight(ints(4, 2, 2, 2)), pads=pads), tmp_path, 0.02 * 2**bits)
    assert graph.ops[-1].weight[0, 0].size == 4 * summands


def test_average_and_depthwise_convolution(tmp_path):
    hand = Hand((1, 4, 8, 8))
    y = hand.node("AveragePool", start(hand, 8.0), kernel_shape=[2, 2], strides=[2, 2])
    end(hand, hand.node("Conv", y, hand.weight(ints(4, 1, 3, 3)), group=4), tmp_path, 5.1)


def test_flatten_behind_an_average(tmp_path):
    """More positions than one, features in the file's order, and rows that no window reaches."""
    hand = Hand((1, 2, 7, 8))
    y = hand.node("Flatten", hand.node("AveragePool", start(hand, 8.0), kernel_shape=[3, 4], strides=[3, 4]))
    end(hand, hand.node("MatMul", y, hand.weight(ints(8, 5))), tmp_path, 5.1)


def test_channels_last(tmp_path):
    """ReduceMean of (N, H, W, C) as Keras's GlobalAveragePooling2D, and a dense layer on a pooled map."""
    hand = Hand((1, 4, 6, 3))
    y = hand.node("Transpose", hand.node("Transpose", start(hand, 8.0), perm=[0, 3, 1, 2]), perm=[0, 2, 3, 1])
    y = hand.node("ReduceMean", y, axes=[1, 2], keepdims=0)
    end(hand, hand.node("MatMul", y, hand.weight(ints(3, 5))), tmp_path, 5.1)
    hand = Hand((1, 4, 6, 3))
    x = hand.node("Transpose", start(hand, 8.0), perm=[0, 3, 1, 2])
    y = hand.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    y = hand.node("MatMul", hand.node("Transpose", y, perm=[0, 2, 3, 1]), hand.weight(ints(3, 5)))
    end(hand, y, tmp_path, 5.1)


def test_two_layers_on_one_average(tmp_path):
    hand = Hand((1, 2, 6, 6))
    y = hand.node("Flatten", hand.node("GlobalAveragePool", start(hand, 4.0)))
    a, b = (hand.quant(hand.node("MatMul", y, hand.weight(ints(2, 5, seed=seed))), 0.31, signed=1) for seed in (1, 2))
    graph = assert_equals_qonnx(hand.save(tmp_path / "net.onnx", hand.quant(hand.node("Add", a, b), 0.7, signed=1)))
    assert sum(isinstance(op, AvgPool) for op in graph.ops) == 1


@pytest.mark.parametrize("signed, zero, relu", [(0, 0.0, False), (1, 0.0, True), (0, 3.0, False)])
def test_sum_of_two_tensors_of_one_scale(tmp_path, signed, zero, relu):
    """An add that no quantizer follows, in front of a convolution and of an average."""
    hand = Hand((1, 3, 6, 6))
    x = start(hand, 4.0, zero=zero, signed=signed)
    y = hand.quant(hand.node("Conv", x, hand.weight(ints(3, 3, 1, 1), 0.3719)), 0.3071, zero, 4.0, signed)
    y = hand.node("Add", x, y)
    y = hand.node("Relu", y) if relu else y
    z = hand.node("MatMul", hand.node("Flatten", hand.node("GlobalAveragePool", y)), hand.weight(ints(3, 5)))
    a = hand.quant(hand.node("Conv", y, hand.weight(ints(4, 3, 3, 3))), 2.1, signed=1)
    assert_equals_qonnx(hand.save(tmp_path / "net.onnx", a, hand.quant(z, 0.71, signed=1)))


def refused(hand, y, path) -> str:
    with pytest.raises(HwgenError) as caught:
        load(hand.save(path / "net.onnx", hand.quant(y, 1.0, signed=1)))
    return str(caught.value)


def test_sums_that_are_no_codes_are_refused(tmp_path):
    """Two scales, and one scale with more than 8 bits."""
    for scale, bits in ((0.41, 4.0), (0.3071, 8.0)):
        hand = Hand((1, 3, 6, 6))
        x = start(hand, 8.0 if bits == 8 else 4.0)
        y = hand.quant(hand.node("Conv", x, hand.weight(ints(3, 3, 1, 1))), scale, bits=bits)
        y = hand.node("Conv", hand.node("Add", x, y, name="sum"), hand.weight(ints(4, 3, 3, 3)), name="bad")
        assert "bad (Conv): its input 'sum_out' is not quantized" in refused(hand, y, tmp_path)


def test_refused_by_name(tmp_path):
    """Overlapping windows that fit no code, batch norm between, padding behind the average, weights beyond measure."""
    hand = Hand()
    y = hand.node("AveragePool", start(hand, 8.0), kernel_shape=[3, 3], strides=[1, 1], name="pool")
    text = refused(hand, hand.node("Conv", y, hand.weight(ints(4, 2, 1, 1)), name="bad"), tmp_path)
    assert "bad (Conv): its input 'pool_out' is not quantized" in text
    hand = Hand()
    y = hand.node("GlobalAveragePool", start(hand, 8.0))
    y = hand.node("Mul", y, hand.const(np.array([1.0, 2.0]).reshape(1, 2, 1, 1)), name="norm")
    text = refused(hand, hand.node("Conv", y, hand.weight(ints(4, 2, 1, 1)), name="bad"), tmp_path)
    assert "bad (Conv): its input 'norm_out' is not quantized" in text
    hand = Hand((1, 2, 7, 6))
    y = hand.node("AveragePool", start(hand, 8.0), kernel_shape=[2, 2], strides=[2, 2])
    text = refused(hand, hand.node("Conv", y, hand.weight(ints(4, 2, 3, 3)), pads=[1] * 4, name="bad"), tmp_path)
    assert "bad (Conv): padding behind an average that is not quantized" in text
    hand = Hand((1, 2, 128, 128))
    y = hand.node("Flatten", hand.node("GlobalAveragePool", start(hand, 8.0)))
    text = refused(hand, hand.node("MatMul", y, hand.weight(ints(2, 600)), name="bad"), tmp_path)
    assert "bad (MatMul): its weights, repeated over windows of 128x128, are more than" in text
