"""One order of channels for several producers, word by word, where none without a hole is found (cells.py)."""

from collections import Counter
import functools

import numpy as np

from ..engine import Engine
from .assign import Kind, fewest_tiles


class Room:
    """What a tile of consecutive channels has taken so far, for every producer, drain lane by drain lane.

    The rows of a lane, each as the groups that can run it, are a state.
    """

    def __init__(self, kinds: list[list[Kind]], engine: Engine):
        self.kinds, self.lanes, self.caps = kinds, engine.drain_lanes, engine.lane_caps
        self.most = max(engine.rows, engine.ki)
        self.clear()

    def clear(self) -> None:
        self.rows = 0
        self.states: list[list[tuple[int, ...]]] = [[()] * self.lanes for _ in self.kinds]

    def fits(self, channel: int) -> bool:
        """Whether a channel fits the next position; -1, a hole, fits while there is a position."""
        if self.rows == self.most:
            return False
        lane = self.rows % self.lanes
        return channel < 0 or all(joined(self.caps[lane], states[lane], rows[channel].all) is not None
                                  for rows, states in zip(self.kinds, self.states, strict=True))

    def put(self, channel: int) -> None:
        lane = self.rows % self.lanes
        if channel >= 0:
            for rows, states in zip(self.kinds, self.states, strict=True):
                new = joined(self.caps[lane], states[lane], rows[channel].all)
                assert new is not None
                states[lane] = new
        self.rows += 1


@functools.lru_cache(maxsize=1 << 17)
def joined(caps: tuple[int, ...], state: tuple[int, ...], groups: int) -> tuple[int, ...] | None:
    """The state of a lane with one row more, or None when its slots do not take them all."""
    new = tuple(sorted((*state, groups)))
    tiles = fewest_tiles(Counter(new), caps)
    return new if tiles is not None and tiles <= 1 else None


def common_order(kinds: list[list[Kind]], engine: Engine) -> np.ndarray | None:
    """One order for several producers: word by word, within what the lanes of every producer take in a tile.

    Channels that are alike in every producer are interchangeable; of these sorts the one
    furthest behind its share comes next, which keeps every producer's tiles near its average mix.
    A word that no longer fits begins a new tile; holes (-1) only where not even an empty tile takes a whole word.
    None where the lanes take none of the rows.
    """
    sorts: dict[tuple[Kind, ...], list[int]] = {}
    for channel in range(len(kinds[0])):
        sorts.setdefault(tuple(rows[channel] for rows in kinds), []).append(channel)
    waiting = [sorts[sort] for sort in sorted(sorts)]
    taken, room = np.zeros(len(waiting), np.int64), Room(kinds, engine)
    order: list[int] = []
    left = len(kinds[0])
    while left:
        fresh = room.rows == 0
        word = _word(waiting, taken, room, min(engine.ki, left))
        if word is None and not fresh:
            room.clear()
            continue
        if word is None:
            room.clear()
            word = _word(waiting, taken, room, engine.ki, holes=True)
        if word is None:
            return None
        order += word
        left -= sum(channel >= 0 for channel in word)
    while order[-1] < 0:
        order.pop()
    return np.array(order)


def _word(waiting: list[list[int]], taken: np.ndarray, room: Room, size: int, holes: bool = False
          ) -> list[int] | None:
    """The next word of the order, or None when it does not fit what is left of the tile.

    ``waiting``: all channels sort by sort, of which the first ``taken`` stand in the order already.
    """
    word: list[int] = []
    used, done = taken.copy(), int(taken.sum())
    counts = np.array([len(channels) for channels in waiting])
    share = counts / counts.sum()
    for _ in range(size):
        behind = np.where(used < counts, share * (done + len(word) + 1) - used, -np.inf)
        sort = int(behind.argmax())
        if behind[sort] == -np.inf or not room.fits(waiting[sort][used[sort]]):
            # Nearly always the first one fits.
            ranked = (int(at) for at in np.argsort(-behind, kind="stable") if behind[at] > -np.inf)
            sort = next((at for at in ranked if room.fits(waiting[at][used[at]])), -1)
        if sort < 0 and not (holes and room.fits(-1)):
            return None
        channel = -1 if sort < 0 else waiting[sort][used[sort]]
        room.put(channel)
        word.append(channel)
        if sort >= 0:
            used[sort] += 1
    if max(word) < 0:
        return None
    taken[:] = used
    return word
