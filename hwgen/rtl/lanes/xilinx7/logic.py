"""The operations of shift-add lanes as LUT6_2, LUT5, LUT6 and CARRY4 (Xilinx UG474, UG953)."""

from collections.abc import Callable, Sequence

from amaranth.hdl import Cat, Const, Instance, Module, Signal, Value

from ....lanes import Part

RECODED = False
"""Weights come as their codes."""

Table = Callable[..., int]
"""A Boolean function: one argument per input of its LUT, 0 or 1 each."""


def _init(table: Table, inputs: int) -> int:
    """The truth table of ``table`` as a LUT's INIT: bit i is the value where input k is bit k of i."""
    return sum(bool(table(*(i >> k & 1 for k in range(inputs)))) << i for i in range(1 << inputs))


def _lut(m: Module, table: Table, inputs: Sequence[Value]) -> Signal:
    """One function of up to six inputs."""
    n = len(inputs)
    output = Signal()
    m.submodules += Instance(f"LUT{n}", p_INIT=Const(_init(table, n), 1 << n),
                             **{f"i_I{k}": signal for k, signal in enumerate(inputs)}, o_O=output)
    return output


def _lut_pair(m: Module, upper: Table, lower: Table, inputs: Sequence[Value]) -> tuple[Signal, Signal]:
    """Two functions of the same (up to five) inputs in one LUT6_2: (O6, O5)."""
    n = len(inputs)
    padded = [*inputs, *[Const(0)] * (5 - n)]
    o6, o5 = Signal(), Signal()

    def padded_init(table: Table) -> int:
        return _init(lambda *bits: table(*bits[:n]), 5)

    m.submodules += Instance("LUT6_2", p_INIT=Const(padded_init(upper) << 32 | padded_init(lower), 64),
                             **{f"i_I{k}": signal for k, signal in enumerate(padded)}, i_I5=Const(1), o_O6=o6, o_O5=o5)
    return o6, o5


def _carry(m: Module, select: Sequence[Value], data: Sequence[Value]) -> list[Value]:
    """Carry blocks over all positions, carry-in 0; the sums.  A sum is ``select ^ carry``, the carry goes on
    where ``select`` is set and is ``data`` elsewhere."""
    sums: list[Value] = []
    carry: Value = Const(0)
    for begin in range(0, len(select), 4):
        s, d = (Cat(*part[begin:begin + 4], *[Const(0)] * max(0, begin + 4 - len(part))) for part in (select, data))
        block_sum, block_carry = Signal(4), Signal(4)
        m.submodules += Instance("CARRY4", i_CI=carry, i_CYINIT=Const(0), i_S=s, i_DI=d,
                                 o_O=block_sum, o_CO=block_carry)
        carry = block_carry[3]
        sums += list(block_sum)
    return sums[:len(select)]


def _product_bit(part: Part, j: int) -> tuple[Table, list[int]]:
    """Bit j of a part's product: its table over the select bits and the operand bits listed, as far as they exist."""
    wanted = [k for k in (j, j - 1) if 0 <= k < 4]
    n = len(part.bits)

    def table(*bits: int) -> int:
        multiple, complemented = part.terms[sum(bit << place for place, bit in enumerate(bits[:n]))]
        act = dict(zip(wanted, bits[n:], strict=True))
        return act.get(j - multiple + 1, 0) * (multiple > 0) ^ complemented

    return table, wanted


def products(m: Module, parts: tuple[Part, ...], code: Value, act: Value) -> list[Value]:
    """Every part's product (5 bits), complemented where the code says so; two bits to a LUT6_2 where their inputs
    are at most five."""
    waiting = []
    for number, part in enumerate(parts):
        for j in range(5):
            table, wanted = _product_bit(part, j)
            names = [("code", bit) for bit in part.bits] + [("act", k) for k in wanted]
            waiting.append(((number, j), table, names))
    found: dict[tuple[int, int], Value] = {}

    def signals(names: list[tuple[str, int]]) -> list[Value]:
        return [(code if kind == "code" else act)[bit] for kind, bit in names]

    # Bits with few inputs choose first, the partner that shares most of them.
    waiting.sort(key=lambda item: len(item[2]))
    while waiting:
        place, table, names = waiting.pop(0)
        partners = [(len({*names} - {*other}), at) for at, (_, _, other) in enumerate(waiting)
                    if len({*names, *other}) <= 5]
        if partners:
            other_place, other_table, other_names = waiting.pop(min(partners)[1])
            union = sorted({*names, *other_names})
            found[place], found[other_place] = _lut_pair(
                m, _over(table, names, union), _over(other_table, other_names, union), signals(union))
        else:
            found[place] = _lut(m, table, signals(names))
    return [Cat(*(found[number, j] for j in range(5))) for number in range(len(parts))]


