"""The integer network: frozen operations over unsigned codes.

Every tensor is a map of shape (channels, height, width) of unsigned codes; a flat
vector is a map of height 1 and width 1.  Flatten is not an operation: a linear layer
reads a whole map, so its weight has the map's height and width as kernel.

Arrays are numpy integers (weights may be int8) and read-only by convention.  All arithmetic is exact; the
formulas are in docs/numerics.md and are executed by :mod:`hwgen.golden`.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hwgen.graph.groups import sparse_pairs

ROUNDINGS = ("half_up", "half_even", "floor")
MAX_SHIFT, MAX_RESCALE_SHIFT = 48, 32
"""S of a Requant and of a Rescale at most."""


@dataclass(frozen=True)
class Tensor:
    """One activation map.

    A code ``q`` in [0, 2**bits - 1] stands for the real value
    ``scale * (q - zero_point)``.
    """

    name: str
    shape: tuple[int, int, int]
    """(channels, height, width)."""
    bits: int
    scale: float = 1.0
    zero_point: int = 0


@dataclass(frozen=True, eq=False)
class Requant:
    """From an accumulator to a code, row by row.

    ``q = clamp(zero_point + round((acc*M + res*R + C) / 2**S), low, high)``, or, with
    thresholds, ``q = low + #{k : v >= thresholds[row, k]}`` where ``v`` is ``acc``, or
    ``-acc - 1`` in the rows marked in ``negate``.  With ``wrap`` it is the low eight bits, ``q = round(...) mod 256``:
    a digit of a result that is wider than a code.
    """

    multiplier: np.ndarray
    """M, signed, shape (rows,)."""
    constant: np.ndarray
    """C, signed, shape (rows,); bias and zero-point terms are in it."""
    shift: np.ndarray
    """S, at least 1, shape (rows,)."""
    rounding: str = "half_up"
    zero_point: int = 0
    low: int = 0
    high: int = 15
    residual_multiplier: np.ndarray | None = None
    """R, signed, shape (rows,), for a fused residual."""
    thresholds: np.ndarray | None = None
    """Sorted, shape (rows, high - low); replaces M, C, S when present."""
    negate: np.ndarray | None = None
    """bool, shape (rows,); only with thresholds: the step function falls with acc."""
    wrap: bool = False
    """Codes of 8 bits are not clamped but wrap around; zero point and ``low`` are 0, ``high`` is 255."""
    proven: int = 0
    """Rows shown equal to the network they came from on every accumulator."""
    worst: int = 0
    """Largest difference in codes over the rows that are not proven."""


@dataclass(frozen=True, eq=False)
class Conv:
    """Convolution, and linear layers as a convolution with the whole map as kernel.

    acc[r, y, x] = sum over c, i, j of weight[r, c, i, j] * q[first + c, y*sy+i-top, x*sx+j-left]
    with padding equal to the input's zero point.  ``first`` is 0 without groups; with ``groups`` rows and
    input channels are divided into so many equal parts, and a row reads the channels of its own part only:
    first = r // (rows / groups) * channels.  Depthwise is groups == input channels.
    """

    name: str
    input: str
    output: str
    weight: np.ndarray
    """(rows, channels of a group, kernel height, kernel width)."""
    schemes: tuple[str, ...]
    """One scheme name per row."""
    row_scales: np.ndarray
    """alpha, the real value of integer 1, per row, float64."""
    requant: Requant
    strides: tuple[int, int] = (1, 1)
    """(vertical, horizontal)."""
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """(top, left, bottom, right)."""
    residual: str | None = None
    """Tensor of the output's shape that joins before the one rounding (fused)."""
    groups: int = 1
    """Equal parts of rows and of input channels; 1 is an ordinary convolution."""

    @cached_property
    def sparse(self) -> np.ndarray | None:
        """Where rows have weights, if few have (:func:`hwgen.graph.groups.sparse_pairs`)."""
        return sparse_pairs(self.weight, self.groups)


@dataclass(frozen=True)
class MaxPool:
    """Largest code of each window; padding never wins (it counts as code 0)."""

    name: str
    input: str
    output: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class Rescale:
    """``q = clamp(zero_point + round((x*A + y*B + C) / 2**S), low, high)``, one per tensor."""

    a: int
    constant: int
    shift: int
    b: int = 0
    rounding: str = "half_up"
    zero_point: int = 0
    low: int = 0
    high: int = 15
    proven: bool = False


@dataclass(frozen=True)
class AvgPool:
    """Sum of the window's codes, then ``rescale`` (``x`` is the sum).

    Padding counts with the input's zero point (``count_include_pad``).
    """

    name: str
    input: str
    output: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    rescale: Rescale
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class Add:
    """Two-step residual: ``x`` from ``input``, ``y`` from ``other``, through ``rescale``."""

    name: str
    input: str
    other: str
    output: str
    rescale: Rescale


Op = Conv | MaxPool | AvgPool | Add


@dataclass(frozen=True, eq=False)
class Graph:
    """A network: tensors by name and operations in execution order."""

    name: str
    tensors: dict[str, Tensor]
    ops: tuple[Op, ...]
    input: str
    outputs: tuple[str, ...]
    metadata: dict[str, str] = field(default_factory=dict)
