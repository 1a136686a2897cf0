"""Lane groups as planner and assembler see them: what each can run, how it takes weights, what it adds to a sum.

A lane makes ``dot + correction`` of a row's weights and a pixel's operands: to save logic it complements where
it would have to negate.  Everything here is plain numpy on integers; the hardware in hwgen.rtl.lanes is tested
against it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .engine import Engine
from .schemes import get

ACT_MAX = 15
"""Largest operand: activations come in planes of 4 bits."""
TERM_MAX = 31
"""Largest partial product: 5 bits.  A complemented one is ``31 - product``."""


@dataclass(frozen=True)
class Part:
    """One of the two partial products of a shift-add lane.

    ``bits``: positions in the weight code that select it, lowest first.
    ``terms``: for every value of these bits the multiple of the operand (0, 1 or 2) and whether its 5 bits
    are complemented.
    ``shift``: the partial product counts ``2**shift``.
    """

    bits: tuple[int, ...]
    terms: tuple[tuple[int, bool], ...]
    shift: int

    def term(self, code: int) -> tuple[int, bool]:
        """Multiple and complement for a whole weight code."""
        return self.terms[sum((code >> bit & 1) << place for place, bit in enumerate(self.bits))]


def _decode(parts: tuple[Part, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(weight, correction) of every 4-bit code."""
    weights, corrections = np.zeros((2, 16), np.int64)
    for code in range(16):
        for part in parts:
            multiple, complemented = part.term(code)
            weights[code] += (-multiple if complemented else multiple) << part.shift
            corrections[code] += (TERM_MAX if complemented else 0) << part.shift
    return weights, corrections


SP2_PARTS = (
    Part((0, 1, 2), ((0, False), (1, False), (0, True), (1, True), (0, True), (2, True), (0, False), (2, False)), 0),
    Part((3, 1, 2), ((0, False), (1, False), (0, True), (1, True), (1, False), (2, False), (1, True), (2, True)), 2),
)
"""X and Y of an SP2 weight, ``w = x + 4*y``, from three bits of the code each.

Bits 2..1 choose the signs and what the other two choose between:

| bits 2..1 | x, by bit 0 | 4*y, by bit 3 | weights                    |
| 0         | 0, 1        | 0, 4          | 0, 1, 4, 5                 |
| 1         | 0, -1       | 0, -4         | 0, -1, -4, -5              |
| 2         | 0, -2       | 4, 8          | 4, 2 = 4 - 2, 8, 6 = 8 - 2 |
| 3         | 0, 2        | -4, -8        | -4, -2 = -4 + 2, -8, -6    |

So a bit of X or Y depends on three code bits and two operand bits, and one LUT6 adds it to a running sum; with
|w| = x + y (numerics.md) it would see all four code bits, or a recoded weight.
"""

INT4_PARTS = (
    Part((0, 1), ((0, False), (1, False), (2, True), (1, True)), 0),
    Part((1, 2, 3), ((0, False), (1, False), (1, False), (2, False), (2, True), (1, True), (1, True), (0, True)), 2),
)
"""X and Y of a two's complement weight: Booth's digits, ``x = -2*b1 + b0`` and ``y = -2*b3 + b2 + b1``
(A. D. Booth, A signed binary multiplication technique, 1951; radix 4)."""


@dataclass(frozen=True)
class LaneKind:
    """One kind of lane group.

    ``schemes``: schemes of which it runs every row.
    ``takes(weights)``: which rows of (rows, inputs) integers it can run, bool (rows,).
    ``encode(weights)``: 4-bit codes of the same shape, uint8; 0 for 0.  ValueError for rows that it does not take.
    ``correction(weights)``: what a row's dot products have too much, int64 (rows,), summed over the inputs
    given; absent ones (zeros) add nothing.  With two activation planes it counts 16 + 1 times.
    ``largest``: largest contribution of one input to a dot product, all codes and operands considered.
    ``parts``: the two partial products of a shift-add lane.
    """

    name: str
    schemes: tuple[str, ...]
    takes: Callable[[np.ndarray], np.ndarray]
    encode: Callable[[np.ndarray], np.ndarray]
    correction: Callable[[np.ndarray], np.ndarray]
    largest: int
    parts: tuple[Part, ...] = ()


def dot_bits(kind: LaneKind, ki: int) -> int:
    """Width of a dot product of ``ki`` inputs."""
    return (kind.largest * ki).bit_length()


CHAIN = 8
"""Longest chain of a shift-add lane: longer ones save little, and each step costs registers of a row and a pixel."""


def chain_length(ki: int) -> int:
    """Inputs that one chain adds up, one per cycle."""
    return min(ki, CHAIN)


def _levels(words: int) -> int:
    """Levels of two-operand adders."""
    return (words - 1).bit_length()


