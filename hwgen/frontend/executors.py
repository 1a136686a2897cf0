"""Runs a model file in the executor of its format: ``qonnx`` for QONNX, onnxruntime for QDQ.

Both compute in float32.  onnxruntime runs without graph optimizations, which would replace the float operators by
integer ones with roundings of their own, and on one thread, so that it always gives the same numbers.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
import warnings

import numpy as np
import onnx
from onnx import TensorProto

from hwgen.errors import HwgenError
from hwgen.frontend.importer import Network
from hwgen.frontend.inputs import CHANNELS_LAST_DOMAIN
from hwgen.frontend.model_file import ModelFile, attributes, parse
from hwgen.frontend.quantizers import round_array
from hwgen.frontend.values import Codes

BATCH = 100
"""Images per execution; larger ones save little and need memory for every intermediate tensor."""

Runner = Callable[[np.ndarray], dict[str, np.ndarray]]
"""From a batch of the file's input to tensors by name."""


def executor_name(file: ModelFile) -> str:
    """The package that executes the file."""
    return "onnxruntime" if file.qdq else "qonnx"


def input_codes(network: Network, images: np.ndarray) -> np.ndarray:
    """Exact codes of real images (floats of any shape), uint8.

    Integers are codes already; those that the input's quantizer never gives (of 1-bit signs and narrow ranges) become
    the codes of their values, as in the file.
    """
    assert network.input is not None
    unit = network.input.quantizer
    if images.dtype.kind != "f":
        reals = [unit.scale * (code - unit.code_zero) for code in range(1 << unit.code_bits)]
        return np.array([unit.code(real) for real in reals], np.uint8)[images]
    if network.before != (1, 0):  # arithmetic before the quantizer: every value that occurs, as a fraction
        factor, offset = network.before
        values, places = np.unique(images, return_inverse=True)
        table = np.array([unit.code(Fraction(float(value)) * factor + offset) for value in values], np.uint8)
        return table[places].reshape(images.shape)
    zeros = np.asarray(float(unit.zero))
    rounded = round_array(images, np.asarray(float(unit.scale)), zeros, unit.mode)
    return np.clip(rounded + unit.offset, unit.low, unit.high).astype(np.uint8)


def real_image(network: Network, codes: np.ndarray) -> np.ndarray:
    """The float32 image that codes stand for, before whatever the file does with it until it is quantized."""
    assert network.input is not None
    quantizer, (factor, offset) = network.input.quantizer, network.before
    real = float(quantizer.scale) * (codes.astype(np.float64) - quantizer.code_zero)
    return ((real - float(offset)) / float(factor)).astype(np.float32)


def to_codes(tensor: np.ndarray, codes: Codes) -> np.ndarray:
    """Codes, uint8, of a map (images, channels, height, width): of the file's integers, or of values on the grid.

    float32's error is far below half a step there.
    """
    if tensor.dtype.kind in "iu":
        return (tensor.astype(np.int64) + codes.quantizer.sign_offset).astype(np.uint8)
    scales = np.array([float(scale) for scale in codes.scales]).reshape(-1, 1, 1)
    return (np.round(tensor.astype(np.float64) / scales) + codes.quantizer.code_zero).astype(np.uint8)


