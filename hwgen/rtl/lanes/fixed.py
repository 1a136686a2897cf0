"""Dot product of unsigned operands (offset-binary weights) and 4-bit activations."""

from amaranth.hdl import Cat, Const, Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.rtl.lanes.adder_tree import ACT_MAX, add_tree, check_ki, nibbles, tree_levels

MULTIPLIERS = ("dsp", "lut")


class FixedDot(wiring.Component):
    """``dot = sum over k of operand_k * a_k`` with ``operand = 16*high + low`` (``high`` only if ``wide``).

    Operands are weights in offset binary: w + 8, or w + 128 when ``wide``; the offset is
    subtracted later as 8 or 128 times the sum of the activations.

    ``multiplier="dsp"``: 4-bit operands go through DSP blocks, one block per two inputs,
    because the middle field of
    ``(o0 + 512*o1) * (a1 + 512*a0) = o0*a1 + 512*(o0*a0 + o1*a1) + 2**18*o1*a0``
    is already a sum of two products: o0*a1 <= 225 and the middle <= 450 both stay below
    512, so no field reaches its neighbour.  ``wide`` does so with the low and the high halves.
    A product of 13 by 13 bits is wide enough for every synthesizer to give it a block, which
    4 by 4 bits are not; and since only the middle is registered, no synthesizer tries to pull
    adders into the block, at which Yosys 0.70 fails on the iCE40.

    ``multiplier="lut"``: no products at all.  For a pair of activations, bit j of their two
    operands selects one of {0, a0, a1, a0 + a1}; the planes j are summed apart and joined.

    ``latency``: log2(ki) or, ``wide``, log2(ki) + 1 with "dsp"; two cycles more with "lut".
    ``dot_bits`` holds 225 * ki or 3825 * ki.  ``n_dsp``: blocks taken, ki/2 or ki.
    """

    def __init__(self, *, ki: int, wide: bool, multiplier: str = "dsp"):
        check_ki(ki)
        if not isinstance(wide, bool):
            raise ValueError(f"wide must be True or False, not {wide!r}")
        if multiplier not in MULTIPLIERS:
            raise ValueError(f"multiplier must be one of {MULTIPLIERS}, not {multiplier!r}")
        self.ki = ki
        self.wide = wide
        self.multiplier = multiplier
        self.operand_bits = 8 if wide else 4
        self.dot_bits = ((2**self.operand_bits - 1) * ACT_MAX * ki).bit_length()
        self.n_dsp = (ki if wide else ki // 2) if multiplier == "dsp" else 0
        self.latency = tree_levels(ki) + wide + (2 if multiplier == "lut" else 0)
        ports = {
            "acts": In(unsigned(4 * ki)),
            "low": In(unsigned(4 * ki)),
            "dot": Out(unsigned(self.dot_bits)),
        }
        if wide:
            ports["high"] = In(unsigned(4 * ki))
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        acts = nibbles(self.acts, self.ki)
        halves = [nibbles(self.low, self.ki)] + ([nibbles(self.high, self.ki)] if self.wide else [])
        if self.multiplier == "lut":
            planes, largest, distance = self._planes(m, acts, halves)
        else:
            planes, largest, distance = self._products(m, acts, halves)
        m.d.comb += self.dot.eq(self._join(m, planes, largest, distance))
        return m

    def _products(self, m: Module, acts: list[Value], halves: list[list[Value]]) -> tuple[list[Value], int, int]:
        gap = Const(0, 5)
        planes: list[Value] = []
        for half, operands in enumerate(halves):
            sums: list[Value] = []
            for k in range(0, self.ki, 2):
                product = Signal(26, name=f"product_{half}_{k}")
                pair = Signal(9, reset_less=True, name=f"pair_{half}_{k}")
                m.d.comb += product.eq(Cat(operands[k], gap, operands[k + 1]) * Cat(acts[k + 1], gap, acts[k]))
                m.d.sync += pair.eq(product[9:18])
                sums.append(pair)
            total, largest = add_tree(m, sums, 2 * 15 * ACT_MAX, f"sum_{half}")
            planes.append(total)
        return planes, largest, 4

    def _planes(self, m: Module, acts: list[Value], halves: list[list[Value]]) -> tuple[list[Value], int, int]:
        """Words of 5 bits, one per pair of inputs and bit of the operands; then one tree per bit."""
        operands = [Cat(*parts) for parts in zip(*halves, strict=True)]
        selected: list[list[Value]] = [[] for _ in range(self.operand_bits)]
        for k in range(0, self.ki, 2):
            # Identical in every row that sees the same pixel: synthesis shares the adder.
            both = Signal(5, name=f"both_{k}")
            m.d.comb += both.eq(acts[k] + acts[k + 1])
            for j in range(self.operand_bits):
                term = Signal(5, reset_less=True, name=f"term_{k}_{j}")
                with m.Switch(Cat(operands[k][j], operands[k + 1][j])):
                    with m.Case(0):
                        m.d.sync += term.eq(0)
                    with m.Case(1):
                        m.d.sync += term.eq(acts[k])
                    with m.Case(2):
                        m.d.sync += term.eq(acts[k + 1])
                    with m.Case(3):
                        m.d.sync += term.eq(both)
                selected[j].append(term)
        largest = 2 * ACT_MAX
        planes: list[Value] = []
        for j, terms in enumerate(selected):
            total, top = add_tree(m, terms, largest, f"plane_{j}")
            planes.append(total)
        return planes, top, 1

    @staticmethod
    def _join(m: Module, planes: list[Value], largest: int, distance: int) -> Value:
        """``sum of planes[j] << (distance*j)``, by pairs, neighbours first: low bits pass the adders by."""
        while len(planes) > 1:
            largest += largest << distance
            joined: list[Value] = []
            for j in range(0, len(planes), 2):
                word = Signal(largest.bit_length(), reset_less=True, name=f"join_{distance}_{j}")
                below, above = planes[j], planes[j + 1]
                m.d.sync += word.eq(Cat(below[:distance], below[distance:] + above))
                joined.append(word)
            planes = joined
            distance *= 2
        return planes[0]
