"""The protocol of a number system: which integers a weight row may hold, and how they are stored."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from hwgen.errors import HwgenError

_UNUSED = np.iinfo(np.int64).min


def _frozen(values: Iterable[int], dtype: type) -> np.ndarray:
    array: np.ndarray = np.array(list(values), dtype=dtype)
    array.setflags(write=False)
    return array


class Scheme:
    """A finite grid of integers with one storage code per integer.

    A row of weights stands for ``alpha_r * w``, ``w`` on the grid.  All schemes are
    symmetric where a quantizer chooses (``levels``); some accept one more integer from
    imported files (``accepted``).

    Parameters
    ----------
    name: the name in model files.
    magnitudes: absolute values of the levels.
    bits: width of a storage code, at most 8.
    code: storage code of an accepted integer; injective.
    imported: further integers that are legal in a row but never chosen by :meth:`nearest`.
    """

    def __init__(self, name: str, magnitudes: Iterable[int], bits: int, code: Callable[[int], int],
                 imported: Iterable[int] = ()):
        sizes = sorted(set(magnitudes))
        levels = sorted({sign * size for size in sizes for sign in (-1, 1)})
        accepted = sorted({*levels, *imported})
        codes = [code(value) for value in accepted]
        if not 1 <= bits <= 8:
            raise ValueError(f"bits must be in 1..8, not {bits!r}")
        if len(set(codes)) != len(codes) or not all(0 <= c < 1 << bits for c in codes):
            raise ValueError(f"codes of {name!r} must be distinct and fit {bits} bits")
        self.name = name
        self.bits = bits
        self.levels = _frozen(levels, np.int64)
        """Integers that a quantizer chooses from, sorted."""
        self.accepted = _frozen(accepted, np.int64)
        """Integers that a row may hold, sorted; contains ``levels``."""
        self.max_abs = sizes[-1]
        """Largest level: the quantizer's clip in units of alpha_r.  For bounds use ``low`` and ``high``."""
        self.low = accepted[0]
        """Smallest integer that a row may hold."""
        self.high = accepted[-1]
        """Largest integer that a row may hold."""
        self.unit = 1 / self.max_abs
        """Real value of integer 1 relative to the clip (the alpha of the papers)."""
        self._codes = _frozen(codes, np.uint8)
        self._magnitudes = np.array(sizes, dtype=np.int64)
        self._midpoints = (self._magnitudes[1:] + self._magnitudes[:-1]) / 2
        self._integers = np.full(1 << bits, _UNUSED, dtype=np.int64)
        self._integers[self._codes] = self.accepted

    def __repr__(self) -> str:
        return f"Scheme({self.name!r})"

    def _position(self, ints: np.ndarray) -> np.ndarray:
        return np.minimum(np.searchsorted(self.accepted, ints), len(self.accepted) - 1)

    def contains(self, ints: ArrayLike) -> np.ndarray:
        """Whether each integer is legal in a row: bool of the shape of ``ints``."""
        values = np.asarray(ints)
        return self.accepted[self._position(values)] == values

    def encode(self, ints: ArrayLike) -> np.ndarray:
        """Storage codes, uint8 of the shape of ``ints``.  HwgenError for an integer off the grid."""
        values = np.asarray(ints)
        legal = self.contains(values)
        if not legal.all():
            raise HwgenError(f"{self.name}: weight {values[~legal].flat[0]} is not on the grid of the scheme; "
                             f"it holds {self.describe()}")
        return self._codes[self._position(values)]

    def decode(self, codes: ArrayLike) -> np.ndarray:
        """Integers, int64 of the shape of ``codes``.  HwgenError for a code that :meth:`encode` never gives."""
        values = np.asarray(codes)
        legal = (values >= 0) & (values < len(self._integers))
        result = self._integers[np.where(legal, values, 0)]
        legal &= result != _UNUSED
        if not legal.all():
            raise HwgenError(f"{self.name}: {values[~legal].flat[0]} is not a weight code; "
                             "the data was not written by this version or is damaged")
        return result

    def nearest(self, real: ArrayLike) -> np.ndarray:
        """Nearest level of each ``real`` (already divided by alpha_r), int64.

        Out-of-range values clip.  Ties go to the smaller magnitude; 0 is positive where 0 is no level.
        HwgenError for NaN.
        """
        values = np.asarray(real, dtype=np.float64)
        if np.isnan(values).any():
            raise HwgenError(f"{self.name}: cannot quantize NaN; check the weights and the scale of the row")
        size = self._magnitudes[np.searchsorted(self._midpoints, np.abs(values), side="left")]
        return np.where(values < 0, -size, size)

    def describe(self) -> str:
        """The grid in words, for messages."""
        if len(self.accepted) == self.high - self.low + 1:
            return f"{self.low}..{self.high}"
        sizes = [str(size) for size in self._magnitudes]
        return "±{" + ", ".join(sizes if len(sizes) <= 10 else [*sizes[:6], "...", sizes[-1]]) + "}"
