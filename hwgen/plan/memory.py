"""The memory map: the pitch of every tensor and its place in the scratchpad."""

from dataclasses import dataclass

import numpy as np

from ..engine import Engine
from .geometry import Walk, input_cycles, residual_cycles
from .lower import Network
from .place import Placement, input_order


@dataclass(frozen=True)
class Region:
    """A tensor in the scratchpad: word (block, plane, y, x) lies in bank ``i % B`` at
    ``base + (block*planes + plane)*plane_step + i // B`` with ``i = y*pitch + x``."""

    base: int
    channels: int
    """Stored positions, holes included."""
    height: int
    width: int
    pitch: int
    blocks: int
    planes: int
    plane_step: int

    @property
    def size(self) -> int:
        """Words per bank."""
        return self.blocks * self.planes * self.plane_step


def regions(network: Network, placements: dict[str, Placement], engine: Engine,
            walks: dict[str, Walk]) -> dict[str, Region]:
    """Pitch with the fewest bank collisions, then first fit over live ranges.

    A tensor lives from the layer that makes it to the last that reads it; the input from
    the beginning.  Outputs are written to memory as they are made and need no longer life.
    """
    made = {network.graph.input: -1} | {layer.output: i for i, layer in enumerate(network.layers)}
    last = dict(made)
    for i, layer in enumerate(network.layers):
        for name in (layer.input, layer.residual):
            if name is not None:
                last[name] = i
    channels = {layer.output: len(np.concatenate([tile.rows for tile in placements[layer.name].tiles]))
                for layer in network.layers}
    channels[network.graph.input] = len(input_order(network, placements))
    result: dict[str, Region] = {}
    # Long-lived first, then large: what first fit packs best.
    sized = {}
    for name in made:
        _, height, width = network.tensors[name].shape
        pitch = _pitch(name, network, engine, walks)
        planes = 1 if network.tensors[name].bits <= 4 else 2
        sized[name] = Region(0, channels[name], height, width, pitch, -(-channels[name] // engine.ki), planes,
                             -(-height * pitch // engine.banks))
    for name in sorted(sized, key=lambda n: (made[n] - last[n], -sized[n].size, n)):
        others = sorted((r.base, r.base + r.size) for other, r in result.items()
                        if made[other] <= last[name] and made[name] <= last[other])
        base = 0
        for begin, end in others:
            if base + sized[name].size <= begin:
                break
            base = max(base, end)
        result[name] = Region(**{**sized[name].__dict__, "base": base})
    return result


def depth(map_: dict[str, Region]) -> int:
    """Words per bank that the map needs."""
    return max(region.base + region.size for region in map_.values())


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
