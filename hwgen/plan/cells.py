"""One order of channels for several producers, packed without a hole where that is possible."""

from bisect import bisect_left, insort
from collections import Counter
import functools

import numpy as np

from ..engine import Engine
from .assign import Kind, fewest_tiles
from .patterns import fill


def packed_order(kinds: list[list[Kind]], engine: Engine) -> np.ndarray | None:
    """Channels in an order in which every producer's rows fill the fewest tiles there can be; None if none is found.

    ``kinds``: per producer the kind of each channel's row.  Positions i of a tile with the same
    i mod D share a drain lane and its slots of every group: a cell.  Channels that few slots
    take come first and go to the fullest cell that takes them in every producer, so that a
    row that is hard to place here stands beside one that is hard to place there; where that leaves one over,
    an integer program looks for all of them together (patterns.py).  Without 8-bit weights on multipliers if that
    works, else with them.
    """
    # Tiles that are no whole words would leave words that come from two of them.
    if engine.rows % engine.ki:
        return None
    for masks in ([[kind.cheap for kind in rows] for rows in kinds], [[kind.all for kind in rows] for rows in kinds]):
        if all(map(all, masks)):
            order = _pack(tuple(map(tuple, masks)), engine.lane_caps)
            if order is not None:
                return np.array(order)
    return None


@functools.lru_cache(maxsize=256)
def _pack(masks: tuple[tuple[int, ...], ...], caps: tuple[tuple[int, ...], ...]) -> tuple[int, ...] | None:
    """``masks``: per producer and channel the groups, as bits; ``caps``: per drain lane the slots of each group.

    Remembered, because a search asks for engines that differ only elsewhere.
    """
    lanes, count, rows_of_tile = len(caps), len(masks[0]), sum(map(sum, caps))
    slots = [sum(groups) for groups in zip(*caps, strict=True)]
    tiles = -(-count // rows_of_tile)
    if any((fewest_tiles(Counter(rows), slots) or tiles + 1) > tiles for rows in masks):
        return None
    # Position p of the order lies in tile p // rows, lane p mod D.
    positions: list[list[int]] = [[] for _ in range(tiles * lanes)]
    for p in range(count):
        positions[p // rows_of_tile * lanes + p % lanes].append(p)
    sorts = list(zip(*masks, strict=True))
    cells = [(caps[cell % lanes], len(mine)) for cell, mine in enumerate(positions)]
    members = _greedy(sorts, cells) or fill(sorts, cells)
    if members is None:
        return None
    order = np.full(count, -1)
    for mine, channels in zip(positions, members, strict=True):
        order[mine] = channels
    return tuple(order.tolist())


def _greedy(sorts: list[tuple[int, ...]], cells: list[tuple[tuple[int, ...], int]]) -> list[list[int]] | None:
    """The channels of each cell: the hardest first, each into the fullest cell that takes it.

    ``sorts``: per channel the groups that take its row of each producer; ``cells``: slots of each group, and how many
    channels a cell takes.
    """
    room = Counter(cells)
    slots = {mask: sum(n * cap for (caps, _), n in room.items() for group, cap in enumerate(caps) if mask >> group & 1)
             for mask in {mask for sort in sorts for mask in sort}}
    hardness = [sum(1 / slots[mask] for mask in sort) for sort in sorts]
    members: list[list[int]] = [[] for _ in cells]
    # What a cell takes depends on its lane's slots and the sorts inside.  Many cells are alike: a state is a number.
    numbers: dict[tuple, int] = {}
    inside: list[tuple] = []
    known: dict[tuple, bool] = {}
    refused: dict[tuple, set[int]] = {}

    def state_of(slots: tuple[int, ...], sorts_in: tuple) -> int:
        if (slots, sorts_in) not in numbers:
            numbers[slots, sorts_in] = len(inside)
            inside.append((slots, sorts_in))
        return numbers[slots, sorts_in]

    def fits(state: int, sort: tuple[int, ...]) -> bool:
        """Whether every producer has slots for the channels of a cell and one more."""
        if (state, sort) not in known:
            slots, sorts_in = inside[state]
            rows = zip(*sorts_in, sort, strict=True)
            known[state, sort] = all((fewest_tiles(Counter(masks), slots) or 0) == 1 for masks in rows)
        return known[state, sort]

    states = [state_of(caps, ()) for caps, _ in cells]
    weights = [0.0] * len(cells)
    # Cells with an empty position, the fullest first.
    free = [(-0.0, cell) for cell, (_, size) in enumerate(cells) if size]

    def changed(cell: int) -> None:
        before = bisect_left(free, (-weights[cell], cell))
        if before < len(free) and free[before] == (-weights[cell], cell):
            del free[before]
        states[cell] = state_of(cells[cell][0], tuple(sorted(sorts[c] for c in members[cell])))
        weights[cell] = sum(hardness[c] for c in members[cell])
        if len(members[cell]) < cells[cell][1]:
            insort(free, (-weights[cell], cell))

    def put(channel: int, without: int = -1) -> bool:
        """Into the fullest cell that takes it, but one."""
        sort, best = sorts[channel], None
        full = refused.setdefault(sort, set())
        for _, cell in free:
            if states[cell] in full or cell == without:
                continue
            if fits(states[cell], sort):
                best = cell
                break
            full.add(states[cell])
        if best is not None:
            members[best].append(channel)
            changed(best)
        return best is not None

    def exchange(channel: int) -> bool:
        """Take the place of a channel that fits elsewhere."""
        for cell in range(len(cells)):
            slots, sorts_in = inside[states[cell]]
            for sort in sorted(set(sorts_in)):
                moved = next(c for c in members[cell] if sorts[c] == sort)
                at = sorts_in.index(sort)
                rest = state_of(slots, sorts_in[:at] + sorts_in[at + 1:])
                if fits(rest, sorts[channel]) and put(moved, cell):
                    members[cell][members[cell].index(moved)] = channel
                    changed(cell)
                    return True
        return False

    for channel in sorted(range(len(sorts)), key=lambda c: (-hardness[c], sorts[c], c)):
        if not put(channel) and not exchange(channel):
            return None
    return members
