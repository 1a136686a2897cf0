"""Shift, round and clamp: the end of every requantization."""

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

FIELD_BITS = 10
"""Bits kept of the shifted value: -512..511 plus any zero point of -256..255 covers every code."""


def _any(bits: list[Value]) -> Value:
    return Cat(*bits).any() if bits else Const(0, 1)


class RoundClamp(wiring.Component):
    """``q = clamp(zero + (v >> S) - tie, low, high)`` with ``S = shift + 1`` in 1..32.

    ``tie`` is 1 if ``half_even`` is set, the S discarded bits are all 0 and v >> S is odd
    (``v`` already contains the rounding constant 2**(S-1)).  Correct for every ``v``:
    values that do not fit the narrow field behind the shifter saturate.

    ``low`` <= ``high``.  ``v`` and ``shift`` may change every cycle; the others are layer
    constants.  Latency: 4 cycles.  Cost: about 160 LUT4 (ECP5) for 45 bits.
    """

    latency = 4

    def __init__(self, *, v_bits: int):
        if v_bits < 2:
            raise ValueError(f"v_bits must be at least 2, not {v_bits!r}")
        self.v_bits = v_bits
        super().__init__({
            "v": In(signed(v_bits)),
            "shift": In(unsigned(5)),
            "half_even": In(1),
            "zero": In(signed(9)),
            "low": In(unsigned(8)),
            "high": In(unsigned(8)),
            "q": Out(unsigned(8)),
        })

    def elaborate(self, platform):
        m = Module()
        field, rest, sign, over, sticky = self._coarse(m)
        field, sign, over, sticky = self._fine(m, field, rest, sign, over, sticky)

        # An odd number less one is the same number with its lowest bit cleared.
        odd_tie = self.half_even & ~sticky
        rounded = Cat(field[0] & ~odd_tie, field[1:]).as_signed()
        moved = Signal(signed(FIELD_BITS + 1), reset_less=True)
        too_low = Signal(reset_less=True)
        too_high = Signal(reset_less=True)
        m.d.sync += [moved.eq(rounded + self.zero), too_low.eq(over & sign), too_high.eq(over & ~sign)]

        q = Signal(8, reset_less=True)
        with m.If(too_low | (~too_high & (moved < self.low))):
            m.d.sync += q.eq(self.low)
        with m.Elif(too_high | (moved > self.high)):
            m.d.sync += q.eq(self.high)
        with m.Else():
            m.d.sync += q.eq(moved)
        m.d.comb += self.q.eq(q)
        return m

    def _coarse(self, m: Module) -> tuple[Value, Value, Value, Value, Value]:
        """Shift by 1, then by 0, 8, 16 or 24; keep only the bits that the fine shift can still reach."""
        kept = FIELD_BITS + 7
        sign = self.v[-1]
        top = kept + 24
        bits = list(self.v[1:]) + [sign] * max(0, top - (self.v_bits - 1))
        coarse = self.shift[3:]

        differs = [bit ^ sign for bit in bits[kept:]]
        groups = [_any(differs[i:i + 8]) for i in (0, 8, 16)] + [_any(differs[24:])]
        lost = [_any(bits[i:i + 8]) for i in (0, 8, 16)]

        field = Signal(kept, reset_less=True)
        rest = Signal(3, reset_less=True)
        sign_1 = Signal(reset_less=True)
        over = Signal(reset_less=True)
        sticky = Signal(reset_less=True)
        m.d.sync += [rest.eq(self.shift[:3]), sign_1.eq(sign)]
        with m.Switch(coarse):
            for k in range(4):
                with m.Case(k):
                    m.d.sync += [
                        field.eq(Cat(*bits[8 * k:8 * k + kept])),
                        over.eq(_any(groups[k:])),
                        sticky.eq(self.v[0] | _any(lost[:k])),
                    ]
        return field, rest, sign_1, over, sticky

    @staticmethod
    def _fine(m: Module, wide: Value, rest: Value, sign: Value, over: Value, sticky: Value):
        """Shift by the remaining 0..7.  Bits above the field must repeat the sign, or it saturates."""
        field = Signal(FIELD_BITS, reset_less=True)
        sign_2 = Signal(reset_less=True)
        over_2 = Signal(reset_less=True)
        sticky_2 = Signal(reset_less=True)
        n = FIELD_BITS
        above = [(wide[i] ^ sign) & (rest <= i - (n - 1)) for i in range(n - 1, n + 7)]
        below = [wide[i] & (rest > i) for i in range(7)]
        m.d.sync += [
            field.eq(wide >> rest),
            sign_2.eq(sign),
            over_2.eq(over | _any(above)),
            sticky_2.eq(sticky | _any(below)),
        ]
        return field, sign_2, over_2, sticky_2
