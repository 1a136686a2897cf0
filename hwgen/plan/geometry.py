"""Where the pixels of a layer's steps lie: evaluations, pixel groups, and collisions of banks."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from .lower import Footprint, Layer, Pool

LEAST_RASTER_WIDTH = 2
"""Columns that a walk in raster order has at least: the row buffer answers and is written in two cycles."""


@dataclass(frozen=True, eq=False)
class Walk:
    """The evaluations of a layer in the order in which they are computed, ``px`` to a group.

    Two loops step over outputs (``rows`` by ``columns``) and two over what belongs to one (``inner``):
    the position before pooling is ``origin + outer * strides + inner``.  Windows are
    evaluated one after the other, or, with ``raster``, the map before pooling row by row: the inner loops then
    cover as many positions as windows advance, ending where a window ends, and the first
    ``lead`` outer steps only begin windows.
    """

    rows: int
    columns: int
    inner: tuple[int, int]
    strides: tuple[int, int]
    origin: tuple[int, int]
    conv_shape: tuple[int, int]
    """Of the map before pooling."""
    px: int
    raster: bool = False
    lead: tuple[int, int] = (0, 0)
    first_row: int = 0
    """Output row that the first outer step after ``lead`` gives."""
    begin: tuple[int, int] = (0, 0)
    """Raster: the inner position at which a window begins."""
    start: tuple[int, int] = (0, 0)
    """Raster: the inner position at which the first outer step begins."""
    ahead: tuple[int, int] = (0, 0)
    """Raster: how many outer steps later the window that begins there ends."""

    @cached_property
    def _positions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        oy, ox, pi, pj = np.ogrid[:self.rows, :self.columns, :self.inner[0], :self.inner[1]]
        gives = (pi == self.inner[0] - 1) & (pj == self.inner[1] - 1) & (oy >= self.lead[0]) & (ox >= self.lead[1])
        cy, cx = oy * self.strides[0] + pi + self.origin[0], ox * self.strides[1] + pj + self.origin[1]
        # Many walks are remembered; points stay below 2**24 (isa).
        cy, cx = cy.astype(np.int32), cx.astype(np.int32)
        cy, cx, gives = np.broadcast_arrays(cy, cx, gives)
        if not self.raster:
            return cy.ravel(), cx.ravel(), gives.ravel()
        flat = (self.rows * self.inner[0], self.columns * self.inner[1])
        cy, cx, gives = (array.transpose(0, 2, 1, 3).reshape(flat)[self.start[0]:, self.start[1]:].ravel()
                         for array in (cy, cx, gives))
        return cy, cx, gives

    @property
    def cy(self) -> np.ndarray:
        """Row in the map before pooling, per evaluation."""
        return self._positions[0]

    @property
    def cx(self) -> np.ndarray:
        return self._positions[1]

    @property
    def gives(self) -> np.ndarray:
        """Whether an evaluation gives an output: the last one of every window."""
        return self._positions[2]

    @property
    def begin_row(self) -> int:
        """First row in the map before pooling; may lie above it."""
        return self.origin[0] + self.start[0]

    @property
    def last_row(self) -> int:
        """Last row in the map before pooling."""
        return self.origin[0] + (self.rows - 1) * self.strides[0] + self.inner[0] - 1

    @property
    def out_rows(self) -> int:
        return self.rows - self.lead[0]

    def deltas(self, layer: Layer, in_pitch: int, res_pitch: int, out_pitch: int, in_row: int = 0, res_row: int = 0,
               out_row: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """How far the walker's four kinds of step lead (``isa.STEPS``), and, last, where the walk begins.

        Linear points (5, 3) in the maps of input, residual and output, whose pitches and first rows are
        given, and coordinates (5, 4): column and row in the input, column and row before pooling.
        """
        strides, pads = layer.conv.strides, layer.conv.pads
        h, w, columns = *self.inner, self.columns

        def point(oy, pi, ox, pj):
            cy, cx = self.origin[0] + oy * self.strides[0] + pi, self.origin[1] + ox * self.strides[1] + pj
            iy, ix = cy * strides[0] - pads[0] - in_row, cx * strides[1] - pads[1]
            out = (oy - self.lead[0] + self.first_row - out_row) * out_pitch + ox - self.lead[1]
            return np.array([iy * in_pitch + ix, (cy - res_row) * res_pitch + cx, out, ix, iy, cx, cy])

        # Loop counters before and after a step; a loop inside another one ends before that one steps.
        top, left = self.start
        ends = [((0, 0, 0, 0), (0, 0, 0, 1))]
        if self.raster:
            ends += [((0, 0, columns - 1, w - 1), (0, 1, 0, left)), ((0, 0, 0, w - 1), (0, 0, 1, 0))]
        else:
            ends += [((0, 0, 0, w - 1), (0, 1, 0, 0)), ((0, h - 1, 0, w - 1), (0, 0, 1, 0))]
        ends.append(((0, h - 1, columns - 1, w - 1), (1, 0, 0, left)))
        found = np.array([point(*after) - point(*before) for before, after in ends] + [point(0, top, 0, left)])
        return found[:, :3], found[:, 3:]

    @property
    def evaluations(self) -> int:
        return ((self.rows * self.inner[0] - self.start[0]) * (self.columns * self.inner[1] - self.start[1])
                if self.raster else self.rows * self.columns * self.inner[0] * self.inner[1])

    @property
    def groups(self) -> int:
        return -(-self.evaluations // self.px)


def pooled_shape(layer: Layer) -> tuple[int, int]:
    """Height and width of the layer's output map."""
    return _pooled(layer.footprint)


