# amaranth: UnusedElaboratable=no
"""Dots and the accumulator against integers; all inputs where they can be counted out."""

import random

from lane_bench import drive, pack
import pytest

from hwgen.rtl.lanes import Accumulator, OperandSum
from hwgen.rtl.lanes.sp2 import Sp2Dot

SP2_VALUES = {0b000: 0, 0b001: 1, 0b010: 2, 0b011: 8, 0b100: 4, 0b101: 5, 0b110: 6}
SP2_CODES = [sign | index for sign in (0, 8) for index in SP2_VALUES]
KI = (2, 4, 8, 16)


def sp2_term(code, act):
    magnitude = SP2_VALUES[code & 7]
    return 155 - magnitude * act if code & 8 else magnitude * act


def check(dut, vectors, expected):
    tail = [{}] * dut.latency
    assert drive(dut, vectors + tail, ["dot"])[dut.latency:] == expected


def one_hot_vectors(ki, cases, background):
    """Each case (a tuple of elements) at each position, ``background`` elsewhere."""
    for position in range(ki):
        for case in cases:
            elements = [background] * ki
            elements[position] = case
            yield elements


@pytest.mark.parametrize("ki", KI)
@pytest.mark.parametrize("background", [(0, 0), (8 | 3, 15)], ids=["zero", "full"])
def test_sp2_every_code_and_activation_at_every_position(ki, background):
    cases = [(code, act) for code in SP2_CODES for act in range(16)]
    vectors, expected = [], []
    for elements in one_hot_vectors(ki, cases, background):
        codes, acts = zip(*elements, strict=True)
        vectors.append({"codes": pack(codes, 4), "acts": pack(acts, 4)})
        expected.append(sum(sp2_term(code, act) for code, act in elements))
    check(Sp2Dot(ki=ki), vectors, expected)


@pytest.mark.parametrize("ki", (*KI, 32))
def test_sp2_random(ki):
    rng = random.Random(ki)
    vectors, expected = [], []
    for _ in range(500):
        codes, acts = rng.choices(SP2_CODES, k=ki), [rng.randrange(16) for _ in range(ki)]
        vectors.append({"codes": pack(codes, 4), "acts": pack(acts, 4)})
        expected.append(sum(map(sp2_term, codes, acts)))
    check(Sp2Dot(ki=ki), vectors, expected)


def test_sp2_widest():
    dut = Sp2Dot(ki=32)
    check(dut, [{"codes": pack([8] * 32, 4), "acts": 0}, {"codes": 0}], [155 * 32, 0])
    assert dut.dot_bits == 13
    assert dut.latency == 6


@pytest.mark.parametrize("ki", (*KI, 32))
def test_operand_sum(ki):
    rng = random.Random(ki)
    acts = [[rng.randrange(16) for _ in range(ki)] for _ in range(300)] + [[15] * ki]
    dut = OperandSum(ki=ki)
    check(dut, [{"acts": pack(row, 4)} for row in acts], [sum(row) for row in acts])
    assert dut.latency == ki.bit_length() - 1


@pytest.mark.parametrize("dot_bits,acc_bits", [(11, 24), (15, 24), (17, 12), (9, 10)])
@pytest.mark.parametrize("density", [1.0, 0.5, 0.1])
def test_accumulator(dot_bits, acc_bits, density):
    rng = random.Random(f"{dot_bits} {acc_bits} {density}")
    vectors, expected = [], [None] * Accumulator.latency
    total, running = None, 0
    for _ in range(1500):
        dot = rng.choice([rng.randrange(1 << dot_bits), (1 << dot_bits) - 1])
        valid, high, last = rng.random() < density, rng.random() < 0.4, rng.random() < 0.2
        vectors.append({"dot": dot, "valid": int(valid), "high": int(high), "last": int(last)})
        if valid:
            running += dot * 16 if high else dot
            if last:
                total, running = running % (1 << acc_bits), 0
        expected.append(total)
    found = drive(Accumulator(dot_bits=dot_bits, acc_bits=acc_bits), vectors, ["total"])
    pairs = [(got, want) for got, want in zip(found, expected, strict=False) if want is not None]
    assert len(pairs) > 1000
    assert [got for got, _ in pairs] == [want for _, want in pairs]


@pytest.mark.parametrize("build,message", [
    (lambda: Sp2Dot(ki=3), "ki must be a power of two from 2 to 32, not 3"),
    (lambda: Sp2Dot(ki=64), "ki must be a power of two from 2 to 32, not 64"),
    (lambda: OperandSum(ki=1), "ki must be a power of two from 2 to 32, not 1"),
    (lambda: Accumulator(dot_bits=0, acc_bits=24), "dot_bits must be at least 1, not 0"),
    (lambda: Accumulator(dot_bits=8, acc_bits=65), "acc_bits must be in 1..64, not 65"),
])
def test_illegal_parameters(build, message):
    with pytest.raises(ValueError, match=message):
        build()
