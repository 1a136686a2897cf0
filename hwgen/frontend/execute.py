"""Executes a model file with the ``qonnx`` package and compares it with the golden model.

qonnx computes in float32, the golden model exactly.  Where a code differs, every layer of
that image is evaluated in rational numbers on the codes that qonnx itself had at the layer's
input.  The golden model must give the exact code there; the difference is a rounding tie if
qonnx's code belongs to a value within float32's error bound of the exact one.
"""

from dataclasses import dataclass
from fractions import Fraction
import math
import warnings

import numpy as np
import onnx

from hwgen.frontend import load, read_network
from hwgen.frontend.importer import Network
from hwgen.frontend.lower import between, code_affine
from hwgen.frontend.model_file import ModelFile
from hwgen.frontend.quantizers import Quantizer, round_exact
from hwgen.frontend.values import ConvSource, Layer, MaxPoolStep, Pending, PoolSource
from hwgen.golden import conv_accumulators, operations, pool_sums, run
from hwgen.graph.ir import Add, AvgPool, Conv, Graph, MaxPool, Op, Requant, Rescale

BATCH = 100
"""Images per execution; larger ones save little and need memory for every intermediate tensor."""

UNIT = Fraction(1, 1 << 24)
"""Largest relative error of one float32 operation."""


@dataclass(frozen=True)
class Comparison:
    """Final codes of qonnx against those of the golden model."""

    compared: int
    equal: int
    ties: int
    """Codes that differ only because of float32 rounding ties, here or in an earlier layer."""
    different: int
    first_difference: str | None = None
    """The first layer, image and position that is no tie, with the codes of both sides."""
    tie_rounds: int = 0
    """Roundings shown to be ties, in all layers."""


def execute_qonnx(path, codes: np.ndarray) -> dict[str, np.ndarray]:
    """Final codes by output tensor, uint8 (images, channels, height, width), computed by qonnx.

    ``codes``: integer input codes (images, channels, height, width), as for the golden model.
    """
    network = read_network(path)
    wanted = {value.tensor: value.quantizer for value in network.outputs}
    return _execute(network, np.asarray(codes), wanted)


def compare(path, graph: Graph | None, codes: np.ndarray) -> Comparison:
    """Runs both on input codes (images, channels, height, width); ``graph`` is loaded if None."""
    graph = graph or load(path)
    network = read_network(path)
    golden = run(graph, codes)
    wanted = {value.tensor: value.quantizer for value in network.outputs}
    ours = _execute(network, codes, wanted)
    differing = np.zeros(len(codes), bool)
    compared = 0
    for name, result in golden.items():
        compared += result.size
        differing |= (result != ours[name]).reshape(len(codes), -1).any(axis=1)
    images = np.flatnonzero(differing)
    counts = {True: 0, False: 0}
    first, rounds = None, 0
    if len(images):
        found, rounds = _judge(network, graph, codes[images])
        for index, image in enumerate(images):
            wrong = sum(int((golden[name][image] != ours[name][image]).sum()) for name in golden)
            counts[found[index] is None] += wrong
            if found[index] is not None and first is None:
                first = f"image {image}, {found[index]}"
    return Comparison(compared, compared - sum(counts.values()), counts[True], counts[False], first, rounds)


# -- qonnx -----------------------------------------------------------------------------


def real_image(codes: np.ndarray, quantizer: Quantizer) -> np.ndarray:
    """The float32 image that codes stand for."""
    real = float(quantizer.scale) * (codes.astype(np.float64) - quantizer.code_zero)
    return real.astype(np.float32)


def to_codes(real: np.ndarray, quantizer: Quantizer) -> np.ndarray:
    """Codes of values on the quantizer's grid (float32's error is far below half a step), uint8."""
    return (np.round(real.astype(np.float64) / float(quantizer.scale)) + quantizer.code_zero).astype(np.uint8)


