"""compile_affine and its proof against brute force over every accumulator."""

import dataclasses
from fractions import Fraction
import random
import time

import numpy as np
import pytest
from requant_oracle import hardware_code, source_code

from hwgen.errors import HwgenError
from hwgen.graph.requant_steps import ROUNDINGS, affine_steps
from hwgen.graph.requantize import compile_affine, constant_bits, verify


def compare(slope, intercept, mode, zero, zero_after, low, high, lo, hi, requant):
    """Differences in codes per row, over every accumulator."""
    return [max(abs(hardware_code(requant, row, acc) - source_code(a * acc + b, mode, zero, zero_after, low, high))
                for acc in range(lo, hi + 1))
            for row, (a, b) in enumerate(zip(slope, intercept, strict=True))]


def random_row(rng, lo, hi, codes):
    """A slope that covers the codes, is steep, flat, a tie-prone power of two or 0; an intercept near the middle."""
    kind = rng.randrange(6)
    sign = rng.choice((-1, 1))
    if kind == 0:
        slope = Fraction(sign * rng.choice((1, 3, 5)), 2 ** rng.randrange(0, 9))
        return slope, Fraction(rng.randrange(-64, 64), 2 ** rng.randrange(0, 5))
    if kind == 1:
        return Fraction(0), Fraction(rng.randrange(-40, 8 * codes), 4)
    width = codes / (hi - lo) * 10 ** rng.uniform(-1.5, 1.5)
    slope = Fraction(sign * width) if kind < 5 else Fraction(sign * rng.randrange(1, 50), rng.randrange(1, 5000))
    centre = Fraction(codes, 2) - slope * rng.randrange(lo, hi + 1)
    return slope, centre + Fraction(rng.uniform(-1, 1)) if kind % 2 else Fraction(round(centre))


@pytest.mark.parametrize("seed", range(60))
def test_affine_equals_source_on_every_accumulator(seed):
    rng = random.Random(seed)
    mode = ROUNDINGS[seed % len(ROUNDINGS)]
    bits = rng.randint(1, 8)
    top = 2**bits - 1
    low, high = sorted((rng.randint(0, top), rng.randint(0, top))) if seed % 3 == 0 else (0, top)
    zero, zero_after = rng.randint(0, top), rng.random() < 0.5
    lo, hi = -rng.randint(1, 700), rng.randint(1, 700)
    rows = [random_row(rng, lo, hi, top) for _ in range(8)]
    slope, intercept = [a for a, _ in rows], [b for _, b in rows]
    requant = compile_affine(slope, intercept, rounding=mode, zero_point=zero, zero_after=zero_after, low=low,
                             high=high, acc_lo=lo, acc_hi=hi)
    differences = compare(slope, intercept, mode, zero, zero_after, low, high, lo, hi, requant)
    assert requant.proven == sum(d == 0 for d in differences)
    assert requant.worst == max(differences)
    assert (requant.low, requant.high) == (low, high)
    if high - low <= 15:
        assert requant.proven == len(rows)
    if requant.thresholds is None:
        assert np.abs(requant.multiplier).max() < 2**17
        assert 1 <= requant.shift.min() and requant.shift.max() <= 32
        assert constant_bits(requant) <= 12 + 18 + 1
    else:
        # the sentinels lie beside the accumulators that occur, seen as v
        for falls in (False, True):
            chosen = requant.thresholds[requant.negate == falls]
            assert ((chosen >= (-hi - 1 if falls else lo)) & (chosen <= (-lo if falls else hi + 1))).all()
        assert (np.diff(requant.thresholds, axis=1) >= 0).all()


@pytest.mark.parametrize("mode", ["half_even", "half_up", "floor"])
@pytest.mark.parametrize("zero_after", [False, True])
def test_power_of_two_ties_keep_the_hardware_rounding(mode, zero_after):
    slope = [Fraction(1, 2), Fraction(-1, 2), Fraction(1, 8), Fraction(-3, 4)]
    intercept = [Fraction(0), Fraction(7), Fraction(1, 2), Fraction(9, 2)]
    requant = compile_affine(slope, intercept, rounding=mode, zero_point=3, zero_after=zero_after, low=0, high=255,
                             acc_lo=-900, acc_hi=900)
    assert compare(slope, intercept, mode, 3, zero_after, 0, 255, -900, 900, requant) == [0] * 4
    assert (requant.rounding, requant.proven, requant.worst) == (mode, 4, 0)


@pytest.mark.parametrize("mode", ["ceil", "half_down"])
def test_foreign_roundings_that_a_multiplier_expresses(mode):
    slope, intercept = [Fraction(1, 4), Fraction(-1, 3)], [Fraction(1), Fraction(50)]
    requant = compile_affine(slope, intercept, rounding=mode, low=0, high=255, acc_lo=-300, acc_hi=300)
    assert requant.thresholds is None and requant.proven == 2
    assert compare(slope, intercept, mode, 0, True, 0, 255, -300, 300, requant) == [0, 0]


