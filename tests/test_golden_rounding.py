"""Roundings, requantizers and thresholds against exact rational arithmetic."""

from fractions import Fraction
from itertools import product
from math import floor

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.golden import requantize, rescale, shift_round
from hwgen.graph.ir import ROUNDINGS, Requant, Rescale


def exact_round(value, rounding):
    """The three roundings of a Fraction by their meaning: floor, ties up, ties to even."""
    if rounding == "floor":
        return floor(value)
    if rounding == "half_up":
        return floor(value + Fraction(1, 2))
    return round(value)  # Python rounds Fractions half to even


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", [np.int64, object])
def test_every_small_value_and_shift(rounding, dtype):
    values = np.arange(-200, 201)
    for shift in range(1, 9):
        got = shift_round(values.astype(dtype), np.array(shift, dtype=dtype), rounding)
        assert got.tolist() == [exact_round(Fraction(v, 1 << shift), rounding) for v in values.tolist()]


@pytest.mark.parametrize("rounding, expected", [("half_up", [-2, -1, 0, 1, 2, 3]), ("half_even", [-2, -2, 0, 0, 2, 2]),
                                                ("floor", [-3, -2, -1, 0, 1, 2])])
def test_ties_by_hand(rounding, expected):
    ties = np.array([-5, -3, -1, 1, 3, 5])  # halves
    assert shift_round(ties, 1, rounding).tolist() == expected


@settings(deadline=None)
@given(value=st.integers(-(1 << 60), 1 << 60), shift=st.integers(1, 32), rounding=st.sampled_from(ROUNDINGS))
def test_large_values(value, shift, rounding):
    assert shift_round(np.array([value]), shift, rounding)[0] == exact_round(Fraction(value, 1 << shift), rounding)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_products_beyond_int64(rounding):
    """2**41 * 2**24 = 2**65 is 0 in int64, and 2**63 - 1 plus one half is negative."""
    rule = Requant(np.array([1 << 24, 0]), np.array([0, (1 << 63) - 1]), np.array([20, 32]), rounding, low=0, high=255)
    assert requantize(np.full((1, 2, 1, 1), 1 << 41), rule).ravel().tolist() == [255, 255]


INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
ROW = st.tuples(INT32, st.integers(-(1 << 63), (1 << 63) - 1), INT32, st.integers(1, 48))
NARROW_ROW = st.tuples(st.integers(-40, 40), st.integers(-3000, 3000), st.integers(-40, 40), st.integers(1, 8))


@settings(deadline=None)
@given(rows=st.one_of(st.lists(ROW, min_size=1, max_size=4), st.lists(NARROW_ROW, min_size=1, max_size=4)),
       acc=st.integers(-(1 << 40), 1 << 40), spread=st.integers(0, 300), rounding=st.sampled_from(ROUNDINGS),
       zero_point=st.integers(0, 255), limits=st.tuples(st.integers(0, 255), st.integers(0, 255)), fused=st.booleans())
def test_requantize_by_fractions(rows, acc, spread, rounding, zero_point, limits, fused):
    """Widths up to the largest legal ones: where int64 would overflow the result is still exact."""
    low, high = sorted(limits)
    m, c, r, s = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    rule = Requant(m, c, s, rounding, zero_point, low, high, residual_multiplier=r if fused else None)
    images = np.stack([np.full((len(rows), 1, 2), acc), np.full((len(rows), 1, 2), spread)])
    residual = np.arange(images.size).astype(np.uint8).reshape(images.shape)
    got = requantize(images, rule, residual if fused else None)
    assert got.dtype == np.uint8
    for n, row, x in product(range(2), range(len(rows)), range(2)):
        value = int(images[n, row, 0, x]) * int(m[row]) + int(c[row])
        value += int(residual[n, row, 0, x]) * int(r[row]) * fused
        code = zero_point + exact_round(Fraction(value, 1 << int(s[row])), rounding)
        assert got[n, row, 0, x] == min(max(code, low), high)


@settings(deadline=None)
@given(rows=st.lists(st.lists(st.integers(-20, 20), min_size=5, max_size=5).map(sorted), min_size=1, max_size=3),
       negate=st.lists(st.booleans(), min_size=3, max_size=3), low=st.integers(0, 10), with_negate=st.booleans())
def test_thresholds_by_counting(rows, negate, low, with_negate):
    unused = np.zeros(len(rows), dtype=np.int64)
    rule = Requant(unused, unused, unused + 1, low=low, high=low + 5, thresholds=np.array(rows),
                   negate=np.array(negate[:len(rows)]) if with_negate else None)
    acc = np.broadcast_to(np.arange(-25, 26), (1, len(rows), 1, 51))
    got = requantize(acc, rule)
    for row, steps in enumerate(rows):
        for x, value in enumerate(range(-25, 26)):
            if with_negate and negate[row]:
                value = -value - 1
            assert got[0, row, 0, x] == low + sum(value >= step for step in steps)


def test_a_negated_row_falls_as_its_mirror_rises():
    """acc < t, written as -acc - 1 >= -t."""
    rule = Requant(np.array([0]), np.array([0]), np.array([1]), low=0, high=1, thresholds=np.array([[-3]]),
                   negate=np.array([True]))
    acc = np.arange(0, 6).reshape(1, 1, 1, 6)
    assert requantize(acc, rule).ravel().tolist() == [1, 1, 1, 0, 0, 0]


def test_no_steps_gives_low():
    rule = Requant(np.array([0]), np.array([0]), np.array([1]), low=3, high=3, thresholds=np.zeros((1, 0), dtype=int))
    assert requantize(np.arange(4).reshape(1, 1, 2, 2), rule).tolist() == [[[[3, 3], [3, 3]]]]


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_rescale_all_pairs_of_codes(rounding):
    rule = Rescale(a=-7, b=11, constant=-5, shift=4, rounding=rounding, zero_point=6, low=1, high=14)
    x, y = (grid.reshape(1, 1, 16, 16).astype(np.uint8) for grid in np.meshgrid(np.arange(16), np.arange(16)))
    got = rescale(x, rule, y)
    for a, b, code in zip(x.flat, y.flat, got.flat, strict=True):
        value = 6 + exact_round(Fraction(-7 * int(a) + 11 * int(b) - 5, 16), rounding)
        assert code == min(max(value, 1), 14)


@settings(deadline=None)
@given(x=st.integers(0, 1 << 40), a=INT32, constant=st.integers(-(1 << 63), (1 << 63) - 1), shift=st.integers(1, 32),
       rounding=st.sampled_from(ROUNDINGS))
def test_rescale_beyond_int64(x, a, constant, shift, rounding):
    got = rescale(np.array([[[[x]]]]), Rescale(a, constant, shift, rounding=rounding, low=0, high=255))
    value = exact_round(Fraction(x * a + constant, 1 << shift), rounding)
    assert got.tolist() == [[[[min(max(value, 0), 255)]]]]


def test_errors():
    one = np.array([1])
    acc = np.zeros((1, 1, 1, 1), dtype=np.int64)
    with pytest.raises(HwgenError, match="unknown rounding 'up'"):
        shift_round(one, 1, "up")
    with pytest.raises(HwgenError, match="fused residual needs its second operand"):
        requantize(acc, Requant(one, one, one, residual_multiplier=one))
    with pytest.raises(HwgenError, match="needs its second operand"):
        rescale(acc, Rescale(a=1, constant=0, shift=1, b=1))
