"""Plain 8-bit integers."""

from hwgen.schemes.base import Scheme

FIXED8 = Scheme("fixed8", range(128), 8, lambda w: w + 128, imported=(-128,))
"""Code: offset binary, w + 128, as the multiplier lanes take it.  -128 comes from imported files only."""
