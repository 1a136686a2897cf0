"""What all engines have in common: names, depths of queues, limits."""

ENGINE_VERSION = 3
"""Rises whenever a program for one engine would not run on the other."""

TOP = "hwgen_engine"
"""Top module of an engine with its own memory port."""
AXI_TOP = "hwgen_axi_engine"
"""Top module of an engine with AXI ports, which holds an engine and a master per port."""
GROUPS = ("sp2", "pot", "int4", "dsp")
"""Lane groups in the order of their row slots (hwgen.lanes)."""
KINDS = (*GROUPS, "high")
"""What a ring word holds, in this order: codes of each group, and the high nibbles of 8-bit weights on dsp lanes."""
FAMILIES = ("", "xilinx7", "ecp5", "ice40")
PREFETCH = 64
"""Memory words of the program that may be on their way: hides a latency of 44 cycles."""
DESCRIPTORS = PREFETCH // 2 + 1
"""FETCH packets between arrival and the load unit: they are two words long, so no more can be."""
COMMAND_WORDS = 64
"""Depth of the queue of commands."""
TILES_IN_FLIGHT = 32
"""Never more tiles are in the pipeline, because ``plan.timing.MIN_INTERVAL`` keeps their ends apart and the reader
takes few words ahead."""
RESIDUAL_CYCLES = 64
"""From the end of a tile's steps to the beginning of its drain at most."""
STORE_WORDS = 256
"""Words of the store queue; a tile of a stored layer must fit."""
UNCHECKED = 48
"""Words from which a memory's reads are not checked for a write to the same word at the same time, which never
matters: such memories belong into block RAM.  Smaller ones are better made of LUTs, where the check costs nothing."""


def unchecked_words(family: str) -> int:
    """The same for a family: where LUTs hold no memory, smaller ones go into block RAM too."""
    return 2 if family == "ice40" else UNCHECKED


def block_rows(family: str) -> int:
    """Rows that share one copy of the operands, so that no operand bit drives more.

    Where routing takes most of a cycle (ECP5), a block of fewer rows lies closer together.
    """
    return 4 if family == "ecp5" else 16


WORDS_IN_FLIGHT = 8
"""Words between the sequencer and the ends of their steps: more than ``plan.timing``'s ISSUE_LATENCY and
CREDIT_LATENCY together, so that they never wait for each other; a power of two."""
MAX_COLUMNS = 1024
"""Of the row buffer."""
SHIFT_BITS = 5
"""Of a row's stored shift."""
MAX_SHIFT_BASE = 16
"""Of what an engine adds to it."""
