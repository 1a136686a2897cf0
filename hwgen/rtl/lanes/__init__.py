"""Lanes: dot products of one row and one pixel, and the accumulator behind them."""

from hwgen.rtl.lanes.accumulator import Accumulator
from hwgen.rtl.lanes.fixed import FixedDot, FixedGroup
from hwgen.rtl.lanes.operand_sum import OperandSum
from hwgen.rtl.lanes.sp2 import Sp2Dot

__all__ = ["Accumulator", "FixedDot", "FixedGroup", "OperandSum", "Sp2Dot"]
