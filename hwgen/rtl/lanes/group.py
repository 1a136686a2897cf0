"""What all lane groups have in common: all rows of one kind times all pixels, as one component."""

from amaranth.hdl import Cat, Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from ..bits import delay
from .adder_tree import check_ki, nibbles


class Group(wiring.Component):
    """``rows * px`` dot products of ``ki`` weights and ``ki`` operands, a new set in every cycle.

    ``operands[p]``: pixel p's activations, ``codes[row]``: the row's weights; 4 bits each, input 0 lowest.
    ``high[row]`` (with ``wide``): the high nibbles of 8-bit weights.
    ``dots[row*px + p]``: unsigned, ``latency`` cycles after the operands and codes, which come together.

    Data registers have no reset.  ValueError for parameters out of range.
    """

    def __init__(self, *, ki: int, px: int, rows: int, dot_bits: int, latency: int, wide: bool = False):
        check_ki(ki)
        if not 1 <= px <= 8:
            raise ValueError(f"px must be in 1..8, not {px!r}")
        if rows < 1:
            raise ValueError(f"rows must be at least 1, not {rows!r}")
        self.ki = ki
        self.px = px
        self.rows = rows
        self.dot_bits = dot_bits
        self.latency = latency
        ports = {
            "operands": In(ArrayLayout(unsigned(4 * ki), px)),
            "codes": In(ArrayLayout(unsigned(4 * ki), rows)),
            "dots": Out(ArrayLayout(unsigned(dot_bits), rows * px)),
        }
        if wide:
            ports["high"] = In(ArrayLayout(unsigned(4 * ki), rows))
        super().__init__(ports)


class Delay(wiring.Component):
    """``o`` is ``i`` of ``cycles`` cycles ago."""

    def __init__(self, *, width: int, cycles: int):
        self.cycles = cycles
        super().__init__({"i": In(unsigned(width)), "o": Out(unsigned(width))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(delay(m, self.i, self.cycles, "word"))
        return m


class Skew(wiring.Component):
    """``o``'s nibble k is ``i``'s of ``k mod period`` cycles ago.

    ``reset_less``: see RESET_LESS of a family's cells.
    """

    def __init__(self, *, ki: int, period: int, reset_less: bool):
        self.ki = ki
        self.period = period
        self.reset_less = reset_less
        super().__init__({"i": In(unsigned(4 * ki)), "o": Out(unsigned(4 * ki))})

    def elaborate(self, platform):
        m = Module()
        late = [delay(m, nibble, k % self.period, f"nibble_{k}", reset_less=self.reset_less)
                for k, nibble in enumerate(nibbles(self.i, self.ki))]
        m.d.comb += self.o.eq(Cat(*late))
        return m
