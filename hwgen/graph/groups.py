"""Which channels the rows of a convolution read: with groups, and where most weights are zero."""

import numpy as np


def first_channels(rows: int, channels: int, groups: int) -> np.ndarray:
    """Per row the first of the input channels that it reads, int64 of shape (rows,).

    Rows and channels are divided into ``groups`` equal parts in their order, as in ONNX's Conv: row r reads
    ``channels`` (those of its weight) from ``r // (rows / groups) * channels`` on.
    """
    return np.arange(rows) // (rows // groups) * channels


def dense(weight: np.ndarray, groups: int) -> np.ndarray:
    """(rows, channels of a group, kh, kw) as (rows, all channels, kh, kw), zero outside each row's group."""
    if groups == 1:
        return weight
    rows, channels, *kernel = weight.shape
    full: np.ndarray = np.zeros((rows, channels * groups, *kernel), weight.dtype)
    for row, first in enumerate(first_channels(rows, channels, groups).tolist()):
        full[row, first:first + channels] = weight[row]
    return full


def sparse_pairs(weight: np.ndarray, groups: int) -> np.ndarray | None:
    """(rows, channels): where a row has weights, in a layer without groups of whose pairs at most half have any.

    Such layers are copies, as concatenations are made of, and networks with pruned channels.  None for all others.
    """
    if groups > 1:
        return None
    used = np.asarray(weight.any(axis=(2, 3)))
    return used if 2 * np.count_nonzero(used) <= used.size else None


def row_weights(weight: np.ndarray, used: np.ndarray | None) -> np.ndarray:
    """Per row the weights that it multiplies by: all, or those of the ``used`` pairs (:func:`sparse_pairs`)."""
    rows, channels, *kernel = weight.shape
    pairs = np.full(rows, channels) if used is None else used.sum(axis=1)
    return np.asarray(pairs * kernel[0] * kernel[1])


def weight_count(weight: np.ndarray, used: np.ndarray | None) -> int:
    """Weights that a layer multiplies by (:func:`row_weights`)."""
    return int(row_weights(weight, used).sum())
