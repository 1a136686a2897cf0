"""The instruction set: packets of the program stream and commands of the engine, field by field.

One table serves the assembler, the disassembler and the hardware decoder.  Every word is
64 bits: a packet's header is the low end of a memory word, commands lie side by side in
memory words.  See docs/instruction-set.md.
"""

from dataclasses import dataclass

import numpy as np

from .engine import KINDS

WORD_BITS = 64


@dataclass(frozen=True)
class Field:
    name: str
    bits: int
    signed: bool = False


@dataclass(frozen=True)
class Word:
    """One 64-bit word as consecutive fields, least significant first."""

    name: str
    fields: tuple[Field, ...]

    def __post_init__(self):
        assert sum(f.bits for f in self.fields) <= WORD_BITS, self.name

    def encode(self, **values: int) -> int:
        """Pack ``values``; a missing field is 0; raises ValueError when one does not fit."""
        unknown = set(values) - {f.name for f in self.fields}
        if unknown:
            raise ValueError(f"{self.name} has no field {', '.join(sorted(unknown))}")
        word = position = 0
        for field in self.fields:
            value = int(values.get(field.name, 0))
            low = -(1 << field.bits - 1) if field.signed else 0
            high = low + (1 << field.bits) - 1
            if not low <= value <= high:
                raise ValueError(f"{self.name}.{field.name} = {value} does not fit {field.bits} bits")
            word |= (value & (1 << field.bits) - 1) << position
            position += field.bits
        return word

    def decode(self, word: int) -> dict[str, int]:
        values, position = {}, 0
        for field in self.fields:
            value = word >> position & (1 << field.bits) - 1
            if field.signed and value >> field.bits - 1:
                value -= 1 << field.bits
            values[field.name] = value
            position += field.bits
        return values


def _word(name: str, *fields: tuple) -> Word:
    return Word(name, tuple(Field(*f) for f in fields))


# Packets of the stream: a header in a memory word of its own, then ``count`` memory words of payload.
START, FETCH, PARAMS, THRESHOLDS, WEIGHTS, COMMANDS, END = range(1, 8)

HEADERS = {
    START: _word("start", ("packet", 4), ("version", 12), ("engine", 32)),
    FETCH: _word("fetch", ("packet", 4), ("count", 24), ("address", 16), ("bank", 4), ("wait", 16)),
    PARAMS: _word("params", ("packet", 4), ("count", 24)),
    THRESHOLDS: _word("thresholds", ("packet", 4), ("count", 24)),
    WEIGHTS: _word("weights", ("packet", 4), ("count", 24), ("words", 12)),
    COMMANDS: _word("commands", ("packet", 4), ("count", 24), ("words", 16)),
    END: _word("end", ("packet", 4), ("spare", 28), ("checksum", 32)),
}

FETCH_WORD = _word("fetch_source", ("memory", 32), ("words", 20))
"""Payload of FETCH: how many scratchpad words, and where in memory the first one lies, counted in scratchpad words."""

SLICES = _word("slices", *((kind, 9) for kind in KINDS))
"""First payload word of WEIGHTS: memory words of each kind in a ring word."""

RUN = 16
"""Memory words of one read request at most; a request never crosses a multiple of this."""

# Commands of the sequencer.
OPCODES = LAYER, TILE, FINISH = 1, 2, 3

TILE_WORDS = (
    _word("tile", ("command", 4), ("words", 12), ("chunks", 8), ("interval", 14), ("wide", 1),
          ("blocks", 10), ("store_words", 12), ("end", 1)),
    _word("tile_addresses", ("out_address", 24), ("res_address", 16), ("base", 16), ("res_words", 8)),
)

# A point of a map is carried as quotient and remainder of its linear index by the number of banks.
_STEP = _word("step", ("in_q", 16, True), ("in_r", 4), ("res_q", 16, True), ("res_r", 4), ("out_q", 16, True),
              ("out_r", 4))
_MOVE = _word("move", ("ix", 13, True), ("iy", 13, True), ("cx", 13, True), ("cy", 13, True))

STEPS = ("pool_column", "pool_row", "column", "row", "origin")
"""Moves of the walker, innermost first; "origin" is absolute."""

LAYER_WORDS = (
    _word("layer", ("command", 4), ("kernel_w", 6), ("two_planes", 1), ("res_two_planes", 1), ("out_two_planes", 1),
          ("half_even", 1), ("threshold_mode", 1), ("keep", 1), ("store", 1), ("res_on", 1), ("pool_mode", 2),
          ("rescale", 2), ("half_even2", 1), ("step", 5), ("pad", 8), ("pool_pad", 8), ("swap", 1),
          ("wrap", 1)),
    _word("input_map", ("block_step", 16), ("plane_step", 16), ("row_q", 12, True), ("row_r", 4)),
    _word("input_size", ("height", 12), ("width", 12), ("conv_h", 12), ("conv_w", 12), ("res_step", 16)),
    _word("evaluations", ("pool_h", 6), ("pool_w", 6), ("out_h", 12), ("out_w", 12), ("out_step", 24)),
    _word("clamp", ("zero", 9, True), ("low", 8), ("high", 8), ("zero2", 9, True), ("low2", 8), ("high2", 8),
          ("shift2", 5)),
    _word("rescale_ab", ("a", 32, True), ("b", 32, True)),
    _word("rescale_c", ("c2", 52, True),),
    _word("store", ("store_base", 32),),
    _word("raster", ("begin_h", 6), ("begin_w", 6), ("ahead_h", 2), ("ahead_w", 2), ("lead_h", 2), ("lead_w", 2),
          ("start_h", 6), ("start_w", 6)),
    *(_STEP for _ in STEPS),
    *(_MOVE for _ in STEPS),
)
"""Counts (kernel_h ... out_w) are stored minus one except sizes used in comparisons (height, width, conv_h, conv_w)."""

ERRORS = {
    0: "no error",
    1: "the program was made for another engine",
    2: "illegal instruction",
    3: "the program's checksum is wrong",
    4: "watchdog: no progress",
    5: "memory error response",
}

POOL_NONE, POOL_MAX, POOL_SUM, POOL_RASTER = range(4)
"""MAX and SUM run over windows evaluated one after the other, RASTER over the map row by row."""
RESCALE_OFF, RESCALE_ADD, RESCALE_AVERAGE = range(3)


def checksum(data: bytes, word_bytes: int, state: int = 0) -> int:
    """Per memory word: rotate left by one, then xor in all 32-bit parts of the word; 32 bits.

    Word i of n is rotated n - 1 - i times in all, so the words can be rotated first and joined afterwards.
    """
    folded = np.bitwise_xor.reduce(np.frombuffer(data, "<u4").reshape(-1, word_bytes // 4), axis=1).astype(np.uint64)
    turns = np.arange(len(folded), dtype=np.uint64)[::-1] % np.uint64(32)
    rotated = folded << turns | folded >> np.uint64(32) - turns
    state = state << len(folded) % 32 | state >> 32 - len(folded) % 32
    return (state ^ int(np.bitwise_xor.reduce(rotated, initial=0))) & 0xFFFFFFFF
