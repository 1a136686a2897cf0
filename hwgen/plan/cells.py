"""One order of channels for several producers, packed without a hole where that is possible."""

from collections import Counter
import functools

import numpy as np

from ..engine import Engine
from .assign import Kind, fewest_tiles


def packed_order(kinds: list[list[Kind]], engine: Engine) -> np.ndarray | None:
    """Channels in an order in which every producer's rows fill the fewest tiles there can be; None if none is found.

    ``kinds``: per producer the kind of each channel's row.  Positions i of a tile with the same
    i mod D share a drain lane and its slots of every group: a cell.  Channels that few slots
    take come first and go to the fullest cell that takes them in every producer, so that a
    row that is hard to place here stands beside one that is hard to place there.  Without 8-bit weights on
    multipliers if that works, else with them.
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
    slots = {mask: sum(cap for row in caps for index, cap in enumerate(row) if mask >> index & 1)
             for mask in {mask for rows in masks for mask in rows}}
    sorts = list(zip(*masks, strict=True))
    hardness = [sum(1 / slots[mask] for mask in sort) for sort in sorts]
    cells = -(-count // rows_of_tile) * lanes
    # Position p of the order lies in tile p // rows, lane p mod D.
    positions: list[list[int]] = [[] for _ in range(cells)]
    for p in range(count):
        positions[p // rows_of_tile * lanes + p % lanes].append(p)
    members: list[list[int]] = [[] for _ in range(cells)]
    # What a cell takes depends on its lane's slots and the sorts inside: its state.  Many cells are in the same one.
    states: list[tuple] = [(caps[cell % lanes], ()) for cell in range(cells)]
    weights = [0.0] * cells
    known: dict[tuple, bool] = {}

    def fits(state: tuple, sort: tuple[int, ...]) -> bool:
        """Whether every producer has slots for the channels of a cell and one more."""
        slots, inside = state
        key = slots, tuple(sorted((*inside, sort)))
        if key not in known:
            known[key] = all((fewest_tiles(Counter(rows), slots) or 0) == 1 for rows in zip(*key[1], strict=True))
        return known[key]

    def changed(cell: int) -> None:
        states[cell] = states[cell][0], tuple(sorted(sorts[c] for c in members[cell]))
        weights[cell] = sum(hardness[c] for c in members[cell])

    def put(channel: int, without: int = -1) -> bool:
        """Into the best cell but one."""
        takes: dict[tuple, bool] = {}
        best = -1
        for cell, state in enumerate(states):
            if cell == without or len(members[cell]) == len(positions[cell]) or best >= 0 and (
                    weights[cell] <= weights[best]):
                continue
            if state not in takes:
                takes[state] = fits(state, sorts[channel])
            if takes[state]:
                best = cell
        if best >= 0:
            members[best].append(channel)
            changed(best)
        return best >= 0

    def exchange(channel: int) -> bool:
        """Take the place of a channel that fits elsewhere."""
        for cell in range(cells):
            for sort in sorted({sorts[c] for c in members[cell]}):
                moved = next(c for c in members[cell] if sorts[c] == sort)
                rest = list(states[cell][1])
                rest.remove(sort)
                if fits((states[cell][0], tuple(rest)), sorts[channel]) and put(moved, cell):
                    members[cell][members[cell].index(moved)] = channel
                    changed(cell)
                    return True
        return False

    for channel in sorted(range(count), key=lambda c: (-hardness[c], sorts[c], c)):
        if not put(channel) and not exchange(channel):
            return None
    order = np.full(count, -1)
    for cell in range(cells):
        order[positions[cell]] = members[cell]
    return tuple(order.tolist())
