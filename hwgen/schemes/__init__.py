"""Number systems of weight rows: a registry, and which of them hold given integers.

A scheme says which integers a row may hold; which lanes can compute it is the planner's business.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from hwgen.errors import HwgenError
from hwgen.schemes.base import Scheme
from hwgen.schemes.binary import BINARY
from hwgen.schemes.fixed import fixed as _fixed
from hwgen.schemes.pot import pot as _pot
from hwgen.schemes.sp2 import sp2 as _sp2

__all__ = ["DISCOVERY_ORDER", "NAMES", "Scheme", "discover", "get", "quant_bits", "runs_as", "signed_bits", "values_of"]

_ALL = (BINARY, _sp2(4), _fixed(4), _pot(4), _fixed(8), *(_sp2(m) for m in (3, 5, 6, 7, 8)),
        *(_fixed(m) for m in (2, 3, 5, 6, 7)), _pot(3))
_BY_NAME = {scheme.name: scheme for scheme in _ALL}

NAMES = tuple(_BY_NAME)
"""Every scheme; the first five are those the hardware runs.  Rows of the others run as one of the five."""

DISCOVERY_ORDER = NAMES[:5]
"""From the most special grid to the most general: the first that holds a row is the cheapest to run.

The order is fixed, so a row that several grids hold is always given the same one: {-1, 0, 1} is sp2,
{-1, 1} is binary, {3} is fixed4, {16} is pot4, {9} is fixed8.
"""


def get(name: str) -> Scheme:
    """The scheme of that name.  HwgenError if there is none."""
    if name not in _BY_NAME:
        raise HwgenError(f"unknown weight scheme {name!r}; known are {', '.join(NAMES)}")
    return _BY_NAME[name]


def discover(row: ArrayLike) -> tuple[str, ...]:
    """Names of the hardware's schemes that hold every integer of ``row`` (any shape), in DISCOVERY_ORDER.

    Empty if none does, or if the row is empty.
    """
    values = np.unique(np.asarray(row))
    return tuple(name for name in DISCOVERY_ORDER if values.size and _BY_NAME[name].contains(values).all())


def runs_as(name: str) -> str | None:
    """The hardware's scheme that rows of scheme ``name`` run as: itself, or the first that holds its grid, if any.

    fixed2, fixed3, pot3 and sp2m3 are parts of sp2 or fixed4; fixed5 to fixed7 and sp2m5 run as fixed8; SP2 of more
    bits has levels beyond all lanes.
    """
    if name in DISCOVERY_ORDER:
        return name
    return next(iter(discover(get(name).levels)), None)


def values_of(rows: np.ndarray) -> list[np.ndarray]:
    """The distinct integers of every row (first axis), sorted, int64: in one pass where the rows are int8."""
    flat = rows.reshape(len(rows), -1)
    if flat.dtype != np.int8:
        return [np.unique(row) for row in flat]
    found = []
    for row in np.ascontiguousarray(flat).view(np.uint8):
        seen = np.zeros(256, dtype=bool)
        seen[row] = True
        # From -128: negative integers are stored as 128 to 255.
        found.append(np.flatnonzero(np.roll(seen, 128)) - 128)
    return found


def signed_bits(low: int, high: int) -> int:
    """Smallest two's complement width that holds every integer of [low, high]."""
    return 1 + max(bound.bit_length() if bound >= 0 else (~bound).bit_length() for bound in (int(low), int(high)))


def quant_bits(rows: Iterable[str] | np.ndarray) -> int:
    """Smallest signed integer width that holds all of ``rows``: scheme names (their whole grids) or integers.

    At least 2, the smallest width that has both signs in the QONNX dialect.
    """
    if isinstance(rows, str):
        rows = (rows,)
    items = list(np.ravel(rows)) if isinstance(rows, np.ndarray) else list(rows)
    if not items:
        raise HwgenError("cannot choose a weight width for no rows; the weight tensor is empty")
    if isinstance(items[0], str):
        bounds = [bound for name in set(items) for bound in (get(name).low, get(name).high)]
    else:
        values = np.asarray(items)
        bounds = [int(values.min()), int(values.max())]
    return max(2, signed_bits(min(bounds), max(bounds)))
