"""Fused residual, two-step rescale, average pooling and multi-thresholds against brute force."""

import dataclasses
from fractions import Fraction
import random

import numpy as np
import pytest
from requant_oracle import hardware_code, rescale_code, round_to_integer, source_code

from hwgen.errors import HwgenError
from hwgen.graph.requant_steps import ROUNDINGS, affine_steps
from hwgen.graph.requantize import compile_fused, verify
from hwgen.graph.rescale import add_affine, average_affine, compile_rescale
from hwgen.graph.thresholds import compile_thresholds


@pytest.mark.parametrize("seed", range(24))
def test_fused_equals_source_on_every_pair(seed):
    rng = random.Random(seed)
    mode = ROUNDINGS[seed % 3] if seed < 15 else rng.choice(ROUNDINGS)
    bits, res_bits = rng.randint(1, 5), rng.randint(1, 4)
    top, res_top = 2**bits - 1, 2**res_bits - 1
    zero, zero_after = rng.randint(0, top), rng.random() < 0.5
    lo, hi = -rng.randint(20, 250), rng.randint(20, 250)
    slope = [Fraction(rng.choice((-1, 1)) * rng.uniform(0.3, 3) * top / (hi - lo)) for _ in range(4)]
    slope += [Fraction(rng.choice((-1, 1)), 2 ** rng.randint(2, 6)), Fraction(0)]
    intercept = [Fraction(rng.uniform(-4, 4)) for _ in range(5)] + [Fraction(rng.randint(-8, 8), 2)]
    rho = Fraction(rng.uniform(-1, 2)) if seed % 2 else Fraction(rng.choice((-3, 1, 2)), 4)
    requant = compile_fused(slope, intercept, rho, residual_hi=res_top, rounding=mode, zero_point=zero,
                            zero_after=zero_after, low=0, high=top, acc_lo=lo, acc_hi=hi)
    differences = []
    for row, (a, b) in enumerate(zip(slope, intercept, strict=True)):
        differences.append(max(
            abs(hardware_code(requant, row, acc, res)
                - source_code(a * acc + rho * res + b, mode, zero, zero_after, 0, top))
            for acc in range(lo, hi + 1) for res in range(res_top + 1)))
    assert requant.proven == sum(d == 0 for d in differences)
    assert requant.worst == max(differences) <= 1
    assert np.abs(requant.multiplier).max() < 2**17 and np.abs(requant.residual_multiplier).max() < 2**17
    if mode in ("half_even", "half_up", "floor"):
        assert requant.proven >= 5


