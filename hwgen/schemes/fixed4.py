"""Plain 4-bit integers."""

from hwgen.schemes.base import Scheme

FIXED4 = Scheme("fixed4", range(8), 4, lambda w: w + 8, imported=(-8,))
"""Code: offset binary, w + 8, as the multiplier lanes take it.  -8 comes from imported files only."""
