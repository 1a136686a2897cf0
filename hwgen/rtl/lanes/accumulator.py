"""The accumulator of one row and one pixel, with the register that drains behind it."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .families import cells_of


class Accumulator(wiring.Component):
    """Adds the dots of a tile modulo 2**acc_bits, and keeps the sum for the drain.

    A word counts when ``valid``; with ``high`` it belongs to the high activation plane
    and counts 16-fold; ``last``, only with ``valid``, says that it is the tile's final word.  The next
    tile may begin in the very next cycle.

    ``total`` changes only with ``last``: inputs of cycle t are in ``total`` from cycle
    t + ``latency`` = t + 1 on, and stay until the next ``last``.

    No register in front of the adder, so that with ``family="xilinx7"`` one LUT per bit selects the plane and
    adds; clearing and holding are the flip-flops' own reset and enable.
    """

    latency = 1

    def __init__(self, *, dot_bits: int, acc_bits: int, family: str = ""):
        if dot_bits < 1:
            raise ValueError(f"dot_bits must be at least 1, not {dot_bits!r}")
        if not 1 <= acc_bits <= 64:
            raise ValueError(f"acc_bits must be in 1..64, not {acc_bits!r}")
        self.cells = cells_of(family)
        self.dot_bits = dot_bits
        self.acc_bits = acc_bits
        super().__init__({
            "dot": In(unsigned(dot_bits)),
            "valid": In(1),
            "high": In(1),
            "last": In(1),
            "total": Out(unsigned(acc_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        acc = Signal(self.acc_bits)
        total = Signal(self.acc_bits, reset_less=True)
        new = Signal(self.acc_bits)
        if self.cells is None:
            m.d.comb += new.eq(acc + Mux(self.high, self.dot << 4, self.dot))
        else:
            m.d.comb += new.eq(self.cells.accumulate(m, acc, self.dot, self.high))
        m.d.comb += self.total.eq(total)
        with m.If(self.last):
            m.d.sync += [acc.eq(0), total.eq(new)]
        with m.Elif(self.valid):
            m.d.sync += acc.eq(new)
        return m
