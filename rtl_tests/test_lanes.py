# amaranth: UnusedElaboratable=no
"""The sum of operands and the accumulator against integers."""

import random

from lane_bench import drive, pack
import pytest

from hwgen.rtl.lanes import Accumulator, OperandSum


@pytest.mark.parametrize("ki", [2, 4, 8, 16, 32])
def test_operand_sum(ki):
    rng = random.Random(ki)
    acts = [[rng.randrange(16) for _ in range(ki)] for _ in range(300)] + [[15] * ki]
    dut = OperandSum(ki=ki)
    assert dut.latency == ki.bit_length() - 1
    found = drive(dut, [{"acts": pack(row, 4)} for row in acts] + [{}] * dut.latency, ["dot"])
    assert found[dut.latency:] == [sum(row) for row in acts]


@pytest.mark.parametrize("dot_bits,acc_bits", [(11, 24), (15, 24), (17, 12), (9, 10)])
@pytest.mark.parametrize("density", [1.0, 0.5, 0.1])
def test_accumulator(dot_bits, acc_bits, density):
    rng = random.Random(f"{dot_bits} {acc_bits} {density}")
    vectors, expected = [], [None] * Accumulator.latency
    total, running = None, 0
    for _ in range(1500):
        dot = rng.choice([rng.randrange(1 << dot_bits), (1 << dot_bits) - 1])
        valid, high, last = rng.random() < density, rng.random() < 0.4, rng.random() < 0.2
        last = last and valid
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
    (lambda: OperandSum(ki=1), "ki must be a power of two from 2 to 32, not 1"),
    (lambda: Accumulator(dot_bits=0, acc_bits=24), "dot_bits must be at least 1, not 0"),
    (lambda: Accumulator(dot_bits=8, acc_bits=65), "acc_bits must be in 1..64, not 65"),
])
def test_illegal_parameters(build, message):
    with pytest.raises(ValueError, match=message):
        build()
