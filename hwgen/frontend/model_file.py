"""Opens an ONNX file: nodes, constants, input, outputs, metadata; or one clear error."""

from dataclasses import dataclass, field
from fractions import Fraction
import math
from pathlib import Path

from google.protobuf.message import DecodeError
import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from hwgen.errors import HwgenError

QUANT_OPS = ("Quant", "IntQuant", "BipolarQuant")
QDQ_OPS = ("QuantizeLinear", "DequantizeLinear")
PASSING_OPS = ("Identity", "Cast", "Constant", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "ConstantOfShape")

MAX_FILLED = 1 << 20
"""Numbers that a ConstantOfShape may make: exporters write zero points with it."""


@dataclass(eq=False)
class ModelFile:
    """An ONNX graph with its constants evaluated."""

    path: Path
    name: str
    nodes: list[NodeProto]
    """In execution order, without those that only make constants."""
    constants: dict[str, np.ndarray]
    input: str
    input_shape: tuple[int, int, int]
    """(channels, height, width); a flat input is (features, 1, 1)."""
    input_rank: int
    """2 or 4, batch included."""
    input_type: int
    """ONNX's number of the input's element type."""
    qdq: bool
    """Whether the file is in QDQ form, without any QONNX operator: onnxruntime executes it as it is."""
    outputs: tuple[str, ...]
    metadata: dict[str, str] = field(default_factory=dict)
    data: bytes | None = None
    """The file's contents where they are not to be read from ``path``."""


def node_name(node: NodeProto) -> str:
    """The name a user finds the node by: its own, else that of its first output."""
    return node.name or (node.output[0] if node.output else node.op_type)


def attributes(node: NodeProto) -> dict:
    """A node's attributes as Python values; strings decoded."""
    found = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        found[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return found


def exact(array) -> list[Fraction]:
    """Every element of a float or integer array as the Fraction it is, in C order."""
    return [Fraction(value) for value in np.asarray(array).reshape(-1).tolist()]


def read(path, data: bytes | None = None) -> ModelFile:
    """Opens ``path``, or with ``data`` the contents of a file that does not exist under that name.

    Raises HwgenError for a missing, truncated or foreign file, missing external data,
    several inputs, dynamic or empty shapes, and for a model without any Quant or QuantizeLinear node.
    """
    path = Path(path)
    model = _parse(path, _contents(path) if data is None else data)
    graph = model.graph
    constants = {}
    for tensor in graph.initializer:
        constants[tensor.name] = _array(path, tensor, f"initializer {tensor.name!r}")
    nodes = [node for node in graph.node if not _fold(path, node, constants)]
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs) or "none"
        raise HwgenError(f"{path}: the model must have exactly one input, it has {len(inputs)} ({names})")
    if not graph.output:
        raise HwgenError(f"{path}: the model has no output")
    found = {node.op_type for node in nodes}
    qdq = not found.intersection(QUANT_OPS)
    if qdq and not found.intersection(QDQ_OPS):
        raise HwgenError(f"{path}: the model is not quantized: it has no Quant or QuantizeLinear node; train it with "
                         "hwgen.quantize, export it from a quantization-aware framework as QONNX, or quantize it with "
                         "onnxruntime (QuantFormat.QDQ)")
    shape, rank = _input_shape(path, inputs[0])
    metadata = {prop.key: prop.value for prop in model.metadata_props}
    return ModelFile(path, metadata.get("hwgen.name") or graph.name or path.stem, nodes, constants, inputs[0].name,
                     shape, rank, inputs[0].type.tensor_type.elem_type, qdq,
                     tuple(value.name for value in graph.output), metadata, data)


