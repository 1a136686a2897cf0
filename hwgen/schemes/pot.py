"""Powers of two: 0, ±1, ±2, ±4, ..."""

from hwgen.schemes.base import Scheme


def pot(m: int) -> Scheme:
    """The power-of-two scheme of m bits, 3 or 4, named "pot<m>"; "pot4" (up to ±64) has hardware.

    Code: the highest bit the sign, the others 0 for zero and else 1 + the exponent.  Zero has sign 0 only.
    """
    if m not in (3, 4):
        raise ValueError(f"m must be 3 or 4, not {m!r}")
    sizes = [0] + [1 << e for e in range((1 << (m - 1)) - 1)]
    return Scheme(f"pot{m}", sizes, m, lambda w: (w < 0) << (m - 1) | abs(w).bit_length())
