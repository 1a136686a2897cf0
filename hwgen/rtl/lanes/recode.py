"""Weight codes as flags, once for all pixels of a row."""

from amaranth.hdl import Cat, Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...lanes import Part
from ..bits import delay
from .adder_tree import nibbles

FLAGS = 3
"""Bits that say which multiple of the operand a partial product is: once, twice, complemented."""


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


class Recode(wiring.Component):
    """The flags of all partial products of ``ki`` weight codes, lowest first.

    Those of code k come ``waits[k]`` cycles later; the last of these is a register of the flags.
    """

    def __init__(self, *, ki: int, parts: tuple[Part, ...], waits: list[int]):
        self.ki = ki
        self.parts = parts
        self.waits = waits
        super().__init__({"i": In(unsigned(4 * ki)), "o": Out(unsigned(len(parts) * FLAGS * ki))})

    def elaborate(self, platform):
        m = Module()
        flags: list[Value] = []
        for k, (code, wait) in enumerate(zip(nibbles(self.i, self.ki), self.waits, strict=True)):
            late = delay(m, code, max(0, wait - 1), f"code_{k}")
            found = Signal(len(self.parts) * FLAGS, name=f"found_{k}")
            m.d.comb += found.eq(Cat(*(recode(part, late) for part in self.parts)))
            flags.append(delay(m, found, min(wait, 1), f"flags_{k}"))
        m.d.comb += self.o.eq(Cat(*flags))
        return m