def test_ties_without_a_multiplier_become_thresholds_in_the_whole_layer():
    # Towards zero, code z is twice as wide as every other one.
    slope, intercept = [Fraction(1, 8), Fraction(-1, 8), Fraction(0)], [Fraction(0), Fraction(-1, 2), Fraction(0)]
    requant = compile_affine(slope, intercept, rounding="toward_zero", zero_point=8, low=0, high=15,
                             acc_lo=-99, acc_hi=99)
    assert requant.thresholds is not None and requant.proven == 3
    assert requant.thresholds.shape == (3, 15)
    assert requant.negate.tolist() == [False, True, False]
    assert compare(slope, intercept, "toward_zero", 8, True, 0, 15, -99, 99, requant) == [0, 0, 0]


def test_unproven_rows_are_counted_with_their_difference():
    slope, intercept = [Fraction(1, 3), Fraction(1, 2)], [Fraction(0), Fraction(0)]
    requant = compile_affine(slope, intercept, rounding="half_up", low=0, high=255, acc_lo=0, acc_hi=1000, m_bits=4)
    differences = compare(slope, intercept, "half_up", 0, True, 0, 255, 0, 1000, requant)
    assert differences[0] > 0 == differences[1]
    assert (requant.proven, requant.worst) == (1, differences[0])


def test_wide_layers_need_shifts_beyond_32():
    """Codes of 8 bits over 200,000 accumulators: no M with S of at most 32 is exact, some with a larger S is."""
    slope, intercept = [Fraction(0.00111)], [Fraction(0.4)]
    limits = {"rounding": "half_even", "low": 0, "high": 255, "acc_lo": -2000, "acc_hi": 220_000, "m_bits": 28}
    assert compile_affine(slope, intercept, shift_max=32, **limits).proven == 0
    requant = compile_affine(slope, intercept, **limits)
    assert requant.proven == 1 and 32 < requant.shift[0] <= 48
    assert compare(slope, intercept, "half_even", 0, True, 0, 255, -2000, 220_000, requant) == [0]


