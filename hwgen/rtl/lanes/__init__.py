# amaranth: UnusedElaboratable=no
"""Lanes: groups of rows whose dot products are made alike, and the accumulators behind them."""

from hwgen.engine import Engine
from hwgen.rtl.lanes.accumulator import Accumulator
from hwgen.rtl.lanes.families import CELLS
from hwgen.rtl.lanes.fixed import FixedGroup
from hwgen.rtl.lanes.int4 import Int4Group
from hwgen.rtl.lanes.operand_sum import OperandSum
from hwgen.rtl.lanes.pot import PotGroup
from hwgen.rtl.lanes.single import SingleGroup
from hwgen.rtl.lanes.sp2 import Sp2Group

__all__ = ["Accumulator", "OperandSum", "logic_family", "make_group"]

LOGIC = {"sp2": Sp2Group, "pot": PotGroup, "int4": Int4Group}


def logic_family(engine: Engine, simulation: bool) -> str:
    """Whose cells lanes of logic are made of: the engine's family where it has any, else portable ones."""
    return engine.family if engine.family in CELLS and not simulation else ""


def make_group(name: str, block: int, engine: Engine, simulation: bool):
    """A block of rows of a lane group, made of the engine's family's primitives or, for ``simulation``, of twins.

    A group has attributes ``latency`` (cycles from operands and codes to dots) and ``dot_bits``, and ports
    ``operands`` (px words), ``codes`` (rows words), ``high`` (rows words, if it is the dsp group of a
    ``wide`` engine) and ``dots`` (rows * px, pixel first); everything may change every cycle.
    """
    shape = {"ki": engine.ki, "px": engine.px, "rows": engine.blocks(name)[block]}
    if name == "dsp" and engine.dsp_weights == "single":
        return SingleGroup(**shape, wide=engine.wide, products=engine.single_products(block), family=engine.family,
                           twin=simulation)
    if name == "dsp":
        return FixedGroup(**shape, wide=engine.wide, family=engine.family, multiplier=engine.dsp_weights,
                          twin=simulation)
    return LOGIC[name](**shape, family=logic_family(engine, simulation))
