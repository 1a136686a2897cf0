"""Rows to lane groups: a small flow problem, solved the same way for a tile, a lane and a whole layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from ..engine import GROUPS, Engine
from ..graph.ir import Conv
from ..lanes import DSP_WIDE, KINDS
from .lower import Layer

N = len(GROUPS)
DSP = GROUPS.index("dsp")


@dataclass(frozen=True, order=True)
class Kind:
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
        cheap = np.zeros(len(weight), np.int64)
        for i, group in enumerate(GROUPS):
            cheap |= KINDS[group].takes(weight).astype(np.int64) << i
        _KNOWN[conv] = cheap, cheap | DSP_WIDE.takes(weight).astype(np.int64) << DSP
    return _KNOWN[conv]


def kinds_of(layer: Layer, engine: Engine) -> list[Kind]:
    """What can run each row of the layer on this engine."""
    present = sum(1 << i for i, group in enumerate(GROUPS) if engine.rows_of(group))
    cheap, every = takers(layer.conv)
    return [Kind(int(a) & present, int(b if engine.wide else a) & present)
            for a, b in zip(cheap, every, strict=True)]


def fewest_tiles(counts: dict[int, int], caps: Sequence[int]) -> int | None:
    """Least t such that rows, counted by the groups that can run them, fit t times ``caps``; None when none does.

    Hall's theorem: for every set of groups the rows that only these can run must fit them.
    """
    tiles = 0
    for subset in range(1 << N):
        rows = sum(n for groups, n in counts.items() if groups & ~subset == 0)
        room = sum(cap for index, cap in enumerate(caps) if subset >> index & 1)
        if rows and not room:
            return None
        tiles = max(tiles, -(-rows // room) if room else 0)
    return tiles


def spread(counts: dict[Kind, int], caps: Sequence[int], tiles: int = 1) -> dict[Kind, list[int]] | None:
    """How many rows of each kind go to each group, at most ``tiles`` times its capacity; None when they do not fit.

    A flow, augmented along shortest paths.  Room grows tile by tile, so that groups fill in proportion.
    As many rows as possible go where they are cheap before any row goes to a multiplier with 8-bit weights.
    """
    flow = {kind: [0] * N for kind in sorted(counts)}
    for wide in (False, True):
        for round_ in range(1, tiles + 1):
            room = [cap * round_ - sum(used[g] for used in flow.values()) for g, cap in enumerate(caps)]
            for kind in flow:
                while left := counts[kind] - sum(flow[kind]):
                    path = _path(flow, room, kind, wide)
                    if path is None:
                        break
                    _push(flow, room, path, left)
    complete = all(sum(flow[kind]) == n for kind, n in counts.items())
    return flow if complete else None


def _path(flow: dict[Kind, list[int]], room: list[int], start: Kind, wide: bool) -> list[tuple[Kind, int]] | None:
    """Groups from ``start`` to one with room: (kind, group) steps, each kind but the first gives up its last group."""
    came: dict[int, tuple[Kind, int | None]] = {}
    queue: list[tuple[Kind, int | None]] = [(start, None)]
    for kind, source in queue:
        for group in range(N):
            if group in came or not (kind.all if wide else kind.cheap) >> group & 1:
                continue
            came[group] = (kind, source)
            if room[group] > 0:
                return _back(came, group)
            queue += [(other, group) for other, used in flow.items() if used[group]]
    return None


def _back(came: dict[int, tuple[Kind, int | None]], group: int | None) -> list[tuple[Kind, int]]:
    path = []
    while group is not None:
        kind, source = came[group]
        path.append((kind, group))
        group = source
    return path[::-1]


def _push(flow: dict[Kind, list[int]], room: list[int], path: list[tuple[Kind, int]], most: int) -> None:
    """Move as many rows as possible along the path."""
    amount = min(most, room[path[-1][1]],
                 *(flow[kind][path[i][1]] for i, (kind, _) in enumerate(path[1:])))
    room[path[-1][1]] -= amount
    for i, (kind, group) in enumerate(path):
        flow[kind][group] += amount
        if i:
            flow[kind][path[i - 1][1]] -= amount


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
