"""Every memory of an engine: widths, depths and which of their bits are read.

The list mirrors hwgen/rtl (loader, walker, engine, drain, scratchpad, pooling); a test compares
the block RAM that follows from it with synthesized engines.
"""

from dataclasses import dataclass

from hwgen.engine import (
    COMMAND_WORDS, DESCRIPTORS, GROUPS, PREFETCH, STORE_WORDS, TILES_IN_FLIGHT, WORDS_IN_FLIGHT, Engine,
)
from hwgen.isa import OPCODES


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
        MemorySpec("loader", e.port_bits, PREFETCH - 1, e.ports),
        *([] if e.small else [MemorySpec("loader", e.port_bits, e.fetch_ahead - 1, e.ports),
                              MemorySpec("loader", 68, DESCRIPTORS - 1)]),
        MemorySpec("loader", 64 if e.small else 64 + len(OPCODES), COMMAND_WORDS - 1),
        *_walker(e),
        MemorySpec("store", e.word_bits + e.place_bits + (not e.small), STORE_WORDS - 1),
        MemorySpec("scratchpad", e.word_bits, e.scratch_depth, e.banks),
        *_ring(e),
        *_queues(e),
        *([] if e.small else [MemorySpec("reader", _step_bits(e), WORDS_IN_FLIGHT, clocked=False)]),
        *_parameters(e),
    ]
    if e.residual:
        result.append(MemorySpec("residual", e.px * e.word_bits, e.residual_depth, 1 + e.wide_residual))
    if e.thresholds:
        result.append(MemorySpec("thresholds", 2 * (e.acc_bits + 1), 16 << e.chunk_bits, e.drain_lanes))
    if e.pool:
        result.append(MemorySpec("pooling", 8, max(2, e.tile_chunks), e.drain_lanes, clocked=False))
        if e.rescale:
            result.append(MemorySpec("pooling", 16, max(2, e.tile_chunks), e.drain_lanes, clocked=False))
    if e.pool_columns:
        result += [MemorySpec("row buffer", 16 * e.drain_lanes, 1 << e.chunk_bits, clocked=False),
                   MemorySpec("row buffer", 16 * e.drain_lanes, e.pool_columns << e.chunk_bits)]
    return result


def _walker(e: Engine) -> list[MemorySpec]:
    # Three points, each the address bits of a bank and a remainder; four places and a sign.
    bank = (e.banks - 1).bit_length()
    return [MemorySpec("walker", 3 * (e.point_bits + bank), 8), MemorySpec("walker", 4 * (e.size_bits + 1), 8)]


def _ring(e: Engine) -> list[MemorySpec]:
    result = []
    for group in GROUPS:
        rows, kinds = e.rows_of(group), 2 if group == "dsp" and e.wide else 1
        full, rest = divmod(rows * e.word_bits, e.mem_bits)
        if full:
            result.append(MemorySpec("ring", e.mem_bits, e.ring_depth, full * kinds))
        if rest:
            result.append(MemorySpec("ring", e.mem_bits, e.ring_depth, kinds, used=((0, rest),)))
    return result


def _queues(e: Engine) -> list[MemorySpec]:
    chunks, bank = e.register_bits["chunks"], (e.banks - 1).bit_length()
    front = e.px * 3 + chunks + 1
    post = e.px * (e.point_bits + bank + 2 + (7 if e.pool_columns else 0)) + chunks
    return [MemorySpec("queues", front + 2, TILES_IN_FLIGHT - 1),
            MemorySpec("queues", post + e.out_bits + 2, TILES_IN_FLIGHT - 1, used=((0, post + e.out_bits),))]


def _parameters(e: Engine) -> list[MemorySpec]:
    # Selects among the chunks of a tile, no more; the direction only where thresholds are.
    read = e.record_fields | {"slot": (e.chunks - 1).bit_length(), "negate": int(e.thresholds)}
    size, position, used = sum(e.record_fields.values()), 0, []
    for name, bits in e.record_fields.items():
        used.append((position, position + read[name]))
        position += bits
    result = []
    for begin in range(0, size, e.mem_bits):
        end = min(begin + e.mem_bits, size)
        here = [(max(first, begin) - begin, min(last, end) - begin) for first, last in used]
        result.append(MemorySpec("parameters", end - begin, 2 << e.chunk_bits, e.drain_lanes,
                                 used=tuple(part for part in here if part[0] < part[1])))
    return result


def _step_bits(e: Engine) -> int:
    """A step that waits in the reader's queue: its word's flags and numbers, and the place of every slot."""
    turn, bank = max(1, (e.px - 1).bit_length()), max(1, (e.banks - 1).bit_length())
    of_tile = sum(e.register_bits[name] for name in ("interval", "words", "store_words"))
    return 5 + (e.ring_depth - 1).bit_length() + of_tile + turn + e.px * (bank + e.point_bits + 1 + turn)
