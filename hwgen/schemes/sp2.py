"""Sums of two powers of two: ``±(q1 + q2)`` (MSQ, HPCA 2021, eq. 8)."""

from hwgen.schemes.base import Scheme

HARDWARE_MAGNITUDES = (0, 1, 2, 8, 4, 5, 6)
"""|w| by bits 2..0 of the hardware's code for m = 4; bit 3 is the sign, 0b111 is unused.

Bit 2 says that 4 is added to the part in bits 1..0, which is 0, 1, 2 or (only without bit 2) 8: each
lane's select bits are one gate away from the code.
"""


def parts(m: int) -> tuple[list[int], list[int]]:
    """Integers of q1 and of q2, each sorted with 0 first, in units of the smallest non-zero q1.

    With m1 + m2 + 1 = m and m1 >= m2, q_i is 0 or 2**-k for k = 2**m_i - 1 .. 1; the common unit is
    2**-(2**m1 - 1).
    """
    m2 = (m - 1) // 2
    m1 = m - 1 - m2
    top = 2 ** m1 - 1
    first, second = ([0] + [1 << (top - k) for k in range(2 ** width - 1, 0, -1)] for width in (m1, m2))
    return first, second


def sp2(m: int) -> Scheme:
    """The SP2 scheme of m bits, 3 <= m <= 8; named "sp2" for m = 4 (the one with hardware), else "sp2m<m>".

    Zero is stored with sign 0 only: a lane corrects for every set sign bit.
    """
    if m not in range(3, 9):
        raise ValueError(f"m must be in 3..8, not {m!r}")
    first, second = parts(m)
    index: dict[int, int] = {}
    if m == 4:
        index = {size: code for code, size in enumerate(HARDWARE_MAGNITUDES)}
    else:
        # q2's index above q1's; of several ways to write a magnitude, the smallest code
        for high, q2 in enumerate(second):
            for low, q1 in enumerate(first):
                index.setdefault(q1 + q2, high * len(first) + low)
    sizes = {q1 + q2 for q1 in first for q2 in second}
    return Scheme("sp2" if m == 4 else f"sp2m{m}", sizes, m, lambda w: (w < 0) << (m - 1) | index[abs(w)])
