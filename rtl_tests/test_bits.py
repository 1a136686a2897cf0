# amaranth: UnusedElaboratable=no
"""The helpers of the hardware description, against plain integers."""

import random

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from block_bench import simulate
from lane_bench import drive
import pytest

from hwgen.isa import Field, Word
from hwgen.rtl.bits import add_mixed, delay, fields, select


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
def test_add_mixed_is_addition(radix):
    def body(m, u):
        q, r = add_mixed(u.q, u.r, u.dq, u.dr, radix)
        m.d.comb += [u.sum_q.eq(q), u.sum_r.eq(r)]

    dut = Unit({"q": In(8), "r": In(4), "dq": In(8), "dr": In(4), "sum_q": Out(10), "sum_r": Out(4)}, body)
    cases = [(a, b, r, dr) for a in (0, 7, 200) for b in (0, 1, 55) for r in range(radix) for dr in range(radix)]
    found = drive(dut, [{"q": a, "dq": b, "r": r, "dr": dr} for a, b, r, dr in cases], ["sum_q", "sum_r"])
    assert found == [divmod((a + b) * radix + r + dr, radix) for a, b, r, dr in cases]


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