def _over(table: Table, names: list, union: list) -> Table:
    """``table`` with the inputs ``union`` in place of ``names``."""
    positions = [union.index(name) for name in names]
    return lambda *bits: table(*(bits[position] for position in positions))


def steps(m: Module, parts: tuple[Part, ...], code: Value, act: Value,
          running: list[Value]) -> list[tuple[Value, Value]]:
    """(low 5 bits, carry) of every part's product plus its running sum.

    Five LUT6 and six carry positions per part: the sixth gives the carry as a sum and stops it, so that
    two parts fill three blocks.
    """
    select: list[Value] = []
    data: list[Value] = []
    for part, before in zip(parts, running, strict=True):
        for j in range(5):
            table, wanted = _product_bit(part, j)
            inputs = [*(code[bit] for bit in part.bits), *(act[k] for k in wanted), before[j]]
            select.append(_lut(m, lambda *bits, table=table: table(*bits[:-1]) ^ bits[-1], inputs))
            data.append(before[j])
        select.append(Const(0))
        data.append(Const(0))
    sums = _carry(m, select, data)
    return [(Cat(*sums[begin:begin + 5]), sums[begin + 5]) for begin in range(0, len(sums), 6)]


def _parity(*bits: int) -> int:
    return sum(bits) & 1


def _majority(a: int, b: int, c: int) -> int:
    return a + b + c >> 1


def full_add(m: Module, a: Value, b: Value, c: Value) -> tuple[Value, Value]:
    """(sum, carry) of three bits: one LUT6_2."""
    return _lut_pair(m, _parity, _majority, (a, b, c))


def count_last(m: Module, a: Value, b: Value, c: Value, d: Value, e: Value) -> tuple[Value, Value, Value]:
    """a + b + c + 2*d + 2*e as three bits; the sum is at most 7.  Two LUTs, one behind a, b and c."""
    two, four = _lut_pair(m, lambda x, y, z, p, q: _majority(x, y, z) ^ p ^ q,
                          lambda x, y, z, p, q: _majority(_majority(x, y, z), p, q), (a, b, c, d, e))
    return _lut(m, _parity, (a, b, c)), two, four


def add(m: Module, words: list[tuple[Value, int]], bits: int) -> Value:
    """The sum of two or three (word, shift), which fits ``bits``: one LUT per bit where at least two of them meet.

    Of three bits a LUT6_2 makes the sum and the carry; that carry enters the next position, in its LUT and
    as the carry block's data.
    """
    columns = [[word[j - shift] for word, shift in words if shift <= j < shift + len(word)] for j in range(bits)]
    low = next((j for j, column in enumerate(columns) if len(column) > 1), bits)
    passed = [column[0] if column else Const(0) for column in columns[:low]]
    select: list[Value] = []
    data: list[Value] = []
    saved: list[Value] = []
    for column in columns[low:]:
        operands = column + saved
        # The carry block adds data to the sum of the others, so data is the last of them, or 0 beside three new ones.
        last = operands[-1] if len(operands) == 2 or len(operands) > 2 and saved else Const(0)
        if len(operands) <= 1:
            total, saved = (operands or [Const(0)])[0], []
        elif len(operands) == 2:
            total, saved = _lut(m, _parity, operands), []
        else:
            n = len(column)
            total, carry = _lut_pair(m, _parity, lambda *bits, n=n: sum(bits[:n]) >> 1, operands)
            saved = [carry]
        select.append(total)
        data.append(last)
    return Cat(*passed, *_carry(m, select, data))


def accumulate(m: Module, total: Value, word: Value, high: Value) -> Value:
    """``total + word``, or ``total + 16*word`` with ``high``, in the width of ``total``: a LUT per bit, none
    above those of ``16*word``.  Yosys 0.70 makes the selected word the carry block's data, at a second LUT per bit."""
    select: list[Value] = []
    for j, bit in enumerate(total):
        plain, shifted = j < len(word), 4 <= j < len(word) + 4
        if plain and shifted:
            select.append(_lut(m, lambda t, w, v, h: t ^ (v if h else w), (bit, word[j], word[j - 4], high)))
        elif plain:
            select.append(_lut(m, lambda t, w, h: t ^ w & ~h, (bit, word[j], high)))
        elif shifted:
            select.append(_lut(m, lambda t, v, h: t ^ v & h, (bit, word[j - 4], high)))
        else:
            select.append(bit)
    return Cat(*_carry(m, select, list(total)))
RESET_LESS = False
"""Synthesis makes shift registers of LUTs from registers in a row that have no reset."""
