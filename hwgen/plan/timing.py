"""Latencies of the engine's pipeline, in cycles.  The hardware asserts that it has these."""

from ..engine import GROUPS, Engine
from ..lanes import latency

AXI_LATENCY = 1
"""From a request of the engine to the address on an AXI port."""
AXI_CONFIRM = 2
"""Cycles that a written word and its response spend in an AXI port."""
AXI_REQUESTS = 4
"""Requests that an AXI port keeps for itself while the memory or other ports are slower."""
MIN_INTERVAL = 4
"""Between the ends of two tiles, so that the drain's queues never overflow."""
THRESHOLD_STEP = 15
"""A step of the drain in threshold mode: four binary steps of three cycles, and the way in and out."""
RASTER_LATENCY = 2
"""Of the unit with the row buffer, which every code passes."""
WALKER_LATENCY = 4
"""From the beginning of a walk to the first slot of its first group, which takes px cycles."""
ISSUE_LATENCY = 5
"""From a word in the sequencer to the first cycle of its step in the reader."""
CREDIT_LATENCY = 2
"""From the end of a step to the word that takes its place."""
SMALL_ISSUE, SMALL_CREDIT, SMALL_IN_FLIGHT = 4, 0, 4
"""The same for the reader of a small engine, and the words between sequencer and the ends of their steps."""
READER_IDLE = 1
"""From the end of a tile's last step to the reader's word that it is idle, for which small engines wait."""
OPERAND_LATENCY = 4
"""From a step's end in the reader to its operands at the lanes."""
IDLE_LATENCY = 1
"""From an empty pipeline to the sequencer's knowledge of it."""
SELECT_LATENCY = 3
"""From a step of the drain to the operands of its lanes."""
WRITE_LATENCY = 1
"""From a code to the drain's word."""


def dot_latency(engine: Engine) -> int:
    """From operands to dot products and their sum: the way to the blocks of rows and the slowest; the others wait."""
    slowest = max(latency(group, engine) for group in GROUPS if engine.rows_of(group))
    return max(engine.broadcast_latency + slowest, latency("sum", engine))


def tile_latency(engine: Engine) -> int:
    """From the end of a tile's last step to its totals: operands, dot product, accumulator."""
    return OPERAND_LATENCY + dot_latency(engine) + 1


def lane_latency(engine: Engine) -> int:
    """From an operand to its code: a requantizer lane, and the row buffer where there is one."""
    return (9 + (9 if engine.rescale else 0) + (1 if engine.pool else 0)
            + (1 if engine.pool and engine.rescale else 0) + (RASTER_LATENCY if engine.pool_columns else 0))


def search_latency() -> int:
    """What threshold mode adds between the drain's operands and their codes."""
    return THRESHOLD_STEP - 2