def _execute(network: Network, codes: np.ndarray, wanted: dict[str, Quantizer]) -> dict[str, np.ndarray]:
    """Codes of the wanted tensors, uint8 (images, channels, height, width)."""
    assert network.input is not None
    shapes = _shapes(network)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    models: dict[int, object] = {}
    for start in range(0, len(codes), BATCH):
        batch = codes[start:start + BATCH]
        context = _context(network.file, real_image(batch, network.input.quantizer), models)
        for name, quantizer in wanted.items():
            parts[name].append(to_codes(context[name], quantizer).reshape(len(batch), *shapes[name]))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _shapes(network: Network) -> dict[str, tuple[int, int, int]]:
    assert network.input is not None
    shapes = {network.input.tensor: network.input.shape}
    for layer in network.layers:
        shapes[layer.output] = layer.pending.shape if isinstance(layer, Layer) else layer.step.shape
    return shapes


def _context(file: ModelFile, image: np.ndarray, models: dict) -> dict[str, np.ndarray]:
    """Every tensor of the file for one batch; ``models`` keeps the file prepared for a batch size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # qonnx and its dependencies warn about themselves
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx
        from qonnx.transformation.infer_shapes import InferShapes

        if len(image) not in models:
            model = ModelWrapper(with_batch(onnx.load(str(file.path)), len(image)))
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


# -- judging differences ---------------------------------------------------------------


def _judge(network: Network, graph: Graph, codes: np.ndarray) -> tuple[list[str | None], int]:
    """Per image None if every rounding that differs is a tie, else a description; and the number of ties."""
    assert network.input is not None
    ops = {op.output: op for op in graph.ops}
    quantizers = {network.input.tensor: network.input.quantizer}
    for layer in network.layers:
        quantizers[layer.output] = layer.quantizer if isinstance(layer, Layer) else layer.input.quantizer
    tensors = _execute(network, codes, quantizers)
    verdicts: list[str | None] = [None] * len(codes)
    ties = 0
    for layer in network.layers:
        if isinstance(layer, Layer):
            ties += _judge_layer(layer, ops, tensors, verdicts)
        else:
            pooled = _max_pool(layer.step, tensors[layer.input.tensor])
            _mark(verdicts, layer.step.name, tensors[layer.output] != pooled, "qonnx", tensors[layer.output], pooled)
    return verdicts, ties


def _judge_layer(layer: Layer, ops: dict[str, Op], tensors: dict[str, np.ndarray], verdicts: list[str | None]) -> int:
    """Evaluates one layer exactly on qonnx's own input codes, marks what is no tie, counts what is one."""
    op = ops.get(between(layer.output, 0) if layer.pending.pools else layer.output)
    if op is None:
        return 0  # no output depends on it
    got, pools = tensors[layer.output], layer.pending.pools
    golden = pooled = _golden(op, layer, tensors)
    for step in pools:
        pooled = _max_pool(step, pooled)
    doubtful = got != pooled
    if pools:  # any code of the map may be the one that won
        doubtful = np.broadcast_to(doubtful.any(axis=(2, 3), keepdims=True), golden.shape)
    values = _Exact(layer, tensors, golden, doubtful)
    _mark(verdicts, layer.node, golden != values.codes, "golden", golden, values.codes)
    for step in pools:
        values.pool(step)
    _mark(verdicts, layer.node, (got < values.least) | (got > values.most), "qonnx", got, values.codes)
    judged = np.array([verdict is None for verdict in verdicts], bool)
    return int((got[judged] != values.codes[judged]).sum())


def _mark(verdicts: list[str | None], node: str, wrong: np.ndarray, who: str, got, exact) -> None:
    """Describes the first wrong code of every image that has no verdict yet."""
    for index in zip(*np.nonzero(wrong), strict=True):
        if verdicts[index[0]] is None:
            place = ", ".join(str(int(i)) for i in index[1:])
            verdicts[index[0]] = f"{node} at (channel, y, x) = ({place}): {who} {got[index]}, exact {exact[index]}"


