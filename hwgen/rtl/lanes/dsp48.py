"""Dots on the DSP48E1 of 7-series parts: four 4-bit or two 8-bit weight products per block and cycle."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..bits import delay
from .adder_tree import ACT_MAX, spaced
from .xilinx7 import logic

CASCADE = 4
"""Blocks per cascade.  Narrow fields hold 4 * 15 * 15 = 900 < 2**10; a fifth product could overflow."""

PIXEL_BITS = 20
"""Distance of two pixels' fields in P.  The second activation then ends at bit 23, below port A's sign."""

ROW_BITS = 10
"""Distance of two rows' fields in P.  The second weight ends at bit 13, far below port B's sign."""


def blocks(*, ki: int, px: int, rows: int, wide: bool) -> int:
    """DSP48E1 of a group: one per input, two pixels and, unless ``wide``, two rows; odd ones leave halves empty."""
    return ki * -(-px // 2) * (rows if wide else -(-rows // 2))


def latency(*, ki: int, wide: bool) -> int:
    """Cycles from operands to dots: the A/B, M and P registers, the cascade, the adders of the cascades."""
    length = min(CASCADE, ki)
    return 2 + length + _levels(ki // length)


def _levels(n_words: int) -> int:
    """Levels of three-operand adders over ``n_words`` words."""
    levels = 0
    while n_words > 1:
        n_words, levels = -(-n_words // 3), levels + 1
    return levels


class Cascade(wiring.Component):
    """``p = sum over i of a[i] * b[i]``: ``n`` DSP48E1 in one column, joined through PCOUT and PCIN.

    Position i adds to what position i - 1 has in its P register, so its operands must be i cycles
    later.  The second input registers make up for one of them: the caller delays ``a[i]`` and ``b[i]``
    by ``skew(i)`` cycles, and ``p`` follows the undelayed ones ``n + 2`` cycles later.

    Unsigned operands; the sum must stay below 2**48.  Source of ports and modes: Xilinx UG479.
    """

    def __init__(self, *, n: int):
        self.n = n
        super().__init__({
            "a": In(data.ArrayLayout(PIXEL_BITS + 4, n)),
            "b": In(data.ArrayLayout(ROW_BITS + 4, n)),
            "p": Out(48),
        })

    @staticmethod
    def skew(position: int) -> int:
        """Cycles by which the operands of a position must be late on its pins."""
        return max(position - 1, 0)

    def elaborate(self, platform):
        m = Module()
        cascade: Value = Const(0, 48)
        for i in range(self.n):
            cascade = self._block(m, i, cascade)
        return m

    def _block(self, m: Module, i: int, before: Value) -> Value:
        """Position i; takes the PCOUT of the block before and returns its own."""
        after = Signal(48, name=f"cascade_{i}")
        # Yosys' pass over DSP blocks stops at one without P.
        p = Value.cast(self.p) if i == self.n - 1 else Signal(48, name=f"unused_{i}")
        registers = 1 if i == 0 else 2
        # P = Z + A * B with Z = 0 (first) or PCIN; every control input is a constant and passes no register.
        # Port C is parked as UG479 advises for power: all ones, its register never enabled.
        m.submodules[f"dsp_{i}"] = Instance(
            "DSP48E1",
            p_AREG=registers, p_ACASCREG=registers, p_BREG=registers, p_BCASCREG=registers, p_MREG=1, p_PREG=1,
            p_ADREG=1, p_CREG=1, p_DREG=1, p_ALUMODEREG=0, p_CARRYINREG=0, p_CARRYINSELREG=0, p_INMODEREG=0,
            p_OPMODEREG=0, p_USE_DPORT="FALSE", p_USE_MULT="MULTIPLY", p_USE_SIMD="ONE48",
            i_CLK=ClockSignal(),
            i_A=Cat(self.a[i], Const(0, 30 - PIXEL_BITS - 4)), i_B=Cat(self.b[i], Const(0, 18 - ROW_BITS - 4)),
            i_C=Const((1 << 48) - 1, 48), i_D=Const(0, 25), i_PCIN=before,
            i_OPMODE=Const(0b0000101 if i == 0 else 0b0010101, 7), i_ALUMODE=Const(0, 4), i_INMODE=Const(0, 5),
            i_CARRYIN=Const(0, 1), i_CARRYINSEL=Const(0, 3), i_CARRYCASCIN=Const(0, 1), i_MULTSIGNIN=Const(0, 1),
            i_ACIN=Const(0, 30), i_BCIN=Const(0, 18),
            **{f"i_{pin}": Const(1, 1) for pin in ("CEA1", "CEA2", "CEB1", "CEB2", "CEM", "CEP")},
            **{f"i_{pin}": Const(0, 1) for pin in (
                "CEAD", "CEALUMODE", "CEC", "CECARRYIN", "CECTRL", "CED", "CEINMODE", "RSTA", "RSTALLCARRYIN",
                "RSTALUMODE", "RSTB", "RSTC", "RSTCTRL", "RSTD", "RSTINMODE", "RSTM", "RSTP")},
            o_P=p, o_PCOUT=after,
        )
        return after


def dots(m: Module, operands: list[list[Value]], weights: list[list[Value]]) -> list[Value]:
    """Dots of all rows and pixels, index ``row * px + pixel``, ``latency`` cycles after the operands.

    ``operands[pixel][k]``: 4 bits.  ``weights[row][k]``: 4 bits, or 8 in a wide group.

    Port A takes two pixels, {a1, 16 zeros, a0}; port B two rows, {w1, 6 zeros, w0}, or one 8-bit weight.
    P then is the four products' sums in fields of 10 bits, or two in fields of 20.  The weights belong on
    port B: on port A they could not stand 20 bits apart below the sign.
    """
    ki, px, rows = len(operands[0]), len(operands), len(weights)
    weight_bits = len(weights[0][0])
    row_step = 2 if weight_bits == 4 else 1
    length = min(CASCADE, ki)
    largest = length * ACT_MAX * (2**weight_bits - 1)
    field_bits = largest.bit_length()

    def skewed(vectors: list[list[Value]], name: str) -> list[list[Value]]:
        """Once per pixel and once per row, whatever the number of cascades they go to.

        With reset: together with a register before them, Yosys would make LUT shift registers of bare ones.
        """
        return [[delay(m, value, Cascade.skew(k % length), f"{name}_{index}_{k}", reset_less=False)
                 for k, value in enumerate(vector)] for index, vector in enumerate(vectors)]

    acts, codes = skewed(operands, "act"), skewed(weights, "code")
    fields: dict[tuple[int, int], list[Value]] = {(row, p): [] for row in range(rows) for p in range(px)}
    for row in range(0, rows, row_step):
        for p in range(0, px, 2):
            for begin in range(0, ki, length):
                m.submodules[f"cascade_{row}_{p}_{begin}"] = cascade = Cascade(n=length)
                for i in range(length):
                    k = begin + i
                    m.d.comb += [
                        cascade.a[i].eq(spaced([vector[k] for vector in acts[p:p + 2]], PIXEL_BITS)),
                        cascade.b[i].eq(spaced([vector[k] for vector in codes[row:row + row_step]], ROW_BITS)),
                    ]
                for r in range(row, min(row + row_step, rows)):
                    for q in range(p, min(p + 2, px)):
                        at = PIXEL_BITS * (q - p) + ROW_BITS * (r - row)
                        fields[r, q].append(cascade.p[at:at + field_bits])
    return [_sum(m, terms, largest, f"dot_{row}_{p}") for (row, p), terms in fields.items()]


def _sum(m: Module, words: list[Value], largest: int, name: str) -> Value:
    """Sum of ``words``, none of which exceeds ``largest``, by threes: as cheap as by twos here, and fewer.

    A register behind each of ``_levels(len(words))`` levels.
    """
    tops = [largest] * len(words)
    for level in range(_levels(len(words))):
        sums: list[Value] = []
        for begin in range(0, len(words), 3):
            some, top = words[begin:begin + 3], sum(tops[begin:begin + 3])
            total = Signal(top.bit_length(), reset_less=True, name=f"{name}_{level}_{begin // 3}")
            m.d.sync += total.eq(logic.add(m, [(word, 0) for word in some], len(total)) if len(some) > 1 else some[0])
            sums.append(total)
        tops = [sum(tops[begin:begin + 3]) for begin in range(0, len(words), 3)]
        words = sums
    return words[0]
