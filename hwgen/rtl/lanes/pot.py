"""Lanes for weights that are powers of two, described portably."""

from amaranth.hdl import Module, Mux, Signal

from ...lanes import POT, dot_bits
from .adder_tree import add_tree, nibbles, tree_levels
from .group import Group


class PotGroup(Group):
    """``dots = sum over k of w_k * a_k + 1023 * (negative weights)``: a shift, complemented where w_k is negative.

    Codes are those of the scheme pot4: the sign above 1 + exponent, 0 for zero.
    """

    def __init__(self, *, ki: int, px: int, rows: int, family: str = ""):
        super().__init__(ki=ki, px=px, rows=rows, dot_bits=dot_bits(POT, ki), latency=tree_levels(ki) + 1)

    def elaborate(self, platform):
        m = Module()
        for row in range(self.rows):
            for p in range(self.px):
                terms = []
                for k, (act, code) in enumerate(zip(nibbles(self.operands[p], self.ki),
                                                    nibbles(self.codes[row], self.ki), strict=True)):
                    term = Signal(10, reset_less=True, name=f"term_{row}_{p}_{k}")
                    shifted = Mux(code[:3] == 0, 0, (act << code[:3])[1:])
                    m.d.sync += term.eq(shifted ^ code[3].replicate(10))
                    terms.append(term)
                total, _ = add_tree(m, terms, 1023, f"sum_{row}_{p}")
                m.d.comb += self.dots[row * self.px + p].eq(total)
        return m
