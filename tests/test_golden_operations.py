"""Every operation against plain loops over Python integers."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.golden import operations
from hwgen.graph.ir import Add, AvgPool, Conv, MaxPool, Requant, Rescale


def make_conv(weight, **kwargs):
    rows = len(weight)
    requant = Requant(np.ones(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64), np.ones(rows, dtype=np.int64))
    return Conv("conv", "x", "y", weight, ("fixed8",) * rows, np.ones(rows), requant, **kwargs)


def out_size(size, kernel, stride, before, after):
    """Number of positions at which the window lies inside, counted."""
    return sum(1 for start in range(0, size + before + after, stride) if start + kernel <= size + before + after)


def windows(image, kernel, strides, pads, fill):
    """{(y, x): code at every kernel position as {(c, i, j): code or fill}} by index arithmetic."""
    channels, height, width = image.shape
    found = {}
    for y, x in product(range(out_size(height, kernel[0], strides[0], pads[0], pads[2])),
                        range(out_size(width, kernel[1], strides[1], pads[1], pads[3]))):
        window = {}
        for c, i, j in product(range(channels), range(kernel[0]), range(kernel[1])):
            v, h = y * strides[0] + i - pads[0], x * strides[1] + j - pads[1]
            window[c, i, j] = int(image[c, v, h]) if 0 <= v < height and 0 <= h < width else fill
        found[y, x] = window
    return found


@st.composite
def geometries(draw, pool=False):
    """Maps, kernels, strides and paddings, all independent; the kernel fits the padded map."""
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    strides = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    limits = (kernel[0] - 1, kernel[1] - 1) if pool else (3, 3)
    pads = [draw(st.integers(0, limits[side % 2])) for side in range(4)]
    height = max(height, kernel[0] - pads[0] - pads[2], 1)
    width = max(width, kernel[1] - pads[1] - pads[3], 1)
    return (draw(st.integers(1, 3)), height, width), kernel, strides, tuple(pads)


@given(geometry=geometries(), rows=st.integers(1, 4), seed=st.integers(0, 1 << 32),
       bits=st.integers(1, 8), peak=st.sampled_from([1, 8, 128, 40000]))
@settings(max_examples=60, deadline=None)
def test_convolution(geometry, rows, seed, bits, peak):
    shape, kernel, strides, pads = geometry
    rng = np.random.default_rng(seed)
    weight = rng.integers(-peak, peak, (rows, shape[0], *kernel))
    codes = rng.integers(0, 1 << bits, (2, *shape)).astype(np.uint8)
    zero_point = int(rng.integers(0, 1 << bits))
    got = operations.conv_accumulators(make_conv(weight, strides=strides, pads=pads), codes, zero_point)
    assert got.dtype == np.int64
    for n, image in enumerate(codes):
        expected = windows(image, kernel, strides, pads, zero_point)
        assert got[n].shape == (rows, *(1 + max(axis) for axis in zip(*expected, strict=True)))
        for (y, x), window in expected.items():
            for row in range(rows):
                assert got[n, row, y, x] == sum(int(weight[row][at]) * code for at, code in window.items())


@given(geometry=geometries(), groups=st.integers(1, 4), rows=st.integers(1, 3), seed=st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_grouped_convolution(geometry, groups, rows, seed):
    """Group for group a convolution of its own; depthwise when a group has one channel."""
    (channels, *size), kernel, strides, pads = geometry
    rng = np.random.default_rng(seed)
    weight = rng.integers(-8, 8, (groups * rows, channels, *kernel))
    codes = rng.integers(0, 16, (2, groups * channels, *size)).astype(np.uint8)
    zero_point = int(rng.integers(0, 16))
    conv = make_conv(weight, strides=strides, pads=pads, groups=groups)
    got = operations.conv_accumulators(conv, codes, zero_point)
    for n, image in enumerate(codes):
        for group in range(groups):
            own = windows(image[group * channels:(group + 1) * channels], kernel, strides, pads, zero_point)
            for (y, x), window in own.items():
                for row in range(group * rows, (group + 1) * rows):
                    assert got[n, row, y, x] == sum(int(weight[row][at]) * code for at, code in window.items())


@given(geometry=geometries(pool=True), seed=st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_pools(geometry, seed):
    shape, kernel, strides, pads = geometry
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (2, *shape)).astype(np.uint8)
    rule = Rescale(a=3, constant=-20, shift=5, low=0, high=255)
    largest = operations.max_pool(MaxPool("max", "x", "y", kernel, strides, pads), codes)
    average = AvgPool("avg", "x", "y", kernel, strides, rule, pads)
    sums = operations.pool_sums(average, codes, 9)
    means = operations.avg_pool(average, codes, 9)
    for n, c in product(range(2), range(shape[0])):
        image = codes[n, c:c + 1]
        for (y, x), window in windows(image, kernel, strides, pads, None).items():
            inside = [code for code in window.values() if code is not None]
            total = sum(9 if code is None else code for code in window.values())
            assert largest[n, c, y, x] == max(inside, default=0)
            assert sums[n, c, y, x] == total
            assert means[n, c, y, x] == min(max((total * 3 - 20 + 16) // 32, 0), 255)
    assert largest.dtype == means.dtype == np.uint8


def test_padding_never_wins_a_maximum():
    op = MaxPool("max", "x", "y", (2, 2), (1, 1), (1, 1, 1, 1))
    assert operations.max_pool(op, np.zeros((1, 1, 1, 1), dtype=np.uint8)).tolist() == [[[[0, 0], [0, 0]]]]


def test_add():
    rule = Rescale(a=5, b=-3, constant=7, shift=2, rounding="floor", zero_point=2, low=1, high=15)
    x = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    y = x[:, :, ::-1, ::-1]
    got = operations.add(Add("add", "x", "z", "y", rule), x, y)
    assert got.ravel().tolist() == [min(max(2 + (5 * a - 3 * (15 - a) + 7) // 4, 1), 15) for a in range(16)]


def test_maximum_input_does_not_modify_it():
    codes = np.arange(9, dtype=np.uint8).reshape(1, 1, 3, 3)
    operations.max_pool(MaxPool("max", "x", "y", (2, 2), (1, 1)), codes)
    assert codes.ravel().tolist() == list(range(9))


def test_float_products_are_exact_up_to_the_bound():
    """Odd sums just under and over 2**24, and near 2**53, where too short a float would lose the last unit."""
    for weights in ([1 << 16, 1], [1 << 17, 1], [(1 << 45) - 1, 4], [-(1 << 17), 1]):
        weight = np.array(weights, dtype=np.int64).reshape(1, 2, 1, 1)
        codes = np.array([255, 1], dtype=np.uint8).reshape(1, 2, 1, 1)
        got = operations.conv_accumulators(make_conv(weight), codes, 0)
        assert int(got[0, 0, 0, 0]) == weights[0] * 255 + weights[1]


def test_narrow_weight_types_do_not_wrap():
    weight = np.full((1, 1000, 1, 1), -128, dtype=np.int8)
    weight[0, 0] = -127
    codes = np.full((1, 1000, 1, 1), 255, dtype=np.uint8)
    assert operations.conv_accumulators(make_conv(weight), codes, 0).tolist() == [[[[-128 * 255 * 999 - 127 * 255]]]]


def test_refuses_sums_beyond_53_bits():
    weight = np.full((1, 1, 1, 1), 1 << 46, dtype=np.int64)
    with pytest.raises(HwgenError, match="conv: accumulators up to .* do not fit 53 bits"):
        operations.conv_accumulators(make_conv(weight), np.full((1, 1, 1, 1), 255, dtype=np.uint8), 0)


def test_chunks_do_not_change_results(monkeypatch):
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 16, (11, 3, 6, 5)).astype(np.uint8)
    op = make_conv(rng.integers(-8, 8, (4, 3, 3, 3)), pads=(1, 1, 1, 1))
    whole = operations.conv_accumulators(op, codes, 3)
    monkeypatch.setattr(operations, "CHUNK", 2000)
    assert (operations.conv_accumulators(op, codes, 3) == whole).all()
    assert operations.conv_accumulators(op, codes[:0], 3).shape == (0, 4, 6, 5)
