"""The steps of a schedule, and where in the stream their fetches stand."""

from dataclasses import dataclass

from .geometry import Walk
from .lower import Layer
from .memory import Region

MOST_FETCHED = (1 << 20) - 1
"""Scratchpad words of one FETCH."""


@dataclass(frozen=True)
class Fetch:
    """Part of a map that the load unit copies from memory into the scratchpad."""

    tensor: str
    first: int
    """First word within the tensor's linear map (block, plane, point), in scratchpad words."""
    words: int
    address: int
    """Scratchpad address of the first word."""
    wait: int = 0
    """Steps that must be drained and stored before: those that read what is overwritten or write what is read."""
    bank: int = 0
    """Of the first word."""


@dataclass(frozen=True, eq=False)
class Step:
    """One LAYER command."""

    layer: Layer
    walk: Walk
    source: Region
    residual: Region | None
    target: Region
    """``first_row`` is the row of its address 0.  Blocks and planes lie as far apart as in the whole map, or of a strip
    that only the next step reads, as in the strip."""
    keep: bool
    """The output stays in the scratchpad."""
    store: bool
    """The output goes to memory."""
    fetches: tuple[tuple[Fetch, ...], ...] = ((),)
    """What is fetched before the LAYER command, then behind each of its tiles."""


@dataclass(frozen=True, eq=False)
class Schedule:
    steps: tuple[Step, ...]
    regions: dict[str, Region]
    """Every tensor as a whole; the base counts where ``resident``."""
    resident: frozenset[str]
    """Tensors that lie in the scratchpad as a whole."""
    in_memory: tuple[str, ...]
    """Tensors that lie in memory: the input, outputs, and maps that the scratchpad does not hold."""
    depth: int
    """Words per bank that are used."""


def pieces_of(name: str, whole: Region, part: Region, banks: int, wait: int) -> list[Fetch]:
    """The fetches of some rows of a map: one per block and plane, or one for the whole map."""
    if part.height == whole.height and whole.size * banks <= MOST_FETCHED:
        return [Fetch(name, 0, whole.size * banks, part.base, wait)]
    words = (part.height - 1) * part.pitch + part.width
    return [Fetch(name, index * whole.plane_step * banks + part.first_row * part.pitch, words,
                  part.base + index * part.plane_step, wait)
            for index in range(part.blocks * part.planes)]


def distribute(pieces: list[Fetch], at: int, wait: int, fetches: list[list[list[Fetch]]]) -> None:
    """Put the fetches for step ``at`` into the stream: between the tiles of the step before, if they may be so early.

    The load unit takes a tile's parameters when the last tile but one has left its buffer, so
    that it is about at the second tile of a step when the step begins: from there
    on fetches are spread over the tiles, and the weights of later tiles are not held up.
    """
    if at == 0 or wait > at - 1:
        fetches[at][0] += pieces
        return
    places = fetches[at - 1]
    first = min(2, len(places) - 1)
    spread = len(places) - first
    for index, piece in enumerate(pieces):
        places[first + index * spread // len(pieces)].append(piece)
