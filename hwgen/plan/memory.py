"""Maps in the scratchpad and in memory: how their words lie, and first fit over live ranges."""

from collections.abc import Hashable
from dataclasses import dataclass, replace

from ..engine import Engine
from .geometry import Walk, input_cycles, residual_cycles
from .lower import Network
from .place import Placement, stored_order


@dataclass(frozen=True)
class Region:
    """A map, or some rows of one, in the scratchpad: word (block, plane, y, x) lies in bank ``i % B`` at
    ``base + (block*planes + plane)*plane_step + i // B`` with ``i = (y - first_row)*pitch + x``.

    In memory a map is linear: word ``(block*planes + plane)*plane_step*B + y*pitch + x``.
    """

    base: int
    channels: int
    """Stored positions, holes included."""
    height: int
    """Rows that are there."""
    width: int
    pitch: int
    blocks: int
    planes: int
    plane_step: int
    first_row: int = 0

    @property
    def size(self) -> int:
        """Words per bank."""
        return self.blocks * self.planes * self.plane_step

    def rows(self, first: int, end: int, banks: int) -> "Region":
        """A region of its own for some of the rows."""
        return replace(self, first_row=first, height=end - first, plane_step=-(-(end - first) * self.pitch // banks))


def whole_maps(network: Network, placements: dict[str, Placement], engine: Engine,
               walks: dict[str, Walk]) -> dict[str, Region]:
    """Every tensor as a whole, without a place yet, with the pitch that has the fewest bank collisions."""
    channels = {name: len(stored_order(network, placements, name))
                for name in (*(layer.output for layer in network.layers), network.graph.input)}
    result = {}
    for name, count in channels.items():
        _, height, width = network.tensors[name].shape
        pitch = _pitch(name, network, engine, walks)
        planes = 1 if network.tensors[name].bits <= 4 else 2
        result[name] = Region(0, count, height, width, pitch, -(-count // engine.ki), planes,
                              -(-height * pitch // engine.banks))
    return result


@dataclass(frozen=True)
class Life:
    """Words per bank that are needed from step ``begin`` to step ``end``, both included."""

    key: Hashable
    size: int
    begin: int
    end: int


def first_fit(lives: list[Life]) -> dict[Hashable, int]:
    """A base for each: lowest first, long-lived ones before others and large ones before small ones."""
    bases: dict[Hashable, int] = {}
    taken: dict[int, list[tuple[int, int]]] = {}
    """By step what is placed there: bottoms and tops.  Most lives are short, so few lists are looked at."""
    for life in sorted(lives, key=lambda item: (item.begin - item.end, -item.size, item.begin, str(item.key))):
        base = 0
        meeting = {span for step in range(life.begin, life.end + 1) for span in taken.get(step, ())}
        for bottom, top in sorted(meeting):
            if base + life.size <= bottom:
                break
            base = max(base, top)
        bases[life.key] = base
        for step in range(life.begin, life.end + 1):
            taken.setdefault(step, []).append((base, base + life.size))
    return bases


def _pitch(name: str, network: Network, engine: Engine, walks: dict[str, Walk]) -> int:
    _, height, width = network.tensors[name].shape
    best: tuple[int | None, int] = (None, width)
    sample = {layer.name: _sample(walks[layer.name]) for layer in network.layers
              if name in (layer.input, layer.residual)}
    for pitch in range(width, width + engine.banks):
        cycles = 0
        for layer in network.layers:
            if layer.input == name:
                cycles += int(input_cycles(layer, walks[layer.name], (height, width), pitch, engine.banks,
                                           sample[layer.name]).sum())
            if layer.residual == name:
                cycles += int(residual_cycles(walks[layer.name], pitch, engine.banks, sample[layer.name]).sum())
        if best[0] is None or cycles < best[0]:
            best = (cycles, pitch)
        if height == 1:
            break
    return best[1]


SAMPLE = 2048
"""Evaluations of a layer that the choice of a pitch looks at; collisions repeat from row to row."""


def _sample(steps: Walk) -> slice:
    """The middle of a long walk, in whole groups."""
    if steps.evaluations <= SAMPLE:
        return slice(None)
    begin = (steps.evaluations - SAMPLE) // 2 // steps.px * steps.px
    return slice(begin, begin + SAMPLE)
