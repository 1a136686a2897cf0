"""Every memory of an engine: widths, depths and which of their bits are read.

The list mirrors hwgen/rtl (loader, walker, engine, drain, scratchpad, pooling); a test compares
the block RAM that follows from it with synthesized engines.
"""

from dataclasses import dataclass

from hwgen import isa
from hwgen.engine import COMMAND_WORDS, PREFETCH, STORE_WORDS, TILES_IN_FLIGHT, Engine

WORDS = {word.name: sum(field.bits for field in word.fields) for word in isa.LAYER_WORDS}


@dataclass(frozen=True)
class MemorySpec:
    """``count`` equal memories with one write and one read port."""

    block: str
    width: int
    depth: int
    count: int = 1
    clocked: bool = True
    """Answers one cycle after the address."""
    used: tuple[tuple[int, int], ...] = ()
    """Bits that are read, as (first, end); empty: all."""


def memories(engine: Engine) -> list[MemorySpec]:
    """All memories of ``engine``."""
    e = engine
    result = [
        # A FIFO with an output register keeps one word there.
        MemorySpec("loader", e.mem_bits, PREFETCH - 1),
        MemorySpec("loader", 64, COMMAND_WORDS - 1),
        *_walker(e),
        MemorySpec("store", e.word_bits + 20, STORE_WORDS - 1, used=((0, 4 + e.point_bits), (20, 20 + e.word_bits))),
        MemorySpec("scratchpad", e.word_bits, e.scratch_depth, e.banks),
        *_ring(e),
        *_queues(e),
        *_parameters(e),
    ]
    if e.residual:
        result.append(MemorySpec("residual", e.px * e.word_bits, e.residual_depth, 2))
    if e.thresholds:
        result.append(MemorySpec("thresholds", 2 * (e.acc_bits + 1), 16 << e.chunk_bits, e.drain_lanes))
    if e.pool:
        result.append(MemorySpec("pooling", 8, max(2, e.tile_chunks), e.drain_lanes, clocked=False))
        if e.rescale:
            result.append(MemorySpec("pooling", 16, max(2, e.tile_chunks), e.drain_lanes, clocked=False))
    return result


def _walker(e: Engine) -> list[MemorySpec]:
    # Three points, each a quotient, of which a bank's address bits are used, and a remainder.
    used = tuple(part for first in (0, 20, 40) for part in ((first, first + e.point_bits), (first + 16, first + 20)))
    return [MemorySpec("walker", WORDS["step"], 8, clocked=False, used=used),
            MemorySpec("walker", WORDS["move"], 8, clocked=False)]


def _ring(e: Engine) -> list[MemorySpec]:
    result = []
    for rows, kinds in ((e.sp2_rows, 1), (e.dsp_rows, 2 if e.wide else 1)):
        full, rest = divmod(rows * e.word_bits, e.mem_bits)
        if full:
            result.append(MemorySpec("ring", e.mem_bits, e.ring_depth, full * kinds))
        if rest:
            result.append(MemorySpec("ring", e.mem_bits, e.ring_depth, kinds, used=((0, rest),)))
    return result


def _queues(e: Engine) -> list[MemorySpec]:
    front = e.px * 3 + 8 + 1
    post = e.px * (e.point_bits + 6) + 8
    return [MemorySpec("queues", front + 2, TILES_IN_FLIGHT - 1),
            MemorySpec("queues", post + 16 + 2, TILES_IN_FLIGHT - 1, used=((0, post + e.point_bits),))]


def _parameters(e: Engine) -> list[MemorySpec]:
    depth, slot = 2 << e.chunk_bits, max(1, (e.chunks - 1).bit_length())
    used = ((0, e.m_bits), (32, 37), (40, 40 + (slot if e.chunks > 1 else 0))) + (((48, 49),) if e.thresholds else ())
    result = [MemorySpec("parameters", 49, depth, e.drain_lanes, used=used),
              MemorySpec("parameters", e.c_bits, depth, e.drain_lanes)]
    if e.residual:
        result.append(MemorySpec("parameters", e.m_bits, depth, e.drain_lanes))
    return result
