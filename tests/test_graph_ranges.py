"""Accumulator bounds by trying every input, and by asking for every weight."""

from itertools import product

import numpy as np
import pytest

from hwgen.golden import conv_accumulators
from hwgen.graph.ir import AvgPool, Conv, Requant, Rescale, Tensor
from hwgen.graph.ranges import accumulator_bits, accumulator_range, pool_sum_range, shape_acc_bits


def make_conv(weight, schemes, pads=(0, 0, 0, 0)):
    rows = len(weight)
    ones = np.ones(rows, dtype=np.int64)
    return Conv("c", "x", "y", np.asarray(weight), tuple(schemes), ones.astype(float), Requant(ones, ones, ones),
                pads=pads)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("zero_point", [0, 2])
def test_bounds_are_met_and_never_passed(seed, zero_point):
    """Every 2-bit image of 1x2x2 through 2x2 kernels with padding: 256 images, 9 windows each."""
    rng = np.random.default_rng(seed)
    op = make_conv(rng.integers(-8, 8, (6, 1, 2, 2)), ["fixed4"] * 6, pads=(1, 1, 1, 1))
    codes = np.array(list(product(range(4), repeat=4)), dtype=np.uint8).reshape(-1, 1, 2, 2)
    acc = conv_accumulators(op, codes, zero_point)
    low, high = accumulator_range(op, Tensor("x", (1, 2, 2), 2, zero_point=zero_point))
    assert low.dtype == high.dtype == np.int64
    assert low.tolist() == acc.min(axis=(0, 2, 3)).tolist()
    assert high.tolist() == acc.max(axis=(0, 2, 3)).tolist()


def test_bounds_by_hand():
    op = make_conv(np.array([[3, -5, 0], [1, 2, 4], [-1, -2, -4]]).reshape(3, 3, 1, 1), ["fixed8"] * 3)
    low, high = accumulator_range(op, Tensor("x", (3, 1, 1), 4))
    assert (low.tolist(), high.tolist()) == ([-75, 0, -105], [45, 105, 0])
    assert accumulator_bits(op, Tensor("x", (3, 1, 1), 4)) == 8
    assert accumulator_range(op, Tensor("x", (3, 1, 1), 1))[1].tolist() == [3, 7, 0]


def test_narrow_weight_types_do_not_wrap():
    op = make_conv(np.full((1, 1000, 1, 1), -128, dtype=np.int8), ["fixed8"])
    low, high = accumulator_range(op, Tensor("x", (1000, 1, 1), 8))
    assert (low.tolist(), high.tolist()) == ([-128 * 255 * 1000], [0])
    assert conv_accumulators(op, np.full((1, 1000, 1, 1), 255, dtype=np.uint8), 0).ravel().tolist() == low.tolist()


@pytest.mark.parametrize("schemes, bits_in, taps, bits", [
    # taps * top * [low, high] by hand
    (["fixed4"], 4, 9, 12),  # -1080..945
    (["binary", "fixed4"], 4, 9, 12),  # the lower bound decides
    (["fixed4"], 4, 17, 12),  # -2040..1785
    (["fixed4"], 4, 18, 13),  # -2160..
    (["sp2"], 4, 17, 12),  # +-2040
    (["fixed4", "sp2"], 4, 9, 12),
    (["pot4"], 1, 1, 8),  # +-64
    (["binary"], 1, 1, 2),  # +-1
    (["binary"], 8, 1, 9),  # +-255
    (["fixed8"], 8, 4608, 29),  # -150405120 .. 149230080
    (["fixed4", "fixed8"], 4, 9, 16),  # -17280
])
def test_width_of_a_shape(schemes, bits_in, taps, bits):
    op = make_conv(np.zeros((len(schemes), taps, 1, 1), dtype=np.int64), schemes)
    assert shape_acc_bits(op, bits_in) == bits


@pytest.mark.parametrize("bits_in", [1, 4, 8])
def test_width_of_a_shape_covers_its_worst_weights(bits_in):
    for scheme, worst in (("fixed4", -8), ("sp2", 8), ("sp2", -8), ("pot4", 64), ("fixed8", -128), ("binary", 1)):
        op = make_conv(np.full((1, 3, 2, 5), worst), [scheme])
        assert accumulator_bits(op, Tensor("x", (3, 2, 5), bits_in)) <= shape_acc_bits(op, bits_in)


def test_pool_sums():
    op = AvgPool("p", "x", "y", (3, 5), (1, 1), Rescale(1, 0, 1))
    assert pool_sum_range(op, Tensor("x", (1, 9, 9), 4)) == (0, 225)
