"""Groups of pixels as the reader steps through them: what each takes, equal ones together."""

from dataclasses import dataclass

import numpy as np

from ..engine import WORDS_IN_FLIGHT
from .layout import Layout
from .tiles import Tile
from .steps import Step


@dataclass(frozen=True)
class Run:
    """Groups of pixels that follow each other and take the same cycles."""

    groups: int
    cost: int
    """Cycles of all words of a group."""
    tail: list[int]
    """Cycles of its last words."""


def runs_of(layout: Layout, step: Step, tile: Tile, taps: np.ndarray, residual: np.ndarray | None, n_words: int
            ) -> tuple[list[Run], int]:
    """The groups of a step's tile in their order, and how many of their cycles are collisions.

    ``taps``: cycles of every (group, kernel position).  ``residual``: cycles per group of each of the ``n_words`` words
    of the residual operand, which come first.
    """
    layer, planes = step.layer, step.source.planes
    words, blocks, last = layout.words(layer, tile), tile.blocks, WORDS_IN_FLIGHT + 1
    costs = (taps.sum(axis=1) * blocks - taps[:, -1] * layer.spare_words) * planes
    tail = [taps[:, np.arange(max(0, words - last), words) // blocks]] * planes
    if residual is not None:
        costs = costs + residual * n_words
        tail = [np.repeat(residual[:, None], min(n_words, last), axis=1), *tail]
    groups = np.column_stack((costs, np.concatenate(tail, axis=1)[:, -last:]))
    begins = np.flatnonzero(np.r_[True, (groups[1:] != groups[:-1]).any(axis=1)])
    counts = np.diff(np.r_[begins, len(groups)]).tolist()
    runs = [Run(count, cost, tail) for count, (cost, *tail) in zip(counts, groups[begins].tolist(), strict=True)]
    return runs, int(costs.sum() - (words * planes + n_words) * len(costs))
