"""qonnx's channels-last operators: Conv, MaxPool and BatchNormalization of maps (N, H, W, C).

Weights are (rows, kernel, channels).
"""

from collections.abc import Callable
from dataclasses import replace

from onnx import NodeProto

from hwgen.frontend.grids import Grid
from hwgen.frontend.importer import Importer
from hwgen.frontend.join import Joined
from hwgen.frontend.layers import PoolLayer
from hwgen.frontend.shapes import with_axes
from hwgen.frontend.values import Codes, Image, Pending, Refusal

SUFFIX = ".channels_first"
"""Of the names under which an operator's inputs stand while it is read."""


def channels_last(handler: Callable) -> Callable:
    """The handler of an operator whose data and weights have their channels in the last axis."""
    def turned(importer: Importer, node: NodeProto, options: dict):
        inner = NodeProto()
        inner.CopyFrom(node)
        before = importer.codes_or_skip(node.input[0])
        if not isinstance(before, (Codes, Image, Pending, Joined)):
            before = importer.codes(node, node.input[0])
        if before.flat or not before.axes.endswith("C"):
            raise Refusal(f"its input has the axes N{before.axes}, not channels last", "put a Transpose before it")
        inner.input[0] = node.input[0] + SUFFIX
        value = importer.values[inner.input[0]] = with_axes(before, f"C{before.axes[:-1]}")
        if node.op_type == "Conv":
            inner.input[1] = _weight(importer, node.input[1])
        layers = importer.network.layers
        count = len(layers)
        words, result = handler(importer, inner, options)
        for index, layer in enumerate(layers[count:], count):
            if isinstance(layer, PoolLayer):  # its output is the file's tensor
                layers[index] = replace(layer, input=with_axes(layer.input, f"{layer.input.axes[1:]}C"))
        after = importer.values[inner.input[0]]
        if after is not value:  # a border became a layer, real values became codes
            importer.values[node.input[0]] = with_axes(after, before.axes)
        return words, with_axes(result, f"{result.axes[1:]}C")
    return turned


def _weight(importer: Importer, name: str) -> str:
    """The name of a weight (rows, kernel, channels) as one (rows, channels, kernel)."""
    value = importer.values.get(name)
    array = importer.file.constants.get(name)
    if isinstance(value, Grid) and value.integers.ndim > 2:
        importer.values[name + SUFFIX] = value.transpose(_first(value.integers.ndim))
    elif name not in importer.values and array is not None and array.ndim > 2:
        importer.file.constants[name + SUFFIX] = array.transpose(_first(array.ndim))
    else:
        return name
    return name + SUFFIX


def _first(rank: int) -> tuple[int, ...]:
    return 0, rank - 1, *range(1, rank - 1)
