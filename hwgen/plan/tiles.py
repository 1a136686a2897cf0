"""Tiles: which rows of a layer are computed together, in the order that an add asks for or in any."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..engine import GROUPS, Engine
from .assign import DSP, N, Kind, deal, fewest_tiles, shares, spread
from .lower import Layer
from .orders import Room


class Unplaceable(Exception):
    """The engine's lane groups cannot run a layer's rows in the order that an add asks for."""


@dataclass(frozen=True, eq=False)
class Tile:
    """Rows that are computed together: ``rows[i]`` is the row at position i (-1: none), ``slots[i]`` its slot."""

    rows: np.ndarray
    slots: np.ndarray
    fetched: tuple[int, ...]
    """Per lane group the leading slots whose weights are fetched."""
    wide: bool
    """A weight on the multiplier lanes does not fit 4 bits."""
    first_block: int = 0
    """Of the input's channel blocks the first one that the rows read."""
    blocks: int = 1
    """Channel blocks from there on to the last one that they read."""

    def chunks(self, lanes: int) -> int:
        return len(self.rows) // lanes

    def beats(self, engine: Engine) -> dict[str, int]:
        """Memory words that one of its ring words has of each kind."""
        beats = {group: engine.slices(group, rows) for group, rows in zip(GROUPS, self.fetched, strict=True)}
        return beats | {"high": beats["dsp"] if self.wide else 0}


def describe_rows(engine: Engine) -> str:
    """The lane groups in words."""
    return " + ".join(f"{engine.rows_of(group)} {group}" for group in GROUPS if engine.rows_of(group)) + " rows"


# Layers whose rows may stand in any order


def free_tiles(layer: Layer, kinds: list[Kind], engine: Engine, ranks: np.ndarray | None) -> list[Tile]:
    """The fewest tiles: every tile but the last holds whole words of ki channels.

    Rows are first spread over the groups for all tiles together, so that no group has more than
    the tiles can take; then each tile takes what must not wait and a fair share of the rest.
    With ``ranks`` rows of a low rank go to the first tiles.
    """
    caps = list(engine.group_rows)
    counts = Counter(kinds)
    by_mask: Counter[int] = Counter()
    for kind, n in counts.items():
        by_mask[kind.all] += n
    least = fewest_tiles(by_mask, caps)
    assert least is not None, "rows that no group takes were refused before"
    count = least
    while True:
        flow = spread(counts, caps, count)
        totals = [sum(used[g] for used in flow.values()) for g in range(N)] if flow else []
        plan = flow and next(filter(None, (_tile_shares(totals, caps, count, engine, even)
                                           for even in (True, False))), None)
        if flow and plan:
            break
        count += 1
        # What has not divided by then does not with more tiles either, and would be slow.
        if count > 4 * least + 16:
            raise Unplaceable(f"layer {layer.name!r}: {describe_rows(engine)} do not divide into {engine.drain_lanes} "
                              "drain lanes in a way that its rows could use")
    waiting: list[list[int]] = [[] for _ in range(N)]
    rows_of = {kind: [row for row, other in enumerate(kinds) if other == kind] for kind in flow}
    # Rows with 8-bit weights come first, so that few tiles fetch high nibbles.
    for kind in sorted(flow, key=lambda kind: (kind.cheap >> DSP & 1, kind)):
        rows = iter(rows_of[kind])
        for group in range(N):
            waiting[group] += [next(rows) for _ in range(flow[kind][group])]
    if ranks is not None:
        waiting = _by_rank(rows_of, flow, ranks)
    tiles = []
    for index, parts in enumerate(plan):
        chosen = [group[:part] for group, part in zip(waiting, parts, strict=True)]
        waiting = [group[part:] for group, part in zip(waiting, parts, strict=True)]
        positions = _positions(sum(parts), engine, last=index == len(plan) - 1)
        tiles.append(_tile(layer, _in_lanes(chosen, positions, engine), kinds, engine))
    return tiles


def _by_rank(rows_of: dict[Kind, list[int]], flow: dict[Kind, list[int]], ranks: np.ndarray) -> list[list[int]]:
    """Rows of each group by their ranks: of every kind, each group gets its share of the low ones."""
    waiting: list[list[int]] = [[] for _ in range(N)]
    for kind, rows in rows_of.items():
        taken = [0] * N
        for count, row in enumerate(sorted(rows, key=lambda row: (ranks[row], row)), 1):
            group = max((g for g in range(N) if taken[g] < flow[kind][g]),
                        key=lambda g: flow[kind][g] * count / len(rows) - taken[g])
            taken[group] += 1
            waiting[group].append(row)
    return [sorted(rows, key=lambda row: (ranks[row], row)) for rows in waiting]


