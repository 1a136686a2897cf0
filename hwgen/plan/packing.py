"""The first layer's input: kernel rows and columns that the host lays side by side as channels.

A word holds ``ki`` channels, an image has three: most of each word would be empty.  Along each axis
the host may leave the map as it is, put the ``stride`` positions of one step side by side (no code is
stored twice, the kernel becomes ``ceil(k / stride)`` positions), or all ``k`` positions of the kernel.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ..graph.ir import Graph, Tensor

if TYPE_CHECKING:
    from .lower import Layer


@dataclass(frozen=True)
class InputPacking:
    """Channel ``(i, j, c)`` at (y, x) is code ``c`` at ``(y*steps[0] + i - pads[0], x*steps[1] + j - pads[1])``."""

    side: tuple[int, int]
    """Kernel rows and columns that lie side by side."""
    steps: tuple[int, int]
    pads: tuple[int, int]
    shape: tuple[int, int]
    """Of the packed map."""


@dataclass(frozen=True, eq=False)
class Packed:
    layers: list["Layer"]
    tensors: dict[str, Tensor]
    packing: InputPacking | None


@dataclass(frozen=True)
class _Axis:
    """One axis of the first layer after packing."""

    side: int
    positions: int
    """Kernel size of the packed layer."""
    step: int
    pads: tuple[int, int]
    stride: int
    size: int
    host_pad: int


def _choices(kernel: int, stride: int, pads: tuple[int, int], size: int, out: int) -> Iterator[_Axis]:
    yield _Axis(1, kernel, 1, pads, stride, size, 0)
    if 1 < stride < kernel:
        positions = -(-kernel // stride)
        yield _Axis(stride, positions, stride, (0, 0), 1, out + positions - 1, pads[0])
    if kernel > 1:
        yield _Axis(kernel, 1, stride, (0, 0), 1, out, pads[0])


def pack_input(graph: Graph, layers: list["Layer"], ki: int, px: int, slots: int) -> Packed:
    """Layers and tensors with the packing that takes the fewest cycles, computing and fetching at the same time."""
    tensors = dict(graph.tensors)
    readers = [i for i, layer in enumerate(layers) if graph.input in (layer.input, layer.residual)]
    first = layers[readers[0]] if readers else None
    # Channels that lie side by side are of one group only where there is one.
    if (first is None or len(readers) != 1 or first.conv.groups > 1 or first.residual == graph.input
            or graph.input in graph.outputs):
        return Packed(layers, tensors, None)
    conv, (channels, height, width) = first.conv, tensors[graph.input].shape
    kh, kw = conv.weight.shape[2:]
    top, left, bottom, right = conv.pads
    _, out_h, out_w = first.conv_shape
    planes = 2 if tensors[graph.input].bits > 4 else 1

    def cost(axes: tuple[_Axis, _Axis]) -> tuple[int, int]:
        words = -(-axes[0].side * axes[1].side * channels // ki)
        spent = axes[0].positions * axes[1].positions * words - _spare(axes, kh, kw, channels, ki)
        compute = spent * planes * -(-out_h * out_w // px) * -(-len(conv.weight) // slots)
        fetch = words * planes * axes[0].size * axes[1].size
        return max(compute, fetch), compute + fetch

    rows, columns = min(product(_choices(kh, conv.strides[0], (top, bottom), height, out_h),
                                _choices(kw, conv.strides[1], (left, right), width, out_w)), key=cost)
    if rows.side == columns.side == 1:
        return Packed(layers, tensors, None)
    # (row, i, column, j) are the places of the kernel, filled up with zeros.
    full = np.zeros((*conv.weight.shape[:2], rows.positions * rows.side, columns.positions * columns.side), np.int64)
    full[:, :, :kh, :kw] = conv.weight
    full = full.reshape(*conv.weight.shape[:2], rows.positions, rows.side, columns.positions, columns.side)
    weight = full.transpose(0, 3, 5, 1, 2, 4).reshape(len(full), -1, rows.positions, columns.positions)
    packed = replace(conv, weight=weight, strides=(rows.stride, columns.stride),
                     pads=(rows.pads[0], columns.pads[0], rows.pads[1], columns.pads[1]))
    spare = _spare((rows, columns), kh, kw, channels, ki)
    result = list(layers)
    result[readers[0]] = replace(first, conv=packed, spare_words=spare)
    tensors[graph.input] = replace(tensors[graph.input], shape=(weight.shape[1], rows.size, columns.size))
    return Packed(result, tensors, InputPacking((rows.side, columns.side), (rows.step, columns.step),
                                                (rows.host_pad, columns.host_pad), (rows.size, columns.size)))


def _spare(axes: tuple[_Axis, _Axis], kh: int, kw: int, channels: int, ki: int) -> int:
    """Words at the end of the last kernel position in which no place of the kernel lies."""
    last_row, last_column = (k - 1 - (axis.positions - 1) * axis.side for axis, k in zip(axes, (kh, kw), strict=True))
    used = (last_row * axes[1].side + last_column + 1) * channels
    return -(-axes[0].side * axes[1].side * channels // ki) - -(-used // ki)


def pack_codes(codes: np.ndarray, packing: InputPacking | None, zero_point: int) -> np.ndarray:
    """The input map (C, H, W) as the engine wants it; what lies outside the image is the zero point."""
    if packing is None:
        return codes
    channels, height, width = codes.shape
    (rows, columns), (h, w) = packing.side, packing.shape
    result = np.full((rows, columns, channels, h, w), zero_point, codes.dtype)
    for i, j in product(range(rows), range(columns)):
        y = np.arange(h) * packing.steps[0] + i - packing.pads[0]
        x = np.arange(w) * packing.steps[1] + j - packing.pads[1]
        in_y, in_x = (y >= 0) & (y < height), (x >= 0) & (x < width)
        result[i, j][:, np.ix_(in_y, in_x)[0], np.ix_(in_y, in_x)[1]] = codes[:, y[in_y][:, None], x[in_x][None]]
    return result.reshape(rows * columns * channels, h, w)
