"""Latencies of the engine's pipeline, in cycles.  The hardware asserts that it has these."""

from ..engine import Engine

MIN_INTERVAL = 4
"""Between the ends of two tiles, so that the drain's queues never overflow."""
THRESHOLD_STEP = 11
"""A step of the drain in threshold mode: four binary steps of two cycles, and the way in and out."""
OPERAND_LATENCY = 2
"""From a step's end in the reader to its operands at the lanes."""


def dot_latency(engine: Engine) -> int:
    """The slowest lane group; the others wait for it."""
    levels = engine.ki.bit_length() - 1
    extra = [0]
    if engine.sp2_rows:
        extra.append(1)
    if engine.dsp_rows:
        extra.append((2 if engine.dsp_weights == "lut" else 0) + (1 if engine.wide else 0))
    return levels + max(extra)


def tile_latency(engine: Engine) -> int:
    """From the end of a tile's last step to its totals: operands, dot product, accumulator."""
    return OPERAND_LATENCY + dot_latency(engine) + 1


def lane_latency(engine: Engine) -> int:
    """From an operand to its code in a requantizer lane."""
    return 8 + (8 if engine.rescale else 0) + (1 if engine.pool else 0) + (1 if engine.pool and engine.rescale else 0)
