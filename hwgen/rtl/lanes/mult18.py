"""Dots on the MULT18X18D of ECP5 parts: two products per block and cycle, all registers inside the block."""

from amaranth.hdl import ClockSignal, Const, Instance, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import pairs
from .pairs import blocks

__all__ = ["Multiplier", "blocks", "dots", "latency"]


class Multiplier(wiring.Component):
    """``p = a * b``, unsigned, three cycles later: input, pipeline and output registers of a MULT18X18D.

    An inferred product gets none of them: Yosys leaves flip-flops where they are.
    Source of ports and parameters: Lattice FPGA-TN-02205 (ECP5 sysDSP).
    """

    latency = 3

    def __init__(self):
        super().__init__({"a": In(18), "b": In(18), "p": Out(36)})

    def elaborate(self, platform):
        m = Module()
        registers = {f"p_REG_{name}_{what}": pin for name in ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT")
                     for what, pin in (("CLK", "CLK0"), ("CE", "CE0"), ("RST", "RST0"))}
        m.submodules.mult = Instance(
            "MULT18X18D", **registers, p_REG_INPUTC_CLK="NONE", p_GSR="DISABLED",
            i_CLK0=ClockSignal(), i_CE0=Const(1, 1), i_RST0=Const(0, 1),
            i_SIGNEDA=Const(0, 1), i_SIGNEDB=Const(0, 1), i_SOURCEA=Const(0, 1), i_SOURCEB=Const(0, 1),
            **{f"i_A{j}": self.a[j] for j in range(18)}, **{f"i_B{j}": self.b[j] for j in range(18)},
            **{f"o_P{j}": self.p[j] for j in range(36)},
        )
        return m


def latency(*, ki: int, wide: bool) -> int:
    """Cycles from operands to dots: the block's registers and the tree."""
    return Multiplier.latency + pairs.levels(ki=ki, wide=wide)


def dots(m: Module, operands: list[list[Value]], weights: list[list[Value]]) -> list[Value]:
    """Dots of all rows and pixels as ``pairs.dots`` packs them, ``latency`` cycles after the operands."""
    return pairs.dots(m, operands, weights, _multiply)


def _multiply(m: Module, name: str, a: Value, b: Value) -> Value:
    m.submodules[f"mult_{name}"] = mult = Multiplier()
    m.d.comb += [mult.a.eq(a), mult.b.eq(b)]
    return mult.p
