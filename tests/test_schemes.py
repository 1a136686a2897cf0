"""Number systems against definitions written out here."""

from fractions import Fraction
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.schemes import DISCOVERY_ORDER, NAMES, discover, get, quant_bits, runs_as, signed_bits, values_of
from hwgen.schemes.mix import BY_VARIANCE, WIDE, Mix
from hwgen.schemes.fixed import fixed
from hwgen.schemes.pot import pot
from hwgen.schemes.sp2 import sp2


def sp2_levels(m):
    """Levels over alpha as exact fractions, straight from MSQ eq. 8."""
    m1 = (m - 1) - (m - 1) // 2
    m2 = (m - 1) // 2
    assert m1 + m2 + 1 == m and m1 >= m2
    def choices(width):
        return [Fraction(0)] + [Fraction(1, 2 ** k) for k in range(1, 2 ** width)]
    return sorted({sign * (a + b) for sign, a, b in product((1, -1), choices(m1), choices(m2))})


GRIDS = {
    "fixed4": range(-8, 8),
    "fixed8": range(-128, 128),
    "sp2": [0, 1, -1, 2, -2, 4, -4, 5, -5, 6, -6, 8, -8],
    "pot4": [0, 1, -1, 2, -2, 4, -4, 8, -8, 16, -16, 32, -32, 64, -64],
    "binary": [1, -1],
    "fixed2": range(-2, 2),
    "fixed3": range(-4, 4),
    "fixed5": range(-16, 16),
    "fixed6": range(-32, 32),
    "fixed7": range(-64, 64),
    "pot3": [0, 1, -1, 2, -2, 4, -4],
}
TRAINED = {**GRIDS, "fixed4": range(-7, 8), "fixed8": range(-127, 128), "fixed2": range(-1, 2), "fixed3": range(-3, 4),
           "fixed5": range(-15, 16), "fixed6": range(-31, 32), "fixed7": range(-63, 64)}


@pytest.mark.parametrize("m, magnitudes, levels, top", [(3, 3, 5, 2), (4, 7, 13, 8), (5, 8, 15, 8),
                                                        (6, 24, 47, 128), (7, 30, 59, 128), (8, 94, 187, 32768)])
def test_sp2_matches_its_definition_and_published_counts(m, magnitudes, levels, top):
    scheme = sp2(m)
    expected = sp2_levels(m)
    assert [Fraction(int(w), top) for w in scheme.levels] == expected
    assert len(scheme.levels) == levels
    assert len({abs(int(w)) for w in scheme.levels}) == magnitudes
    assert (scheme.max_abs, scheme.low, scheme.high) == (top, -top, top)
    assert scheme.unit == 1 / top
    assert scheme.bits == m
    assert scheme.name == ("sp2" if m == 4 else f"sp2m{m}")


@pytest.mark.parametrize("name", GRIDS)
def test_grids(name):
    scheme = get(name)
    assert scheme.accepted.tolist() == sorted(GRIDS[name])
    assert scheme.levels.tolist() == sorted(TRAINED[name])
    every = np.arange(-300, 301)
    assert every[scheme.contains(every)].tolist() == sorted(GRIDS[name])
    assert (scheme.low, scheme.high) == (min(GRIDS[name]), max(GRIDS[name]))
    assert scheme.max_abs == max(TRAINED[name])


def test_units_and_code_widths():
    assert {name: (get(name).unit, get(name).bits) for name in GRIDS} == {
        "fixed4": (1 / 7, 4), "fixed8": (1 / 127, 8), "sp2": (1 / 8, 4), "pot4": (1 / 64, 4), "binary": (1.0, 1),
        "fixed2": (1.0, 2), "fixed3": (1 / 3, 3), "fixed5": (1 / 15, 5),
        "fixed6": (1 / 31, 6), "fixed7": (1 / 63, 7), "pot3": (1 / 4, 3)}


def test_hardware_code_of_sp2():
    magnitude = {0b000: 0, 0b001: 1, 0b010: 2, 0b011: 8, 0b100: 4, 0b101: 5, 0b110: 6}
    for code, size in magnitude.items():
        assert get("sp2").encode(size) == code
        assert get("sp2").decode(code) == size
        if size:
            assert get("sp2").encode(-size) == 0b1000 | code
            assert get("sp2").decode(0b1000 | code) == -size


