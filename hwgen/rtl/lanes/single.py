"""Multiplier lanes with one product per DSP block and, where blocks run out, multipliers of logic."""

from amaranth.hdl import Cat, Module, Value

from ..bits import delay
from .adder_tree import ACT_MAX, add_tree, nibbles, tree_levels
from .dsp48 import Cascade
from .group import Group

PRODUCT_LATENCY = 4
"""Input, product and output registers of a block, and one behind it.

Without that one Yosys packs the adder behind a product into the block, whose own registers it overlooks.
"""


class SingleGroup(Group):
    """``dots = sum over k of operand_k * weight_k`` as published designs do it: nothing packed, nothing shared.

    Weights in offset binary, 4 bits or (``wide``) 8, high nibbles on ``high``.  The first ``products`` of the
    ``rows * px * ki`` products, inputs inside, take a block of the family each ("xilinx7": DSP48E1; "" has none),
    the others are ``*`` on 4 bits, which synthesis makes of LUTs.  Latency log2(ki) + 4.
    """

    def __init__(self, *, ki: int, px: int, rows: int, wide: bool, products: int, family: str = "",
                 twin: bool = False):
        if family not in ("", "xilinx7"):
            raise ValueError(f"family must be '' or 'xilinx7', not {family!r}")
        largest = (255 if wide else 15) * ACT_MAX
        super().__init__(ki=ki, px=px, rows=rows, wide=wide, dot_bits=(largest * ki).bit_length(),
                         latency=tree_levels(ki) + PRODUCT_LATENCY)
        self.wide, self.largest = wide, largest
        self.blocks = min(products, rows * px * ki) if family else 0
        self._used = 0 if twin else self.blocks

    def elaborate(self, platform):
        m = Module()
        for row in range(self.rows):
            weights: list[Value] = nibbles(self.codes[row], self.ki)
            if self.wide:
                weights = [Cat(*halves) for halves in zip(weights, nibbles(self.high[row], self.ki), strict=True)]
            for p in range(self.px):
                index = row * self.px + p
                products = [self._product(m, a, w, index * self.ki + k)
                            for k, (a, w) in enumerate(zip(nibbles(self.operands[p], self.ki), weights, strict=True))]
                m.d.comb += self.dots[index].eq(add_tree(m, products, self.largest, f"sum_{index}")[0])
        return m

    def _product(self, m: Module, a: Value, w: Value, number: int) -> Value:
        bits = self.largest.bit_length()
        if number < self._used:
            m.submodules[f"dsp_{number}"] = block = Cascade(n=1)
            m.d.comb += [block.a[0].eq(a), block.b[0].eq(w)]
            return delay(m, block.p[:bits], 1, f"product_{number}")
        first, second = delay(m, a, 1, f"a_{number}"), delay(m, w, 1, f"w_{number}")
        # Nibble by nibble: synthesis gives wider products a block of its own accord.
        product = first * second[:4] + ((first * second[4:]) << 4 if self.wide else 0)
        return delay(m, product[:bits], PRODUCT_LATENCY - 1, f"product_{number}")
