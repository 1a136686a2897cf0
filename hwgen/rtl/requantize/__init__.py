"""The drain's arithmetic: requantizer lane, rounding, pooling, threshold search."""

from hwgen.rtl.requantize.lane import RequantLane, make_lane
from hwgen.rtl.requantize.raster import RasterPool
from hwgen.rtl.requantize.rounding import RoundClamp
from hwgen.rtl.requantize.threshold import ThresholdSearch

__all__ = ["RasterPool", "RequantLane", "RoundClamp", "ThresholdSearch", "make_lane"]
