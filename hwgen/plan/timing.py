"""Latencies of the engine's pipeline, in cycles.  The hardware asserts that it has these."""

from ..engine import GROUPS, Engine
from ..lanes import latency

PREFETCH = 64
"""Memory words of the program that may be on their way: hides 48 cycles of latency."""
AXI_LATENCY = 1
"""From a request of the engine to the address on an AXI port."""
AXI_CONFIRM = 2
"""Cycles that a written word and its response spend in an AXI port."""
AXI_REQUESTS = 4
"""Requests that an AXI port keeps for itself while the memory or other ports are slower."""
MIN_INTERVAL = 4
"""Between the ends of two tiles, so that the drain's queues never overflow."""
THRESHOLD_STEP = 11
"""A step of the drain in threshold mode: four binary steps of two cycles, and the way in and out."""
RASTER_LATENCY = 2
"""Of the unit with the row buffer, which every code passes."""
OPERAND_LATENCY = 2
"""From a step's end in the reader to its operands at the lanes."""


def dot_latency(engine: Engine) -> int:
    """From operands to dot products and their sum: the way to the blocks of rows and the slowest; the others wait."""
    slowest = max(latency(group, engine) for group in GROUPS if engine.rows_of(group))
    return max(engine.broadcast_latency + slowest, latency("sum", engine))


def tile_latency(engine: Engine) -> int:
    """From the end of a tile's last step to its totals: operands, dot product, accumulator."""
    return OPERAND_LATENCY + dot_latency(engine) + 1


def lane_latency(engine: Engine) -> int:
    """From an operand to its code: a requantizer lane, and the row buffer where there is one."""
    return (8 + (8 if engine.rescale else 0) + (1 if engine.pool else 0)
            + (1 if engine.pool and engine.rescale else 0) + (RASTER_LATENCY if engine.pool_columns else 0))


def fetch_ahead(engine: Engine) -> int:
    """Memory words of a map that may be on their way; they are unpacked one scratchpad word per cycle."""
    return PREFETCH if engine.scratch_words <= 2 else PREFETCH // 2
