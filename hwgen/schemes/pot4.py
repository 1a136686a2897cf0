"""Powers of two in 4 bits: 0, ±1, ±2, ... ±64."""

from hwgen.schemes.base import Scheme

POT4 = Scheme("pot4", [0] + [1 << e for e in range(7)], 4, lambda w: (w < 0) << 3 | abs(w).bit_length())
"""Code: bit 3 the sign, bits 2..0 are 0 for zero and else 1 + the exponent.  Zero has sign 0 only."""