def execute(network: Network, images: np.ndarray, wanted: Iterable[Codes],
            real: Iterable[Codes] = ()) -> dict[str, np.ndarray]:
    """Codes of the wanted tensors by name as the executor has them, uint8 (images, channels, height, width).

    real: tensors whose real values are wanted instead, float64.
    images: (images, channels, height, width), codes of the network's input or, as floats, its real values.
    HwgenError where the executor refuses the file.
    """
    file, feed, found = network.file, _feed(network, images), {codes.tensor: codes for codes in wanted}
    maps = {codes.tensor: codes for codes in real}
    names = [name for name in (*found, *maps) if name != file.input]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (*found, *maps)}
    try:
        run, batch = _onnxruntime(file, names) if file.qdq else _qonnx(file)
        for start in range(0, len(feed), batch):
            part = feed[start:start + batch]
            tensors = {**run(part), file.input: part}
            for name, codes in found.items():
                parts[name].append(to_codes(_inner(codes, tensors[name]), codes)[:len(part)])
            for name, codes in maps.items():
                parts[name].append(codes.to_map(tensors[name].astype(np.float64))[:len(part)])
    except Exception as error:  # the executors raise a class of their own for every fault
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise HwgenError(f"{file.path}: {executor_name(file)} cannot execute it ({lines[0]}); "
                         "export the model again") from error
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _feed(network: Network, images: np.ndarray) -> np.ndarray:
    """What the file's input is given, (images, ...) in the file's order of axes."""
    assert network.input is not None
    file, quantizer = network.file, network.input.quantizer
    if file.input_element in (TensorProto.UINT8, TensorProto.INT8):
        integers = input_codes(network, images).astype(np.int64) - quantizer.sign_offset
        feed = integers.astype(np.int8 if quantizer.signed else np.uint8)
    elif images.dtype.kind == "f":
        feed = images.astype(np.float32)
    else:
        feed = real_image(network, images)
    # a Transpose may stand before the quantizer; where a Reshape does, the numbers keep their order
    moved = file.input_shape == network.input.shape and file.input_rank > 2
    seen = replace(network.input, axes=file.input_axes) if moved else network.input
    return seen.from_map(feed)


def _inner(codes: Codes, array: np.ndarray) -> np.ndarray:
    """The file's tensor as a map, without the border that a Pad node before its quantizer gave it."""
    if codes.border is None:
        return codes.to_map(array)
    top, left, bottom, right = codes.border.pads
    channels, height, width = codes.shape
    whole = replace(codes, shape=(channels, top + height + bottom, left + width + right), border=None)
    return whole.to_map(array)[:, :, top:top + height, left:left + width]


# -- onnxruntime -----------------------------------------------------------------------


def _onnxruntime(file: ModelFile, names: list[str]) -> tuple[Runner, int]:
    """A runner that gives the named tensors, and the images it takes at a time: the file's own batch, or one."""
    import onnxruntime

    model = parse(file.path, file.data)
    listed = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in listed)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    batch, *sides = session.get_inputs()[0].shape
    size = batch if isinstance(batch, int) and batch > 0 else 1

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        fill = np.repeat(images[-1:], size - len(images), axis=0)
        feed = {file.input: np.concatenate([images, fill]).reshape(size, *sides)}
        return dict(zip(names, session.run(names, feed), strict=True)) if names else {}

    return run, size


# -- qonnx -----------------------------------------------------------------------------


def _qonnx(file: ModelFile) -> tuple[Runner, int]:
    """A runner that gives every tensor, and the images it takes at a time.

    A Reshape with ``allowzero`` states the batch, and shapes behind channels-last operators cannot be inferred again:
    files with them run as they are, image by image.
    """
    models: dict[int, object] = {}
    fixed = any(node.domain == CHANNELS_LAST_DOMAIN or node.op_type == "Reshape" and attributes(node).get("allowzero")
                for node in file.nodes)
    return lambda images: _context(file, images, models, fixed), 1 if fixed else BATCH


def _context(file: ModelFile, image: np.ndarray, models: dict, fixed: bool) -> dict[str, np.ndarray]:
    """Every tensor of the file for one batch; ``models`` keeps the file prepared for a batch size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # qonnx and its dependencies warn about themselves
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx
        from qonnx.transformation.infer_shapes import InferShapes

        if len(image) not in models:
            model = parse(file.path, file.data)
            model = ModelWrapper(model if fixed else with_batch(model, len(image)))
            models[len(image)] = model.transform(InferShapes())
        model = models[len(image)]
        shape = model.get_tensor_shape(file.input)
        return execute_onnx(model, {file.input: image.reshape(shape)}, return_full_exec_context=True)


def with_batch(model: onnx.ModelProto, images: int) -> onnx.ModelProto:
    """The model with another batch size; its inferred shapes are dropped."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.output):
        if value.name not in constants and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].Clear()
            value.type.tensor_type.shape.dim[0].dim_value = images
    for node in model.graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants:
            target = onnx.numpy_helper.to_array(constants[node.input[1]]).copy()
            if target[0] > 0 and node.input[0] not in constants:
                target[0] = 0  # "as the input has it"
                constants[node.input[1]].CopyFrom(onnx.numpy_helper.from_array(target, node.input[1]))
    del model.graph.value_info[:]
    return model
