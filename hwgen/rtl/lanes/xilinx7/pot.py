"""The operations of pot lanes as LUT6_2, LUT6 and CARRY4: a register of a half turned operand in, a sum out."""

from amaranth.hdl import Cat, Const, Module, Value

from ....lanes import Part
from ..turn import BITS, covers
from .logic import RESET_LESS as RESET_LESS
from .logic import _carry, _lut, _lut_pair
from .logic import add as add
from .logic import count_last as count_last
from .logic import full_add as full_add

MASKED = False
"""Codes come as they are, without their signs."""


def turned(m: Module, act: Value, turn: Value) -> Value:
    """``act`` turned by one place with bit 0 of ``turn``, complemented with bit 1; two bits to a LUT6_2."""
    bits: list[Value] = []
    for i in (0, 2):
        upper, lower = _lut_pair(m, lambda below, here, above, odd, sign: (here if odd else above) ^ sign,
                                 lambda below, here, above, odd, sign: (below if odd else here) ^ sign,
                                 [act[(i - 1) % 4], act[i], act[i + 1], turn[0], turn[1]])
        bits += [lower, upper]
    return Cat(*bits)


def _bit(j: int, one: int, two: int, four: int, plain: int, other: int) -> int:
    """Bit j of a product: of the register's bits j + 1 and j - 1 the second with ``two``, or 0."""
    return covers(j, one + 2 * two + 4 * four) and (other if two else plain)


def _inputs(j: int, code: Value, half: Value) -> list[Value]:
    return [*code, half[(j + 1) % 4], half[(j - 1) % 4]]


def products(m: Module, parts: tuple[Part, ...], code: Value, half: Value) -> list[Value]:
    """The product as a single word; bits 4 apart see the same inputs and share a LUT6_2."""
    bits: list[Value] = [Const(0)] * BITS
    for j in range(4):
        bits[j + 4], bits[j] = _lut_pair(m, lambda *inputs, j=j: _bit(j + 4, *inputs),
                                         lambda *inputs, j=j: _bit(j, *inputs), _inputs(j, code, half))
    for j in (8, 9):
        bits[j] = _lut(m, lambda *inputs, j=j: _bit(j, *inputs), _inputs(j, code, half))
    return [Cat(*bits)]


def steps(m: Module, parts: tuple[Part, ...], code: Value, half: Value,
          running: list[Value]) -> list[tuple[Value, Value]]:
    """(low 10 bits, carry) of the product plus the running sum: ten LUT6, and a carry position that stops the carry."""
    (before,) = running
    select = [_lut(m, lambda *inputs, j=j: _bit(j, *inputs[:-1]) ^ inputs[-1], [*_inputs(j, code, half), before[j]])
              for j in range(BITS)]
    sums = _carry(m, [*select, Const(0)], [*before, Const(0)])
    return [(Cat(*sums[:BITS]), sums[BITS])]
