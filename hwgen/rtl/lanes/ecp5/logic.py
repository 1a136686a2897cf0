"""The operations of shift-add lanes with CCU2C carry cells (Lattice FPGA-TN-02126); the rest is plain logic.

Half a CCU2C is a LUT4 of A, B, C and D in front of a carry: the sum is ``LUT ^ carry``, and where the LUT is 0 the
carry becomes the LUT's value for C = D = 0.  So it adds A and any f(B, C, D) with f(B, 0, 0) = 0, while
synthesis only ever adds two signals: a choice between two words, or a complement, costs nothing here.
"""

from collections.abc import Callable, Sequence

from amaranth.hdl import Cat, Const, Instance, Module, Signal, Value

from ....lanes import Part
from ..recode import FLAGS

RECODED = True
"""Weights come as (once, twice, complemented) of every part."""

Function = Callable[[int, int, int], int]
Position = tuple[Value, Function | None, Value, Value, Value]
"""A, f, B, C, D; f None: the position gives the carry as its sum and stops it."""


def _init(f: Function | None) -> Const:
    """INIT of half a cell that adds A and f(B, C, D)."""
    if f is None:
        return Const(0, 16)
    if f(0, 0, 0) or f(1, 0, 0):
        raise ValueError("a CCU2C needs f(B, 0, 0) = 0")
    return Const(sum(((i & 1) ^ f(i >> 1 & 1, i >> 2 & 1, i >> 3)) << i for i in range(16)), 16)


def _carry(m: Module, positions: Sequence[Position]) -> list[Value]:
    """The sums of all positions, carry-in 0."""
    zero = Const(0)
    sums: list[Value] = []
    carry: Value = zero
    for begin in range(0, len(positions), 2):
        pair = [*positions[begin:begin + 2], (zero, None, zero, zero, zero)][:2]
        pins: dict[str, object] = {}
        for half, (a, f, b, c, d) in enumerate(pair):
            pins |= {f"p_INIT{half}": _init(f), f"p_INJECT1_{half}": "NO", f"i_A{half}": a, f"i_B{half}": b,
                     f"i_C{half}": c, f"i_D{half}": d}
        low, high, out = Signal(), Signal(), Signal()
        m.submodules += Instance("CCU2C", **pins, i_CIN=carry, o_S0=low, o_S1=high, o_COUT=out)
        sums += [low, high]
        carry = out
    return sums[:len(positions)]


def _flags(code: Value, number: int) -> Value:
    return code[number * FLAGS:(number + 1) * FLAGS]


def products(m: Module, parts: tuple[Part, ...], code: Value, act: Value) -> list[Value]:
    """Every part's product (5 bits), complemented where the code says so."""
    result: list[Value] = []
    for number in range(len(parts)):
        once, twice, complemented = (flag.replicate(5) for flag in _flags(code, number))
        result.append((act & once | act << 1 & twice) ^ complemented)
    return result


def steps(m: Module, parts: tuple[Part, ...], code: Value, act: Value,
          running: list[Value]) -> list[tuple[Value, Value]]:
    """(low 5 bits, carry) of every part's product plus its running sum: six positions each, and three LUT4."""
    positions: list[Position] = []
    zero = Const(0)
    for number, before in enumerate(running):
        once, twice, complemented = _flags(code, number)
        for j in range(5):
            if 0 < j < 4:
                chosen = Signal()
                m.d.comb += chosen.eq(once & act[j] | twice & act[j - 1])
                positions.append((before[j], lambda b, c, d: c ^ d, zero, chosen, complemented))
            else:
                positions.append((before[j], lambda b, c, d: b & c ^ d, act[0] if j == 0 else act[3],
                                  once if j == 0 else twice, complemented))
        positions.append((zero, None, zero, zero, zero))
    sums = _carry(m, positions)
    return [(Cat(*sums[begin:begin + 5]), sums[begin + 5]) for begin in range(0, len(sums), 6)]


def full_add(m: Module, a: Value, b: Value, c: Value) -> tuple[Value, Value]:
    """(sum, carry) of three bits."""
    return a ^ b ^ c, a & b | c & (a ^ b)


def count_last(m: Module, a: Value, b: Value, c: Value, d: Value, e: Value) -> tuple[Value, Value, Value]:
    """a + b + c + 2*d + 2*e as three bits; the sum is at most 7."""
    one, two = full_add(m, a, b, c)
    return (one, *full_add(m, two, d, e))


def add(m: Module, words: list[tuple[Value, int]], bits: int) -> Value:
    """The sum of two or three (word, shift), which fits ``bits``."""
    total, *others = (word << shift for word, shift in words)
    for word in others:
        total = total + word
    return total[:bits]


def accumulate(m: Module, total: Value, word: Value, high: Value) -> Value:
    """``total + word``, or ``total + 16*word`` with ``high``, in the width of ``total``: half a cell per bit."""
    def bit(j: int) -> Value:
        return word[j] if 0 <= j < len(word) else Const(0)

    return Cat(*_carry(m, [(total[j], lambda b, c, d: d if b else c, high, bit(j), bit(j - 4))
                           for j in range(len(total))]))
RESET_LESS = True
"""Registers in a row stay registers, with a reset or without."""
