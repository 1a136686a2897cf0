"""Lanes for any 4-bit two's complement weights, without a multiplier."""

from ...lanes import INT4
from .shift_add import ShiftAddGroup


class Int4Group(ShiftAddGroup):
    """``dots = sum over k of w_k * a_k + 31 * (weights with bit 1) + 124 * (weights with bit 3)``, w_k in -8..7.

    A weight is two of Booth's digits, -2..1 and -2..2, which its own bits select without recoding: digit 0 by
    bits 1..0, digit 1 by bits 3..1.
    """

    kind = INT4
