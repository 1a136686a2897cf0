"""Shift, round and clamp: the end of every requantization."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.engine import MAX_SHIFT_BASE

FIELD_BITS = 10
"""Bits kept of the shifted value: -512..511 plus any zero point of -256..255 covers every code."""


def _any(bits: Sequence[Value]) -> Value:
    return Cat(*bits).any() if bits else Const(0, 1)


@dataclass(frozen=True)
class _Shifted:
    """A value on its way through the shifter: only the bits that can still reach the field."""

    bits: list[Value]
    sign: Value
    over: Value
    """A bit that was left away above differs from the sign: the field will not hold the value."""
    sticky: Value
    """A bit that was shifted out below is 1."""

    def step(self, step: int, on: Value) -> "_Shifted":
        """Shift right by ``step`` if ``on``; shifts by less than ``step`` still follow.

        One 2:1 multiplexer per kept bit, and the smaller the steps left, the fewer bits are kept.
        """
        kept = FIELD_BITS + step - 1
        bits = self.bits + [self.sign] * max(0, kept + step - len(self.bits))
        differs = [bit ^ self.sign for bit in bits[kept:]]
        return _Shifted(
            [Mux(on, bits[i + step], bits[i]) for i in range(kept)],
            self.sign,
            self.over | _any(differs[step:]) | (~on & _any(differs[:step])),
            self.sticky | (on & _any(bits[:step])),
        )

    def registered(self, m: Module, name: str) -> "_Shifted":
        bits = Signal(len(self.bits), reset_less=True, name=f"bits_{name}")
        sign, over, sticky = (Signal(reset_less=True, name=f"{what}_{name}") for what in ("sign", "over", "sticky"))
        m.d.sync += [bits.eq(Cat(*self.bits)), sign.eq(self.sign), over.eq(self.over), sticky.eq(self.sticky)]
        return _Shifted(list(bits), sign, over, sticky)


class RoundClamp(wiring.Component):
    """``q = clamp(zero + (v >> S) - tie, low, high)`` with ``S = base + shift + 1`` in base + 1..base + 32.

    ``tie`` is 1 if ``half_even`` is set, the S discarded bits are all 0 and v >> S is odd
    (``v`` already contains the rounding constant 2**(S-1)).  Correct for every ``v``:
    values that do not fit the narrow field behind the shifter saturate.  With ``wrap`` (a port where ``wraps``) q is
    the low eight bits instead; ``zero`` and ``low`` are 0 then, and ``high`` is 255.

    ``low`` <= ``high``.  ``v`` and ``shift`` may change every cycle; the others are layer
    constants.  Latency: 4 cycles.  Cost: about 175 LUT4 (ECP5) for 45 bits; ``base`` costs nothing, it leaves out
    bits.
    """

    latency = 4

    def __init__(self, *, v_bits: int, base: int = 0, wraps: bool = False):
        if v_bits < 2:
            raise ValueError(f"v_bits must be at least 2, not {v_bits!r}")
        if not 0 <= base <= MAX_SHIFT_BASE:
            raise ValueError(f"base must be in 0..{MAX_SHIFT_BASE}, not {base!r}")
        self.v_bits, self.base, self.wraps = v_bits, base, wraps
        super().__init__({
            "v": In(signed(v_bits)),
            "shift": In(unsigned(5)),
            "half_even": In(1),
            "zero": In(signed(9)),
            "low": In(unsigned(8)),
            "high": In(unsigned(8)),
            "q": Out(unsigned(8)),
            **({"wrap": In(1)} if wraps else {}),
        })

    def elaborate(self, platform):
        m = Module()
        # Shift by base + 1, then by 16 and 8 in the first cycle and by 4, 2 and 1 in the second.
        always = self.base + 1
        state = _Shifted(list(self.v[always:]), self.v[-1], Const(0, 1), _any(list(self.v[:always])))
        fine = Signal(3, reset_less=True)
        m.d.sync += fine.eq(self.shift[:3])
        for steps, shift in (((16, 8), self.shift), ((4, 2, 1), fine)):
            for step in steps:
                state = state.step(step, shift[step.bit_length() - 1])
            state = state.registered(m, f"by_{steps[-1]}")
        field, sign = Cat(*state.bits), state.sign
        over = state.over | (field[-1] ^ sign)

        # An odd number less one is the same number with its lowest bit cleared.
        odd_tie = self.half_even & ~state.sticky
        top = field[8:]
        if self.wraps:
            # Without what lies above them the low bits are in the range, so the clamp lets them pass.
            top, over = Mux(self.wrap, 0, top), over & ~self.wrap
        rounded = Cat(field[0] & ~odd_tie, field[1:8], top).as_signed()
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
