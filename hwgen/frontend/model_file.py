"""Opens an ONNX file: nodes, constants, input, outputs, metadata; or one clear error."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from google.protobuf.message import DecodeError
import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper

from hwgen.errors import HwgenError
from hwgen.frontend.folding import array_of, fold
from hwgen.frontend.inputs import input_shape, integer_type

QUANT_OPS = ("Quant", "IntQuant", "BipolarQuant", "MultiThreshold", "Trunc")
QDQ_OPS = ("QuantizeLinear", "DequantizeLinear")
INPUT = "hwgen.input"
"""Metadata of a model file: what the codes of its input are."""


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
    """2, 3 or 4, batch included."""
    outputs: tuple[str, ...]
    input_axes: str = "CHW"
    """Axes of the file's input behind the batch: "HWC" where the file begins with a Transpose from channels last."""
    input_type: tuple[int, bool] | None = None
    """(bits, signed) where an annotation of the file says that the input holds integers."""
    metadata: dict[str, str] = field(default_factory=dict)
    input_element: int = TensorProto.FLOAT
    """ONNX's number of the input's element type."""
    qdq: bool = False
    """Whether the file is in QDQ form, without any QONNX operator: onnxruntime executes it as it is."""
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
    model = parse(path, data)
    graph = model.graph
    constants = {}
    for tensor in graph.initializer:
        constants[tensor.name] = array_of(path, tensor, f"initializer {tensor.name!r}")
    nodes = [node for node in graph.node if not fold(path, node, attributes, constants)]
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs) or "none"
        raise HwgenError(f"{path}: the model must have exactly one input, it has {len(inputs)} ({names})")
    if not graph.output:
        raise HwgenError(f"{path}: the model has no output")
    qdq = not any(node.op_type in QUANT_OPS for node in nodes)
    if qdq and not any(node.op_type in QDQ_OPS for node in nodes):
        raise HwgenError(_not_quantized(path, nodes))
    shape, rank, axes = input_shape(path, inputs[0], nodes)
    metadata = {prop.key: prop.value for prop in model.metadata_props}
    return ModelFile(path, metadata.get("hwgen.name") or graph.name or path.stem, nodes, constants, inputs[0].name,
                     shape, rank, tuple(value.name for value in graph.output), axes,
                     integer_type(graph, inputs[0].name), metadata,
                     inputs[0].type.tensor_type.elem_type, qdq, data)


def annotated(data: bytes, text: str) -> bytes:
    """The ONNX file with metadata ``INPUT``.  A damaged file stays as it is: who reads it says so."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        return data
    kept = [entry for entry in model.metadata_props if entry.key != INPUT]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=INPUT, value=text)
    return model.SerializeToString(deterministic=True)


def _contents(path: Path) -> bytes:
    if not path.exists():
        raise HwgenError(f"{path}: no such file; give the path of an ONNX file or the name of a model")
    if not path.is_file():
        raise HwgenError(f"{path}: not a file; give the path of an ONNX file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise HwgenError(f"{path}: cannot be read ({error.strerror})") from error


def parse(path: Path, data: bytes | None = None) -> onnx.ModelProto:
    """The model at ``path``, or with these contents, external data loaded; HwgenError where it cannot be."""
    data = _contents(path) if data is None else data
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


def _not_quantized(path: Path, nodes: list[NodeProto]) -> str:
    ops = {node.op_type for node in nodes}
    if "FloatQuant" in ops:
        return (f"{path}: the model is quantized to small floats (FloatQuant), which no engine computes; "
                "train it with integers (Quant)")
    if any(node.domain.startswith("finn.custom_op.fpgadataflow") for node in nodes):
        return (f"{path}: FINN has lowered this network to its own hardware; give the QONNX file from before FINN's "
                "transformations")
    return (f"{path}: the model is not quantized: it has no Quant node (and no QuantizeLinear); train it with "
            "hwgen.quantize, export it from a quantization-aware framework as QONNX, or quantize it with onnxruntime "
            "(QuantFormat.QDQ)")