def _levels3(words: int) -> int:
    """Levels of three-operand adders."""
    return 0 if words == 1 else 1 + _levels3(-(-words // 3))


def latency(group: str, engine: Engine) -> int:
    """Cycles from operands and codes to the dots of a lane group; "sum": to the sum of the operands."""
    if group == "dsp":
        return _multiplier_latency(engine)
    if group == "sum":
        return _levels(engine.ki)
    return pot_latency(engine.ki) if group == "pot" else shift_add_latency(engine.ki)


def shift_add_latency(ki: int) -> int:
    """From unskewed inputs to the dot: the chain, then levels of three-operand adders."""
    return chain_length(ki) + _levels3(2 * ki // chain_length(ki))


def pot_latency(ki: int) -> int:
    """The register of turned operands, the chain, then levels of three-operand adders."""
    return 1 + chain_length(ki) + _levels3(ki // chain_length(ki))


def _multiplier_latency(e: Engine) -> int:
    """By family: registers of the blocks, the cascade where there is one, the tree."""
    if e.dsp_weights == "single":
        return 4 + _levels(e.ki)
    if e.dsp_weights == "lut":
        # Selection, tree over pairs, join of the bit planes.
        return 1 + _levels(e.ki // 2) + (3 if e.wide else 2)
    cascade, pairs = min(4, e.ki), _levels(e.ki if e.wide else e.ki // 2)
    return {"": 1, "xilinx7": 2 + cascade + _levels3(e.ki // cascade), "ecp5": 3 + pairs, "ice40": 1 + pairs}[e.family]


def dsp_blocks(e: Engine) -> int:
    """DSP blocks of the multiplier lanes; none that could be promised where no family's are asked for.

    xilinx7: one block per input, two pixels and, with 4-bit weights, two rows; the others: per two inputs, or
    with 8-bit weights per two pixels.
    """
    if e.dsp_weights == "lut" or not e.family:
        return 0
    if e.dsp_weights == "single":
        return e.dsp_products
    columns = e.ki * -(-e.px // 2)
    if e.family == "xilinx7":
        return sum(columns * (rows if e.wide else -(-rows // 2)) for rows in e.blocks("dsp"))
    return e.dsp_rows * (columns if e.wide else e.ki // 2 * e.px)


def _shift_add(name: str, schemes: tuple[str, ...], parts: tuple[Part, ...]) -> LaneKind:
    """A kind whose lanes add up ``parts``; of several codes for a weight the smallest is used."""
    weights, corrections = _decode(parts)
    values, codes = np.unique(weights, return_index=True)

    def takes(rows: np.ndarray) -> np.ndarray:
        return np.asarray(np.isin(rows, values).all(axis=1))

    def encode(rows: np.ndarray) -> np.ndarray:
        if not takes(rows).all():
            raise ValueError(f"{name} lanes cannot take {np.setdiff1d(rows, values)[0]}")
        return codes[np.searchsorted(values, rows)].astype(np.uint8)

    return LaneKind(
        name, schemes,
        takes=takes,
        encode=encode,
        correction=lambda rows: corrections[encode(rows)].sum(axis=1),
        largest=sum(TERM_MAX << part.shift for part in parts),
        parts=parts)


SP2 = _shift_add("sp2", ("sp2", "binary"), SP2_PARTS)
"""Corrections: none for 0, 1, 5; 155 for -1, -5; 31 for 2, 4, 6, 8; 124 for -2, -4, -6, -8."""

INT4 = _shift_add("int4", ("fixed4", "binary"), INT4_PARTS)
"""-8..7 in two's complement.  Corrections: 31 where bit 1 is set, 124 where bit 3 is."""

_POT = get("pot4")

POT = LaneKind("pot", ("pot4", "binary"), lambda rows: np.asarray(_POT.contains(rows).all(axis=1)), _POT.encode,
               lambda rows: np.maximum(-rows, 0).sum(axis=1, dtype=np.int64) * ACT_MAX, 64 * ACT_MAX)
"""Of a negative weight the operand is complemented, and then shifted.  Corrections: 15 times its magnitude."""


def _fixed(schemes: tuple[str, ...], bits: int) -> LaneKind:
    """Offset binary of 4 bits or (low nibble first) 8; the drain subtracts the offset times the sum of the operands."""
    offset = 1 << bits - 1

    def takes(rows: np.ndarray) -> np.ndarray:
        return np.asarray(((rows >= -offset) & (rows < offset)).all(axis=1))

    return LaneKind("dsp", schemes, takes, lambda rows: (rows + offset).astype(np.uint8),
                    lambda rows: np.zeros(len(rows), np.int64), ((1 << bits) - 1) * ACT_MAX)


DSP = _fixed(("fixed4", "binary"), 4)
DSP_WIDE = _fixed(("fixed4", "binary", "sp2", "pot4", "fixed8"), 8)
"""In a tile in which a weight on multipliers does not fit 4 bits."""

KINDS = {kind.name: kind for kind in (SP2, POT, INT4, DSP)}