def _positions(rows: int, engine: Engine, last: bool) -> int:
    """Positions of a tile: whole words in all but the last, whole chunks there."""
    return rows + -rows % (engine.drain_lanes if last else engine.ki)


def _in_lanes(groups: list[list[int]], positions: int, engine: Engine) -> np.ndarray:
    """Rows in the order of positions, each at a drain lane that has a slot of its group; holes last."""
    dealt = deal([len(rows) for rows in groups], engine, positions)
    assert dealt is not None, "tiles are planned with this in mind"
    result = np.full(positions, -1)
    for lane in range(engine.drain_lanes):
        mine = [rows.pop(0) for rows, n in zip(groups, (parts[lane] for parts in dealt), strict=True) for _ in range(n)]
        result[lane::engine.drain_lanes][:len(mine)] = mine
    return result


def _tile_shares(totals: list[int], caps: list[int], count: int, engine: Engine, even: bool) -> list[list[int]] | None:
    """Rows per tile and group, or None when ``count`` tiles are too few for whole words in all but the last."""
    plan, left = [], list(totals)
    for index in range(count):
        later = count - 1 - index
        high = [min(cap, n) for cap, n in zip(caps, left, strict=True)]
        low = [max(0, n - later * cap) for cap, n in zip(caps, left, strict=True)]
        if any(a > b for a, b in zip(low, high, strict=True)):
            return None
        most = sum(high)
        if later and most >= engine.ki:
            most -= most % engine.ki
            if most < sum(low):
                return None
        parts = shares(most, low, high, even)
        if deal(parts, engine, _positions(most, engine, last=parts == left)) is None:
            return None
        plan.append(parts)
        left = [n - part for n, part in zip(left, parts, strict=True)]
        if not any(left):
            break
    return None if any(left) else plan


# Layers that share an order


def tiles_in_order(layer: Layer, order: np.ndarray, kinds: list[Kind], engine: Engine) -> list[Tile]:
    """Consecutive words of the given order, as many per tile as the lane groups take."""
    padded = np.concatenate([order, np.full(-len(order) % engine.drain_lanes, -1)])
    room = Room([kinds], engine)
    begin, tiles = 0, []
    while begin < len(padded):
        room.clear()
        end = begin
        for position in range(begin, len(padded)):
            if not room.fits(padded[position]):
                break
            room.put(padded[position])
            if (position + 1 - begin) % engine.ki == 0 or position + 1 == len(padded):
                end = position + 1
        if end == begin:
            raise Unplaceable(f"layer {layer.name!r}: {describe_rows(engine)} are too few for the order of channels "
                              "that a residual asks for")
        tiles.append(_tile(layer, padded[begin:end], kinds, engine))
        begin = end
    return tiles


def _tile(layer: Layer, rows: np.ndarray, kinds: list[Kind], engine: Engine) -> Tile:
    """Slots for the rows of a tile: position i takes a slot of drain lane i mod D."""
    lanes = engine.drain_lanes
    slots = np.zeros(len(rows), np.int64)
    fetched, on_dsp = [0] * N, list[int]()
    firsts = [engine.first_slot(group) for group in GROUPS]
    for lane in range(lanes):
        positions = [i for i in range(lane, len(rows), lanes) if rows[i] >= 0]
        flow = spread(Counter(kinds[rows[i]] for i in positions), engine.lane_caps[lane])
        assert flow is not None, f"layer {layer.name!r}: a tile that does not fit its lanes"
        free = [first + (lane - first) % lanes for first in firsts]
        for i in positions:
            parts = flow[kinds[rows[i]]]
            group = next(g for g in range(N) if parts[g])
            parts[group] -= 1
            slots[i] = free[group]
            free[group] += lanes
            fetched[group] = max(fetched[group], int(slots[i]) - firsts[group] + 1)
            if group == DSP:
                on_dsp.append(int(rows[i]))
    return Tile(rows, slots, tuple(fetched), any(not kinds[row].cheap >> DSP & 1 for row in on_dsp))