def _pooled(footprint: Footprint) -> tuple[int, int]:
    window, (height, width) = footprint.window, footprint.conv_shape
    top, left, bottom, right = window.pads
    return ((height + top + bottom - window.kernel[0]) // window.strides[0] + 1,
            (width + left + right - window.kernel[1]) // window.strides[1] + 1)


def walk(layer: Layer, px: int, pool_columns: int = 0, strip: tuple[int, int] | None = None) -> Walk:
    """The walk over output rows ``strip`` (first, end), or all, in the order with fewer evaluations.

    Raster order needs a row buffer of ``pool_columns`` columns.
    """
    columns = pool_columns if layer.pool else 0
    return walk_rows(layer.footprint, px, columns, *(strip or (0, pooled_shape(layer)[0])))


@lru_cache(maxsize=1 << 14)
def walk_rows(footprint: Footprint, px: int, pool_columns: int, first: int, end: int) -> Walk:
    """:func:`walk` over output rows ``first`` to before ``end``; remembered, because a search asks again and again."""
    _, out_w = _pooled(footprint)
    window, conv_shape = footprint.window, footprint.conv_shape
    origin = first * window.strides[0] - window.pads[0], -window.pads[1]
    plain = Walk(end - first, out_w, window.kernel, window.strides, origin, conv_shape, px, first_row=first)
    raster = _raster(window, first, end, out_w, conv_shape, px)
    if raster is None or raster.columns > pool_columns or raster.evaluations >= plain.evaluations:
        return plain
    return raster


def _raster(window: Pool, first: int, end: int, out_w: int, conv_shape: tuple[int, int], px: int) -> Walk | None:
    """The walk in raster order, where it is possible: maxima of windows of which three at most share a position."""
    if window.rescale is not None or any(k > 2 * s + 1 for k, s in zip(window.kernel, window.strides, strict=True)):
        return None
    leads, origins, begins, aheads, starts = [], [], [], [], []
    for k, s, pad, out in zip(window.kernel, window.strides, window.pads[:2], (first, 0), strict=True):
        # The outer step that ends window n covers the s positions up to its last one.
        start = out * s - pad
        lead = max(0, -(-(start + k - s - max(0, start)) // s))
        leads.append(lead)
        origins.append(start + k - s - lead * s)
        begins.append(-k % s)
        aheads.append((k - s + begins[-1]) // s)
        # Nothing before the first window, or before the map, needs to be met.
        starts.append(max(0, max(0, start) - origins[-1]))
    def pair(values: list[int]) -> tuple[int, int]:
        return values[0], values[1]

    result = Walk(end - first + leads[0], out_w + leads[1], window.strides, window.strides, pair(origins), conv_shape,
                  px, True, pair(leads), first, pair(begins), pair(starts), pair(aheads))
    return result if result.columns * window.strides[1] - starts[1] >= LEAST_RASTER_WIDTH else None


def input_rows(footprint: Footprint, steps: Walk, height: int) -> tuple[int, int]:
    """First row and end of the rows of the input, ``height`` in all, that a walk reads; at least one row."""
    stride, pad = footprint.strides[0], footprint.pads[0]
    first = max(0, steps.begin_row) * stride - pad
    last = min(steps.last_row, steps.conv_shape[0] - 1) * stride - pad + footprint.kernel[0] - 1
    first = min(max(0, first), height - 1)
    return first, max(first + 1, min(height, last + 1))


def residual_rows(steps: Walk) -> tuple[int, int]:
    """The same for the residual operand."""
    return max(0, steps.begin_row), min(steps.conv_shape[0], steps.last_row + 1)


def input_cycles(layer: Layer, steps: Walk, shape: tuple[int, int], pitch: int, banks: int,
                 part: slice = slice(None), first_row: int = 0) -> np.ndarray:
    """Cycles of every (group, kernel position): the words in the fullest bank, at least one.

    ``shape`` is height and width of the part of the input map that is there, ``pitch`` its
    words per row; ``part`` are the evaluations to look at, from the beginning of a group.
    ``first_row`` is the part's first row.
    """
    _, _, kh, kw = layer.conv.weight.shape
    top, left = layer.conv.pads[:2]
    iy = (steps.cy[part] * layer.conv.strides[0] - top - first_row)[:, None] + np.repeat(np.arange(kh), kw)
    ix = (steps.cx[part] * layer.conv.strides[1] - left)[:, None] + np.tile(np.arange(kw), kh)
    inside = (iy >= 0) & (iy < shape[0]) & (ix >= 0) & (ix < shape[1])
    return _fullest(iy * pitch + ix, inside, steps, banks)


def residual_cycles(steps: Walk, pitch: int, banks: int, part: slice = slice(None)) -> np.ndarray:
    """The same for the residual operand: cycles per group."""
    cy, cx = steps.cy[part], steps.cx[part]
    inside = (cy >= 0) & (cy < steps.conv_shape[0]) & (cx >= 0) & (cx < steps.conv_shape[1])
    return _fullest((cy * pitch + cx)[:, None], inside[:, None], steps, banks)[:, 0]


def _fullest(linear: np.ndarray, inside: np.ndarray, steps: Walk, banks: int) -> np.ndarray:
    missing = -len(linear) % steps.px
    bank = np.pad(np.where(inside, linear % banks, banks), ((0, missing), (0, 0)), constant_values=banks)
    bank = bank.reshape(-1, steps.px, bank.shape[1])
    fullest = np.ones((len(bank), bank.shape[2]), np.int64)
    for b in range(banks):
        np.maximum(fullest, (bank == b).sum(axis=1), out=fullest)
    return fullest
