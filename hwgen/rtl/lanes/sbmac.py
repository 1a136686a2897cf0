"""Dots on the SB_MAC16 of iCE40 UltraPlus parts: two products per block and cycle.

The blocks are inferred.  Yosys' ice40_dsp takes every SB_MAC16 for a bare 16x16 multiplier that it may
build on: of an instance it forgets registers, adders and the 8x8 mode, and the netlist computes something else.
"""

from amaranth.hdl import Module, Signal, Value

from . import pairs
from .pairs import blocks

__all__ = ["blocks", "dots", "latency"]


def latency(*, ki: int, wide: bool) -> int:
    """Cycles from operands to dots: the product's register and the tree."""
    return 1 + pairs.levels(ki=ki, wide=wide)


def dots(m: Module, operands: list[list[Value]], weights: list[list[Value]]) -> list[Value]:
    """Dots of all rows and pixels as ``pairs.dots`` packs them, ``latency`` cycles after the operands."""
    return pairs.dots(m, operands, weights, _multiply)


def _multiply(m: Module, name: str, a: Value, b: Value) -> Value:
    # At least 12 bits of product: enough for synth_ice40 to give each one a block.  Kept, so that no adder of
    # the tree is pulled into the block, at which Yosys 0.70 loses products.
    product = Signal(len(a) + len(b), name=f"product_{name}", attrs={"keep": 1})
    register = Signal(len(product), reset_less=True, name=f"register_{name}")
    m.d.comb += product.eq(a * b)
    m.d.sync += register.eq(product)
    return register
