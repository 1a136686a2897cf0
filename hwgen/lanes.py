"""Lane groups as planner and assembler see them: what each can run, how it takes weights, what it adds to a sum.

A lane makes ``dot + correction`` of a row's weights and a pixel's operands: to save logic it complements where it
would have to negate, or takes weights with an offset.  Everything here is plain numpy on integers; the hardware
in hwgen.rtl.lanes is tested against it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .engine import Engine
from .schemes import get

ACT_MAX = 15
"""Largest operand: activations come in planes of 4 bits."""
NARROW = (-8, 7)
"""Weights that offset binary holds in 4 bits."""
WIDE = (-128, 127)
"""The same in 8 bits."""

_SP2, _POT = get("sp2"), get("pot4")


@dataclass(frozen=True)
class LaneKind:
    """One kind of lane group.

    ``takes(weights)``: which rows of (rows, inputs) integers it can run, bool (rows,).
    ``encode(weights)``: 4-bit codes of the same shape.
    ``correction(weights)``: what a row's dot products have too much, int64 (rows,), summed over the inputs
    given, absent ones (zeros) included; with two activation planes it counts 16 + 1 times.
    ``largest``: largest contribution of one input to a dot product, all codes and operands considered.
    ``latency(engine)``: cycles from operands and codes to dot products.
    """

    name: str
    takes: Callable[[np.ndarray], np.ndarray]
    encode: Callable[[np.ndarray], np.ndarray]
    correction: Callable[[np.ndarray], np.ndarray]
    largest: int
    latency: Callable[[Engine], int]


def _between(low: int, high: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda weights: np.asarray(((weights >= low) & (weights <= high)).all(axis=1))


def _none(weights: np.ndarray) -> np.ndarray:
    return np.zeros(len(weights), np.int64)


def _per_negative(excess: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda weights: (weights < 0).sum(axis=1, dtype=np.int64) * excess


def _levels(more: int) -> Callable[[Engine], int]:
    """A tree over the inputs, and ``more`` cycles."""
    return lambda engine: engine.ki.bit_length() - 1 + more


SP2 = LaneKind("sp2", lambda weights: _SP2.contains(weights).all(axis=1), _SP2.encode, _per_negative(155), 155,
               _levels(1))
"""31 from X' and 4 * 31 from Y' for every set sign; a zero has none."""
POT = LaneKind("pot", lambda weights: _POT.contains(weights).all(axis=1), _POT.encode, _per_negative(1023), 1023,
               _levels(1))
INT4 = LaneKind("int4", _between(*NARROW), lambda weights: (weights & 15).astype(np.uint8),
                lambda weights: np.full(len(weights), 124 * weights.shape[1], np.int64), 229, _levels(2))
"""Two's complement; the plane of weight -8 is complemented: 8 * 31 for every pair of inputs."""
DSP = LaneKind("dsp", _between(*NARROW), lambda weights: (weights + 8).astype(np.uint8), _none, 15 * ACT_MAX,
               lambda e: _levels(e.wide + 2 * (e.dsp_weights == "lut"))(e))
"""Offset binary: 8 times the sum of the operands is subtracted in the drain."""
DSP_WIDE = LaneKind("dsp", _between(*WIDE), lambda weights: (weights + 128).astype(np.uint8), _none, 255 * ACT_MAX,
                    DSP.latency)
"""8 bits, low nibble first; 128 times the sum of the operands is subtracted."""

KINDS = {kind.name: kind for kind in (SP2, POT, INT4, DSP)}


def dot_bits(kind: LaneKind, ki: int) -> int:
    """Width of a dot product of ``ki`` inputs."""
    return (kind.largest * ki).bit_length()
