"""Sum of the activations of one word: the S_p that corrects offset-binary weights."""

from amaranth.hdl import Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.rtl.lanes.adder_tree import ACT_MAX, add_tree, check_ki, nibbles, tree_levels


class OperandSum(wiring.Component):
    """``dot = sum over k of a_k``: a lane whose every weight is one.

    Latency: log2(ki) cycles.  ``dot_bits`` holds 15 * ki.
    """

    def __init__(self, *, ki: int):
        check_ki(ki)
        self.ki = ki
        self.dot_bits = (ACT_MAX * ki).bit_length()
        self.latency = tree_levels(ki)
        super().__init__({"acts": In(unsigned(4 * ki)), "dot": Out(unsigned(self.dot_bits))})

    def elaborate(self, platform):
        m = Module()
        total, _ = add_tree(m, nibbles(self.acts, self.ki), ACT_MAX, "sum")
        m.d.comb += self.dot.eq(total)
        return m