def test_other_codes():
    assert get("pot4").encode([0, 1, 2, 64, -1, -64]).tolist() == [0, 1, 2, 7, 9, 15]
    assert get("fixed4").encode([-8, -7, 0, 7]).tolist() == [0, 1, 8, 15]
    assert get("fixed8").encode([-128, -1, 0, 127]).tolist() == [0, 127, 128, 255]
    assert get("binary").encode([1, -1]).tolist() == [0, 1]
    assert get("fixed3").encode([-4, -1, 0, 3]).tolist() == [0, 3, 4, 7]
    assert get("pot3").encode([0, 1, 2, 4, -1, -4]).tolist() == [0, 1, 2, 3, 5, 7]
    # sp2 of 5 bits: two fields of 2 bits, {0, 1, 2, 4} each; the smallest code of a magnitude
    assert get("sp2m5").encode([0, 1, 2, 4, 3, 5, 6, 8, -8]).tolist() == [0, 1, 2, 3, 6, 7, 11, 15, 31]


@pytest.mark.parametrize("name", NAMES)
def test_codes_are_a_bijection(name):
    scheme = get(name)
    codes = scheme.encode(scheme.accepted)
    assert codes.dtype == np.uint8
    assert len(set(codes.tolist())) == len(scheme.accepted)
    assert int(codes.max()) < 1 << scheme.bits
    assert scheme.decode(codes).tolist() == scheme.accepted.tolist()
    shape = (1, len(scheme.accepted), 1)
    assert scheme.encode(scheme.accepted.reshape(shape)).shape == shape
    for unused in set(range(-2, (1 << scheme.bits) + 2)) - set(codes.tolist()):
        with pytest.raises(HwgenError, match=f"{unused} is not a weight code"):
            scheme.decode([unused])


@pytest.mark.parametrize("name, outside", [("sp2", 3), ("sp2", 7), ("pot4", 3), ("fixed4", 8), ("fixed4", -9),
                                           ("fixed8", 128), ("binary", 0), ("sp2m8", 32769)])
def test_encode_refuses_what_is_off_the_grid(name, outside):
    assert not get(name).contains(outside)
    with pytest.raises(HwgenError, match=f"weight {outside} is not on the grid"):
        get(name).encode([1, outside])


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(real=st.one_of(st.floats(-150, 150), st.integers(-300, 300).map(lambda n: n / 2)))
def test_nearest_by_search(name, real):
    levels = [int(w) for w in get(name).levels]
    exact = Fraction(real)
    # closest first, then the smaller magnitude, then the positive one
    best = min(levels, key=lambda w: (abs(w - exact), abs(w), -w))
    assert get(name).nearest(real) == best


def test_nearest_edges():
    assert get("sp2").nearest([[0.5, 1.5, 3.0], [7.0, -7.0, 1e9]]).tolist() == [[0, 1, 2], [6, -6, 8]]
    assert get("fixed4").nearest([-8.0, np.inf, -np.inf]).tolist() == [-7, 7, -7]
    with pytest.raises(HwgenError, match="NaN"):
        get("pot4").nearest([0.0, np.nan])


@pytest.mark.parametrize("row, names", [
    ([0, 1, -1], ("sp2", "fixed4", "pot4", "fixed8")),
    ([1, -1], ("binary", "sp2", "fixed4", "pot4", "fixed8")),
    ([0, 0], ("sp2", "fixed4", "pot4", "fixed8")),
    ([3, 0], ("fixed4", "fixed8")),
    ([8, 5], ("sp2", "fixed8")),
    ([-8, 3], ("fixed4", "fixed8")),
    ([8, 16], ("pot4", "fixed8")),
    ([[8], [-9]], ("fixed8",)),
    ([-128], ("fixed8",)),
    ([128], ()),
    ([], ()),
])
def test_discovery(row, names):
    assert discover(np.array(row, dtype=np.int64)) == names


@settings(deadline=None)
@given(st.lists(st.integers(-130, 130), min_size=1, max_size=6))
def test_discovery_is_membership_in_order(row):
    assert discover(row) == tuple(name for name in DISCOVERY_ORDER if set(row) <= set(GRIDS[name]))


@pytest.mark.parametrize("rows, bits", [(["fixed4"], 4), (["sp2", "fixed4"], 5), (["pot4"], 8), (["binary"], 2),
                                        (["fixed4", "fixed8"], 8), ("sp2m8", 17), (np.array([[0, 1], [-2, 0]]), 2),
                                        (np.array([2]), 3), (np.array([-8, 7]), 4), (np.array([0]), 2),
                                        (np.array(["sp2", "sp2"]), 5)])
