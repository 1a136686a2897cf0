"""Rows to lane groups: a small flow problem, solved the same way for a tile, a lane and a whole layer."""

from collections.abc import Sequence
import functools
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ..engine import GROUPS, Engine
from ..graph.ir import Conv
from ..lanes import DSP_WIDE, KINDS, LaneKind
from .lower import Layer

N = len(GROUPS)
DSP = GROUPS.index("dsp")


class Kind(NamedTuple):
    """Rows that are alike for placement: the groups that can run them, as bits."""

    cheap: int
    """Without 8-bit weights on multipliers, which make a tile fetch high nibbles."""
    all: int
    """With them."""


_KNOWN: WeakKeyDictionary[Conv, tuple[np.ndarray, np.ndarray]] = WeakKeyDictionary()


def takers(conv: Conv) -> tuple[np.ndarray, np.ndarray]:
    """Per row the lane groups that can run it, as bits: with 4-bit weights on multipliers, and with 8-bit ones.

    From the integers of its weights: which scheme they were trained for does not matter.
    """
    if conv not in _KNOWN:
        weight = conv.weight.reshape(len(conv.weight), -1)
        low, high = int(weight.min()), int(weight.max())
        # A row is a set of levels: far fewer than it has weights.
        used = np.array([np.bincount(row.astype(np.int64) - low, minlength=high - low + 1) > 0 for row in weight])
        levels = np.arange(low, high + 1)[:, None]

        def takes(kind: LaneKind) -> np.ndarray:
            return (~(used & ~kind.takes(levels)).any(axis=1)).astype(np.int64)

        cheap = np.zeros(len(weight), np.int64)
        for i, group in enumerate(GROUPS):
            cheap |= takes(KINDS[group]) << i
        _KNOWN[conv] = cheap, cheap | takes(DSP_WIDE) << DSP
    return _KNOWN[conv]


def kinds_of(layer: Layer, engine: Engine) -> list[Kind]:
    """What can run each row of the layer on this engine."""
    present = sum(1 << i for i, rows in enumerate(engine.group_rows) if rows)
    cheap, every = takers(layer.conv)
    return [Kind(a & present, b & present)
            for a, b in zip(cheap.tolist(), (every if engine.wide else cheap).tolist(), strict=True)]


def fewest_tiles(counts: dict[int, int], caps: Sequence[int]) -> int | None:
    """Least t such that rows, counted by the groups that can run them, fit t times ``caps``; None when none does.

    Hall's theorem: for every set of groups the rows that only these can run must fit them.
    """
    return _fewest_tiles(tuple(sorted(counts.items())), tuple(caps))


