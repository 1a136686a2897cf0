"""Latencies of the engine's pipeline, in cycles.  The hardware asserts that it has these."""

from ..engine import GROUPS, Engine
from ..lanes import KINDS

MIN_INTERVAL = 4
"""Between the ends of two tiles, so that the drain's queues never overflow."""
THRESHOLD_STEP = 11
"""A step of the drain in threshold mode: four binary steps of two cycles, and the way in and out."""
OPERAND_LATENCY = 2
"""From a step's end in the reader to its operands at the lanes."""


def dot_latency(engine: Engine) -> int:
    """From operands to dot products: the way to the blocks of rows, and the slowest lane group; the others wait."""
    slowest = max(KINDS[group].latency(engine) for group in GROUPS if engine.rows_of(group))
    return engine.broadcast_latency + slowest


def tile_latency(engine: Engine) -> int:
    """From the end of a tile's last step to its totals: operands, dot product, accumulator."""
    return OPERAND_LATENCY + dot_latency(engine) + 2


def lane_latency(engine: Engine) -> int:
    """From an operand to its code in a requantizer lane."""
    return 8 + (8 if engine.rescale else 0) + (1 if engine.pool else 0) + (1 if engine.pool and engine.rescale else 0)
