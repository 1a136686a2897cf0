"""Averages whose sums lie half way between two codes: to even, as every format has it, and proven."""

from fractions import Fraction

import numpy as np
from onnx_graphs import Hand
import pytest
from qonnx_reference import assert_equals_qonnx

from hwgen.frontend import load
from hwgen.golden import run
from hwgen.graph.ir import Add, AvgPool


def proven(graph) -> bool:
    return all(op.rescale.proven for op in graph.ops if isinstance(op, (Add, AvgPool)))


@pytest.mark.parametrize("bits, signed, zero", [(8.0, 0, 0.0), (8.0, 1, 0.0), (8.0, 0, 37.0), (4.0, 1, 0.0)])
@pytest.mark.parametrize("shape", [(1, 6), (6, 6), (2, 5), (14, 14)])
def test_quant_of_the_same_scale(tmp_path, bits, signed, zero, shape):
    hand = Hand((1, 2, *shape))
    y = hand.node("GlobalAveragePool", hand.quant("image", 0.25, zero, bits, signed))
    path = hand.save(tmp_path / "net.onnx", hand.quant(y, 0.25, zero, bits, signed))
    graph = load(path)
    assert proven(graph)
    rng, top, count = np.random.default_rng(5), int(2**bits) - 1, shape[0] * shape[1]
    codes = rng.integers(0, top + 1, (400, 2, *shape))
    sums = codes.sum(axis=(2, 3))
    ties = (2 * sums - count) % (2 * count) == 0
    assert ties.any()
    # codes of signed tensors have an even offset, and zero points are added before rounding: parity is the integer's
    expected = [round(Fraction(int(total), count)) for total in sums.ravel()]
    assert run(graph, codes)[graph.outputs[0]].ravel().tolist() == expected


@pytest.mark.parametrize("zero", [0, 3, 128])
def test_quantize_linear_with_an_odd_zero_point(tmp_path, zero):
    """QDQ rounds first and adds the zero point then: the even one is even without it."""
    hand = Hand((1, 2, 2, 3))

    def pair(x):
        fields = hand.const(np.float32(0.5)), hand.const(np.array(zero, np.uint8))
        return hand.node("DequantizeLinear", hand.node("QuantizeLinear", x, *fields), *fields)

    path = hand.save(tmp_path / "net.onnx", pair(hand.node("GlobalAveragePool", pair("image"))))
    graph = load(path)
    assert proven(graph)
    codes = np.random.default_rng(6).integers(0, 256, (600, 2, 2, 3))
    expected = [round(Fraction(int(total), 6)) + zero for total in (codes - zero).sum(axis=(2, 3)).ravel()]
    assert run(graph, codes)[graph.outputs[0]].ravel().tolist() == expected
    assert graph.tensors[graph.input].zero_point == zero


def test_limits_and_a_max_pool_behind_it(tmp_path):
    """ReLU off the grid's middle, clips, and a pool of the codes."""
    hand = Hand((1, 2, 12, 12))
    x = hand.quant("image", 0.25, 0.0, 6.0, 1)
    y = hand.node("Relu", hand.node("AveragePool", x, kernel_shape=[2, 3], strides=[2, 3]))
    y = hand.node("Clip", y, hand.const(np.float32(0.0)), hand.const(np.float32(5.3)))
    y = hand.quant(hand.node("MaxPool", y, kernel_shape=[2, 2]), 0.25, bits=6.0)
    graph = assert_equals_qonnx(hand.save(tmp_path / "net.onnx", y))
    assert proven(graph) and sum(isinstance(op, AvgPool) for op in graph.ops) == 2


def test_sums_without_ties_stay_one_pool(tmp_path):
    hand = Hand((1, 2, 7, 7))
    y = hand.node("GlobalAveragePool", hand.quant("image", 0.25))
    graph = load(hand.save(tmp_path / "net.onnx", hand.quant(y, 0.25)))
    assert len(graph.ops) == 1 and proven(graph)
