# amaranth: UnusedElaboratable=no
"""The helpers of the hardware description, against plain integers."""

import random

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from block_bench import simulate
from lane_bench import drive
import pytest

from hwgen.isa import Field, Word
from hwgen.rtl.bits import MixedStep, delay, fields, next_point, select


class Unit(wiring.Component):
    """Ports and a body given as a function of (module, component)."""

    def __init__(self, ports, body):
        self.body = body
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        # A register, so that a combinational unit has a clock too.
        tick = Signal()
        m.d.sync += tick.eq(~tick)
        self.body(m, self)
        return m


@pytest.mark.parametrize("radix", [1, 3, 5, 7, 9])
def test_mixed_step_is_addition(radix):
    """Modulo the quotient's bits; the distance is given a cycle before."""
    def body(m, u):
        step = MixedStep(m, 8, radix, "step")
        m.d.sync += step.load(u.dq, u.dr)
        q, r = step.add(u.q, u.r)
        m.d.comb += [u.sum_q.eq(q), u.sum_r.eq(r)]

    dut = Unit({"q": In(8), "r": In(4), "dq": In(signed(8)), "dr": In(4), "sum_q": Out(8), "sum_r": Out(4)}, body)
    cases = [(a, b, r, dr) for a in (0, 7, 200, 255) for b in (0, 1, 55, -3) for r in range(radix)
             for dr in range(radix)]
    inputs = [{"q": a, "dq": b, "r": r, "dr": dr} for a, b, r, dr in cases for _ in range(2)]
    found = drive(dut, inputs, ["sum_q", "sum_r"])[1::2]
    expected = [divmod((a + b) * radix + r + dr, radix) for a, b, r, dr in cases]
    assert found == [(q % 256, r) for q, r in expected]


@pytest.mark.parametrize("radix", [1, 3, 5, 7, 9])
def test_next_point_counts(radix):
    def body(m, u):
        q, r = next_point(u.q, u.r, radix)
        m.d.comb += [u.next_q.eq(q), u.next_r.eq(r)]

    dut = Unit({"q": In(4), "r": In(4), "next_q": Out(4), "next_r": Out(4)}, body)
    found = drive(dut, [{"q": i // radix % 16, "r": i % radix} for i in range(16 * radix)], ["next_q", "next_r"])
    assert found == [(i // radix % 16, i % radix) for i in range(1, 16 * radix + 1)]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 9])
def test_select_takes_every_choice(n):
    rng = random.Random(n)
    values = [rng.randrange(256) for _ in range(n)]

    def body(m, u):
        m.d.comb += u.o.eq(select([getattr(u, f"c{i}") for i in range(n)], u.index))

    dut = Unit({**{f"c{i}": In(8) for i in range(n)}, "index": In(4), "o": Out(8)}, body)
    start = {f"c{i}": value for i, value in enumerate(values)}
    found = drive(dut, [start | {"index": i} for i in range(n)], ["o"])
    assert found == values


@pytest.mark.parametrize("cycles", [0, 1, 4])
def test_delay(cycles):
    def body(m, u):
        m.d.comb += u.o.eq(delay(m, u.i, cycles, "line"))

    dut = Unit({"i": In(8), "o": Out(8)}, body)
    values = [(37 * k + 11) % 256 for k in range(20)]
    found = drive(dut, [{"i": value} for value in values], ["o"])
    assert found[cycles:] == values[:len(values) - cycles]


def test_fields_slices_and_signs():
    word = Word("w", (Field("low", 3), Field("number", 5, True), Field("flag", 1)))

    def body(m, u):
        m.d.comb += [getattr(u, name).eq(value) for name, value in fields(word, u.word).items()]

    dut = Unit({"word": In(64), "low": Out(3), "number": Out(6), "flag": Out(1)}, body)

    async def bench(ctx):
        for low in range(8):
            for number in range(-16, 16):
                for flag in (0, 1):
                    ctx.set(dut.word, low | (number & 31) << 3 | flag << 8 | 0xABC << 9)
                    assert (ctx.get(dut.low), ctx.get(dut.number), ctx.get(dut.flag)) == (low, number & 63, flag)

    simulate(dut, bench)
    assert {name: value.shape().signed for name, value in fields(word, Signal(64)).items()} == {
        "low": False, "number": True, "flag": False}