def _golden(op: Op, layer: Layer, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """The golden operation on qonnx's own codes."""
    source = layer.pending.source.input
    codes, zero = tensors[source.tensor], source.quantizer.code_zero
    other = None if layer.pending.residual is None else tensors[layer.pending.residual.tensor]
    if isinstance(op, Conv):
        return operations.conv(op, codes, zero, other)
    if isinstance(op, Add):
        assert other is not None
        return operations.add(op, codes, other)
    assert isinstance(op, AvgPool)
    return operations.avg_pool(op, codes, zero)


def _max_pool(step: MaxPoolStep, codes: np.ndarray) -> np.ndarray:
    return operations.max_pool(MaxPool(step.name, "", "", step.kernel, step.strides, step.pads), codes)


class _Exact:
    """Exact codes of a layer, and the least and greatest code that float32 may give instead.

    Rational arithmetic is slow, so it is used only where a code is ``doubtful``; elsewhere ``golden`` stands.
    """

    def __init__(self, layer: Layer, tensors: dict[str, np.ndarray], golden: np.ndarray, doubtful: np.ndarray):
        pending = layer.pending
        self.quantizer = layer.quantizer
        acc, reach, terms = _integers(pending, tensors[pending.source.input.tensor])
        residual = None if pending.residual is None else tensors[pending.residual.tensor].astype(np.int64)
        self.codes, self.least, self.most = (golden.astype(np.int64) for _ in range(3))
        slope, coefficient, intercept = code_affine(pending, layer.quantizer)
        cache: dict[tuple, tuple[int, int, int]] = {}
        for index in zip(*np.nonzero(doubtful), strict=True):
            channel = index[1]
            other = 0 if residual is None else int(residual[index])
            key = (channel, int(acc[index]), int(reach[index]), other)
            if key not in cache:
                exact = slope[channel] * key[1] + intercept[channel]
                size = abs(slope[channel]) * key[2] + pending.size[channel] / self.quantizer.scale
                if pending.residual is not None:
                    exact += coefficient[channel] * other
                    size += abs(coefficient[channel] * (other - pending.residual.quantizer.code_zero))
                size += abs(exact) + abs(self.quantizer.zero)
                error = (terms + 20) * UNIT * size
                cache[key] = (_limit(exact, pending, channel, self.quantizer),
                              _limit(exact - error, pending, channel, self.quantizer),
                              _limit(exact + error, pending, channel, self.quantizer))
            self.codes[index], self.least[index], self.most[index] = cache[key]

    def pool(self, step: MaxPoolStep) -> None:
        """The same after a max pool."""
        self.codes, self.least, self.most = (_max_pool(step, array) for array in (self.codes, self.least, self.most))


def _limit(position: Fraction, pending: Pending, channel: int, quantizer: Quantizer) -> int:
    """Code of an exact position (``y/s + zero``), limits included."""
    low, high = pending.low[channel], pending.high[channel]
    real = (position - quantizer.zero) * quantizer.scale
    if low is not None:
        real = max(real, low)
    if high is not None:
        real = min(real, high)
    if quantizer.bipolar:
        return quantizer.code(real)
    rounded = round_exact(quantizer.position(real), quantizer.mode) + quantizer.offset
    return min(max(rounded, quantizer.low), quantizer.high)


def _integers(pending: Pending, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """``v``, the sum of magnitudes ``|w| * |q - z|`` behind it, and the number of terms."""
    source = pending.source
    zero = source.input.quantizer.code_zero
    distance = np.abs(codes.astype(np.int64) - zero)
    if isinstance(source, ConvSource):
        none = np.zeros(0, np.int64)
        empty = Requant(none, none, none)
        op, sizes = (Conv(source.name, "", "", weight, source.schemes, source.row_scales, empty, source.strides,
                          source.pads) for weight in (source.weight, np.abs(source.weight.astype(np.int64))))
        return conv_accumulators(op, codes, zero), conv_accumulators(sizes, distance, 0), math.prod(op.weight.shape[1:])
    if isinstance(source, PoolSource):
        pool = AvgPool(source.name, "", "", source.kernel, source.strides, Rescale(1, 0, 1), source.pads)
        return pool_sums(pool, codes, zero), pool_sums(pool, distance, 0), math.prod(source.kernel)
    return codes.astype(np.int64), distance, 1
