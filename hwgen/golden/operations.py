"""One definition per operation, on codes of shape (images, channels, height, width)."""

from collections.abc import Iterator
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

from hwgen.errors import HwgenError
from hwgen.golden.rounding import requantize, rescale
from hwgen.graph.ir import Add, AvgPool, Conv, MaxPool
from hwgen.graph.shapes import output_shape

CHUNK = 1 << 21
"""Elements of the largest temporary array: a few megabytes stay in the processor's cache."""


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def columns_per_image(op: Conv, out_shape: tuple[int, int, int]) -> int:
    """Elements of the unfolded input (or of the accumulators, if more) for one image."""
    rows, height, width = out_shape
    return max(op.weight[0].size * op.groups, rows) * height * width


def _pad(codes: np.ndarray, pads: tuple[int, int, int, int], value: int) -> np.ndarray:
    """``codes`` with (top, left, bottom, right) borders of ``value``."""
    if not any(pads):
        return codes
    top, left, bottom, right = pads
    images, channels, height, width = codes.shape
    padded = np.full((images, channels, top + height + bottom, left + width + right), value, dtype=codes.dtype)
    padded[:, :, top:top + height, left:left + width] = codes
    return padded


def _exact_float(op: Conv, largest: int) -> type:
    """A float type whose matrix product is exact for these weights and codes up to ``largest``.

    Every partial sum of a row, in whatever order and with or without fused multiply-add, is an integer of
    magnitude at most largest * sum|w|.  Integers up to 2**24 (2**53) are exact in float32 (float64), so
    no operation rounds.
    """
    rows = op.weight.reshape(len(op.weight), -1)
    # Not abs: int8 has none of -128.
    sizes = np.maximum(rows, 0).sum(axis=1, dtype=np.int64) - np.minimum(rows, 0).sum(axis=1, dtype=np.int64)
    reach = largest * int(sizes.max())
    if reach <= 1 << 24:
        return np.float32
    if reach <= 1 << 53:
        return np.float64
    raise HwgenError(f"{op.name}: accumulators up to {reach} do not fit 53 bits; the layer is too large")


def _product(weight: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """``weight @ columns`` on one thread.

    The threads of BLAS wait by spinning, which on a machine with other work made a product 20 times slower.
    """
    with _blas().limit(limits=1, user_api="blas"):
        return np.matmul(weight, columns)


def conv_accumulators(op: Conv, codes: np.ndarray, zero_point: int) -> np.ndarray:
    """Exact ``acc = sum w*q``, int64 (images, rows, out height, out width).

    acc[r, y, x] = sum over c, i, j of w[r, c, i, j] * q[first + c, y*sy + i - top, x*sx + j - left], with
    q = ``zero_point`` outside the map, and first = r // (rows / groups) * channels of a group: group for
    group a convolution of its own.
    """
    rows, height, width = output_shape(op, codes.shape[1:])
    images = len(codes)
    acc = np.empty((rows, images, height, width), dtype=np.int64)
    step = max(1, CHUNK // columns_per_image(op, (rows, height, width)))
    largest = max(int(codes.max(initial=0)), zero_point)
    dtype = _exact_float(op, largest)
    weight: np.ndarray = op.weight.reshape(op.groups, rows // op.groups, -1).astype(dtype)
    for start in range(0, images, step):
        part = _pad(codes[start:start + step], op.pads, zero_point)
        windows = np.lib.stride_tricks.sliding_window_view(part, op.weight.shape[2:], axis=(2, 3))
        windows = windows[:, :, ::op.strides[0], ::op.strides[1]]
        taps_first = windows.transpose(1, 4, 5, 0, 2, 3)
        # Channels come first, so that those of a group lie together.
        columns: np.ndarray = taps_first.astype(dtype, order="C").reshape(op.groups, weight.shape[2], -1)
        acc[:, start:start + step] = _product(weight, columns).reshape(rows, len(part), height, width)
    return acc.transpose(1, 0, 2, 3)


def conv(op: Conv, codes: np.ndarray, zero_point: int, residual: np.ndarray | None = None) -> np.ndarray:
    """Convolution or linear layer, with fused residual if there is one."""
    return requantize(conv_accumulators(op, codes, zero_point), op.requant, residual)


def _taps(op: MaxPool | AvgPool, codes: np.ndarray, fill: int) -> Iterator[np.ndarray]:
    """For every position of the kernel, that code of all windows: (images, channels, out height, out width)."""
    _, height, width = output_shape(op, codes.shape[1:])
    padded = _pad(codes, op.pads, fill)
    down, right = op.strides
    for i in range(op.kernel[0]):
        for j in range(op.kernel[1]):
            yield padded[:, :, i:i + (height - 1) * down + 1:down, j:j + (width - 1) * right + 1:right]


def max_pool(op: MaxPool, codes: np.ndarray) -> np.ndarray:
    """Largest code of each window; padding is code 0 and so never wins."""
    taps = _taps(op, codes, 0)
    best = next(taps).copy()
    for tap in taps:
        np.maximum(best, tap, out=best)
    return best


def pool_sums(op: AvgPool, codes: np.ndarray, zero_point: int) -> np.ndarray:
    """Sum of each window's codes, padding counted as ``zero_point``; int64."""
    taps = _taps(op, codes, zero_point)
    total = next(taps).astype(np.int64)
    for tap in taps:
        total += tap
    return total


def avg_pool(op: AvgPool, codes: np.ndarray, zero_point: int) -> np.ndarray:
    """Window sums through the operation's rescale (which holds the division)."""
    return rescale(pool_sums(op, codes, zero_point), op.rescale)


def add(op: Add, codes: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Two-step residual: x*A + y*B + C, rounded and clamped."""
    return rescale(codes, op.rescale, other)
