"""Dot products of unsigned operands (offset-binary weights) and 4-bit activations."""

from amaranth.hdl import Cat, Const, Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..bits import delay
from . import dsp48, mult18, planes, products, sbmac
from .adder_tree import ACT_MAX, add_tree, check_ki, nibbles, tree_levels
from .group import Group

MULTIPLIERS = ("dsp", "lut")

FAMILIES = {"": products, "xilinx7": dsp48, "ecp5": mult18, "ice40": sbmac}
"""How a family multiplies.  Each module has ``blocks``, ``latency`` and ``dots``, all with the same contract."""


class FixedGroup(Group):
    """Dots of ``rows`` unsigned weight rows and ``px`` pixels: every product of a fixed-point lane group.

    ``dots[row*px + p] = sum over k of operands[p][k] * weight[row][k]``, unsigned, with 4-bit elements,
    element 0 lowest, and ``weight = codes``, or ``codes + 16*high`` when ``wide``.  Weights come in offset
    binary, w + 8 or w + 128; the offset is subtracted later, as 8 or 128 times the sum of the operands.

    Operands and weights may change every cycle; ``latency`` cycles from both to ``dots``.  Nothing is reset.
    Overflow cannot happen: ``dot_bits`` holds 225 * ki or 3825 * ki.

    ``family``: "xilinx7", "ecp5", "ice40", whose ``blocks`` DSP blocks it takes, or "": no vendor cell.
    ``multiplier="lut"``: no DSP blocks, for parts that have few or none.
    ``twin``: the family's integers and latency without its cells, for simulation.
    """

    def __init__(self, *, ki: int, px: int, rows: int, wide: bool, family: str = "", multiplier: str = "dsp",
                 twin: bool = False):
        check_ki(ki)
        if not isinstance(wide, bool):
            raise ValueError(f"wide must be True or False, not {wide!r}")
        if family not in FAMILIES:
            raise ValueError(f"family must be one of {tuple(FAMILIES)}, not {family!r}")
        if multiplier not in MULTIPLIERS:
            raise ValueError(f"multiplier must be one of {MULTIPLIERS}, not {multiplier!r}")
        self.wide, self.family, self.multiplier, self.twin = wide, family, multiplier, twin
        variant = planes if multiplier == "lut" else FAMILIES[family]
        super().__init__(ki=ki, px=px, rows=rows, dot_bits=((255 if wide else 15) * ACT_MAX * ki).bit_length(),
                         latency=variant.latency(ki=ki, wide=wide), wide=wide)
        self.blocks = variant.blocks(ki=ki, px=px, rows=rows, wide=wide)
        self._variant = products if twin else variant

    def elaborate(self, platform):
        m = Module()
        # A twin waits in front: there are fewer bits than behind, and whole words are fast to simulate.
        early = self.latency - self._variant.latency(ki=self.ki, wide=self.wide)

        def elements(name: str, n: int) -> list[list[Value]]:
            word = delay(m, Value.cast(getattr(self, name)), early, name)
            return [nibbles(word[4 * self.ki * i:4 * self.ki * (i + 1)], self.ki) for i in range(n)]

        weights = elements("codes", self.rows)
        if self.wide:
            weights = [[Cat(low, high) for low, high in zip(*halves, strict=True)]
                       for halves in zip(weights, elements("high", self.rows), strict=True)]
        for index, dot in enumerate(self._variant.dots(m, elements("operands", self.px), weights)):
            m.d.comb += self.dots[index].eq(dot)
        return m


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
