"""Convolutions and linear layers.

A handler is ``(importer, node, options) -> (words, value)``; it raises Refusal.
"""

from dataclasses import replace
from fractions import Fraction
import math

import numpy as np
from onnx import NodeProto

from hwgen.frontend.averages import Summands, summands
from hwgen.frontend.grids import Grid, by_rows
from hwgen.frontend.importer import Importer
from hwgen.frontend.model_file import node_name
from hwgen.frontend.picked import Picked, spread
from hwgen.frontend.values import Codes, ConvSource, Pending, Refusal
from hwgen.frontend.weights import Rows
from hwgen.frontend.windows import in_map_order, spatial, window
from hwgen.graph.groups import first_channels

MAX_WEIGHTS = 1 << 27
"""Numbers of a weight with the zeros of its dilation."""


def _weight_layer(name: str, x: Codes, rows: Rows, bias, strides, pads, shape, groups: int = 1,
                  zeros: tuple[Fraction, ...] | None = None) -> Pending:
    """``y = s_in * alpha_r * (acc - z_in * sum w) + bias``; ``zeros``: ``z_in`` of every channel."""
    quantizer = x.quantizer
    scales = [Fraction(scale) for scale in rows.scales.tolist()]
    if rows.units is not None:
        scales = [scale * unit for scale, unit in zip(scales, rows.units, strict=True)]
    slope = [quantizer.scale * scale for scale in scales]
    bias = bias or [Fraction(0)] * len(slope)
    size = [abs(b) for b in bias]
    if zeros is not None:
        if any(pads):
            raise Refusal("padding behind an offset that is not quantized",
                          "put a Quant node before the layer, or the offset behind it")
        moves = _products(rows.integers, [quantizer.code_zero - zero for zero in zeros], groups)
        bias = [b + a * move for a, b, (move, _) in zip(slope, bias, moves, strict=True)]
        size = [b + abs(a) * reach for a, b, (_, reach) in zip(slope, size, moves, strict=True)]
    sums = rows.integers.reshape(len(slope), -1).sum(axis=1, dtype=np.int64).tolist()
    intercept = [b - a * quantizer.code_zero * total for a, b, total in zip(slope, bias, sums, strict=True)]
    source = ConvSource(name, replace(x, border=None), rows.integers, rows.schemes,
                        np.array([float(scale) for scale in scales]), strides, pads, groups)
    none = [None] * len(slope)
    return Pending(source, shape, slope, intercept, size, list(none), list(none), flat=x.flat, axes=x.axes)


def _products(weight: np.ndarray, moves: list[Fraction], groups: int) -> list[tuple[Fraction, Fraction]]:
    """Per row the sum of ``w * move`` and that of its magnitudes; ``moves`` has a number per input channel."""
    rows, channels = weight.shape[:2]
    whole, sizes = ((array.reshape(rows, channels, -1).sum(axis=2, dtype=np.int64)).tolist()
                    for array in (weight, np.abs(weight.astype(np.int64))))
    found = []
    for row, first in enumerate(first_channels(rows, channels, groups).tolist()):
        own = moves[first:first + channels]
        found.append((sum((a * b for a, b in zip(whole[row], own, strict=True)), Fraction(0)),
                      sum((a * abs(b) for a, b in zip(sizes[row], own, strict=True)), Fraction(0))))
    return found


def conv(importer: Importer, node: NodeProto, options: dict):
    picked = importer.codes_or_skip(node.input[0])
    if isinstance(picked, Picked):
        seen = picked.one_axis().seen
        read = Summands(seen, seen.shape)
    else:
        read = summands(importer, node, node.input[0], border=True)
    x = replace(read.codes, shape=read.shape)
    letters = spatial(x)
    group = int(options.get("group", 1))
    grid = importer.weight(node.input[1], 2 + len(letters))
    dilations = _dilations(options, letters)
    grid = in_map_order(grid, letters)
    count, channels, *kernel = grid.integers.shape
    if group < 1 or count % group or x.shape[0] % group:
        importer.note(node, Refusal(f"{group} groups for {x.shape[0]} input and {count} output channels",
                                    "export the model again"))
        group, x = 1, replace(x, factors=None)
    elif x.shape[0] != channels * group:
        raise Refusal(f"its weight has {channels} input channels{f' in each of {group} groups' if group > 1 else ''}, "
                      f"its input has {x.shape[0]}", "export the model again")
    grid = _dilated(grid, dilations)
    if isinstance(picked, Picked):
        if group == 1 and importer.listed(node, grid) is None and len(np.unique(picked.index)) == channels:
            x, grid = picked.codes, spread(grid, picked)
        else:
            x = importer.codes(node, node.input[0])
    rows = importer.rows(node, grid, x, group)
    bias = importer.vector(node.input[2], "its bias", count) if len(node.input) > 2 and node.input[2] else None
    strides, pads, size = window(options, x, grid.integers.shape[2:])
    if read.repeat != (1, 1):
        (high, wide), x = read.repeat, read.codes
        if any(pads) and x.shape[1:] != (high * read.shape[1], wide * read.shape[2]):
            raise Refusal("padding behind an average that is not quantized and leaves rows or columns out",
                          "quantize the average pool before it")
        rows, strides = replace(rows, integers=read.stretched(rows.integers)), (strides[0] * high, strides[1] * wide)
        pads = pads[0] * high, pads[1] * wide, pads[2] * high, pads[3] * wide
    y = _weight_layer(node_name(node), x, rows, bias, strides, pads, (count, *size), group, read.zeros)
    words = f"convolution {kernel[0]}x{kernel[1]}, {channels * group} to {count} channels"
    if group > 1:
        words += ", depthwise" if group == x.shape[0] else f", {group} groups"
    return words + (f", dilation {dilations[0]}x{dilations[1]} run with zeros" if max(dilations) > 1 else ""), y


