"""Grouped convolution: which channels a row reads, and the weight without groups that computes the same."""

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
