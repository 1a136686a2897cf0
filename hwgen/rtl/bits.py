"""Small helpers of the hardware description: instruction fields, mixed-radix addition, selection."""

from amaranth.hdl import Mux, Signal, Value, ValueLike, signed

from ..isa import Word


def fields(word: Word, bits: Value) -> dict[str, Value]:
    """The fields of an instruction word as slices of ``bits``."""
    result, position = {}, 0
    for field in word.fields:
        value = bits[position:position + field.bits]
        result[field.name] = value.as_signed() if field.signed else value
        position += field.bits
    return result


class MixedStep:
    """A distance (q, r), in registers, for points that stand for ``q*radix + r`` with 0 <= r < radix.

    Dividing by the odd number of banks is never needed: points of a map move by constants whose quotient and
    remainder the compiler knows.  Both possible quotients are added at the same time and the remainder's carry
    chooses, so that a step costs one carry chain and a multiplexer.
    """

    def __init__(self, m, bits: int, radix: int, name: str):
        self.radix = radix
        self.q = Signal(signed(bits), name=f"{name}_step_q", reset_less=True)
        self.r = Signal(radix_bits(radix), name=f"{name}_step_r", reset_less=True)
        self._less = Signal(signed(radix_bits(radix) + 1), name=f"{name}_step_less", reset_less=True)

    def load(self, q: Value, r: Value) -> list:
        """Assignments of a new distance."""
        r = r[:len(self.r)]
        return [self.q.eq(q), self.r.eq(r), self._less.eq(r - self.radix)]

    def add(self, q: Value, r: Value) -> tuple[Value, Value]:
        """The point (q, r) and the distance together; q modulo its bits."""
        if self.radix == 1:
            return (q + self.q)[:len(q)], r
        return _carried(q, self.q, r[:len(self.r)] + self._less, r[:len(self.r)] + self.r)


def next_point(q: Value, r: Value, radix: int) -> tuple[Value, Value]:
    """The point after (q, r)."""
    if radix == 1:
        return (q + 1)[:len(q)], r
    carry = r[:radix_bits(radix)] == radix - 1
    return Mux(carry, q + 1, q)[:len(q)], Mux(carry, 0, r + 1)[:len(r)]


def radix_bits(radix: int) -> int:
    """Bits of a remainder."""
    return max(1, (radix - 1).bit_length())


def _carried(q, dq, less, total):
    carry = ~less[-1]
    # q - ~dq is q + dq + 1 in one carry chain.
    return Mux(carry, (q - ~dq)[:len(q)], (q + dq)[:len(q)]), Mux(carry, less, total)


def select(choices: list[ValueLike], index: Value) -> Value:
    """``choices[index]`` as a balanced tree; an index past the end gives any of them."""
    choices = list(choices)
    bit = 0
    while len(choices) > 1:
        choices = [Mux(index[bit], choices[i + 1], choices[i]) if i + 1 < len(choices) else choices[i]
                   for i in range(0, len(choices), 2)]
        bit += 1
    return Value.cast(choices[0])


def register(m, port: Value, name: str) -> Value:
    """What an output port shows, in registers without a reset: they are many, and nobody looks before they are set.

    Not to be called under a condition: the port always shows them.
    """
    kept = Signal(port.shape(), name=name, reset_less=True)
    m.d.comb += port.eq(kept)
    return kept


def delay(m, value: Value, cycles: int, name: str, *, reset_less: bool = True) -> Value:
    """``value`` as it was ``cycles`` clock cycles ago."""
    for stage in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{stage + 1}", reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value