@functools.lru_cache(maxsize=1 << 18)
def _fewest_tiles(counts: tuple[tuple[int, int], ...], caps: tuple[int, ...]) -> int | None:
    tiles = 0
    for subset in range(1 << N):
        rows = sum(n for groups, n in counts if groups & ~subset == 0)
        room = sum(cap for index, cap in enumerate(caps) if subset >> index & 1)
        if rows and not room:
            return None
        tiles = max(tiles, -(-rows // room) if room else 0)
    return tiles


def spread(counts: dict[Kind, int], caps: Sequence[int], tiles: int = 1) -> dict[Kind, list[int]] | None:
    """How many rows of each kind go to each group, at most ``tiles`` times its capacity; None when they do not fit.

    Room grows tile by tile, so that groups fill in proportion.  As many rows as possible go where they
    are cheap before any row goes to a multiplier with 8-bit weights.
    """
    kinds = sorted(counts)
    flow = _spread(tuple((kind.cheap, kind.all, counts[kind]) for kind in kinds), tuple(caps), tiles)
    return None if flow is None else dict(zip(kinds, map(list, flow), strict=True))


@functools.lru_cache(maxsize=1 << 16)
def _spread(kinds: tuple[tuple[int, int, int], ...], caps: tuple[int, ...], tiles: int
            ) -> tuple[tuple[int, ...], ...] | None:
    """The same for (cheap, all, rows) of every kind; remembered, because lanes, tiles and layers are much alike."""
    amounts, flow = [n for _, _, n in kinds], [[0] * N for _ in kinds]
    for wide in (False, True):
        limits = [[n * ((every if wide else cheap) >> g & 1) for g in range(N)] for cheap, every, n in kinds]
        for rounds in range(1, tiles + 1):
            augment(flow, amounts, limits, [cap * rounds for cap in caps])
    return tuple(map(tuple, flow)) if [sum(used) for used in flow] == amounts else None


def augment(flow: list[list[int]], amounts: Sequence[int], limits: Sequence[Sequence[int]],
            caps: Sequence[int]) -> None:
    """Enlarge a flow ``flow[source][sink]`` as far as ``limits`` of its edges and ``caps`` of the sinks allow.

    Along shortest paths (Edmonds and Karp, 1972); what a source has sent is never taken back, only sent elsewhere.
    """
    room = [cap - sum(used[sink] for used in flow) for sink, cap in enumerate(caps)]
    for source, amount in enumerate(amounts):
        while left := amount - sum(flow[source]):
            path = _path(flow, limits, room, source)
            if path is None:
                break
            _push(flow, limits, room, path, left)


def _path(flow: list[list[int]], limits: Sequence[Sequence[int]], room: list[int],
          start: int) -> list[tuple[int, int]] | None:
    """(source, sink) steps from ``start`` to a sink with room; each source but the first gives up the sink before."""
    came: dict[int, tuple[int, int | None]] = {}
    queue: list[tuple[int, int | None]] = [(start, None)]
    for source, given_up in queue:
        for sink in range(len(room)):
            if sink in came or flow[source][sink] >= limits[source][sink]:
                continue
            came[sink] = source, given_up
            if room[sink] > 0:
                return _back(came, sink)
            queue += [(other, sink) for other, used in enumerate(flow) if used[sink]]
    return None


def _back(came: dict[int, tuple[int, int | None]], end: int) -> list[tuple[int, int]]:
    path: list[tuple[int, int]] = []
    sink: int | None = end
    while sink is not None:
        source, before = came[sink]
        path.append((source, sink))
        sink = before
    return path[::-1]


def _push(flow: list[list[int]], limits: Sequence[Sequence[int]], room: list[int], path: list[tuple[int, int]],
          most: int) -> None:
    """Move as much as possible along the path."""
    taken = [(source, path[i][1]) for i, (source, _) in enumerate(path[1:])]
    amount = min(most, room[path[-1][1]], *(limits[source][sink] - flow[source][sink] for source, sink in path),
                 *(flow[source][sink] for source, sink in taken))
    for source, sink in path:
        flow[source][sink] += amount
    for source, sink in taken:
        flow[source][sink] -= amount
    room[path[-1][1]] -= amount


def deal(parts: Sequence[int], engine: Engine, positions: int) -> list[list[int]] | None:
    """How many rows of each group go to each drain lane, ``deal[group][lane]``; None when they do not fit.

    ``parts``: rows of each group.  A lane serves every D-th of ``positions``, and of each group the slots that
    are its own, which need not be as many as another lane's.
    """
    own = list(zip(*engine.lane_caps, strict=True))
    flow = [[0] * engine.drain_lanes for _ in GROUPS]
    augment(flow, parts, own, [positions // engine.drain_lanes] * engine.drain_lanes)
    return flow if [sum(used) for used in flow] == list(parts) else None


def shares(total: int, low: Sequence[int], high: Sequence[int], even: bool = True) -> list[int]:
    """``total`` split into parts within [low, high]: the same share of every range, or the largest ranges first."""
    parts, ranges = list(low), [b - a for a, b in zip(low, high, strict=True)]
    left, whole = total - sum(low), sum(ranges)
    assert 0 <= left <= whole
    if even and whole:
        parts = [a + left * size // whole for a, size in zip(low, ranges, strict=True)]
    for index in sorted(range(len(parts)), key=lambda i: -ranges[i]):
        parts[index] += min(total - sum(parts), high[index] - parts[index])
    return parts
