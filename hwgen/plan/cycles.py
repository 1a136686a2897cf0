"""The cycle model: when everything in the engine happens, to the cycle.

Load unit (load.py) and compute pipeline are followed event by event.  The load unit takes a
word of the stream per cycle except where it waits for room or for the memory; the pipeline
is fixed but for bank collisions and the drain.  The sums below are the hardware's own
register delays; docs/architecture.md draws them.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import isa
from ..engine import WORDS_IN_FLIGHT
from .geometry import input_cycles, residual_cycles
from .groups import Run, runs_of
from .layout import Layout
from .load import Load, Memory
from .lower import Layer
from .tiles import Tile
from .stream import commands_of_tile, memory_map, parameter_words, program_words
from .steps import Step
from .timeline import Cycles, Span, Split
from .timing import (
    CREDIT_LATENCY, IDLE_LATENCY, ISSUE_LATENCY, READER_IDLE, SELECT_LATENCY, SMALL_CREDIT, SMALL_IN_FLIGHT,
    SMALL_ISSUE, WALKER_LATENCY, WRITE_LATENCY,
    lane_latency, search_latency, tile_latency)


def count_cycles(layout: Layout, memory: Memory | None = None, spans: list[Span] | None = None) -> Cycles:
    """Run the model for one inference; without ``memory`` the on-chip memory.

    ``spans``: a list to which everything that units do is added.
    """
    return _Model(layout, memory, [] if spans is None else spans).run()


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
    def __init__(self, layout: Layout, memory: Memory | None, spans: list[Span]):
        self.layout, self.engine = layout, layout.engine
        self.loader = Load(layout.engine, program_words(layout), memory)
        self.addresses, _ = memory_map(layout, self.loader.total)
        self.ready, self.lane = tile_latency(layout.engine), lane_latency(layout.engine)
        self.free = 0
        """First cycle in which the sequencer can take a command."""
        self.idle = 0
        """First cycle in which nothing is in the pipeline any more."""
        self.issue, self.credit, self.in_flight = (
            (SMALL_ISSUE, SMALL_CREDIT, SMALL_IN_FLIGHT) if layout.engine.small
            else (ISSUE_LATENCY, CREDIT_LATENCY, WORDS_IN_FLIGHT))
        self.ends: deque[int] = deque([-self.in_flight] * self.in_flight, maxlen=self.in_flight)
        """When the steps of the last words ended."""
        self.last_end = self.interval = 0
        """When the last step of the last group ended, and how long its drain takes."""
        self.began = 0
        """Beginning of the layer."""
        self.walker = 0
        """First cycle in which the next group of slots is complete."""
        self.built = 0
        """The same of the group behind it, in an engine whose walker goes on while a group waits."""
        self.split, self.collisions = Split(), 0
        self.drained = 0
        self.spans = spans
        self.cache: dict[tuple, Any] = {}
        self.finished: list[int] = [0]
        """Cycle from which so many layers count as finished."""
        self.writes: deque[_Writes] = deque()

    def run(self) -> Cycles:
        layout, loader = self.layout, self.loader
        loader.take(1)
        begins, splits, collisions = [], [], []
        for step in layout.steps:
            self._fetch(step, 0)
            arrivals = loader.commands(len(isa.LAYER_WORDS))
            self._results(arrivals[0])
            splits.append(self.split)
            collisions.append(self.collisions)
            self.split, self.collisions = Split(), 0
            begins.append(self._layer(arrivals))
            for index, tile in enumerate(layout.tiles(step.layer)):
                name, at = f"tile {index + 1}", loader.at
                arrivals = self._load(step, tile)
                self._span("load", step.layer, name, at, loader.at)
                self._tile(step, tile, arrivals, name)
                self._fetch(step, index + 1)
            self.finished.append(max(self.free, self.idle) + 1)
        end = loader.packet(0)
        # FINISH is seen one cycle after the last tile's last word and left when all is idle and the stream has ended.
        total = max(self.free + 1, self.idle, end + 1) + 1
        self.split.drain += total - max(self.free, self.last_end)
        splits.append(self.split)
        spent = [b - a for a, b in zip(begins, [*begins[1:], total], strict=True)]
        for split, cycles in zip(splits[1:], spent, strict=True):
            split.activations = cycles - split.total
        per_layer = {layer.name: Split() for layer in layout.layers}
        for step, split in zip(layout.steps, splits[1:], strict=True):
            per_layer[step.layer.name] += split
        return Cycles(total, layout.per_layer(spent), begins[0], tuple(per_layer.values()),
                      layout.per_layer([*collisions[1:], self.collisions]), self.last_end, loader.words,
                      (loader.busy, loader.room), self.drained)

    def _span(self, unit: str, layer: Layer, what: str, begin: int, end: int) -> None:
        self.spans.append(Span(unit, layer.name, what, begin, end))

    def _results(self, command: int) -> None:
        """The array waits for the results of the layer before, then for the next layer's command behind its maps."""
        done = max(self.free, self.last_end)
        self.split.drain += max(0, self.idle - done)
        self.split.memory += max(0, command - max(done, self.idle))

    def _fetch(self, step: Step, place: int) -> None:
        for fetch in step.fetches[place]:
            first, at = self.addresses[fetch.tensor] * self.engine.scratch_words + fetch.first, self.loader.at
            self.loader.fetch(first, fetch.words, self.finished[fetch.wait], self._drain_writes)
            self._span("load", step.layer, f"fetch {fetch.tensor}", at, self.loader.at)

    def _load(self, step: Step, tile: Tile) -> list[int]:
        """Load a tile; returns the cycles in which the words of its command can be taken."""
        layer = step.layer
        engine, loader = self.engine, self.loader
        loader.params(parameter_words(engine, tile))
        if layer.conv.requant.thresholds is not None:
            loader.thresholds(len(tile.rows))
        words = self.layout.words(layer, tile)
        # One word more says how many slices of each kind there are.
        loader.weights(1 + words * sum(tile.beats(engine).values()), words)
        return loader.commands(commands_of_tile(self.layout, step, tile))

    def _layer(self, arrivals: list[int]) -> int:
        """Take a LAYER command; returns the cycle that the trace shows as the layer's beginning."""
        pop = end = max(self.free, self.idle, arrivals[0])
        # One word per cycle as they arrive, then the walker starts anew.
        for arrival in arrivals[1:]:
            end = max(end + 1, arrival)
        self.free, self.began = end + 2, pop + 1
        self.walker = self.built = end + 1 + WALKER_LATENCY + self.engine.px
        if self.engine.walks_ahead:
            self._walk(end)
        return pop + (1 if self.engine.small else 2)

    def _tile(self, step: Step, tile: Tile, command: list[int], name: str) -> None:
        layout, engine, layer = self.layout, self.engine, step.layer
        runs, extra = self._costs(step, tile)
        pop, groups = max(self.free, command[0]), sum(run.groups for run in runs)
        if engine.small:
            pop = max(pop, self.last_end + READER_IDLE)
        self.split.busy += groups * layout.words(layer, tile) * layout.planes(layer.input)
        width, interval = layout.step(layer), layout.interval(layer, tile)
        steps = tile.chunks(engine.drain_lanes) * engine.px * width
        self.drained += groups * steps
        group_start = max(max(pop + 1, command[1]) + 1, self.walker)
        n, ends = self._words(step, tile), list[int]()
        begin = max(group_start + 1 + self.issue, self.last_end + 1)
        # Weights that come while the array is still at work delay nothing.
        self.split.weights += min(begin - 1 - max(self.last_end, self.began), max(0, command[0] - self.free))
        for run in runs:
            before: tuple[int, ...] = ()
            for left in range(run.groups - 1, -1, -1):
                self._walk(group_start)
                early, leave = self._group(group_start + 1, n, run.cost, run.tail)
                end = max(early, self.last_end + self.interval)
                self.split.drain += end - early
                delta, self.ends[-1] = end - self.last_end, end
                self.last_end, self.interval = end, interval
                ends.append(end)
                group_start = leave if self.walker <= leave else max(leave + 1, self.walker)
                # Everything above is a sum or a maximum: once a group leaves what it found, only later, so do the rest.
                found = (interval, group_start - end, self.walker - end, self.built - end,
                         *(end - other for other in self.ends))
                if found == before:
                    later = left * delta
                    ends += range(end + delta, end + later + 1, delta)
                    self.split.drain += left * (end - early)
                    self.walker, self.built = self.walker + later, self.built + later
                    leave, group_start = leave + later, group_start + later
                    self.last_end = end = end + later
                    self.ends.extend([other + later for other in self.ends])
                    break
                before = found
        self.free = leave + 1
        self.collisions += extra
        threshold = search_latency() if layer.conv.requant.thresholds is not None else 0
        front = end + self.ready - 2 + steps
        post = front + SELECT_LATENCY + self.lane + threshold + WRITE_LATENCY
        self.loader.released.append(end + 2)
        self.loader.params_free.append(front + 1)
        self.idle = max(self.idle, post + 1 + IDLE_LATENCY)
        self._span("compute", layer, name, begin, end + 1)
        self._span("drain", layer, name, ends[0] + self.ready - 2, post + 1)
        if step.keep:
            self.writes.append(self._written(step, tile, np.array(ends) + (post - end)))
        if step.store:
            alive = (step.walk.evaluations - 1) % engine.px + 1
            written = post - (engine.px - alive) * width - (width - 1) + layout.planes(layer.output) - 1
            # Cycles to the memory port; the last memory word waits until nothing can join it.
            left = written + 6 if engine.small else max(written + 8, post + 3)
            self.idle = max(self.idle, left + self.loader.memory.confirm + IDLE_LATENCY)

    def _walk(self, taken: int) -> None:
        """A group is taken in a cycle: when will the next one be there?"""
        if self.engine.walks_ahead:
            # It moves to the place that is empty a cycle later, and the one behind it is begun.
            moved = max(self.built, taken + 1)
            self.walker, self.built = moved + 1, moved + self.engine.px
        else:
            self.walker = taken + 1 + self.engine.px

    def _group(self, first: int, n: int, cost: int, tail: list[int]) -> tuple[int, int]:
        """Run the ``n`` words of a group, which take ``cost`` cycles; returns its end, and when its last word left.

        ``first``: cycle in which the first word can leave.  ``tail``: cycles of the steps of the last words.
        Words follow each other without a gap as long as steps take one cycle, so that only the first
        one's way to the reader shows; the others wait in front of it.
        """
        ends = self.ends
        end = max(max(first, ends[0] + self.credit) + self.issue, ends[-1] + 1) + cost - 1
        before, at = [], end
        for cycles in reversed(tail):
            before.append(at)
            at -= cycles
        # The word whose place the last one takes.
        place = before[self.in_flight] if n > self.in_flight else ends[n - 1]
        ends.extend(reversed(before[:self.in_flight]))
        return end, max(first + n - 1, place + self.credit)

    def _written(self, step: Step, tile: Tile, ends: np.ndarray) -> _Writes:
        """When the words of a tile are written whose groups have left the drain in the cycles ``ends``."""
        layout, px = self.layout, self.engine.px
        width, planes = layout.step(step.layer), layout.planes(step.layer.output)
        chunks, per_word = tile.chunks(self.engine.drain_lanes), self.engine.ki // self.engine.drain_lanes
        complete = np.array([c for c in range(chunks) if c % per_word == per_word - 1 or c == chunks - 1])
        place = complete[:, None, None] * px + np.arange(px)[:, None]
        before = (chunks * px - 1 - place) * width + width - 1 - np.arange(planes)
        gives = step.walk.gives
        return _Writes(ends, before, np.pad(gives, (0, -len(gives) % px)).reshape(-1, px))

    def _drain_writes(self, begin: int) -> Collection[int]:
        """Cycles from ``begin`` on in which the drain writes to the scratchpad, as far as tiles were loaded."""
        while self.writes and self.writes[0].ends[-1] < begin:
            self.writes.popleft()
        found = [writes.cycles() for writes in self.writes]
        return {cycle for cycles in found for cycle in cycles[cycles >= begin].tolist()}

    def _costs(self, step: Step, tile: Tile) -> tuple[list[Run], int]:
        """The groups of a tile, and how many of their cycles are collisions."""
        layout, banks, layer = self.layout, self.engine.banks, step.layer
        walk, source = step.walk, step.source
        # Strips are alike where they touch the map's borders alike.
        key = (layer.name, walk.rows, walk.lead, walk.origin[0] * layer.conv.strides[0] - source.first_row,
               source.height, min(0, walk.origin[0]), max(walk.last_row, walk.conv_shape[0]))
        taps = self._cached(("in", *key), lambda: input_cycles(
            layer, walk, (source.height, source.width), source.pitch, banks, first_row=source.first_row))
        n_words = layout.residual_words(layer, tile) if step.residual else 0
        residual = None
        if step.residual:
            pitch = step.residual.pitch
            residual = self._cached(("res", *key), lambda: residual_cycles(walk, pitch, banks))
        return self._cached(("runs", n_words, tile.blocks, *key),
                            lambda: runs_of(layout, step, tile, taps, residual, n_words))

    def _words(self, step: Step, tile: Tile) -> int:
        """Words of a group, those of the residual included."""
        words = self.layout.words(step.layer, tile) * step.source.planes
        return words + (self.layout.residual_words(step.layer, tile) if step.residual else 0)

    def _cached(self, key, make):
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]
