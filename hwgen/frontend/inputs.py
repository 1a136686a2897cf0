"""The network's input: shape, order of axes, and the integer type that an annotation gives it."""

import math
from pathlib import Path

from onnx import NodeProto, helper

from hwgen.errors import HwgenError

MAX_SIDE = 1 << 20
"""Largest channel count, height or width of an input."""

MAX_INPUT = 1 << 28
"""Most numbers of an input; far beyond every engine, and small enough to reason about."""

NAMED = {2: "CHW", 3: "CW", 4: "CHW"}
CHANNELS_LAST = {2: "CHW", 3: "WC", 4: "HWC"}
"""Axes behind the batch by rank."""

CHANNELS_LAST_DOMAIN = "qonnx.custom_op.channels_last"
"""Operators that qonnx keeps beside ONNX's own for maps with their channels in the last axis."""

_KEEPING = ("Quant", "IntQuant", "BipolarQuant", "MultiThreshold", "QuantizeLinear", "DequantizeLinear", "Identity",
            "Cast", "Mul", "Div", "Add", "Sub", "Relu", "Clip", "Pad")


def input_shape(path: Path, value, nodes: list[NodeProto]) -> tuple[tuple[int, int, int], int, str]:
    """((channels, height, width), rank with the batch, axes) of the graph's input.

    A 1-D input of length L has height 1 and width L, a flat one height and width 1.
    """
    tensor = value.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    rank = len(dims)
    if rank not in NAMED:
        raise HwgenError(f"{path}: the input {value.name!r} must have the shape (N, C, H, W), (N, C, L) or (N, "
                         f"features), it has {rank} dimensions")
    for index, side in enumerate(dims[1:], 1):
        if side is None:
            raise HwgenError(f"{path}: dimension {index} of the input {value.name!r} is dynamic; "
                             "export the model with a fixed shape (only the batch may be dynamic)")
        if side < 1:
            raise HwgenError(f"{path}: dimension {index} of the input {value.name!r} is {side}; it must be positive")
        if side > MAX_SIDE:
            raise HwgenError(f"{path}: dimension {index} of the input {value.name!r} is {side:,}; at most {MAX_SIDE:,} "
                             "are possible")
    sides = [int(dim.dim_value) for dim in tensor.shape.dim][1:]
    if math.prod(sides) > MAX_INPUT:
        raise HwgenError(f"{path}: the input {value.name!r} of shape {tuple(sides)} has {math.prod(sides):,} numbers; "
                         f"at most {MAX_INPUT:,} are possible")
    axes = CHANNELS_LAST[rank] if channels_last(value.name, rank, nodes) else NAMED[rank]
    by_axis = dict(zip(axes, sides, strict=False))
    return (by_axis["C"], by_axis.get("H", 1), by_axis.get("W", 1)), rank, axes


def channels_last(name: str, rank: int, nodes: list[NodeProto]) -> bool:
    """Whether the first node that knows the order of axes has the channels last."""
    known = {name}
    last = {3: [0, 2, 1], 4: [0, 3, 1, 2]}.get(rank)
    for node in nodes:
        if not known & set(node.input) or last is None:
            continue
        perm, layout = (_attribute(node, name) for name in ("perm", "data_layout"))
        if node.op_type == "Transpose":
            return perm == last
        if node.op_type == "MatMul" or node.domain == CHANNELS_LAST_DOMAIN:
            return True
        if isinstance(layout, bytes) and layout:
            return layout.endswith(b"C")
        if node.op_type in _KEEPING:
            known |= set(node.output)
    return False


def _attribute(node: NodeProto, name: str):
    """An attribute's value; None where it is not there or damaged, which the node's own reader will say."""
    try:
        return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), None)
    except ValueError:
        return None


def integer_type(graph, name: str) -> tuple[int, bool] | None:
    """(bits, signed) that a ``finn_datatype`` annotation gives a tensor, where that is an integer of up to 8 bits."""
    for annotation in graph.quantization_annotation:
        for entry in annotation.quant_parameter_tensor_names if annotation.tensor_name == name else ():
            text = entry.value.removeprefix("U")
            if entry.key == "finn_datatype" and text.startswith("INT") and text[3:].isdecimal() and len(text) == 4:
                bits, signed = int(text[3:]), text == entry.value
                return (bits, signed) if 1 + signed <= bits <= 8 else None
    return None
