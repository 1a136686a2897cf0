"""Layers that only move codes: what pools, sums and borders become where the engine needs a convolution."""

from dataclasses import replace
from fractions import Fraction
import math

import numpy as np

from hwgen.frontend.layers import Layer
from hwgen.frontend.values import Codes, ConvSource, Pending, PoolSource, Refusal, pending_codes
from hwgen.graph.groups import dense

MAX_COPY = 1 << 24
"""Weights of a convolution that only copies."""


def as_convolution(x: Pending) -> Pending:
    """The same values as the result of a convolution, which has a requantizer per row.

    Codes become a depthwise 1x1 convolution whose weights are 1, window sums one with larger kernels of ones.
    """
    source = x.source
    if isinstance(source, ConvSource):
        return x
    kernel, strides, pads = (1, 1), (1, 1), (0, 0, 0, 0)
    if isinstance(source, PoolSource):
        kernel, strides, pads = source.kernel, source.strides, source.pads
    channels = source.input.shape[0]
    weight = np.ones((channels, 1, *kernel), np.int8)
    scales = np.full(len(weight), float(source.input.quantizer.scale))
    conv = ConvSource(source.name, source.input, weight, ("sp2",) * len(weight), scales, strides, pads, channels)
    return replace(x, source=conv)


def padded(codes: Codes) -> tuple[Layer, Codes]:
    """A map with its border, for readers that cannot take the border over."""
    assert codes.border is not None
    x = as_convolution(pending_codes(codes.border.name, replace(codes, border=None, factors=None)))
    assert isinstance(x.source, ConvSource)
    top, left, bottom, right = codes.border.pads
    channels, height, width = codes.shape
    shape = (channels, height + top + bottom, width + left + right)
    target = replace(codes, tensor=codes.border.name, shape=shape, border=None)
    moved = replace(x, source=replace(x.source, pads=codes.border.pads), shape=shape)
    return Layer(moved, codes.quantizer, target.tensor, codes.border.name, factors=codes.factors), target


def embedded(x: Pending, first: int, channels: int) -> Pending:
    """The result of a convolution as rows ``first``... of a map of ``channels``; the other rows are 0."""
    source = x.source
    assert isinstance(source, ConvSource)
    # Rows of 0 have no group.
    without_groups = dense(source.weight, source.groups)
    rows = len(without_groups)
    if channels * math.prod(without_groups.shape[1:]) > MAX_COPY:
        raise Refusal(f"a concatenation of {channels} channels", "use fewer channels")
    weight: np.ndarray = np.zeros((channels, *without_groups.shape[1:]), without_groups.dtype)
    weight[first:first + rows] = without_groups
    before, after = first, channels - first - rows
    conv = replace(source, weight=weight, groups=1, schemes=("sp2",) * before + source.schemes + ("sp2",) * after,
                   row_scales=np.pad(source.row_scales, (before, after), constant_values=1.0))

    def placed(values: list, fill) -> list:
        return [fill] * before + list(values) + [fill] * after

    zero = Fraction(0)
    return replace(x, source=conv, shape=(channels, *x.shape[1:]), slope=placed(x.slope, zero),
                   intercept=placed(x.intercept, zero), size=placed(x.size, zero), low=placed(x.low, None),
                   high=placed(x.high, None))
