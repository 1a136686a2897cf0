"""The comparison with qonnx: it finds wrong models, and tells ties from differences."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from onnx_graphs import Hand

from hwgen.frontend import load, read_network
from hwgen.frontend.execute import compare, execute
from hwgen.frontend.executors import input_codes
from hwgen.frontend.qonnx_writer import QonnxBuilder
from hwgen.golden import run

SCALE = float(np.float32(1 / 3))


def network(path, out_scale, pool=False):
    """One layer of plain sums: ``acc * SCALE`` is quantized with ``out_scale``."""
    rng = np.random.default_rng(7)
    builder = QonnxBuilder("net", (4, 6, 6), 4, SCALE)
    y = builder.conv(builder.input, rng.integers(-7, 8, (6, 4, 3, 3)), 1.0)
    if pool:
        y = builder.max_pool(y, 2)
    x = builder.quant(y, out_scale, bits=4, signed=True)
    builder.output(builder.quant(builder.linear(x, rng.integers(-7, 8, (5, int(np.prod(x.shape)))), 0.7), 9.1, bits=8,
                                 signed=True))
    return builder.save(path)


CODES = np.random.default_rng(8).integers(0, 16, (60, 4, 6, 6))


def test_ties_are_counted(tmp_path):
    """With out_scale = 16 * SCALE an accumulator of 8 mod 16 is an exact tie, which float32 decides by its error."""
    for pool in (False, True):
        path = network(tmp_path / "net.onnx", 16 * SCALE, pool)
        result = compare(path, None, CODES)
        assert result.different == 0, result
        assert result.ties > 0 and result.tie_rounds > 0 and result.first_difference is None
        assert result.compared == 60 * 5 == result.equal + result.ties


def test_a_wrong_constant_is_no_tie(tmp_path):
    path = network(tmp_path / "net.onnx", 17.3 * SCALE)
    graph = load(path)
    assert compare(path, graph, CODES).equal == 300
    op = graph.ops[0]
    constant = op.requant.constant.copy()
    constant[2] += 1 << int(op.requant.shift[2] - 2)  # a quarter of a code
    wrong = replace(graph, ops=(replace(op, requant=replace(op.requant, constant=constant)), *graph.ops[1:]))
    result = compare(path, wrong, CODES)
    assert result.different > 0 and result.ties == 0
    assert "quant at (channel, y, x) = (2, " in result.first_difference
    assert "golden" in result.first_difference and "exact" in result.first_difference


def test_a_wrong_weight_is_no_tie(tmp_path):
    path = network(tmp_path / "net.onnx", 17.3 * SCALE)
    graph = load(path)
    weight = graph.ops[1].weight.copy()
    weight[1] = -weight[1]
    wrong = replace(graph, ops=(graph.ops[0], replace(graph.ops[1], weight=weight)))
    result = compare(path, wrong, CODES)
    assert result.different > 0 and "quant_1 at (channel, y, x) = (1, 0, 0)" in result.first_difference


def test_execute_gives_codes_by_output(tmp_path):
    path = network(tmp_path / "net.onnx", 17.3 * SCALE)
    graph = load(path)
    ours = execute(path, CODES[:7])
    assert set(ours) == set(graph.outputs) and ours[graph.outputs[0]].shape == (7, 5, 1, 1)
    assert np.array_equal(ours[graph.outputs[0]], run(graph, CODES[:7])[graph.outputs[0]])


def test_real_images_behind_arithmetic_and_by_layer(tmp_path):
    """x / 255 - 0.5 in the file before its input's quantizer: real images and codes give the same counts."""
    hand = Hand()
    x = hand.node("Sub", hand.node("Div", "image", hand.const(np.float32(255))), hand.const(np.float32(0.5)))
    x = hand.quant(x, 1 / 31, 0.0, 5.0, signed=1)
    path = hand.save(tmp_path / "net.onnx", hand.quant(hand.conv(x), 0.37, bits=6.0, signed=1))
    images = np.random.default_rng(3).integers(0, 256, (30, 2, 6, 6)).astype(np.float32)
    result = compare(path, None, images, every_layer=True)
    assert result.ok and result.executor == "qonnx"
    assert [layer.compared for layer in result.layers] == [30 * 72, 30 * 48]
    codes = input_codes(read_network(path), images)
    exact = [[round((Fraction(float(v)) / 255 - Fraction(1, 2)) * 31) for v in row] for row in images[:, 0, 0]]
    assert np.abs(codes[:, 0, 0] - 16.0 - np.array(exact)).max() <= 1  # 1/31 and 1/255 are rounded in the file
    assert compare(path, None, codes, every_layer=True).ok
