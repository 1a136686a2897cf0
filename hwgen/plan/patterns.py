"""Channels to the cells of tiles by integer programming, where a greedy choice leaves some over (cells.py)."""

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from .orders import joined

Caps = tuple[int, ...]
Sort = tuple[int, ...]
T = TypeVar("T")
MOST = 1000
"""Patterns that are looked at: of more, a random choice, of which many fit where any do."""
LARGEST = 12
"""Channels of a cell: larger ones have so many patterns that the solver seldom finds what a greedy choice did not."""
SORTS = 40
"""Of channels: with more of them, as adds of many layers have, the random choice has never held a way."""
NODES = 20
"""Of the solver's tree.  A number, not a time: the same input gives the same order."""


def fill(sorts: Sequence[Sort], cells: Sequence[tuple[Caps, int]]) -> list[list[int]] | None:
    """The channels of each cell, so that the slots take the rows of every producer; None where no way is found.

    ``sorts``: per channel the groups, as bits, that take its row of each producer; ``cells``: slots of each group,
    and how many channels a cell takes; there are as many channels as that.  What a cell takes is a pattern, a
    multiset of sorts.  Cells with the same slots are alike and so are channels of a sort: the unknowns are how
    often each pattern stands in each kind of cell.
    """
    wanted, kinds = Counter(sorts), Counter(cells)
    if len(wanted) > SORTS or max(size for _, size in kinds) > LARGEST:
        return None
    names = sorted(wanted)
    columns = _some([(kind, pattern) for kind in sorted(kinds) for pattern in _patterns(names, *kind)])
    if not columns:
        return None
    rows = np.array([[pattern.count(index) for _, pattern in columns] for index in range(len(names))]
                    + [[kind == other for other, _ in columns] for kind in sorted(kinds)], float)
    amounts = np.array([wanted[name] for name in names] + [kinds[kind] for kind in sorted(kinds)])
    found = milp(np.zeros(len(columns)), integrality=np.ones(len(columns)), bounds=Bounds(0),
                 constraints=LinearConstraint(rows, amounts, amounts), options={"node_limit": NODES})
    if found.x is None:
        return None
    times = np.rint(found.x).astype(int)
    if not np.array_equal(rows @ times, amounts):
        return None
    waiting = [[channel for channel, sort in enumerate(sorts) if sort == name][::-1] for name in names]
    chosen = {kind: [pattern for (other, pattern), n in zip(columns, times, strict=True) if other == kind
                     for _ in range(n)][::-1] for kind in kinds}
    return [[waiting[index].pop() for index in chosen[cell].pop()] for cell in cells]


def _patterns(names: list[Sort], caps: Caps, size: int) -> list[tuple[int, ...]]:
    """Multisets of ``size`` sorts, by number in ``names``, that the slots take."""
    grown: list[tuple[tuple[int, ...], tuple[Caps, ...]]] = [((), ((),) * len(names[0]))]
    for _ in range(size):
        longer = []
        for pattern, states in grown:
            for index in range(pattern[-1] if pattern else 0, len(names)):
                new = [joined(caps, state, mask) for state, mask in zip(states, names[index], strict=True)]
                taken = tuple(state for state in new if state is not None)
                if len(taken) == len(new):
                    longer.append(((*pattern, index), taken))
        grown = _some(longer)
    return [pattern for pattern, _ in grown]


def _some(items: list[T]) -> list[T]:
    """All of them, or MOST, always the same ones."""
    if len(items) <= MOST:
        return items
    return [items[index] for index in sorted(np.random.default_rng(0).choice(len(items), MOST, replace=False))]
