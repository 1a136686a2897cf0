"""Steps: every layer as one LAYER command or several, each on a strip of output rows, and what is fetched when.

A map stays in the scratchpad from the step that makes it to the last one that reads it, or
it goes to memory and its readers fetch it in strips; so does the network's input.  Or, if that costs less, it is
never there as a whole: its layer and the next one run strip by strip in turn (chains.py).  A strip is fetched while
the step before computes, into a place that was free by then, as far as the scratchpad has room.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..engine import Engine
from .chains import Load, can_chain, chains_of, cost, tallest, walks_of
from .geometry import Walk
from .heights import Heights, Operand, Rates, options
from .lower import Layer, Network
from .memory import Life, Region, first_fit
from .residence import Residence
from .tiles import Unplaceable
from .steps import Fetch, Schedule, Step, distribute, pieces_of

SHRINK, LEAST_SHARE = 0.9, 0.25
"""Strips get lower in steps, of the share of the free scratchpad that they may take, down to the least."""


def schedule(network: Network, engine: Engine, maps: dict[str, Region], loads: dict[str, Load]) -> Schedule:
    """The fewest words to and from memory that ``engine.scratch_depth`` words per bank allow, about.

    Raises Unplaceable when a layer does not fit strip by strip.
    """
    planner = _Planner(network, engine, maps, loads)
    while True:
        try:
            return planner.attempt()
        except _Full as full:
            planner.evict(full)


class _Full(Exception):
    """The scratchpad is too small: at the steps of layer ``index``, ``missing`` words per bank."""

    def __init__(self, index: int, missing: int):
        super().__init__()
        self.index, self.missing = index, missing


class _Planned(NamedTuple):
    """A step without its place."""

    layer: Layer
    number: int
    """Of the layer."""
    walk: Walk
    ahead: bool
    """Its strip is fetched during the step before."""


@dataclass(frozen=True, eq=False)
class _Placed:
    """One attempt."""

    plans: list[_Planned]
    parts: list[dict[str, Region]]
    """Per step the strips that it reads."""
    lives: list[Life]
    bases: dict[Hashable, int]
    last_step: dict[int, int]
    """Per layer."""

    @property
    def depth(self) -> int:
        """Words per bank that are used."""
        return max(self.bases[life.key] + life.size for life in self.lives)


class _Planner:
    def __init__(self, network: Network, engine: Engine, maps: dict[str, Region], loads: dict[str, Load]):
        self.network, self.engine, self.maps, self.loads = network, engine, maps, loads
        self.layers = network.layers
        self.limit = engine.scratch_depth
        self.where = Residence(network, maps)
        self.known: dict[tuple, list[tuple[Walk, dict[str, Region]]]] = {}
        """Strips that were tried."""
        self.held: list[int] = []
        """Words per bank of whole maps, by layer, in the current attempt."""

    # Which tensors go to memory.

    def evict(self, full: _Full) -> None:
        """Send one more tensor to memory, or chain the layers around it: what frees enough for the fewest cycles."""
        def frees(name: str) -> int:
            return min(self.maps[name].size, max(1, full.missing))

        def moved(name: str) -> tuple:
            words = self.maps[name].size * (len(self.where.read[name]) + (self.where.made[name] >= 0))
            return words / frees(name), name

        def again(name: str) -> tuple:
            # A word per bank that is moved takes a cycle for every two banks.
            number = -(-4 * self.maps[name].size // self.limit)
            cycles = cost(self.layers, self.where.made[name], self.maps, self.loads, self.engine, number)
            return cycles * 2 / self.engine.banks / frees(name), name

        ways = [(moved(name), self.where.spilled, name) for name in self.where.live(full.index) if self._storable(name)]
        ways += [(again(name), self.where.chained, name) for name in self.where.live(full.index)
                 if can_chain(self.network, name, self.where.made, self.where.read)]
        if ways:
            _, where, name = min(ways, key=lambda way: way[0])
            where.add(name)
            return
        # Nothing more to free: layers that do not fit together run one after the other.
        chain = next(chain for chain in chains_of(self.layers, self.where.chained) if full.index in chain)
        between = [name for name in (self.layers[index].output for index in chain[:-1]) if self._storable(name)]
        if not between:
            layer = self.layers[full.index]
            raise Unplaceable(f"layer {layer.name!r}: one strip of its maps needs {self.limit + full.missing:,} words "
                              f"per scratchpad bank, {self.limit:,} are there")
        self.where.chained.remove(between[0])
        self.where.spilled.add(between[0])

    def _storable(self, name: str) -> bool:
        return self.where.made[name] < 0 or self.loads[self.layers[self.where.made[name]].name].storable

    # One attempt.

    def attempt(self) -> Schedule:
        """The steps for what is in memory now.  Raises _Full."""
        self.held = self.where.held()
        shares = [1.0] * len(self.layers)
        chains = chains_of(self.layers, self.where.chained)
        heights = {chain[-1]: self._height(chain) for chain in chains}
        early = set(range(len(self.layers)))
        while True:
            placed = self._place(chains, heights, early)
            if placed.depth <= self.limit:
                return self._steps(placed)
            tight = self._cramped(placed)
            cramped = {chain[-1] for chain in chains if not tight.isdisjoint(chain)}
            # Where it is too tight: first strips later, then lower strips.
            later = cramped & early
            early -= {index for chain in chains if chain[-1] in later for index in chain}
            lower = [index for index in sorted(cramped) if shares[index] > LEAST_SHARE] if not later else []
            if not later and not lower:
                busiest = max(range(len(self.layers)), key=self.held.__getitem__)
                raise _Full(busiest, placed.depth - self.limit)
            for index in lower:
                shares[index] *= SHRINK
                chain = next(chain for chain in chains if chain[-1] == index)
                heights[index] = self._height(chain, shares[index])

    def _strip(self, chain: range, strip: tuple[int, int]) -> list[tuple[Walk, dict[str, Region]]]:
        """Of some of a chain's output rows: per layer its walk, and the rows that it reads of streamed maps.

        Remembered: the same strips are tried again whenever another map goes to memory.
        """
        layers = [self.layers[index] for index in chain]
        key = chain, strip, tuple(tuple(self.where.streams(layer)) for layer in layers)
        if key not in self.known:
            self.known[key] = [(steps, self._parts(layer, steps)) for layer, steps in zip(
                layers, walks_of(layers, strip, self.maps, self.engine), strict=True)]
        return self.known[key]

    def _operand(self, layer: Layer, name: str) -> Operand:
        region = self.maps[name]
        return Operand(name == layer.input, name == layer.residual, region.height, region.pitch,
                       region.blocks * region.planes)

    def _parts(self, layer: Layer, steps: Walk) -> dict[str, Region]:
        """Rows of the streamed operands that a strip reads."""
        return {name: self.maps[name].rows(*self._operand(layer, name).rows(layer.footprint, steps), self.engine.banks)
                for name in self.where.streams(layer)}

    def _height(self, chain: range, share: float = 1.0) -> Heights:
        """Strips of a chain's last layer; one layer alone is a chain of one.

        ``share`` is the part of the free scratchpad that strips may take.
        """
        index, layer = chain[-1], self.layers[chain[-1]]
        if len(chain) > 1:
            return self._chain_height(chain, share)
        rows = self.network.tensors[layer.output].shape[1]
        room = self.limit - self.held[index]
        # An output that is only in memory is addressed from its strip's first row.
        tallest = rows
        if layer.output in self.where.spilled:
            tallest = min(rows, self.limit * self.engine.banks // self.maps[layer.output].pitch)
        if room < 0 or tallest < 1:
            raise _Full(index, -room)
        streams = self.where.streams(layer)
        if not streams and tallest == rows:
            return Heights(rows, rows, True)
        engine = self.engine
        rates = Rates(engine.px, engine.pool_columns if layer.pool else 0, engine.banks, engine.fetch_words,
                      self.loads[layer.name].group_cycles)
        found = options(layer.footprint, rows, tallest, tuple(self._operand(layer, name) for name in streams), rates)
        fitting = [option for option in found if option.room <= room * share]
        if not fitting:
            raise _Full(index, min(option.room for option in found) - room)
        return min(fitting, key=lambda option: option.cycles).heights

    def _chain_height(self, chain: range, share: float) -> Heights:
        layers = [self.layers[index] for index in chain]
        room = self.limit - max(self.held[index] for index in chain)
        output = layers[-1].output
        most = rows = self.network.tensors[output].shape[1]
        if output in self.where.spilled:
            most = min(most, self.limit * self.engine.banks // self.maps[output].pitch)
        heights = tallest(rows, room * share, lambda strip: [
            sum(part.size for part in parts.values()) for _, parts in self._strip(chain, strip)])
        if heights is None or most < 1:
            raise _Full(chain[-1], max(1, -room))
        return Heights(min(heights.first, most), min(heights.others, most), heights.double)

    def _place(self, chains: list[range], heights: dict[int, Heights], early: set[int]) -> "_Placed":
        """Places for all maps and strips; ``early``: layers whose first strip is fetched during the layer before."""
        plans, parts = [], []
        for chain in chains:
            choice, rows = heights[chain[-1]], self.network.tensors[self.layers[chain[-1]].output].shape[1]
            for number, strip in enumerate(choice.strips(rows)):
                for index, (steps, read) in zip(chain, self._strip(chain, strip), strict=True):
                    plans.append(_Planned(self.layers[index], index, steps,
                                          choice.double and (index in early or number > 0)))
                    parts.append(read)
        first_step = {-1: -1}
        last_step = {-1: -1}
        for at, plan in enumerate(plans):
            first_step.setdefault(plan.number, at)
            last_step[plan.number] = at
        away = self.where.away
        lives = [Life(name, self.maps[name].size, first_step[made], last_step[self.where.last_read[name]])
                 for name, made in self.where.made.items() if name not in away]
        for at, plan in enumerate(plans):
            lives += [Life((at, name), part.size, at - (plan.ahead or name in self.where.chained), at)
                      for name, part in parts[at].items()]
        return _Placed(plans, parts, lives, first_fit(lives), last_step)

    def _cramped(self, placed: "_Placed") -> set[int]:
        """The layers whose strips are alive where the scratchpad is too small."""
        over = [life for life in placed.lives if placed.bases[life.key] + life.size > self.limit]
        return {plan.number for at, plan in enumerate(placed.plans) if placed.parts[at]
                and any(life.begin <= at and at - plan.ahead <= life.end for life in over)}

    # From places to steps.

    def _steps(self, placed: "_Placed") -> Schedule:
        network, maps, bases, parts = self.network, self.maps, placed.bases, placed.parts
        regions = {name: replace(region, base=bases.get(name, 0)) for name, region in maps.items()}
        stored = set(network.graph.outputs) | (self.where.spilled - {network.graph.input})
        steps: list[Step] = []
        fetches: list[list[list[Fetch]]] = []
        for at, plan in enumerate(placed.plans):
            layer = plan.layer
            local = {name: replace(part, base=bases[at, name]) for name, part in parts[at].items()}
            target, keep = regions[layer.output], layer.output not in self.where.spilled
            if layer.output in self.where.chained:
                target = replace(parts[at + 1][layer.output], base=bases[at + 1, layer.output])
            elif not keep:
                target = replace(target, first_row=plan.walk.first_row)
            steps.append(Step(layer, plan.walk, local.get(layer.input, regions[layer.input]),
                              local.get(layer.residual, regions[layer.residual]) if layer.residual else None, target,
                              keep, layer.output in stored))
            fetches.append([[] for _ in range(1 + self.loads[layer.name].tiles)])
        life_of = {life.key: life for life in placed.lives}
        begins, ends, bottoms, tops = np.array([(life.begin, life.end, bases[life.key], bases[life.key] + life.size)
                                                for life in placed.lives]).T
        wanted: list[tuple[int, str, Region, Hashable]] = [(at, name, part, (at, name)) for at in range(len(parts))
                                                           for name, part in parts[at].items()
                                                           if name not in self.where.chained]
        if network.graph.input not in self.where.spilled:
            wanted.insert(0, (0, network.graph.input, regions[network.graph.input], network.graph.input))
        for at, name, part, key in wanted:
            # What lay here before must have been used, and what is fetched must have been written.
            life, base = life_of[key], bases[key]
            before = ends[(ends < at) & ((ends < life.begin) | (begins > life.end)) & (bottoms < base + life.size)
                          & (base < tops)]
            wait = 1 + max(placed.last_step[self.where.made[name]], int(before.max(initial=-1)))
            pieces = pieces_of(name, maps[name], replace(part, base=bases[key]), self.engine.banks, wait)
            distribute(pieces, at, wait, fetches)
        done = tuple(replace(step, fetches=tuple(tuple(place) for place in places))
                     for step, places in zip(steps, fetches, strict=True))
        return Schedule(done, regions, frozenset(set(maps) - self.where.spilled - self.where.chained),
                        (network.graph.input, *(layer.output for layer in self.layers if layer.output in stored)),
                        placed.depth)
