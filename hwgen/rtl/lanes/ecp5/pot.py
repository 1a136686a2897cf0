"""The operations of pot lanes with CCU2C carry cells: a register of a half turned operand in, a sum out."""

from amaranth.hdl import Cat, Const, Module, Value

from ....lanes import Part
from .. import turn
from .logic import RESET_LESS as RESET_LESS
from .logic import _carry
from .logic import add as add
from .logic import count_last as count_last
from .logic import full_add as full_add

MASKED = True
"""Codes come as bit 1 and, above it, the masks."""


def turned(m: Module, act: Value, turns: Value) -> Value:
    """``act`` turned by one place with bit 0 of ``turns``, complemented with bit 1: a LUT4 per bit."""
    return turn.turned(act, turns)


def products(m: Module, parts: tuple[Part, ...], code: Value, half: Value) -> list[Value]:
    """The product as a single word."""
    return [turn.places(half, code[0]) & code[1:]]


def steps(m: Module, parts: tuple[Part, ...], code: Value, half: Value,
          running: list[Value]) -> list[tuple[Value, Value]]:
    """(low 10 bits, carry) of the product plus the running sum: the masks are applied in the carry cells.

    The half cell that is left over comes first.  Last, beside the one that gives the carry, it would leave a cell
    without logic, which ABC9 of Yosys 0.70 removes together with the carry (and then finds networks not equivalent).
    """
    (before,) = running
    zero = Const(0)
    sums = _carry(m, [(zero, lambda b, c, d: 0, zero, zero, zero),
                      *((a, lambda b, c, d: b & c, place, mask, zero)
                        for a, place, mask in zip(before, turn.places(half, code[0]), code[1:], strict=True)),
                      (zero, None, zero, zero, zero)])
    return [(Cat(*sums[1:-1]), sums[-1])]
