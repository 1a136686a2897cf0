"""How a requantizer lane cuts ``acc * M`` for the multiplier blocks of a family: for hardware and cost model."""

from typing import NamedTuple

NARROW_BITS = {25: 18}
"""The other operand where it is narrower (DSP48E1: 25 x 18)."""
SOFT_BITS = 8
"""The upper part of an accumulator that is multiplied in LUTs at most, where that saves a block."""


class Cut(NamedTuple):
    """``acc = upper * 2**lower_bits + lower`` with a product of each; ``lower_bits`` 0: one product of the whole."""

    lower_bits: int
    soft: bool
    """The upper product is made of adders."""


def dsp_bits(family: str) -> int:
    """The wider signed operand of a family's multiplier blocks as the lanes use them."""
    return 25 if family == "xilinx7" else 18


def narrow_bits(dsp_bits: int) -> int:
    """The narrower signed operand of a multiplier block."""
    return NARROW_BITS.get(dsp_bits, dsp_bits)


def cut(acc_bits: int, m_bits: int, dsp_bits: int, swap: bool = False, upper_blocks: bool = False) -> Cut:
    """Of a signed accumulator of ``acc_bits + 1`` bits times a signed M of ``m_bits``.

    With ``swap`` one of the two fits the narrow operand in every layer.  Else a wide M takes the wide operand of the
    block and leaves the accumulator the narrow one; what is then left of the accumulator is a few bits, cheaper in
    LUTs than in another block, or with ``upper_blocks`` in a block of those that the part has left.
    """
    narrow = narrow_bits(dsp_bits)
    whole = narrow if m_bits > narrow and not swap else dsp_bits
    if acc_bits + 1 <= whole:
        return Cut(0, False)
    soft = not upper_blocks and narrow < m_bits <= dsp_bits and acc_bits + 2 - whole <= SOFT_BITS
    return Cut(whole - 1, soft)
