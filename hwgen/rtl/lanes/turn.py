"""A product with a power of two, without shifting.

The product is an operand at one of seven places in 10 bits.  A shifter is three levels of selection over more and
more bits.  Instead the operand is turned inside its 4 bits and laid out again and again over the 10; what a shift
would not have reached is cleared.  With a code of 1 + exponent, bit j of the product is bit j + 1 (modulo 4) of the
operand turned by the code (modulo 4), whatever the exponent, and is there for codes j - 2 to j + 1.

The turn is made in two steps: by the code's bit 0, together with the complement for a negative weight, in front of
a register; by bit 1 behind it.  So a bit of the product depends on two bits of the register and the three of the
code, and one LUT6 adds it to a running sum.
"""

from amaranth.hdl import Cat, Mux, Value

BITS = 10
"""Of a product: 15 * 64 < 2**10."""


def covers(j: int, code: int) -> bool:
    """Whether bit ``j`` of the product is a bit of the operand, for a code without its sign."""
    return max(1, j - 2) <= code <= j + 1


def turned(act: Value, turn: Value) -> Value:
    """An operand turned by one place with bit 0 of ``turn``, complemented with bit 1."""
    return Mux(turn[0], Cat(act[3], act[:3]), act) ^ turn[1].replicate(4)


def places(half: Value, again: Value) -> Value:
    """A half turned operand turned by two more places with ``again``, over all bits of the product."""
    whole = Mux(again, Cat(half[2:], half[:2]), half)
    return Cat(whole[1:], whole, whole)[:BITS]
