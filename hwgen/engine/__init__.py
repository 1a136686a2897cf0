"""What an engine is: the parameters of the generated hardware and every width derived from them."""

from .constants import (
    AXI_TOP, COMMAND_WORDS, DESCRIPTORS, ENGINE_VERSION, FAMILIES, GROUPS, KINDS, MAX_COLUMNS,
    MAX_SHIFT_BASE, PREFETCH, RESIDUAL_CYCLES, SHIFT_BITS, STORE_WORDS, TILES_IN_FLIGHT, TOP, UNCHECKED,
    WORDS_IN_FLIGHT, block_rows, unchecked_words,
)
from .derived import Engine
from .parameters import EngineError

__all__ = [
    "AXI_TOP", "COMMAND_WORDS", "DESCRIPTORS", "ENGINE_VERSION", "Engine", "EngineError", "FAMILIES",
    "GROUPS", "KINDS", "MAX_COLUMNS", "MAX_SHIFT_BASE", "PREFETCH", "RESIDUAL_CYCLES", "SHIFT_BITS", "STORE_WORDS",
    "TILES_IN_FLIGHT", "TOP", "UNCHECKED", "WORDS_IN_FLIGHT", "block_rows", "unchecked_words",
]
