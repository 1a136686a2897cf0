"""Groups of rows whose weights are two shifts: SP2 weights, or two Booth digits of a 4-bit integer."""

from amaranth.hdl import Cat, Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...lanes import LaneKind, TERM_MAX, chain_length, dot_bits, shift_add_latency
from ..once import place
from .adder_tree import add_tree, check_ki, nibbles, tree_levels
from .chain import ChainDot
from .families import cells_of
from .group import Delay, Group, Skew
from .recode import FLAGS, Recode

class ShiftAddGroup(Group):
    """All rows of a kind whose weights are two shifts, times all pixels.

    ``family``: "" for any part, "xilinx7" and "ecp5" for these families' LUTs and carry cells; the same
    integers at the same time from all.  What rows or pixels have in common is made once: weights are recoded
    or skewed once per row, operands once per pixel.
    """

    kind: LaneKind

    def __init__(self, *, ki: int, px: int, rows: int, family: str = ""):
        check_ki(ki)
        self.family = family
        self.cells = cells_of(family)
        super().__init__(ki=ki, px=px, rows=rows, dot_bits=dot_bits(self.kind, ki), latency=shift_add_latency(ki))

    def elaborate(self, platform):
        m = Module()
        name = f"{self.kind.name}_{self.ki}_{self.family}"

        def component(what: str, at: str, make, **inputs: Value) -> Value:
            submodule, ports = place(platform, f"{name}_{what}", make)
            m.submodules[f"{what}_{at}"] = submodule
            m.d.comb += [ports[port].eq(value) for port, value in inputs.items()]
            return ports["o"]

        acts = [component("acts", f"{p}", self._acts, i=self.operands[p]) for p in range(self.px)]
        for row in range(self.rows):
            codes = component("codes", f"{row}", self._codes, i=self.codes[row])
            for p in range(self.px):
                dot = component("dot", f"{row}_{p}", self._dot, acts=acts[p], codes=codes)
                m.d.comb += self.dots[row * self.px + p].eq(dot)
        return m

    def _acts(self) -> wiring.Component:
        if self.cells is None:
            return Delay(width=4 * self.ki, cycles=self.latency - TreeDot.latency(self.ki))
        return Skew(ki=self.ki, period=chain_length(self.ki), reset_less=self.cells.RESET_LESS)

    def _codes(self) -> wiring.Component:
        if self.cells is None:
            waits = [self.latency - TreeDot.latency(self.ki)] * self.ki
            return Recode(ki=self.ki, parts=self.kind.parts, waits=waits)
        if self.cells.RECODED:
            waits = [k % chain_length(self.ki) for k in range(self.ki)]
            return Recode(ki=self.ki, parts=self.kind.parts, waits=waits)
        return Skew(ki=self.ki, period=chain_length(self.ki), reset_less=self.cells.RESET_LESS)

    def _dot(self) -> wiring.Component:
        if self.cells is None:
            return TreeDot(ki=self.ki, kind=self.kind)
        return ChainDot(ki=self.ki, kind=self.kind, cells=self.cells)


class TreeDot(wiring.Component):
    """``o = sum over k of w_k * a_k + correction`` of one row and one pixel, in plain logic.

    ``codes``: weights after ``recode``, six bits each.  X and Y (5 bits) are summed apart, in trees of
    two-operand adders: words of 5 bits grow slower than products of 9.  Latency: log2(ki) + 1.
    """

    def __init__(self, *, ki: int, kind: LaneKind):
        check_ki(ki)
        self.ki = ki
        self.parts = kind.parts
        super().__init__({"acts": In(unsigned(4 * ki)), "codes": In(unsigned(2 * FLAGS * ki)),
                          "o": Out(unsigned(dot_bits(kind, ki)))})

    @staticmethod
    def latency(ki: int) -> int:
        """Cycles from ``acts`` and ``codes`` to ``o``."""
        return tree_levels(ki) + 1

    def elaborate(self, platform):
        m = Module()
        sums: list[Value] = []
        for number, name in enumerate("xy"):
            terms: list[Value] = []
            for k, act in enumerate(nibbles(self.acts, self.ki)):
                flags = self.codes[(2 * k + number) * FLAGS:][:FLAGS]
                once, twice, complemented = (flag.replicate(5) for flag in flags)
                terms.append((act & once | act << 1 & twice) ^ complemented)
            total, _ = add_tree(m, terms, TERM_MAX, name)
            sums.append(total)
        distance = self.parts[1].shift - self.parts[0].shift
        dot = Signal(len(self.o), reset_less=True)
        m.d.sync += dot.eq(Cat(sums[0][:distance], sums[0][distance:] + sums[1]))
        m.d.comb += self.o.eq(dot)
        return m
