"""Which cells a memory becomes in synthesis, and how many: block RAM, LUT memory or flip-flops.

Yosys' ``memory_libmap`` gives every kind of RAM cell a cost and takes the cheapest.  The rule here
is that one for memories with one write port, one read port and one clock; the numbers are
those of its cell libraries (``lattice/brams_16kd.txt``, ``lattice/lutrams_trellis.txt``,
``xilinx/brams_xc4v.txt``, ``xilinx/lutrams_xc5v.txt``, ``ice40/brams.txt``).
``tests/test_device_memories.py`` holds what Yosys made of a few hundred memories.
"""

from dataclasses import dataclass, replace
from typing import Any
from functools import cache

MUX_COST = 0.5
"""Of one bit of a read multiplexer behind cells that are not deep enough, and of a write enable."""
EMULATION_COST = 2


@dataclass(frozen=True)
class Cell:
    """One way to use one kind of RAM cell."""

    kind: str
    """"block" or "lut"."""
    address_bits: int
    """At the narrowest width."""
    widths: tuple[int, ...]
    """Each twice as wide as the one before, parity bits aside."""
    cost: float
    units: float
    """What one cell counts: block RAMs of the part, or LUT sites."""
    byte: int = 0
    """Bits written together; 0: a whole word."""
    scaled: float = 0.0
    """The share of ``cost`` that depends on the bits in use."""
    read_first: bool = True
    """A read of the word that is being written gives the old one without extra logic."""
    extra_ports: int = 1
    """Points for ports that are not shared."""


_DP16K: dict[str, Any] = dict(kind="block", address_bits=14, cost=128, units=1, byte=9)
CELLS: dict[str, tuple[Cell, ...]] = {
    "ecp5": (
        Cell(widths=(1, 2, 4, 9, 18), read_first=False, **_DP16K),
        Cell(widths=(1, 2, 4, 9, 18, 36), read_first=False, **_DP16K),
        Cell(kind="lut", address_bits=4, widths=(4,), cost=4, units=6),
    ),
    "xilinx7": (
        Cell(kind="block", address_bits=14, widths=(1, 2, 4, 9, 18, 36), cost=129, units=0.5, byte=9),
        Cell(kind="block", address_bits=15, widths=(1, 2, 4, 9, 18, 36, 72), cost=257, units=1, byte=9),
        Cell(kind="lut", address_bits=5, widths=(6,), cost=8, scaled=7, units=4),
        Cell(kind="lut", address_bits=6, widths=(3,), cost=8, scaled=7, units=4),
    ),
    "ice40": (
        Cell(kind="block", address_bits=11, widths=(2, 4, 8), cost=64, units=1, read_first=False),
        Cell(kind="block", address_bits=11, widths=(2, 4, 8, 16), cost=64, units=1, byte=1, read_first=False),
    ),
}


@dataclass(frozen=True)
class Mapped:
    """What a memory became."""

    kind: str
    """"block", "lut" or "logic"."""
    cells: int = 0
    units: float = 0
    """Block RAMs of the part (halves on 7-series) or LUT sites."""
    stacked: int = 1
    """Cells behind each other that share a read bit: inputs of its multiplexer."""
    unit: int = 1
    """Bits per cell."""
    pitch: int = 1
    """Bits that a word takes in a stack, bits that fill the last byte included."""


@cache
def map_memory(width: int, depth: int, family: str, *, clocked: bool = True, checked: bool = True) -> Mapped:
    """What Yosys makes of ``depth`` words of ``width`` bits, one written and one read per cycle.

    ``clocked``: the answer comes one cycle after the address (else in the same cycle: no block RAM).
    ``checked``: a read of the word that is being written must give the old word.
    """
    # Flip-flops: one point per bit.
    best, best_cost = Mapped("logic"), float(width * depth)
    for cell in CELLS[family]:
        if cell.kind == "block" and not clocked:
            continue
        score = cell.extra_ports + (6 if checked and cell.kind == "block" and not cell.read_first else 0)
        found = min((_place(width, depth, cell, index) for index in range(len(cell.widths))), key=lambda item: item[0])
        cost = found[0] + score * EMULATION_COST
        if cost < best_cost:
            best, best_cost = Mapped(cell.kind, found[1], found[1] * cell.units, *found[2:]), cost
    return best


@cache
def map_used(width: int, depth: int, family: str, used: tuple[tuple[int, int], ...], *, clocked: bool = True,
             checked: bool = True) -> Mapped:
    """As :func:`map_memory`, less the cells of whose bits none is read; ``used``: bits (first, end)."""
    mapped = map_memory(width, depth, family, clocked=clocked, checked=checked)
    if not mapped.cells:
        return mapped
    kept = {(bit + stack * mapped.pitch) // mapped.unit
            for stack in range(mapped.stacked) for first, end in used for bit in range(first, end)}
    return replace(mapped, cells=len(kept), units=mapped.units / mapped.cells * len(kept))


def _place(width: int, depth: int, cell: Cell, index: int) -> tuple[float, int, int, int, int]:
    """(cost, cells, words behind each other, bits of a cell, bits of a word) with the cell's width ``widths[index]``.

    Columns are packed over the stacked words, so a last column that is half empty is
    shared with the next stack.
    """
    unit = cell.widths[index]
    byte = min(cell.byte or unit, unit)
    stacked = -(-depth // (1 << (cell.address_bits - index)))
    pitch = -(-width // byte) * byte
    cells = -(-stacked * pitch // unit)
    cost = (cell.cost - cell.scaled) * cells + cell.scaled * stacked * width / unit
    cost += MUX_COST * ((stacked - 1) * width + (stacked if stacked > 1 else 0))
    return cost, cells, stacked, unit, pitch
