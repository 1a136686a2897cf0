"""The cycle model: when everything in the engine happens with the on-chip memory, to the cycle.

Load unit and compute pipeline are followed event by event.  With a memory that answers in
the next cycle and never refuses, the load unit takes a word of the stream per cycle
except where it waits for room; the pipeline is fixed but for bank collisions and the
drain.  The sums below are the hardware's own register delays; docs/architecture.md draws them.
"""

from dataclasses import dataclass

import numpy as np

from .. import isa
from .geometry import input_cycles, residual_cycles
from .layout import Layout
from .lower import Layer
from .place import Tile
from .timing import lane_latency, tile_latency

FIRST_WORD = 3
"""Cycle in which the first word of the stream reaches the load unit."""
COMMAND_LATENCY = 2
"""From a command's word in the load unit to the sequencer."""


@dataclass(frozen=True)
class Cycles:
    """Cycles from start to done, and per layer from its beginning to the next one's."""

    total: int
    layers: tuple[int, ...]
    first_load: int
    """Before the first layer begins."""
    waiting: tuple[int, ...]
    """Per layer, cycles in which no word could be read because weights were not there yet."""
    drain_bound: tuple[int, ...]
    """Per layer, cycles in which the last word of a tile waited for the drain."""
    collisions: tuple[int, ...]
    """Per layer, extra cycles because pixels of a step lie in one bank."""
    program_words: int
    """Memory words of the program."""


class _Loader:
    """The load unit's clock: ``at`` is the next cycle in which it can take a word."""

    def __init__(self, ring_depth: int):
        self.at = FIRST_WORD + 1
        self.words = 1
        self.depth = ring_depth
        self.claimed: list[int] = []
        self.released: list[int] = []
        """Cycle from which a tile's ring words are free again, tile by tile."""
        self.params_free: list[int] = []
        """The same for its parameter buffer."""

    def packet(self, payload: int, ready: int = 0) -> int:
        """Take a packet, its header not before ``ready``; returns the cycle of the header."""
        header = max(self.at, ready)
        self.at = header + payload + 1
        self.words += payload + 1
        return header

    def params(self, payload: int) -> None:
        index = len(self.claimed)
        self.packet(payload, self.params_free[index - 2] if index >= 2 else 0)

    def weights(self, payload: int, words: int) -> None:
        ready, used = 0, sum(self.claimed[self._first_held():]) + words
        for index in range(self._first_held(), len(self.claimed)):
            if used <= self.depth:
                break
            ready = max(ready, self.released[index])
            used -= self.claimed[index]
        self.claimed.append(words)
        self.packet(payload, ready)

    def _first_held(self) -> int:
        # Tiles far back are certainly free: at most depth tiles of one word can be in the ring.
        return max(0, len(self.claimed) - self.depth)


def count_cycles(layout: Layout) -> Cycles:
    """Run the model for one inference."""
    return _Model(layout).run()