def test_the_search_is_complete():
    """With few bits, a row is proven if and only if trying all M, C, S finds a solution."""
    rng = random.Random(5)
    outcomes = []
    for _ in range(60):
        a, b = Fraction(rng.uniform(0.05, 1.2)), Fraction(rng.uniform(-3, 3))
        lo, hi = -6, rng.randint(6, 14)
        wanted = [source_code(a * acc + b, "half_up", 0, True, 0, 7) for acc in range(lo, hi + 1)]
        possible = any(
            all(min(max((2 * (acc * m + c) + 2**s) // 2 ** (s + 1), 0), 7) == want
                for acc, want in zip(range(lo, hi + 1), wanted, strict=True))
            for s in range(1, 5) for m in range(0, 8) for c in range(-2 ** (s + 3), 2 ** (s + 3)))
        requant = compile_affine([a], [b], rounding="half_up", low=0, high=7, acc_lo=lo, acc_hi=hi, m_bits=4,
                                 shift_max=4, threshold_steps=0)
        assert (requant.proven == 1) == possible
        outcomes.append(possible)
    assert 5 < sum(outcomes) < 55


@pytest.mark.parametrize("case", [
    (Fraction(0), Fraction(200), 200), (Fraction(0), Fraction(-5), 0), (Fraction(0), Fraction(10**9), 255),
    (Fraction(1, 10**40), Fraction(13), 13), (Fraction(1, 10**400), Fraction(27, 2), 14),
    (Fraction(-1, 10**400), Fraction(27, 2) + Fraction(1, 10**9), 14), (Fraction(1, 10**9), Fraction(7), 7),
])
def test_constant_rows(case):
    slope, intercept, code = case
    requant = compile_affine([slope], [intercept], rounding="half_up", low=0, high=255, acc_lo=0, acc_hi=10**6)
    assert requant.proven == 1
    assert requant.multiplier.tolist() == [0] and requant.shift.tolist() == [1]
    assert {hardware_code(requant, 0, acc) for acc in (0, 1, 999, 10**6)} == {code}


def test_a_slope_too_small_for_float_still_breaks_a_tie():
    requant = compile_affine([Fraction(-1, 10**400)], [Fraction(27, 2)], rounding="half_up", low=0, high=255, acc_lo=0,
                             acc_hi=10**6)
    assert requant.proven == 1
    assert [hardware_code(requant, 0, acc) for acc in (0, 1, 10**6)] == [14, 13, 13]


def test_huge_slopes_and_one_possible_code():
    requant = compile_affine([Fraction(10**30), Fraction(-(10**12))], [Fraction(1), Fraction(1)], rounding="half_even",
                             low=0, high=255, acc_lo=-40, acc_hi=40)
    assert requant.proven == 2
    assert [[hardware_code(requant, row, acc) for acc in (-1, 0, 1)] for row in (0, 1)] == [[0, 1, 255], [255, 1, 0]]
    fixed = compile_affine([Fraction(1)], [Fraction(1)], rounding="ceil", low=6, high=6, acc_lo=-40, acc_hi=40)
    assert fixed.proven == 1 and hardware_code(fixed, 0, 33) == 6


def test_verifier_rejects_a_wrong_constant():
    slope, intercept = [Fraction(0.01), Fraction(-0.013)], [Fraction(3.3), Fraction(5.1)]
    bounds = {"acc_lo": -3000, "acc_hi": 3000}
    requant = compile_affine(slope, intercept, rounding="half_even", low=0, high=15, **bounds)
    lo, hi = np.array([-3000] * 2), np.array([3000] * 2)
    wanted = affine_steps(slope, intercept, np.arange(1, 16), "half_even", lo, hi)
    assert verify(requant, wanted)[0].tolist() == [True, True]
    one_code = 1 << int(requant.shift[0])
    for name, delta, worst in (("constant", one_code, 1), ("constant", -3 * one_code, 3), ("shift", 1, 7)):
        broken = getattr(requant, name).copy()
        broken[0] += delta
        good, difference = verify(dataclasses.replace(requant, **{name: broken}), wanted)
        changed = dataclasses.replace(requant, **{name: broken})
        truth = max(compare(slope, intercept, "half_even", 0, True, 0, 15, -3000, 3000, changed))
        assert good.tolist() == [False, True] and difference == truth >= worst
    good, _ = verify(dataclasses.replace(requant, multiplier=-requant.multiplier), wanted)
    assert not good.any()
    good, _ = verify(dataclasses.replace(requant, rounding="floor"), wanted)
    assert not good.any()


def test_verifier_rejects_a_shifted_threshold():
    slope, intercept = [Fraction(1, 8)], [Fraction(0)]
    requant = compile_affine(slope, intercept, rounding="toward_zero", zero_point=8, low=0, high=15,
                             acc_lo=-99, acc_hi=99)
    wanted = affine_steps(slope, intercept, np.arange(1, 16) - 8, "toward_zero", np.array([-99]), np.array([99]))
    assert verify(requant, wanted)[0].all()
    moved = requant.thresholds.copy()
    moved[0, 4] += 1
    assert verify(dataclasses.replace(requant, thresholds=moved), wanted)[1] == 1
    assert not verify(dataclasses.replace(requant, negate=~requant.negate), wanted)[0].any()


def test_512_rows_of_8_bits_compile_fast_and_exactly():
    rng = random.Random(11)
    slope = [rng.choice((-1, 1)) * Fraction(rng.uniform(1e-4, 3e-3)) * Fraction(rng.uniform(0.5, 2))
             for _ in range(512)]
    intercept = [Fraction(rng.uniform(0, 255)) for _ in range(512)]
    begin = time.perf_counter()
    requant = compile_affine(slope, intercept, rounding="half_even", low=0, high=255, acc_lo=-200000, acc_hi=200000,
                             m_bits=26)
    assert time.perf_counter() - begin < 20  # about 1 s alone; generous for a loaded machine
    assert requant.worst <= 1 and requant.proven > 400
    for row in rng.sample(range(512), 20):
        for acc in rng.sample(range(-200000, 200001), 200):
            want = source_code(slope[row] * acc + intercept[row], "half_even", 0, True, 0, 255)
            assert abs(hardware_code(requant, row, acc) - want) <= requant.worst


@pytest.mark.parametrize("call", [
    lambda: compile_affine([1], [float("inf")], rounding="floor", low=0, high=1, acc_lo=0, acc_hi=1),
    lambda: compile_affine([float("nan")], [0], rounding="floor", low=0, high=1, acc_lo=0, acc_hi=1),
])
def test_user_errors(call):
    with pytest.raises(HwgenError):
        call()


@pytest.mark.parametrize("wrong", [
    {"rounding": "stochastic"}, {"low": 9, "high": 3}, {"high": 256}, {"acc_lo": 5, "acc_hi": 4}, {"m_bits": 33},
    {"shift_max": 0},
])
def test_illegal_arguments(wrong):
    arguments = {"rounding": "floor", "low": 0, "high": 3, "acc_lo": 0, "acc_hi": 9} | wrong
    with pytest.raises(ValueError):
        compile_affine([1], [0], **arguments)


def test_of_several_widths_a_row_takes_the_narrowest_that_is_exact():
    """Rows that 18 bits prove keep them; the others take the first width that proves them; all equal their source."""
    rng = random.Random(8)
    rows = [(Fraction(rng.uniform(0.004, 0.4)), Fraction(rng.uniform(0, 9))) for _ in range(24)]
    slope, intercept = [a for a, _ in rows], [b for _, b in rows]
    options = {"rounding": "half_even", "low": 0, "high": 255, "acc_lo": -500, "acc_hi": 40_000}
    several = compile_affine(slope, intercept, m_bits=(14, 17, 20, 23), **options)
    first = []
    for row in range(24):
        first.append(next((bits for bits in (14, 17, 20, 23) if compile_affine(
            slope[row:row + 1], intercept[row:row + 1], m_bits=bits, **options).proven), 0))
    assert len(set(first)) >= 3
    assert several.proven == sum(bits > 0 for bits in first) == 24
    assert all(abs(int(m)) < 1 << bits - 1 for m, bits in zip(several.multiplier, first, strict=True))
    assert compare(slope, intercept, "half_even", 0, True, 0, 255, -500, 40_000, several) == [0] * 24