def test_fused_verifier_rejects_a_wrong_residual_multiplier():
    slope, intercept, rho = [Fraction(1, 30)], [Fraction(2)], Fraction(2, 3)
    requant = compile_fused(slope, intercept, rho, rounding="half_up", low=0, high=15, acc_lo=-500, acc_hi=500)
    wanted = affine_steps(slope, intercept, np.arange(1, 16), "half_up", np.array([-500]), np.array([500]), [rho],
                          np.arange(16))
    assert requant.proven == 1 and verify(requant, wanted) == (np.array([True]), 0)
    multiplier = requant.residual_multiplier
    wrong = dataclasses.replace(requant, residual_multiplier=multiplier + multiplier // 9)
    assert not verify(wrong, wanted)[0].any()


def test_a_wider_residual_multiplier_proves_more_rows():
    rng = random.Random(8)
    slope = [Fraction(rng.uniform(0.004, 0.02)) for _ in range(32)]
    intercept = [Fraction(rng.uniform(-3, 12)) for _ in range(32)]
    proven = {}
    for r_bits in (None, 26):
        requant = compile_fused(slope, intercept, Fraction(0.83), rounding="half_up", low=0, high=15, acc_lo=-4000,
                                acc_hi=4000, r_bits=r_bits)
        proven[r_bits] = requant.proven
        assert np.abs(requant.multiplier).max() < 2**17
        assert np.abs(requant.residual_multiplier).max() < 2 ** ((r_bits or 18) - 1)
        row = rng.randrange(32)
        for acc in range(-4000, 4001, 3):
            want = source_code(slope[row] * acc + Fraction(0.83) * 7 + intercept[row], "half_up", 0, True, 0, 15)
            assert abs(hardware_code(requant, row, acc, 7) - want) <= requant.worst
    assert proven[None] < 16 and proven[26] > 28


def test_fused_residual_per_row_and_eight_bits():
    rng = random.Random(3)
    slope = [Fraction(rng.uniform(0.01, 0.05)) for _ in range(3)]
    rho = [Fraction(1), Fraction(1, 2), Fraction(3, 4)]
    requant = compile_fused(slope, [Fraction(0)] * 3, rho, residual_hi=255, rounding="half_even", low=0, high=255,
                            acc_lo=-9000, acc_hi=9000, m_bits=32)
    for row in range(3):
        difference = max(
            abs(hardware_code(requant, row, acc, res)
                - source_code(slope[row] * acc + rho[row] * res, "half_even", 0, True, 0, 255))
            for acc in rng.sample(range(-9000, 9001), 150) for res in rng.sample(range(256), 20))
        assert difference <= requant.worst
    assert requant.proven == 3


@pytest.mark.parametrize("seed", range(16))
def test_two_step_add_equals_source_on_every_pair(seed):
    rng = random.Random(seed)
    bits = 8 if seed < 4 else rng.randint(1, 5)
    top, mode = 2**bits - 1, ROUNDINGS[seed % 3]
    zero, zero_after = rng.randint(0, top), rng.random() < 0.5
    scales = [rng.choice((0.25, 0.5, 0.75)) if seed % 2 else rng.uniform(0.1, 0.9) for _ in range(3)]
    a, b, c = add_affine(scales[0], 2, scales[1], zero, scales[2])
    rule = compile_rescale(a, b, c, x_codes=(0, top), y_codes=(0, top), rounding=mode, low=0, high=top, zero_point=zero,
                           zero_after=zero_after, m_bits=32 if bits == 8 else 18)
    worst = 0
    for x in range(top + 1):
        for y in range(top + 1):
            exact = (Fraction(scales[0]) * (x - 2) + Fraction(scales[1]) * (y - zero)) / Fraction(scales[2])
            worst = max(worst, abs(rescale_code(rule, x, y) - source_code(exact, mode, zero, zero_after, 0, top)))
    assert rule.proven == (worst == 0)
    assert rule.proven, f"seed {seed}"


def test_unproven_rescale_says_so():
    rule = compile_rescale(Fraction(1, 3), Fraction(2, 7), 0, x_codes=(0, 255), y_codes=(0, 255), rounding="half_up",
                           low=0, high=255, m_bits=6)
    wrong = sum(rescale_code(rule, x, y) != source_code(Fraction(x, 3) + Fraction(2 * y, 7), "half_up", 0, True, 0, 255)
                for x in range(256) for y in range(256))
    assert not rule.proven and wrong > 0


@pytest.mark.parametrize(("window", "bits"), [(4, 4), (9, 4), (49, 4), (49, 8), (6, 2), (1, 8)])
@pytest.mark.parametrize("mode", ["half_even", "half_up", "floor", "half_away"])
def test_average_pooling(window, bits, mode):
    top = 2**bits - 1
    a, c = average_affine(window, 0.3, 0.2 if window == 6 else 0.3, 1)
    rule = compile_rescale(a, 0, c, x_codes=(0, window * top), rounding=mode, low=0, high=top, zero_point=1)
    assert rule.proven and rule.b == 0
    ratio = Fraction(0.3) / Fraction(0.2 if window == 6 else 0.3)
    for total in range(window * top + 1):
        want = source_code(ratio * Fraction(total - window, window), mode, 1, True, 0, top)
        assert rescale_code(rule, total) == want


@pytest.mark.parametrize("seed", range(12))
def test_multi_thresholds(seed):
    rng = random.Random(seed)
    count, strict = rng.choice((1, 3, 7, 15)), rng.random() < 0.5
    rows = 4
    slope = [Fraction(rng.choice((-1, 1)) * rng.uniform(0.1, 2)) for _ in range(rows - 1)] + [Fraction(0)]
    intercept = [Fraction(rng.randint(-9, 9), 2) for _ in range(rows)]
    table = [sorted(Fraction(rng.randint(-80, 80), 2) for _ in range(count)) for _ in range(rows)]
    low = 16 - 1 - count
    requant = compile_thresholds(slope, intercept, table, acc_lo=-70, acc_hi=55, low=low, strict=strict)
    assert requant.proven == rows and (requant.low, requant.high) == (low, 15)
    for row in range(rows):
        for acc in range(-70, 56):
            value = slope[row] * acc + intercept[row]
            want = low + sum(value > t or (value == t and not strict) for t in table[row])
            assert hardware_code(requant, row, acc) == want


def test_uniform_multi_threshold_of_eight_bits_becomes_a_multiplier():
    table = [[Fraction(step, 4) - 10 for step in range(255)], [Fraction(step, 3) for step in range(255)]]
    slope, intercept = [Fraction(1, 16), Fraction(-1, 12)], [Fraction(0), Fraction(1)]
    requant = compile_thresholds(slope, intercept, table, acc_lo=-2000, acc_hi=2000)
    assert requant.thresholds is None and requant.proven == 2
    for row in range(2):
        for acc in range(-2000, 2001, 7):
            assert hardware_code(requant, row, acc) == sum(slope[row] * acc + intercept[row] >= t for t in table[row])


def test_threshold_errors():
    wild = [[Fraction(step * step) for step in range(255)]]
    with pytest.raises(HwgenError, match="non-uniform"):
        compile_thresholds([Fraction(1)], [Fraction(0)], wild, acc_lo=0, acc_hi=70000)
    with pytest.raises(HwgenError, match="not sorted"):
        compile_thresholds([Fraction(1)], [Fraction(0)], [[Fraction(2), Fraction(1)]], acc_lo=0, acc_hi=9)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("rho", [Fraction(0), Fraction(1), Fraction(-3, 4), Fraction(10**30, 7)])
def test_rows_without_a_slope(rounding, rho):
    """A concatenation's rows: the residual alone decides, on and beside every boundary."""
    k, residuals = np.arange(-3, 5), np.arange(16)
    steps = affine_steps([Fraction(0)], [Fraction(-5, 2)], k, rounding, np.array([-7]), np.array([9]), [rho], residuals)
    for j, res in enumerate(residuals.tolist()):
        code = round_to_integer(rho * res - Fraction(5, 2), rounding)
        assert steps.switch[0, j].tolist() == [-7 if code >= wanted else 10 for wanted in k]


def test_rows_alike_get_the_same_integers_as_each_alone():
    """The search works on one row of a kind; counts are of rows, and rows differ in any of their five constants."""
    a, b, rho = Fraction(1, 30), Fraction(2), Fraction(2, 3)
    kinds = [(a, b, rho, -500), (a, b, rho, -400), (a, b, Fraction(5, 7), -500), (a, Fraction(9, 4), rho, -500),
             (Fraction(-1, 31), b, rho, -500), (Fraction(0), Fraction(1, 2), Fraction(1, 3), -500)]
    order = [3, 0, 0, 5, 1, 2, 4, 4, 3, 0, 1, 5]
    options = {"rounding": "half_up", "low": 0, "high": 15, "acc_hi": 500, "m_bits": 12}

    def compiled(rows):
        slope, intercept, rho, low = (list(column) for column in zip(*(kinds[row] for row in rows), strict=True))
        return compile_fused(slope, intercept, rho, acc_lo=low, **options)

    alone = [compiled([kind]) for kind in range(len(kinds))]
    together = compiled(order)
    assert 0 < sum(one.proven for one in alone) < len(kinds)
    assert together.proven == sum(alone[kind].proven for kind in order)
    assert together.worst == max(one.worst for one in alone)
    for row, kind in enumerate(order):
        for name in ("multiplier", "constant", "shift", "residual_multiplier"):
            assert getattr(together, name)[row] == getattr(alone[kind], name)[0]
