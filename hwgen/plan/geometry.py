"""Where the pixels of a layer's steps lie: evaluations, pixel groups, and collisions of banks."""

from dataclasses import dataclass

import numpy as np

from .lower import Layer


@dataclass(frozen=True, eq=False)
class Walk:
    """The evaluations of a layer in the order in which they are computed, ``px`` to a group."""

    cy: np.ndarray
    cx: np.ndarray
    """Position in the map before pooling, per evaluation."""
    conv_shape: tuple[int, int]
    out_shape: tuple[int, int]
    px: int

    @property
    def groups(self) -> int:
        return -(-len(self.cy) // self.px)


def pooled_shape(layer: Layer) -> tuple[int, int]:
    """Height and width of the layer's output map."""
    window = layer.window
    _, height, width = layer.conv_shape
    top, left, bottom, right = window.pads
    return ((height + top + bottom - window.kernel[0]) // window.strides[0] + 1,
            (width + left + right - window.kernel[1]) // window.strides[1] + 1)


def walk(layer: Layer, px: int) -> Walk:
    """Pooled pixels in raster order, inside each the positions of its window."""
    window = layer.window
    out_h, out_w = pooled_shape(layer)
    oy, ox, pi, pj = np.meshgrid(np.arange(out_h), np.arange(out_w), np.arange(window.kernel[0]),
                                 np.arange(window.kernel[1]), indexing="ij")
    cy = (oy * window.strides[0] - window.pads[0] + pi).ravel()
    cx = (ox * window.strides[1] - window.pads[1] + pj).ravel()
    return Walk(cy, cx, layer.conv_shape[1:], (out_h, out_w), px)


def input_cycles(layer: Layer, steps: Walk, shape: tuple[int, int], pitch: int, banks: int) -> np.ndarray:
    """Cycles of every (group, kernel position): the words in the fullest bank, at least one.

    ``shape`` is the input map's height and width, ``pitch`` its words per row.
    """
    _, _, kh, kw = layer.conv.weight.shape
    top, left = layer.conv.pads[:2]
    iy = (steps.cy * layer.conv.strides[0] - top)[:, None] + np.repeat(np.arange(kh), kw)
    ix = (steps.cx * layer.conv.strides[1] - left)[:, None] + np.tile(np.arange(kw), kh)
    inside = (iy >= 0) & (iy < shape[0]) & (ix >= 0) & (ix < shape[1])
    return _fullest(iy * pitch + ix, inside, steps, banks)


def residual_cycles(steps: Walk, pitch: int, banks: int) -> np.ndarray:
    """The same for the residual operand: cycles per group."""
    inside = (steps.cy >= 0) & (steps.cy < steps.conv_shape[0]) & (steps.cx >= 0) & (steps.cx < steps.conv_shape[1])
    return _fullest((steps.cy * pitch + steps.cx)[:, None], inside[:, None], steps, banks)[:, 0]


def _fullest(linear: np.ndarray, inside: np.ndarray, steps: Walk, banks: int) -> np.ndarray:
    missing = steps.groups * steps.px - len(linear)
    bank = np.pad(np.where(inside, linear % banks, banks), ((0, missing), (0, 0)), constant_values=banks)
    bank = bank.reshape(steps.groups, steps.px, -1)
    fullest = np.ones((steps.groups, bank.shape[2]), np.int64)
    for b in range(banks):
        np.maximum(fullest, (bank == b).sum(axis=1), out=fullest)
    return fullest