def test_quant_bits(rows, bits):
    assert quant_bits(rows) == bits


def test_signed_bits_is_the_smallest_width():
    for low in range(-40, 1):
        for high in range(0, 40):
            bits = signed_bits(low, high)
            assert -(1 << bits >> 1) <= low and high < 1 << bits >> 1
            assert bits == 1 or not (-(1 << bits >> 2) <= low and high < 1 << bits >> 2)


def test_errors():
    with pytest.raises(HwgenError, match="unknown weight scheme 'int3'; known are binary, sp2"):
        get("int3")
    with pytest.raises(HwgenError, match="no rows"):
        quant_bits([])
    for m in (2, 9):
        with pytest.raises(ValueError, match=f"m must be in 3..8, not {m}"):
            sp2(m)


@pytest.mark.parametrize("make, m, span", [(fixed, 1, "2..8"), (fixed, 9, "2..8"), (pot, 2, "3 or 4"),
                                           (pot, 5, "3 or 4")])
def test_widths_that_do_not_exist(make, m, span):
    with pytest.raises(ValueError, match=f"m must be .*{span}, not {m}"):
        make(m)


def test_what_rows_run_as():
    assert {name: runs_as(name) for name in NAMES} == {
        "binary": "binary", "sp2": "sp2", "fixed4": "fixed4", "pot4": "pot4", "fixed8": "fixed8", "sp2m3": "sp2",
        "sp2m5": "fixed8", "sp2m6": None, "sp2m7": None, "sp2m8": None, "fixed2": "sp2", "fixed3": "fixed4",
        "fixed5": "fixed8", "fixed6": "fixed8", "fixed7": "fixed8", "pot3": "sp2"}


def test_a_mix_knows_all_schemes_of_several_levels():
    assert {*BY_VARIANCE, *WIDE} == set(NAMES) - {"binary"}


def test_assignment_by_hand():
    mix = Mix.of(pot4=50, fixed4=25, fixed8=25)
    variance, importance = np.array([5, 1, 2, 9, 3, 4, 8, 7]), np.array([0, 9, 1, 0, 0, 8, 0, 0])
    assert mix.assign(variance, importance) == ("pot4", "fixed8", "pot4", "fixed4", "pot4", "fixed8", "fixed4", "pot4")
    assert Mix.of(sp2=1, fixed4=1).assign(np.zeros(4), np.zeros(4)) == ("sp2", "sp2", "fixed4", "fixed4")


@pytest.mark.parametrize("rows, expected", [(32, (24, 8)), (40, (30, 10)), (33, (25, 8)), (64, (48, 16)), (5, (4, 1))])
def test_quotas_that_fit_the_shares(rows, expected):
    counts = Mix.of(sp2=75, fixed4=25).counts(rows, {"sp2": 24, "fixed4": 8})
    assert (counts["sp2"], counts["fixed4"]) == expected


@pytest.mark.parametrize("rows, expected", [(32, (24, 8)), (30, (22, 8)), (16, (8, 8)), (64, (48, 16)), (34, (18, 16))])
def test_quotas_bound_the_shares(rows, expected):
    """Half of the rows should be fixed4, but a tile has 8 places for them: no more tiles than the fewest."""
    counts = Mix.of(sp2=50, fixed4=50).counts(rows, {"sp2": 24, "fixed4": 8})
    assert (counts["sp2"], counts["fixed4"]) == expected


@pytest.mark.parametrize("parts, message", [({"sp3": 1}, "no mix with scheme 'sp3'"), ({"sp2": -1}, "not negative"),
                                            ({"sp2": 0.5}, "whole number"), ({"sp2": 0}, "must not all be 0"),
                                            ({}, "must not all be 0")])
def test_bad_mixes(parts, message):
    with pytest.raises(HwgenError, match=message):
        Mix.of(**parts)


def test_bad_quotas():
    with pytest.raises(HwgenError, match="at least one row to each of fixed4, sp2"):
        Mix.of(sp2=1, fixed4=1).counts(8, {"sp2": 8})


@pytest.mark.parametrize("dtype", [np.int8, np.int64])
def test_values_of_every_row(dtype):
    rng = np.random.default_rng(3)
    rows = rng.integers(-128, 128, (40, 3, 5, 2)).astype(dtype)
    rows[7] = -128
    rows[8], rows[8, 0, 0, 0] = 127, 0
    found = values_of(rows)
    assert [values.tolist() for values in found] == [sorted(set(row.reshape(-1).tolist())) for row in rows]
