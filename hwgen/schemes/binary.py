"""Binary weights: ±1."""

from hwgen.schemes.base import Scheme

BINARY = Scheme("binary", (1,), 1, lambda w: int(w < 0))
"""Code: the sign, 1 for -1."""