def _dilations(options: dict, letters: str) -> tuple[int, int]:
    """(vertical, horizontal) of the map; the option is taken out, for the kernel will have zeros instead."""
    steps = list(options.pop("dilations", None) or [1] * len(letters))
    if len(steps) != len(letters) or min(steps) < 1:
        raise Refusal(f"dilations {tuple(steps)}", "export the model again")
    by_axis = dict(zip(letters, steps, strict=True))
    return int(by_axis.get("H", 1)), int(by_axis.get("W", 1))


def _dilated(grid: Grid, dilations: tuple[int, int]) -> Grid:
    """The weight of the convolution without dilation that computes the same."""
    if max(dilations) == 1:
        return grid
    rows, channels, *kernel = grid.integers.shape
    reach = [(side - 1) * step + 1 for side, step in zip(kernel, dilations, strict=True)]
    if rows * channels * math.prod(reach) > MAX_WEIGHTS:
        raise Refusal(f"dilation {dilations} makes a weight of {rows * channels * math.prod(reach):,} numbers",
                      "use a smaller dilation")
    grid = by_rows(grid)
    spaced: np.ndarray = np.zeros((rows, channels, *reach), grid.integers.dtype)
    spaced[:, :, ::dilations[0], ::dilations[1]] = grid.integers
    return replace(grid, integers=spaced)


def _linear(importer: Importer, node: NodeProto, name: str, grid: Grid, bias):
    """``grid``: (rows, features)."""
    rows, features = grid.integers.shape
    read = summands(importer, node, name)
    x, shape = read.codes, read.shape
    if not x.flat:
        return _pointwise(importer, node, read, grid, bias)
    if math.prod(shape) != features:
        raise Refusal(f"its weight has {features} input features, its input has {math.prod(shape)}",
                      "export the model again")
    # features of a file come in the order of its axes, those of the engine in that of a map
    sides = [shape["CHW".index(axis)] for axis in x.axes]
    kept = [axis for axis in "CHW" if axis in x.axes]
    grid = by_rows(grid)
    ordered = grid.integers.reshape(rows, *sides).transpose(0, *(1 + x.axes.index(axis) for axis in kept))
    weight = read.stretched(np.ascontiguousarray(ordered.reshape(rows, *shape)))
    # positions of the map that no window of an average reached
    weight = np.pad(weight, [(0, 0), (0, 0), *((0, a - b) for a, b in zip(x.shape[1:], weight.shape[2:], strict=True))])
    found = importer.rows(node, replace(grid, integers=weight, scales=grid.scales.reshape(rows, 1, 1, 1)), x)
    y = _weight_layer(node_name(node), x, found, bias, (1, 1), (0, 0, 0, 0), (rows, 1, 1), zeros=read.zeros)
    return f"linear layer, {features} to {rows} features", replace(y, axes="CHW")


def _pointwise(importer: Importer, node: NodeProto, read: Summands, grid: Grid, bias):
    """A product with the last axis of a map: a 1x1 convolution where that axis are the channels."""
    rows, features = grid.integers.shape
    x = read.codes
    if not x.axes.endswith("C"):
        raise Refusal("its input is a map, not a vector", "put Flatten before it")
    if x.shape[0] != features:
        raise Refusal(f"its weight has {features} input features, its input has {x.shape[0]}", "export the model again")
    grid = by_rows(grid)
    grid = replace(grid, integers=read.stretched(grid.integers.reshape(rows, features, 1, 1)),
                   scales=grid.scales.reshape(rows, 1, 1, 1))
    y = _weight_layer(node_name(node), x, importer.rows(node, grid, x), bias, read.repeat, (0, 0, 0, 0),
                      (rows, *read.shape[1:]), zeros=read.zeros)
    return f"convolution 1x1, {features} to {rows} channels", y


def gemm(importer: Importer, node: NodeProto, options: dict):
    if options.get("transA", 0):
        raise Refusal("Gemm with transA", "use transA=0")
    alpha, beta = (Fraction(options.get(key, 1.0)) for key in ("alpha", "beta"))
    grid = importer.weight(node.input[1], 2)
    if not options.get("transB", 0):
        grid = grid.transpose((1, 0))
    rows, bias = len(grid.integers), None
    if len(node.input) > 2 and node.input[2]:
        bias, shape = importer.numbers(node.input[2], "its bias")
        if len(bias) not in (1, rows) or (len(bias) == rows and shape and shape[-1] != rows):
            raise Refusal(f"its bias has shape {tuple(shape)}, not ({rows},)", "export the model again")
        bias = [value * beta for value in bias] * (rows // len(bias))
    if not summands(importer, node, node.input[0]).codes.flat:
        raise Refusal("its input is a map, not a vector", "put Flatten before it")
    words, y = _linear(importer, node, node.input[0], grid, None)
    y = y.scaled([alpha] * rows, bias or [Fraction(0)] * rows)
    return words, y


def matmul(importer: Importer, node: NodeProto, options: dict):
    first, second = node.input[:2]
    if isinstance(importer.values.get(first), Grid) or (first in importer.file.constants
                                                        and first not in importer.values):
        raise Refusal("the constant is its first operand", "multiply the activation by the weight, not the reverse")
    if not isinstance(importer.values.get(second), Grid) and second not in importer.file.constants:
        importer.codes_or_skip(second)
        raise Refusal("a product of two activations", "only products with a constant weight are possible")
    return _linear(importer, node, first, importer.weight(second, 2).transpose((1, 0)), None)
