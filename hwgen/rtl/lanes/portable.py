"""The operations of shift-add lanes in plain logic, for every family without a description of its own."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value

from ...lanes import Part


def products(m: Module, parts: tuple[Part, ...], code: Value, act: Value) -> list[Value]:
    """Every part's product (5 bits), complemented where the code says so."""
    return [_product(part, code, act) for part in parts]


def _product(part: Part, code: Value, act: Value) -> Value:
    select = Cat(*(code[bit] for bit in part.bits))
    flags = [0, 0, 0]
    for value, (multiple, complemented) in enumerate(part.terms):
        flags[0] |= (multiple == 1) << value
        flags[1] |= (multiple == 2) << value
        flags[2] |= complemented << value
    once, twice, inverted = (_table(flag, select) for flag in flags)
    return Cat((once & act[j] if j < 4 else 0) | (twice & act[j - 1] if j > 0 else 0) for j in range(5)) \
        ^ inverted.replicate(5)


def _table(ones: int, select: Value) -> Value:
    """Bit ``select`` of ``ones``."""
    terms = [(select == value) for value in range(1 << len(select)) if ones >> value & 1]
    result: Value = terms[0]
    for term in terms[1:]:
        result = result | term
    return result


def steps(m: Module, parts: tuple[Part, ...], code: Value, act: Value,
          running: list[Value]) -> list[tuple[Value, Value]]:
    """(low 5 bits, carry) of every part's product plus its running sum."""
    result = []
    for product, before in zip(products(m, parts, code, act), running, strict=True):
        total = Signal(6)
        m.d.comb += total.eq(before + product)
        result.append((total[:5], total[5]))
    return result


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
    """``total + word``, or ``total + 16*word`` with ``high``, in the width of ``total``."""
    return (total + Mux(high, word << 4, word))[:len(total)]