class _Model:
    def __init__(self, layout: Layout):
        self.layout, self.engine = layout, layout.engine
        self.loader = _Loader(layout.engine.ring_depth)
        self.ready, self.lane = tile_latency(layout.engine), lane_latency(layout.engine)
        self.free = 0
        """First cycle in which the sequencer can take a command."""
        self.idle = 0
        """First cycle in which nothing is in the pipeline any more."""
        self.last_end = 0
        """When the last word of the last group was read, and how long its drain takes."""
        self.interval = 0
        self.walker = 0
        """First cycle in which the next group of slots is complete."""
        self.waiting = self.drain_bound = self.collisions = 0
        self.cache: dict[tuple, np.ndarray] = {}

    def run(self) -> Cycles:
        layout, loader = self.layout, self.loader
        region = layout.regions[layout.network.graph.input]
        loader.packet(region.blocks * region.planes * region.plane_step * self.engine.banks)
        begins, stalls = [], []
        for index, layer in enumerate(layout.layers):
            self.waiting = self.drain_bound = self.collisions = 0
            header = loader.packet(len(isa.LAYER_WORDS))
            begins.append(self._layer(header))
            tiles = layout.tiles(layer)
            for tile in tiles:
                last = index == len(layout.layers) - 1 and tile is tiles[-1]
                self._tile(layer, tile, self._load(layer, tile, len(isa.TILE_WORDS) + last))
            stalls.append((self.waiting, self.drain_bound, self.collisions))
        end = loader.packet(0)
        # FINISH is seen one cycle after the last tile's last word and left when all is idle and the stream has ended.
        total = max(self.free + 1, self.idle, end + 1) + 1
        ends = [*begins[1:], total]
        waiting, drain_bound, collisions = (tuple(column) for column in zip(*stalls, strict=True))
        per_layer = tuple(b - a for a, b in zip(begins, ends, strict=True))
        return Cycles(total, per_layer, begins[0], waiting, drain_bound, collisions,
                      loader.words)

    def _load(self, layer: Layer, tile: Tile, commands: int) -> int:
        """Load a tile; returns the cycle in which its command can be taken."""
        engine, loader = self.engine, self.loader
        loader.params(len(tile.rows) * (3 if engine.residual else 2))
        if layer.conv.requant.thresholds is not None:
            loader.packet(len(tile.rows) * 8)
        words = self.layout.words(layer)
        # One word more says how many slices of each kind there are.
        loader.weights(1 + words * beats(engine, tile), words)
        return loader.packet(commands) + 1 + COMMAND_LATENCY

    def _layer(self, header: int) -> int:
        """Take a LAYER command; returns the cycle that the trace shows as the layer's beginning."""
        pop = max(self.free, self.idle, header + 1 + COMMAND_LATENCY)
        # One word per cycle as they arrive, then the walker starts anew.
        end = max(pop + len(isa.LAYER_WORDS) - 1, header + COMMAND_LATENCY + len(isa.LAYER_WORDS))
        self.free = end + 2
        self.walker = end + 3 + self.engine.px
        return pop + 1

    def _tile(self, layer: Layer, tile: Tile, command: int) -> None:
        layout, engine = self.layout, self.engine
        costs, extra, lasts = self._costs(layer, tile)
        pop = max(self.free, command)
        self.waiting += max(0, command - self.free)
        step, interval = layout.step(layer), layout.interval(layer, tile)
        steps = tile.chunks(engine.drain_lanes) * engine.px * step
        # The second word of the command arrives one cycle after the first.
        group_start = max(max(pop + 1, command + 1) + 1, self.walker)
        end = 0
        for index, (cost, last) in enumerate(zip(costs, lasts, strict=True)):
            final = index == len(costs) - 1
            if final:
                # After the last group the walk begins again, which takes a cycle more.
                self.walker = max(group_start, self.walker + 1) + engine.px
            else:
                self.walker = group_start + engine.px
            first = max(group_start + 1, self.last_end)
            early = first + cost
            end = max(early, self.last_end + self.interval)
            self.drain_bound += end - early
            leave = first + cost - last
            self.last_end, self.interval = end, interval
            if not final:
                group_start = leave if self.walker <= leave else max(leave + 1, self.walker)
            else:
                self.free = leave + 1
        self.collisions += extra
        threshold = 9 if layer.conv.requant.thresholds is not None else 0
        front = end + self.ready - 2 + steps
        post = front + 2 + self.lane + threshold
        self.loader.released.append(end + 1)
        self.loader.params_free.append(front + 1)
        self.idle = max(self.idle, post + 1)
        if layout.stored(layer):
            alive = (len(layout.walks[layer.name].cy) - 1) % engine.px + 1
            written = post - (engine.px - alive) * step - (step - 1) + layout.planes(layer.output) - 1
            self.idle = max(self.idle, written + 3)

    def _costs(self, layer: Layer, tile: Tile) -> tuple[list[int], int, list[int]]:
        """Per group the cycles of all its words; how many of all groups are collisions; cycles of each last word."""
        layout, banks = self.layout, self.engine.banks
        walk, source = layout.walks[layer.name], layout.regions[layer.input]
        taps = self._cached(("in", layer.name), lambda: input_cycles(
            layer, walk, (source.height, source.width), source.pitch, banks))
        repeat = layout.blocks(layer) * source.planes
        costs = taps.sum(axis=1) * repeat
        ideal = taps.shape[1] * repeat
        if layer.residual:
            pitch = layout.regions[layer.residual].pitch
            words = layout.residual_words(layer, tile)
            costs = costs + self._cached(("res", layer.name), lambda: residual_cycles(walk, pitch, banks)) * words
            ideal += words
        return costs.tolist(), int(costs.sum() - ideal * len(costs)), taps[:, -1].tolist()

    def _cached(self, key, make) -> np.ndarray:
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]


def beats(engine, tile: Tile) -> int:
    """Memory words of one ring word of a tile."""
    return sum(tile.beats(engine).values())
