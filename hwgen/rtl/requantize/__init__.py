"""The drain's arithmetic: requantizer lane, rounding, pooling, threshold search."""

from hwgen.rtl.requantize.lane import DSP_BITS, RequantLane
from hwgen.rtl.requantize.raster import RasterPool
from hwgen.rtl.requantize.rounding import RoundClamp
from hwgen.rtl.requantize.threshold import ThresholdSearch

__all__ = ["DSP_BITS", "RasterPool", "RequantLane", "RoundClamp", "ThresholdSearch"]
