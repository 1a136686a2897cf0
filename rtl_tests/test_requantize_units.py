# amaranth: UnusedElaboratable=no
"""Rounding, pooling state and threshold search, each on its own."""

import random

from lane_bench import drive
import pytest

from hwgen.rtl.requantize import RoundClamp, ThresholdSearch
from hwgen.rtl.requantize.pooling import PoolState


@pytest.mark.parametrize("v_bits", [2, 6, 12])
@pytest.mark.parametrize("half_even", [0, 1])
@pytest.mark.parametrize("base", [0, 1, 4, 16])
def test_round_every_value_at_small_widths(v_bits, half_even, base):
    dut = RoundClamp(v_bits=v_bits, base=base)
    layer = {"half_even": half_even, "zero": 20, "low": 2, "high": 200}
    shifts = range(32) if v_bits < 12 else (0, 1, 4, 7, 8, 31)
    cases = [(v, shift) for shift in shifts for v in range(-2**(v_bits - 1), 2**(v_bits - 1))]
    expected = []
    for v, shift in cases:
        q, rest = divmod(v, 2**(base + shift + 1))
        if half_even and rest == 0 and q % 2:
            q -= 1
        expected.append(min(max(20 + q, 2), 200))
    vectors = [layer | {"v": v, "shift": shift} for v, shift in cases]
    assert drive(dut, vectors + [{}] * dut.latency, ["q"])[dut.latency:] == expected


@pytest.mark.parametrize("v_bits", [2, 8, 12, 20])
@pytest.mark.parametrize("base", [0, 4])
def test_round_wraps_around_and_clamps_in_turn(v_bits, base):
    dut, top = RoundClamp(v_bits=v_bits, base=base, wraps=True), 2**(v_bits - 1)
    rng = random.Random(f"{v_bits} {base}")
    values = range(-top, top) if v_bits <= 12 else [-top, top - 1, *(rng.randrange(-top, top) for _ in range(3000))]
    for layer in ({"wrap": 1, "half_even": 1, "high": 255}, {"wrap": 0, "half_even": 0, "zero": -9, "high": 255},
                  {"wrap": 1, "half_even": 0, "high": 255}):
        cases = [(v, shift) for shift in (0, 1, 3, 8, 19) for v in values]
        expected = []
        for v, shift in cases:
            q, rest = divmod(v, 2**(base + shift + 1))
            q -= layer["half_even"] and rest == 0 and q % 2
            expected.append(q % 256 if layer["wrap"] else min(max(q - 9, 0), 255))
        vectors = [{"zero": 0, "low": 0} | layer | {"v": v, "shift": shift} for v, shift in cases]
        assert drive(dut, vectors + [{}] * dut.latency, ["q"])[dut.latency:] == expected
        assert v_bits < 20 or len(set(expected)) > (250 if layer["wrap"] else 100)


@pytest.mark.parametrize("op", ["max", "sum"])
def test_pool_state(op):
    rng = random.Random(op)
    dut = PoolState(op=op, depth=5)
    vectors, expected, state = [{"enable": 1, "pad": 9}], [None], {}
    for step in range(600):
        index, valid, inside, x = rng.randrange(5), int(rng.random() < 0.7), int(rng.random() < 0.7), rng.randrange(256)
        first = int(step < 10 or rng.random() < 0.1)
        old, operand = 0 if first else state.get(index, 0), x if inside else 9
        new = old + operand if op == "sum" else max(old, operand)
        if valid:
            state[index] = new
        vectors.append({"valid": valid, "index": index, "inside": inside, "first": first, "x": x})
        expected.append(new)
    vectors += [{"enable": 0, "x": 77, "valid": 1, "inside": 0}]
    expected.append(77)
    assert drive(dut, vectors + [{}], ["o"])[2:] == expected[1:]


def test_pool_sum_of_257_largest_codes():
    dut = PoolState(op="sum", depth=1)
    vectors = [{"enable": 1, "valid": 1, "inside": 1, "first": int(i == 0), "x": 255} for i in range(257)]
    assert drive(dut, vectors + [{}], ["o"])[-1] == 257 * 255


def search(dut, thresholds, cases, gap):
    """(code, cycles from start to done) of each case (acc, negate, low); the memory answers two cycles later."""
    from amaranth.sim import Simulator

    results = []

    async def bench(ctx):
        read = late = thresholds[ctx.get(dut.address)]
        for acc, negate, low in cases:
            ctx.set(dut.acc, acc)
            ctx.set(dut.negate, negate)
            ctx.set(dut.low, low)
            ctx.set(dut.start, 1)
            cycles = 0
            while True:
                ctx.set(dut.threshold, read)
                done, code, address = ctx.get(dut.done), ctx.get(dut.code), ctx.get(dut.address)
                if cycles and done:
                    results.append((code, cycles))
                    break
                await ctx.tick()
                ctx.set(dut.start, 0)
                # Address 15 is never asked for in a cycle whose answer counts.
                read, late = late, thresholds[address] if address < 15 else 0
                cycles += 1
                assert cycles < 50
            for _ in range(gap):
                read, late = late, thresholds[ctx.get(dut.address)]
                await ctx.tick()
                assert not ctx.get(dut.done)
                assert ctx.get(dut.code) == results[-1][0]

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return results


@pytest.mark.parametrize("used", [0, 1, 7, 8, 14, 15])
@pytest.mark.parametrize("gap", [0, 3])
def test_threshold_search(used, gap):
    rng = random.Random(used)
    dut = ThresholdSearch(acc_bits=12)
    top = 2**12 - 1
    thresholds = sorted(rng.randrange(-2**12, top) for _ in range(used))
    if used > 7:
        thresholds[3] = thresholds[4]
    thresholds += [top] * (15 - used)
    values = {v + d for v in thresholds for d in (-1, 0, 1)} | {-2**12, top - 1, 0, -1}
    cases = []
    for v in sorted(v for v in values if -2**12 <= v < top):
        cases += [(v, 0, rng.randrange(200)), (-v - 1, 1, rng.randrange(200))]
    expected = [(low + sum((-acc - 1 if negate else acc) >= t for t in thresholds), dut.latency)
                for acc, negate, low in cases]
    assert search(dut, thresholds, cases, gap) == expected
    assert dut.latency == 12


@pytest.mark.parametrize("build,message", [
    (lambda: RoundClamp(v_bits=1), "v_bits must be at least 2, not 1"),
    (lambda: RoundClamp(v_bits=9, base=17), "base must be in 0..16, not 17"),
    (lambda: PoolState(op="mean", depth=4), "op must be one of .*, not 'mean'"),
    (lambda: PoolState(op="max", depth=0), "depth must be at least 1, not 0"),
    (lambda: ThresholdSearch(acc_bits=0), "acc_bits must be in 1..64, not 0"),
])
def test_illegal_parameters(build, message):
    with pytest.raises(ValueError, match=message):
        build()
