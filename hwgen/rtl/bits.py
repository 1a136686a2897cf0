"""Small helpers of the hardware description: instruction fields, mixed-radix addition, selection."""

from amaranth.hdl import Mux, Signal, Value, ValueLike

from ..isa import Word


def fields(word: Word, bits: Value) -> dict[str, Value]:
    """The fields of an instruction word as slices of ``bits``."""
    result, position = {}, 0
    for field in word.fields:
        value = bits[position:position + field.bits]
        result[field.name] = value.as_signed() if field.signed else value
        position += field.bits
    return result


def add_mixed(q: Value, r: Value, dq: Value, dr: Value, radix: int) -> tuple[Value, Value]:
    """(q, r) + (dq, dr) where both stand for ``q*radix + r`` with 0 <= r < radix.

    Dividing by the odd number of banks is never needed: points of a map move by
    constants whose quotient and remainder the compiler knows.
    """
    if radix == 1:
        return q + dq, r
    total = r + dr
    carry = total >= radix
    return q + dq + carry, Mux(carry, total - radix, total)[:len(r)]


def select(choices: list[ValueLike], index: Value) -> Value:
    """``choices[index]`` as a balanced tree; an index past the end gives any of them."""
    choices = list(choices)
    bit = 0
    while len(choices) > 1:
        choices = [Mux(index[bit], choices[i + 1], choices[i]) if i + 1 < len(choices) else choices[i]
                   for i in range(0, len(choices), 2)]
        bit += 1
    return Value.cast(choices[0])


def delay(m, value: Value, cycles: int, name: str, *, reset_less: bool = True) -> Value:
    """``value`` as it was ``cycles`` clock cycles ago."""
    for stage in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{stage + 1}", reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value
