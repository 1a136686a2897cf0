"""Operators of QONNX files, each compared with qonnx's executor code by code.

Where a network is ``dyadic`` (all constants are powers of two) float32 is exact, so that ties are hit and must agree.
"""

from fractions import Fraction

import numpy as np
from onnx_graphs import MODES, QONNX, Hand
import pytest
from qonnx_reference import assert_equals_qonnx

from hwgen.frontend import load
from hwgen.frontend.execute import compare
from hwgen.golden import run


def ints(*shape, seed=3, low=-7, high=8):
    return np.random.default_rng(seed).integers(low, high, shape)


def start(h, scale=0.9871, zero=0.0, bits=4.0):
    return h.quant("image", scale, zero, bits)


def save(tmp_path, hand, *outputs):
    return hand.save(tmp_path / "net.onnx", *outputs)


# -- Quant: widths, modes, zero points ---------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bits, signed, narrow, zero", [
    (1.0, 0, 0, 0.0), (2.0, 1, 0, 0.0), (3.0, 0, 0, 2.0), (4.0, 1, 1, 0.0), (4.0, 1, 0, -1.0), (5.0, 0, 1, 0.0),
    (6.0, 1, 0, 3.0), (7.0, 1, 1, 0.0), (8.0, 0, 0, 100.0), (8.0, 1, 0, 0.0)])
