"""The cycle model: when everything in the engine happens, to the cycle.

Load unit (load.py) and compute pipeline are followed event by event.  The load unit takes a
word of the stream per cycle except where it waits for room or for the memory; the pipeline
is fixed but for bank collisions and the drain.  The sums below are the hardware's own
register delays; docs/architecture.md draws them.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from .. import isa
from .geometry import input_cycles, residual_cycles
from .layout import Layout
from .load import Load, Memory
from .lower import Layer
from .place import Tile
from .stream import commands_of_tile, fetches, memory_map, parameter_words, program_words, weight_beats
from .timing import lane_latency, tile_latency


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


def count_cycles(layout: Layout, memory: Memory | None = None) -> Cycles:
    """Run the model for one inference; without ``memory`` the on-chip memory."""
    return _Model(layout, memory).run()


@dataclass(frozen=True)
class _Writes:
    """When the drain writes the words of a tile."""

    ends: np.ndarray
    """Per group, the first cycle after its drain."""
    before: np.ndarray
    """Cycles before that, per chunk, pixel and plane, in which a word is written."""
    keep: np.ndarray
    """(groups, px): pixels of which a word is written at all."""

    def cycles(self) -> np.ndarray:
        cycles = self.ends[:, None, None, None] - self.before[None]
        return cycles[np.broadcast_to(self.keep[:, None, :, None], cycles.shape)]


class _Model:
    def __init__(self, layout: Layout, memory: Memory | None):
        self.layout, self.engine = layout, layout.engine
        self.loader = Load(layout.engine, program_words(layout), memory)
        self.addresses, _ = memory_map(layout, self.loader.total)
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
        self.finished: list[int] = [0]
        """Cycle from which so many layers count as finished."""
        self.writes: deque[_Writes] = deque()

    def run(self) -> Cycles:
        layout, loader = self.layout, self.loader
        loader.take(1)
        begins, stalls = [], []
        for layer in layout.layers:
            self.waiting = self.drain_bound = self.collisions = 0
            for fetch in fetches(layout, layer):
                first = self.addresses[fetch.tensor] * self.engine.scratch_words + fetch.first
                loader.fetch(first, fetch.words, self.finished[fetch.wait], self._drain_writes)
            begins.append(self._layer(loader.commands(len(isa.LAYER_WORDS))))
            for tile in layout.tiles(layer):
                self._tile(layer, tile, self._load(layer, tile))
            self.finished.append(max(self.free, self.idle) + 1)
            stalls.append((self.waiting, self.drain_bound, self.collisions))
        end = loader.packet(0)
        # FINISH is seen one cycle after the last tile's last word and left when all is idle and the stream has ended.
        total = max(self.free + 1, self.idle, end + 1) + 1
        ends = [*begins[1:], total]
        waiting, drain_bound, collisions = (tuple(column) for column in zip(*stalls, strict=True))
        per_layer = tuple(b - a for a, b in zip(begins, ends, strict=True))
        return Cycles(total, per_layer, begins[0], waiting, drain_bound, collisions,
                      loader.words)

    def _load(self, layer: Layer, tile: Tile) -> list[int]:
        """Load a tile; returns the cycles in which the words of its command can be taken."""
        engine, loader = self.engine, self.loader
        loader.params(parameter_words(engine, tile))
        if layer.conv.requant.thresholds is not None:
            loader.thresholds(len(tile.rows))
        words = self.layout.words(layer)
        loader.weights(words * weight_beats(engine, tile), words)
        return loader.commands(commands_of_tile(self.layout, layer, tile))

    def _layer(self, arrivals: list[int]) -> int:
        """Take a LAYER command; returns the cycle that the trace shows as the layer's beginning."""
        pop = end = max(self.free, self.idle, arrivals[0])
        # One word per cycle as they arrive, then the walker starts anew.
        for arrival in arrivals[1:]:
            end = max(end + 1, arrival)
        self.free = end + 2
        self.walker = end + 3 + self.engine.px
        return pop + 1

    def _tile(self, layer: Layer, tile: Tile, command: list[int]) -> None:
        layout, engine = self.layout, self.engine
        costs, extra, lasts = self._costs(layer, tile)
        pop = max(self.free, command[0])
        self.waiting += max(0, command[0] - self.free)
        step, interval = layout.step(layer), layout.interval(layer, tile)
        steps = tile.chunks(engine.drain_lanes) * engine.px * step
        group_start = max(max(pop + 1, command[1]) + 1, self.walker)
        end, ends = 0, []
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
            ends.append(end)
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
        self.writes.append(self._written(layer, tile, np.array(ends) + (post - end)))
        if layout.stored(layer):
            alive = (len(layout.walks[layer.name].cy) - 1) % engine.px + 1
            written = post - (engine.px - alive) * step - (step - 1) + layout.planes(layer.output) - 1
            # Five cycles to the memory port; the last memory word waits until nothing can join it.
            self.idle = max(self.idle, max(written + 6, post + 2) + self.loader.memory.confirm)

    def _written(self, layer: Layer, tile: Tile, ends: np.ndarray) -> _Writes:
        """When the words of a tile are written whose groups have left the drain in the cycles ``ends``."""
        layout, px = self.layout, self.engine.px
        step, planes = layout.step(layer), layout.planes(layer.output)
        chunks, per_word = tile.chunks(self.engine.drain_lanes), self.engine.ki // self.engine.drain_lanes
        complete = np.array([c for c in range(chunks) if c % per_word == per_word - 1 or c == chunks - 1])
        place = complete[:, None, None] * px + np.arange(px)[:, None]
        before = (chunks * px - 1 - place) * step + step - 1 - np.arange(planes)
        window = layer.window.kernel[0] * layer.window.kernel[1]
        positions = np.arange(len(ends) * px)
        keep = (positions % window == window - 1) & (positions < len(layout.walks[layer.name].cy))
        return _Writes(ends, before, keep.reshape(-1, px))

    def _drain_writes(self, begin: int) -> Collection[int]:
        """Cycles from ``begin`` on in which the drain writes to the scratchpad, as far as tiles were loaded."""
        while self.writes and self.writes[0].ends[-1] < begin:
            self.writes.popleft()
        found = [writes.cycles() for writes in self.writes]
        return {cycle for cycles in found for cycle in cycles[cycles >= begin].tolist()}

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