def _contents(path: Path) -> bytes:
    if not path.exists():
        raise HwgenError(f"{path}: no such file; give the path of an ONNX file or the name of a model")
    if not path.is_file():
        raise HwgenError(f"{path}: not a file; give the path of an ONNX file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise HwgenError(f"{path}: cannot be read ({error.strerror})") from error


def _parse(path: Path, data: bytes) -> onnx.ModelProto:
    if not data:
        raise HwgenError(f"{path}: the file is empty")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise HwgenError(f"{path}: not an ONNX file, or one that was cut short; write or copy it again") from error
    if not model.graph.node:
        raise HwgenError(f"{path}: not an ONNX file, or one that was cut short: it holds no graph")
    if not model.opset_import:
        raise HwgenError(f"{path}: the ONNX file names no operator set; it may have been cut short, write it again")
    if not all(isinstance(text, str) for text in _texts(model)):
        raise HwgenError(f"{path}: a name or a metadata text is not UTF-8; the file is damaged, write or copy it again")
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx raises several unrelated classes here
        raise HwgenError(f"{path}: its external data cannot be read ({error}); keep the data file beside the model, "
                         "or save the model with its data inside") from error
    return model


def _texts(model: onnx.ModelProto):
    """Every text of the file that ends up in a name; protobuf gives bytes for what is not UTF-8."""
    for prop in model.metadata_props:
        yield from (prop.key, prop.value)
    yield model.graph.name
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        yield value.name
    for node in model.graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)


def _array(path: Path, tensor, what: str) -> np.ndarray:
    try:
        array = numpy_helper.to_array(tensor)
    except Exception as error:  # a tensor whose data does not fit its shape: the class depends on the fault
        raise HwgenError(f"{path}: {what} is damaged ({error})") from error
    if array.size == 0 and array.dtype.kind == "f":
        raise HwgenError(f"{path}: {what} is empty (shape {array.shape})")
    return array


def _fold(path: Path, node: NodeProto, constants: dict[str, np.ndarray]) -> bool:
    """Evaluates a node that only moves constants; True when it did."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in PASSING_OPS or not node.output:
        return False
    if any(name and name not in constants for name in node.input):
        return False
    options = attributes(node)
    inputs = [constants[name] for name in node.input if name]
    try:
        constants[node.output[0]] = _move(path, node, options, inputs)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise HwgenError(f"{path}: the constant node {node_name(node)!r} is damaged ({error})") from error
    return True


def _move(path: Path, node: NodeProto, options: dict, inputs: list[np.ndarray]) -> np.ndarray:
    op = node.op_type
    if op == "Constant":
        if "value" in options:
            return _array(path, options["value"], f"constant node {node_name(node)!r}")
        (key, value), = options.items()
        return np.asarray(value, np.float32 if "float" in key else np.int64)
    array = inputs[0]
    if op == "ConstantOfShape":
        sides = [int(side) for side in array.reshape(-1)]
        if math.prod(sides) > MAX_FILLED:
            raise ValueError(f"it fills a tensor of shape {tuple(sides)}")
        value = _array(path, options["value"], f"constant node {node_name(node)!r}") if "value" in options else None
        return np.zeros(sides, np.float32) if value is None else np.full(sides, value.reshape(-1)[0], value.dtype)
    if op == "Cast":
        return array.astype(helper.tensor_dtype_to_np_dtype(options["to"]))
    if op == "Reshape":
        shape = [array.shape[i] if side == 0 else side for i, side in enumerate(inputs[1].reshape(-1).tolist())]
        return array.reshape(shape)
    if op == "Transpose":
        return array.transpose(options.get("perm"))
    if op in ("Unsqueeze", "Squeeze"):
        axes = options.get("axes", inputs[1].reshape(-1).tolist() if len(inputs) > 1 else None)
        if op == "Squeeze":
            return np.squeeze(array, None if axes is None else tuple(axes))
        return np.expand_dims(array, tuple(axes or ()))
    return array


def _input_shape(path: Path, value) -> tuple[tuple[int, int, int], int]:
    tensor = value.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    if len(dims) not in (2, 4):
        raise HwgenError(f"{path}: the input {value.name!r} must have the shape (N, C, H, W) or (N, features), "
                         f"it has {len(dims)} dimensions")
    for index, side in enumerate(dims[1:], 1):
        if side is None:
            raise HwgenError(f"{path}: dimension {index} of the input {value.name!r} is dynamic; "
                             "export the model with a fixed shape (only the batch may be dynamic)")
        if side < 1:
            raise HwgenError(f"{path}: dimension {index} of the input {value.name!r} is {side}; it must be positive")
    sides = [int(dim.dim_value) for dim in tensor.shape.dim][1:] + [1, 1]
    return (sides[0], sides[1], sides[2]), len(dims)