def test_rounding_of_a_layer(tmp_path, mode, bits, signed, narrow, zero):
    """Every mode, width and sign, on ties: the accumulators are multiples of a half step."""
    hand = Hand()
    y = hand.conv(start(hand, 1.0, 3.0))
    scale = max(1.0, 2.0 ** min(8 - bits, 5))
    assert_equals_qonnx(save(tmp_path, hand, hand.quant(y, scale, zero, bits, signed, narrow, mode)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["fused", "two", "pool", "again"])
def test_rounding_of_sums_and_pools(tmp_path, mode, kind):
    """Where there are no thresholds, rounding to and from zero is put together from two halves."""
    hand = Hand()
    x = start(hand, 1.0, 7.0)
    if kind == "fused":
        y = hand.node("Add", hand.conv(x, rows=2, pads=[1, 1, 1, 1]), x)
    elif kind == "two":
        y = hand.node("Add", hand.quant(hand.conv(x, rows=2, pads=[1, 1, 1, 1]), 8.0, signed=1), x)
    elif kind == "pool":
        y = hand.node("AveragePool", x, kernel_shape=[2, 2])
    else:
        y = x
    scale = {"fused": 4.0, "two": 4.0, "pool": 0.5, "again": 2.0}[kind]
    assert_equals_qonnx(save(tmp_path, hand, hand.quant(y, scale, 1.0, 8.0, 1, 0, mode)))


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("signed", [True, False])
def test_weights_of_every_width(tmp_path, bits, per_channel, signed):
    if bits == 8 and not signed:
        return  # integers beyond 127: refused, see below
    rng = np.random.default_rng(bits)
    scale = rng.uniform(0.1, 0.3, (3, 1, 1, 1)) if per_channel else 0.25
    hand = Hand()
    spread = 2.0 ** (bits - 2 if signed else bits - 1) * 0.2
    real = rng.normal(0, spread, (3, 2, 3, 3)) if signed else rng.uniform(0, 2 * spread, (3, 2, 3, 3))
    w = hand.quant(hand.const(real), scale, 0.0, float(bits), int(signed), int(per_channel and bits > 1))
    y = hand.quant(hand.node("Conv", start(hand), w), spread * 3.0173, signed=1)
    assert_equals_qonnx(save(tmp_path, hand, y))


def test_activations_of_every_width(tmp_path):
    hand = Hand((1, 2, 4, 4))
    x = start(hand, 0.9871, 0.0, 8.0)
    for bits in range(8, 0, -1):
        rows = 2 if bits > 1 else 3
        x = hand.quant(hand.conv(x, ints(rows, 2, 3, 3, seed=bits), pads=[1, 1, 1, 1]), 1000.37 / 2.9**(8 - bits), 0.0,
                       float(bits))
    path = save(tmp_path, hand, x)
    result = compare(path, None, np.random.default_rng(7).integers(0, 256, (20, 2, 4, 4)))
    assert result.different == 0 and result.equal > 0.99 * result.compared


# -- batch norm and chains ---------------------------------------------------------------


def bn(h, y, gamma=(1.5, -0.75, 0.4), beta=(1.0, -2.0, 5.0)):
    return h.node("BatchNormalization", y, *(h.const(np.array(v)) for v in (
        gamma, beta, [10.0, -3.0, 2.0][:len(gamma)], [4.0, 0.3, 2.0][:len(gamma)])), epsilon=0.01)


def batch_norm_before_the_layer(h):
    """On codes: the factor per channel needs a convolution of its own."""
    x = h.quant(bn(h, start(h), (1.5, -0.75), (0.3, 4.0)), 0.913, signed=1)
    return h.quant(h.conv(x), 30.17, signed=1)


def batch_norm_after_relu(h):
    """Limits that differ by channel, up to 4 bits."""
    return h.quant(bn(h, h.node("Relu", h.conv(start(h)))), 3.917, bits=4.0, signed=1)


def batch_norm_after_pool(h):
    y = h.node("AveragePool", h.quant(h.conv(start(h)), 5.913, signed=1), kernel_shape=[2, 2])
    return h.quant(bn(h, y), 1.17, signed=1)


def batch_norm_after_add(h):
    x = h.quant(h.conv(start(h)), 5.913, signed=1)
    y = h.quant(h.conv(x, channels=3, kernel=1), 3.17, signed=1)
    return h.quant(bn(h, h.node("Add", x, y)), 2.17, signed=1)


def batch_norm_of_a_sum_and_pool(h):
    """Average pool, real, plus codes: one rounding of both."""
    x = h.quant(h.conv(start(h)), 5.913, signed=1)
    y = h.quant(h.conv(x, channels=3, kernel=2), 3.17, signed=1)
    return h.quant(bn(h, h.node("Add", h.node("AveragePool", x, kernel_shape=[2, 2]), y)), 2.17, signed=1)


def chain(h):
    y = h.node("Neg", h.node("Mul", h.conv(start(h)), h.const(np.array([1.1, -0.3, 0.7]).reshape(3, 1, 1))))
    y = h.node("Div", h.node("Add", bn(h, y), h.const(np.float32(3.3))), h.const(np.float32(-1.7)))
    return h.quant(h.node("Max", h.node("Min", y, h.const(np.float32(20.0))), h.const(np.float32(-9.0))), 0.513,
                   signed=1)


def hard_sigmoid(h):
    return h.quant(h.node("HardSigmoid", h.conv(start(h)), alpha=0.01, beta=0.4), 1 / 255.0)


def max_pool_of_codes_with_factors(h):
    y = h.node("MaxPool", h.quant(h.conv(start(h)), 5.913, signed=1), kernel_shape=[2, 2])
    return h.quant(bn(h, y), 1.17, signed=1)


def difference_of_codes(h):
    x = h.quant(h.conv(start(h)), 5.913, signed=1)
    return h.quant(h.node("Sub", x, h.quant(h.conv(x, channels=3, kernel=1), 3.17, signed=1)), 2.17, signed=1)


def difference_fused(h):
    x = h.quant(h.conv(start(h)), 5.913, bits=5.0)
    return h.quant(h.node("Sub", x, h.conv(x, channels=3, kernel=1)), 2.17, signed=1)


def difference_fused_reversed(h):
    x = h.quant(h.conv(start(h)), 5.913, bits=5.0)
    return h.quant(h.node("Sub", h.conv(x, channels=3, kernel=1), x), 2.17, signed=1)


CHAINS = [batch_norm_before_the_layer, batch_norm_after_relu, batch_norm_after_pool, batch_norm_after_add,
          batch_norm_of_a_sum_and_pool, chain, hard_sigmoid, max_pool_of_codes_with_factors, difference_of_codes,
          difference_fused, difference_fused_reversed]


@pytest.mark.parametrize("case", CHAINS, ids=lambda case: case.__name__)
def test_chains(tmp_path, case):
    hand = Hand()
    assert_equals_qonnx(save(tmp_path, hand, case(hand)))


# -- leaky ReLU --------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [3.0, 4.0, 6.0, 8.0])
@pytest.mark.parametrize("mode", MODES)
def test_leaky_relu_on_ties(tmp_path, bits, mode):
    """4 bits: thresholds; more: the sum of two halves."""
    hand = Hand()
    y = hand.node("LeakyRelu", hand.conv(start(hand, 1.0, 3.0)), alpha=0.25)
    scale = 2.0 ** (7 - bits)
    graph = assert_equals_qonnx(save(tmp_path, hand, hand.quant(y, scale, 0.0, bits, 1, 0, mode)))
    assert (len(graph.ops), graph.ops[0].requant.thresholds is not None) == ((1, True) if bits <= 4 else (3, False))


def leaky_with_batch_norm(h):
    y = h.node("LeakyRelu", bn(h, h.conv(start(h))), alpha=0.1)
    return h.quant(h.node("Mul", y, h.const(np.float32(-1.3))), 0.813, signed=1)


def leaky_scaled_by_channel(h):
    y = h.node("LeakyRelu", h.conv(start(h)), alpha=0.1)
    return h.quant(bn(h, y), 3.813, bits=4.0, signed=1)


def prelu(h):
    y = h.node("PRelu", h.conv(start(h)), h.const(np.array([0.1, 0.25, 1.7]).reshape(3, 1, 1)))
    return h.quant(y, 1.713, signed=1)


def leaky_of_a_sum(h):
    x = start(h)
    y, z = (h.conv(x, ints(2, 2, 3, 3, seed=i), pads=[1, 1, 1, 1]) for i in range(2))
    y = h.node("Add", y, h.quant(z, 3.17, signed=1))
    return h.quant(h.node("LeakyRelu", y, alpha=0.1), 1.713, signed=1)


def leaky_of_codes_and_pool(h):
    x = h.quant(h.conv(start(h)), 1.0317, signed=1)
    y = h.node("LeakyRelu", h.node("AveragePool", x, kernel_shape=[2, 2]), alpha=0.3)
    return h.quant(h.node("LeakyRelu", h.quant(y, 0.513, signed=1), alpha=0.1), 0.333, signed=1)


def leaky_and_max_pool(h):
    y = h.node("MaxPool", h.node("LeakyRelu", h.conv(start(h)), alpha=0.2), kernel_shape=[2, 2])
    return h.quant(h.node("Clip", y, h.const(-3.0), h.const(60.0)), 0.713, signed=1)


def leaky_bipolar(h):
    y = h.node("LeakyRelu", bn(h, h.conv(start(h))), alpha=0.2)
    x = h.node("BipolarQuant", y, h.const(0.5), domain=QONNX)
    return h.quant(h.conv(x, channels=3), 0.713, signed=1)


LEAKY = [leaky_with_batch_norm, leaky_scaled_by_channel, prelu, leaky_of_a_sum, leaky_of_codes_and_pool,
         leaky_and_max_pool, leaky_bipolar]


@pytest.mark.parametrize("case", LEAKY, ids=lambda case: case.__name__)
def test_leaky_relu(tmp_path, case):
    hand = Hand()
    assert_equals_qonnx(save(tmp_path, hand, case(hand)))


# -- bipolar -----------------------------------------------------------------------------


def bipolar(h, y):
    return h.node("BipolarQuant", y, h.const(0.53), domain=QONNX)


def bipolar_of_codes(h):
    return h.quant(h.conv(bipolar(h, h.node("Sub", start(h), h.const(np.float32(5.5))))), 0.517, signed=1)


def bipolar_behind_a_clip(h):
    """Hardtanh before the sign, as binary networks are trained."""
    y = h.node("Clip", bn(h, h.conv(start(h))), h.const(-1.0), h.const(1.0))
    return h.quant(h.conv(bipolar(h, y), channels=3), 0.517, signed=1)


def bipolar_pool(h):
    y = h.node("MaxPool", bipolar(h, h.conv(start(h, 1.0))), kernel_shape=[2, 2])
    return h.quant(h.conv(y, channels=3, kernel=2), 0.517, signed=1)


@pytest.mark.parametrize("case", [bipolar_of_codes, bipolar_behind_a_clip, bipolar_pool],
                         ids=lambda case: case.__name__)
def test_bipolar(tmp_path, case):
    hand = Hand()
    assert_equals_qonnx(save(tmp_path, hand, case(hand)))


def test_bipolar_image(tmp_path):
    """Codes 0 and 2 stand for -1 and 1; half of each pattern of a 1x1 layer by hand."""
    hand = Hand((1, 2, 1, 1))
    y = hand.quant(hand.conv(bipolar(hand, "image"), np.array([[[[3]], [[-5]]]]), kernel=1), 0.5 * 0.53, signed=1)
    graph = load(save(tmp_path, hand, y))
    codes = np.array([[0, 0], [0, 2], [2, 0], [2, 2]]).reshape(4, 2, 1, 1)
    assert run(graph, codes)[graph.outputs[0]].reshape(-1).tolist() == [128 + 2, 128 - 8, 128 + 8, 128 - 2]


# -- MultiThreshold ----------------------------------------------------------------------


def multi(h, y, table, **options):
    return h.node("MultiThreshold", y, h.const(np.asarray(table, float)), domain=QONNX, out_dtype="UINT8", **options)


THRESHOLDS = {
    "uniform": (np.arange(15)[None] * 8.0 - 40, {}),
    "per_channel": (np.arange(15)[None] * 8.0 - np.array([[40.0], [30.0], [5.5]]), {"out_scale": 0.5}),
    "non_uniform": (np.sort(np.random.default_rng(1).normal(0, 40, (3, 7)), axis=1), {"out_bias": -4.0}),
    "unsorted": (np.random.default_rng(2).normal(0, 40, (3, 5)), {}),
    "repeated": (np.array([[-10.0, 0.0, 0.0, 0.0, 20.0]]), {"out_scale": 2.0, "out_bias": -4.0}),
    "two_levels": (np.array([[3.0], [-5.5], [0.0]]), {"out_scale": 2.0, "out_bias": -1.0}),
    "one": (np.array([[3.0], [-5.5], [0.0]]), {}),
    "many": (np.arange(255)[None] - 100.0, {"out_bias": -100.0}),
    "uneven": (np.sort(np.random.default_rng(4).normal(0, 60, (3, 37)), axis=1), {"out_bias": -20.0}),
    "uneven_31": (np.sort(np.random.default_rng(5).normal(0, 60, (1, 31)), axis=1), {"out_scale": 0.5}),
    "zero_above": (np.arange(7)[None] * 10.0, {"out_bias": -9.0}),
}


@pytest.mark.parametrize("name", THRESHOLDS)
@pytest.mark.parametrize("before", ["conv", "relu", "codes", "pool", "leaky", "negative"])
def test_multi_threshold(tmp_path, name, before):
    table, options = THRESHOLDS[name]
    hand = Hand()
    y = hand.conv(start(hand, 1.0, 3.0))
    if before == "relu":
        if name == "two_levels":
            return  # a 1-bit signed activation behind Relu: refused
        y = hand.node("Relu", y)
    elif before == "codes":
        y = hand.quant(y, 2.0, signed=1)
    elif before == "pool":
        y = hand.node("AveragePool", hand.quant(y, 2.0, signed=1), kernel_shape=[2, 2])
    elif before == "leaky":
        y = hand.node("LeakyRelu", y, alpha=0.25)
    elif before == "negative":
        y = hand.node("Mul", y, hand.const(np.array([-1.0, 0.5, -2.0]).reshape(1, 3, 1, 1)))
    y = multi(hand, y, table, **options)
    assert_equals_qonnx(save(tmp_path, hand, hand.quant(hand.conv(y, channels=3, kernel=2), 4.0, signed=1)))


def test_multi_threshold_layouts(tmp_path):
    table = np.sort(np.random.default_rng(1).normal(0, 40, (3, 7)), axis=1)
    hand = Hand((1, 6, 6, 2))
    y = hand.node("MatMul", start(hand), hand.weight(ints(2, 3)))
    y = multi(hand, y, table, data_layout="NHWC")
    y = hand.node("MatMul", hand.node("Flatten", y), hand.weight(ints(108, 3)))
    y = multi(hand, y, table * 4)
    assert_equals_qonnx(save(tmp_path, hand, y))


# -- Concat ------------------------------------------------------------------------------


def branches(h, count=2, bits=4.0, signed=0):
    x = start(h)
    return x, [h.quant(h.conv(x, ints(2 + i, 2, 3, 3, seed=i)), 3.17 + 1.7 * i, bits=bits, signed=signed)
               for i in range(count)]


def concat_then_quant(h):
    _, parts = branches(h, 3)
    return h.quant(h.node("Concat", *parts, axis=1), 2.513)


def concat_of_results(h):
    """Branches that are quantized only after the concatenation."""
    x = start(h)
    parts = [h.conv(x, ints(2 + i, 2, 3, 3, seed=i)) for i in range(2)]
    y = h.node("Relu", h.node("Concat", *parts, axis=1))
    return h.quant(h.conv(h.quant(y, 2.513, bits=4.0), ints(3, 5, 1, 1)), 7.17, signed=1)


def concat_mixed(h):
    """A pool, codes and a convolution's result, batch norm behind."""
    x, (one, _) = branches(h, 2, 6.0, 1)
    parts = [one, h.node("AveragePool", x, kernel_shape=[3, 3]), h.conv(x, ints(2, 2, 3, 3))]
    y = h.node("Concat", *parts, axis=-3)
    y = h.node("Mul", y, h.const(np.linspace(-1.5, 2.1, 6).reshape(1, 6, 1, 1)))
    return h.quant(h.node("LeakyRelu", y, alpha=0.2), 1.513, signed=1)


def concat_on_one_grid(h):
    """Without a Quant node behind: scales of 1 and 4 have the grid of 1 in common."""
    x = h.quant("image", 1.0, 3.0, 4.0)
    parts = [h.quant(h.conv(x, ints(2, 2, 3, 3, seed=i)), scale, bits=4.0, signed=i) for i, scale in
             enumerate((8.0, 32.0))]
    y = h.node("MaxPool", h.node("Concat", *parts, axis=1), kernel_shape=[2, 2])
    return h.quant(h.conv(y, ints(3, 4, 2, 2)), 256.0, signed=1)


def concat_same_scale(h):
    x = start(h)
    parts = [h.quant(h.conv(x, ints(2, 2, 3, 3, seed=i)), 3.17, bits=4.0) for i in range(2)]
    return h.quant(h.conv(h.node("Concat", *parts, axis=1), ints(3, 4, 1, 1)), 7.17, signed=1)


def concat_of_concat(h):
    _, (one, two) = branches(h)
    inner = h.node("Concat", one, two, axis=1)
    return h.quant(h.node("Concat", inner, one, axis=1), 2.513)


def concat_of_vectors(h):
    x = h.node("Flatten", start(h))
    parts = [h.quant(h.node("MatMul", x, h.weight(ints(72, 3, seed=i))), 13.17 + i, signed=1) for i in range(2)]
    return h.quant(h.node("MatMul", h.quant(h.node("Concat", *parts, axis=1), 15.3, signed=1), h.weight(ints(6, 4))),
                   99.13, signed=1)


CONCATS = [concat_then_quant, concat_of_results, concat_mixed, concat_on_one_grid, concat_same_scale, concat_of_concat,
           concat_of_vectors]


@pytest.mark.parametrize("case", CONCATS, ids=lambda case: case.__name__)
def test_concat(tmp_path, case):
    hand = Hand()
    assert_equals_qonnx(save(tmp_path, hand, case(hand)))


# -- by hand -----------------------------------------------------------------------------


def test_multi_threshold_by_hand(tmp_path):
    """Uneven thresholds per channel of a negative factor, in Fractions."""
    table = np.array([[-30.5, -3.25, 0.0, 7.0], [-8.0, 1.0, 1.5, 2.0], [0.0, 0.125, 50.0, 60.0]])
    factor = np.array([-0.75, 0.5, -1.25])
    weight = ints(3, 2, 1, 1)
    hand = Hand()
    y = hand.node("Mul", hand.conv(start(hand, 1.0, 3.0), weight), hand.const(factor.reshape(1, 3, 1, 1)))
    graph = load(save(tmp_path, hand, multi(hand, y, table)))
    codes = np.random.default_rng(5).integers(0, 16, (2, 2, 6, 6))
    got = run(graph, codes)[graph.outputs[0]]
    for image, row, i, j in np.ndindex(got.shape):
        acc = sum(int(weight[row, c, 0, 0]) * (int(codes[image, c, i, j]) - 3) for c in range(2))
        value = Fraction(factor[row]) * Fraction(1, 2) * acc
        assert got[image, row, i, j] == sum(value >= Fraction(t) for t in table[row])
