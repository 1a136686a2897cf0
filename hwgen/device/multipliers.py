"""How many DSP blocks a product takes: Yosys cuts operands that are too wide into pieces.

The rule is that of Yosys' ``mul2dsp`` with the limits of each family; tests/test_device_memories.py
holds what Yosys made of several hundred widths.
"""

from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Limits:
    """One multiplier block: signed operand widths and the smallest product that goes to a block."""

    a: int
    b: int
    a_piece: int
    """Bits of a piece that is not the top one."""
    b_piece: int
    smallest: int
    """Product bits."""


LIMITS = {
    "ecp5": Limits(18, 18, 18, 18, 0),
    "xilinx7": Limits(25, 18, 17, 17, 9),
    "ice40": Limits(16, 16, 16, 16, 11),
}


@cache
def blocks(a: int, b: int, family: str) -> int:
    """DSP blocks of a product of two signed operands of ``a`` and ``b`` bits."""
    limits = LIMITS[family]
    if a < b:
        a, b = b, a
    return sum(1 for wide in _pieces(a, limits.a, limits.a_piece) for narrow in _pieces(b, limits.b, limits.b_piece)
               if wide >= 2 and narrow >= 2 and wide + narrow >= limits.smallest)


def _pieces(bits: int, whole: int, piece: int) -> list[int]:
    if bits <= whole:
        return [bits]
    lower = -(-(bits - whole) // piece)
    return [piece] * lower + [bits - lower * piece]
