"""The bit-exact reference: numpy only, no knowledge of tiles, lanes or cycles."""

from hwgen.golden.execute import accumulators, apply, check_codes, run
from hwgen.golden.operations import conv_accumulators, pool_sums
from hwgen.golden.rounding import requantize, rescale, shift_round

__all__ = ["accumulators", "apply", "check_codes", "conv_accumulators", "pool_sums", "requantize", "rescale", "run",
           "shift_round"]
