"""Lanes: groups of rows whose dot products are made alike, and the accumulators behind them."""

from hwgen.engine import Engine
from hwgen.rtl.lanes.accumulator import Accumulator
from hwgen.rtl.lanes.dots import fixed_group, int4_group, pot_group, sp2_group
from hwgen.rtl.lanes.operand_sum import OperandSum

__all__ = ["Accumulator", "OperandSum", "make_group"]


def make_group(name: str, rows: int, engine: Engine, family: str):
    """``rows`` rows of an engine's lane group, made of the primitives of ``family`` ("": portable).

    A group has attributes ``latency`` (cycles from operands and codes to dots) and ``dot_bits``, and ports
    ``operands`` (px words), ``codes`` (rows words), ``high`` (rows words, if it is the dsp group of a
    ``wide`` engine) and ``dots`` (rows * px, pixel first); everything may change every cycle.
    """
    shape = {"ki": engine.ki, "px": engine.px, "rows": rows}
    if name == "dsp":
        return fixed_group(**shape, wide=engine.wide, multiplier=engine.dsp_weights)
    return {"sp2": sp2_group, "pot": pot_group, "int4": int4_group}[name](**shape)
