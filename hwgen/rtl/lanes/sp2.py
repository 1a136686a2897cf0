"""Dot product of SP2 weight codes and 4-bit activations without a multiplier."""

from amaranth.hdl import Cat, Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.lanes import SP2
from hwgen.rtl.lanes.adder_tree import add_tree, check_ki, nibbles, tree_levels
from hwgen.rtl.lanes.shift_add import ShiftAddGroup

SIGN_CORRECTION = 155
"""What a set sign bit adds to the product: 31 from X' and 4 * 31 from Y'."""


def partial_products(act: Value, code: Value) -> tuple[Value, Value]:
    """X' and Y' (5 bits each) of one activation and one weight code.

    |w| = x + y with x in {0, 1, 2} (code bits 1..0: 1 -> 1, 2 -> 2) and y in {0, 4, 8}
    (code bit 2 -> 4, code 3 -> 8).  X' = x*a and Y' = y*a/4; a set sign bit complements
    both: 31 - X' and 31 - Y', hence X' + 4*Y' = w*a + 155 with the sign, w*a without.
    A bit of X' depends on five inputs: two code bits, the sign, two bits of the activation.
    A bit of Y' does so too once "eight" is known.
    """
    one = code[0] & ~code[1]
    two = code[1] & ~code[0]
    four = code[2]
    eight = code[0] & code[1]
    sign = code[3]

    def select(plain: Value, double: Value) -> Value:
        value = Cat((plain & act[j] if j < 4 else 0) | (double & act[j - 1] if j > 0 else 0) for j in range(5))
        return value ^ sign.replicate(5)

    return select(one, two), select(four, eight)


class Sp2Dot(wiring.Component):
    """``dot = sum over k of w_k * a_k + 155 * (number of set sign bits)``.

    Inputs may change every cycle and are used combinationally in the first stage.  Codes
    (4 bits): bit 3 sign; bits 2..0 magnitude: 0 -> 0, 1 -> 1, 2 -> 2, 3 -> 8, 4 -> 4,
    5 -> 5, 6 -> 6; 7 is not a code.  The sign bit counts on a zero weight too.

    Latency: log2(ki) + 1 cycles from ``acts`` and ``codes`` to ``dot``.  Overflow cannot
    happen: ``dot_bits`` holds 155 * ki (a zero with its sign set is the largest term).
    Cost per input, adder tree included: 13 FF and 29 LUT4 (ECP5), 27 LUT4 (iCE40) or 16 LUT6 (7-series) where
    a slower path elsewhere lets the mapper save area; up to 35, 27 and 22 when the lane is alone.
    """

    def __init__(self, *, ki: int):
        check_ki(ki)
        self.ki = ki
        self.dot_bits = (SIGN_CORRECTION * ki).bit_length()
        self.latency = tree_levels(ki) + 1
        super().__init__({
            "acts": In(unsigned(4 * ki)),
            "codes": In(unsigned(4 * ki)),
            "dot": Out(unsigned(self.dot_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        acts, codes = nibbles(self.acts, self.ki), nibbles(self.codes, self.ki)
        pairs = [partial_products(act, code) for act, code in zip(acts, codes, strict=True)]
        # The two planes are summed apart: words of 5 bits grow slower than products of 8.
        x_sum, _ = add_tree(m, [x for x, _ in pairs], 31, "x")
        y_sum, _ = add_tree(m, [y for _, y in pairs], 31, "y")
        dot = Signal(self.dot_bits, reset_less=True)
        m.d.sync += dot.eq(Cat(x_sum[:2], x_sum[2:] + y_sum))
        m.d.comb += self.dot.eq(dot)
        return m


class Sp2Group(ShiftAddGroup):
    """``dots = sum over k of w_k * a_k + correction`` for SP2 weights, codes and correction of hwgen.lanes.SP2."""

    kind = SP2
