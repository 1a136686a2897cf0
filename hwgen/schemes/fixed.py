"""Plain integers of m bits."""

from hwgen.schemes.base import Scheme


def fixed(m: int) -> Scheme:
    """The fixed-point scheme of m bits, 2 <= m <= 8, named "fixed<m>"; "fixed4" and "fixed8" have hardware.

    Code: offset binary, w + 2^(m-1), as the multiplier lanes take it.  -2^(m-1) comes from imported files only.
    """
    if m not in range(2, 9):
        raise ValueError(f"m must be in 2..8, not {m!r}")
    half = 1 << (m - 1)
    return Scheme(f"fixed{m}", range(half), m, lambda w: w + half, imported=(-half,))
