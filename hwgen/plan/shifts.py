"""Shifts as an engine stores them: ``Engine.shift_base`` below what a row's requantizer shifts by."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ..engine import SHIFT_BITS
from ..graph.ir import Requant


def base_of(rules: Iterable[Requant]) -> int:
    """The least ``shift_base`` of an engine whose stored shifts reach every S of the rules."""
    most = max((int(rule.shift.max(initial=1)) for rule in rules if rule.thresholds is None), default=1)
    return max(0, most - (1 << SHIFT_BITS))


def stored(rule: Requant, base: int) -> Requant:
    """The same function with every S above ``base``: (M, R, C, S) and (2*M, 2*R, 2*C, S + 1) give equal codes.

    Half a code doubles with them, and a tie stays a tie.  Python integers where something changes, because C has
    up to 64 bits.
    """
    lift = np.maximum(base + 1 - rule.shift, 0)
    if rule.thresholds is not None or not lift.any():
        return rule

    def lifted(values: np.ndarray) -> np.ndarray:
        return values.astype(object) << lift.astype(object)

    residual = rule.residual_multiplier
    return replace(rule, multiplier=lifted(rule.multiplier), constant=lifted(rule.constant), shift=rule.shift + lift,
                   residual_multiplier=None if residual is None else lifted(residual))
