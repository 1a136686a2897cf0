"""Bounds of accumulators: from given weights, and from shapes and schemes alone."""

import numpy as np

from hwgen.graph.ir import AvgPool, Conv, Tensor
from hwgen.schemes import get, signed_bits


def accumulator_range(op: Conv, tensor_in: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest ``acc = sum w*q`` of each row, (lo, hi), int64 of shape (rows,).

    Every q is free in [0, 2**bits - 1], padding too (its code is the zero point, which lies in that
    range), so the bounds are attained by any window that padding does not touch: all q at the top where
    w is positive (negative) and 0 elsewhere.
    """
    rows = np.asarray(op.weight).reshape(len(op.weight), -1)
    top = (1 << tensor_in.bits) - 1
    return (top * np.minimum(rows, 0).sum(axis=1, dtype=np.int64),
            top * np.maximum(rows, 0).sum(axis=1, dtype=np.int64))


def accumulator_bits(op: Conv, tensor_in: Tensor) -> int:
    """Signed bits that hold every accumulator of these weights."""
    low, high = accumulator_range(op, tensor_in)
    return signed_bits(int(low.min()), int(high.max()))


def shape_acc_bits(op: Conv, bits_in: int) -> int:
    """Signed bits that hold every accumulator of any weights with the same shape and schemes.

    A row of k weights in [low, high] and codes up to 2**bits_in - 1 stays in k * (2**bits_in - 1) * [low, high].
    An engine of this width runs retrained weights.
    """
    reach = int(np.prod(op.weight.shape[1:], dtype=np.int64)) * ((1 << bits_in) - 1)
    grids = [get(name) for name in set(op.schemes)]
    return signed_bits(reach * min(grid.low for grid in grids), reach * max(grid.high for grid in grids))


def pool_sum_range(op: AvgPool, tensor_in: Tensor) -> tuple[int, int]:
    """Least and greatest sum of a window's codes (padding is a code too), inclusive."""
    return 0, op.kernel[0] * op.kernel[1] * ((1 << tensor_in.bits) - 1)
