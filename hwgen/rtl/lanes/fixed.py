"""Dot products of unsigned operands (offset-binary weights) and 4-bit activations."""

from amaranth.hdl import Cat, Module, Value

from ..bits import delay
from . import dsp48, mult18, planes, products, sbmac
from .adder_tree import ACT_MAX, check_ki, nibbles
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
