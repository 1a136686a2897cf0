"""Lanes for SP2 weights, without a multiplier."""

from ...lanes import SP2
from .shift_add import ShiftAddGroup


class Sp2Group(ShiftAddGroup):
    """``dots = sum over k of w_k * a_k + correction`` for SP2 weights, codes and correction of hwgen.lanes.SP2."""

    kind = SP2
