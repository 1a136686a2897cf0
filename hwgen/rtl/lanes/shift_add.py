"""Groups of rows whose weights are two shifts: SP2 weights, or two Booth digits of a 4-bit integer."""

from amaranth.hdl import Cat, Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...lanes import LaneKind, Part, TERM_MAX, chain_length, dot_bits, shift_add_latency
from ..bits import delay
from ..once import place
from .adder_tree import add_tree, check_ki, nibbles, tree_levels
from .chain import ChainDot
from .families import cells_of
from .group import Delay, Group, Skew

FLAGS = 3
"""Bits that say which multiple of the operand a partial product is: once, twice, complemented."""


class ShiftAddGroup(Group):
    """All rows of a kind whose weights are two shifts, times all pixels.

    ``family``: "" for any part, "xilinx7" for LUTs and carry blocks of the 7-series; the same integers at the
    same time from both.  What rows or pixels have in common is made once: weights are recoded or skewed once per
    row, operands once per pixel.
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
        return Skew(ki=self.ki, period=chain_length(self.ki))

    def _codes(self) -> wiring.Component:
        if self.cells is None:
            return Recode(ki=self.ki, parts=self.kind.parts, latency=self.latency - TreeDot.latency(self.ki))
        return Skew(ki=self.ki, period=chain_length(self.ki))

    def _dot(self) -> wiring.Component:
        if self.cells is None:
            return TreeDot(ki=self.ki, kind=self.kind)
        return ChainDot(ki=self.ki, kind=self.kind, cells=self.cells)


class Recode(wiring.Component):
    """The flags of both partial products of ``ki`` weight codes, lowest first; ``latency`` cycles, at least 1."""

    def __init__(self, *, ki: int, parts: tuple[Part, ...], latency: int):
        self.ki = ki
        self.parts = parts
        self.latency = latency
        super().__init__({"i": In(unsigned(4 * ki)), "o": Out(unsigned(len(parts) * FLAGS * ki))})

    def elaborate(self, platform):
        m = Module()
        word = delay(m, self.i, self.latency - 1, "code")
        flags = Signal(len(self.o), reset_less=True)
        m.d.sync += flags.eq(Cat(*(recode(part, code) for code in nibbles(word, self.ki) for part in self.parts)))
        m.d.comb += self.o.eq(flags)
        return m


def recode(part: Part, code: Value) -> Value:
    """(once, twice, complemented) of a partial product, for a weight code."""
    select = Cat(*(code[bit] for bit in part.bits))
    tables = [sum(bool(term[0] == multiple) << value for value, term in enumerate(part.terms)) for multiple in (1, 2)]
    tables.append(sum(complemented << value for value, (_, complemented) in enumerate(part.terms)))
    return Cat(_bit_of(table, select) for table in tables)


def _bit_of(table: int, select: Value) -> Value:
    """Bit ``select`` of ``table``."""
    result: Value | None = None
    for value in range(1 << len(select)):
        if table >> value & 1:
            here = select == value
            result = here if result is None else result | here
    assert result is not None
    return result


class TreeDot(wiring.Component):
    """``o = sum over k of w_k * a_k + correction`` of one row and one pixel, in plain logic.

    ``codes``: weights after :func:`recode`, six bits each.  X and Y (5 bits) are summed apart, in trees of
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
