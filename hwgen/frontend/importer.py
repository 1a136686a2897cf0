"""Walks an ONNX graph once and reads every node, or lists why it cannot be read."""

from dataclasses import dataclass, field
from fractions import Fraction
import json
import math

import numpy as np
from onnx import NodeProto

from hwgen.frontend.model_file import QDQ_OPS, QUANT_OPS, ModelFile, attributes, exact, node_name
from hwgen.frontend.quantizers import MODES, Grid, Quantizer
from hwgen.frontend.values import Codes, Hosted, Layer, Pending, PoolLayer, Refusal, Shape, on_grid, pending_codes
from hwgen.schemes import NAMES, discover, get


class Skipped(Exception):
    """A node's input comes from a refused node: nothing can be said about it."""


@dataclass(frozen=True)
class Image:
    """The network's input before it is quantized, or the integers that it is given as."""

    shape: Shape
    flat: bool


@dataclass(frozen=True)
class Problem:
    """One thing that keeps a model from being built."""

    node: str
    op: str
    reason: str
    help: str = ""

    def __str__(self) -> str:
        return f"{self.node} ({self.op}): {self.reason}" + (f"; {self.help}" if self.help else "")


@dataclass(frozen=True)
class NodeReport:
    """What one node of the file becomes."""

    node: str
    op: str
    becomes: str
    problems: tuple[Problem, ...] = ()


@dataclass(eq=False)
class Network:
    """Everything read from the file, exact, before integers are chosen for the requantizers."""

    file: ModelFile
    input: Codes | None = None
    layers: list[Layer | PoolLayer] = field(default_factory=list)
    outputs: list[Codes] = field(default_factory=list)
    reports: list[NodeReport] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


UNKNOWN = object()

DOMAINS = ("", "ai.onnx", "qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
"""Operator domains whose names are understood."""

CONTRIB = "com.microsoft"
"""onnxruntime's own domain, in which only QuantizeLinear and DequantizeLinear are."""

POINTWISE = ("LeakyRelu", "Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Elu", "HardSwish", "HardSigmoid", "PRelu",
             "Selu", "Relu", "Clip", "Mul", "Div", "BatchNormalization", "Dropout", "Cast", "Identity",
             "InstanceNormalization")
"""Operators whose output has the shape of their first input."""


class Importer:
    """State of one walk: a value per tensor name."""

    def __init__(self, file: ModelFile):
        self.file = file
        self.network = Network(file)
        self.values: dict[str, object] = {}
        self.schemes = self._scheme_metadata()
        self.used_schemes: set[str] = set()
        self.noted: list[Problem] = []
        self.readers: dict[str, list[str]] = {}
        """Operators that read a tensor, in order."""
        for node in file.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node.op_type)

    # -- the walk ----------------------------------------------------------------------

    def run(self, handlers: dict) -> Network:
        """Reads every node; problems are collected, none stops the walk."""
        network = self.network
        self.values[self.file.input] = self._image()
        for node in self.file.nodes:
            network.reports.append(self._node(node, handlers))
            network.problems += network.reports[-1].problems
        if not network.problems:
            self._outputs()
        for key in sorted(set(self.schemes) - self.used_schemes) if not network.problems else ():
            self._problem(key, "metadata hwgen.schemes", "no layer has this name", "name the Conv, Gemm or MatMul node")
        return network

    def _node(self, node: NodeProto, handlers: dict) -> NodeReport:
        name, op = node_name(node), node.op_type
        known = node.domain in DOMAINS or (node.domain == CONTRIB and op in QDQ_OPS)
        handler = handlers.get(op) if known else None
        self.noted = []
        try:
            if handler is None:
                where = f" of the domain {node.domain}" if node.domain else ""
                raise Refusal(f"the operation {op}{where} is not supported", "see docs/model-file.md for what is")
            becomes, *values = handler(self, node, attributes(node))
        except Skipped:
            becomes, values = "not examined: its input comes from a refused node", [UNKNOWN]
        except Refusal as refusal:
            self.note(node, refusal)
            values = [self._guess(node)]
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
            # inputs or attributes that ONNX's rules ask for are missing or of another kind
            self.note(node, Refusal(f"the node is malformed ({error})", "export the model again"))
            values = [UNKNOWN]
        self._bind(node, values)
        return NodeReport(name, op, "refused" if self.noted else becomes, tuple(self.noted))

    def note(self, node: NodeProto, refusal: Refusal) -> None:
        """Lists a problem of the node at hand while the walk goes on as if it were not there."""
        self.noted.append(Problem(node_name(node), node.op_type, refusal.reason, refusal.help))

    def _guess(self, node: NodeProto) -> object:
        """What a refused node's output would be, so that what follows it is examined too."""
        value = self.values.get(node.input[0], UNKNOWN) if node.input else UNKNOWN
        if node.op_type in (*QUANT_OPS, *QDQ_OPS) and isinstance(value, (Codes, Pending, Image)):
            return Codes(node.output[0], value.shape, Quantizer(Fraction(1)), value.flat,
                         node.op_type == "QuantizeLinear", True)
        return value if node.op_type in POINTWISE else UNKNOWN

    def _bind(self, node: NodeProto, values: list) -> None:
        for output in node.output:
            self.values[output] = UNKNOWN
        for output, value in zip(node.output, values, strict=False):
            self.values[output] = value

    def _problem(self, node: str, op: str, reason: str, help: str = "") -> None:
        self.network.problems.append(Problem(node, op, reason, help))

    def _image(self) -> object:
        """The graph's input: an image to quantize, or codes that metadata describes."""
        file = self.file
        text = file.metadata.get("hwgen.input")
        if text is None:
            return Image(file.input_shape, file.input_rank == 2)
        try:
            fields = json.loads(text)
            scale, zero, bits = Fraction(fields["scale"]), int(fields.get("zero_point", 0)), int(fields["bits"])
        except (ValueError, KeyError, TypeError, OverflowError, AttributeError):
            self._problem(file.input, "metadata hwgen.input", f"cannot be read: {text!r}",
                          'write JSON like {"bits": 8, "scale": 0.0039, "zero_point": 0}')
            return UNKNOWN
        quantizer = Quantizer(scale, zero, bits)
        if not (scale > 0 and 1 <= bits <= 8 and 0 <= zero <= quantizer.high):
            self._problem(file.input, "metadata hwgen.input", "scale, bits or zero_point is out of range",
                          "bits are 1 to 8, the scale is positive, the zero point is a code")
            return UNKNOWN
        self.network.input = Codes(file.input, file.input_shape, quantizer, file.input_rank == 2)
        return self.network.input

    def _outputs(self) -> None:
        for name in self.file.outputs:
            value = self.values.get(name)
            if isinstance(value, Hosted):
                value = value.codes
            if isinstance(value, Pending):
                value = self.settled(name, value)
            if not isinstance(value, Codes):
                self._problem(name, "output", "the output is not quantized", f"end the network with {self.quantizing}")
            elif value.tensor == (self.network.input.tensor if self.network.input else None):
                self._problem(name, "output", "the output is the network's input", "the network has no layer")
            elif all(value.tensor != other.tensor for other in self.network.outputs):
                self.network.outputs.append(value)

    # -- constants ---------------------------------------------------------------------

    def constant(self, name: str, what: str) -> np.ndarray:
        """A constant array, finite."""
        if name not in self.file.constants:
            raise Refusal(f"{what} is not a constant of the file", "export the model with folded constants")
        array = self.file.constants[name]
        if array.dtype.kind not in "fiub":
            raise Refusal(f"{what} has the type {array.dtype}", "store it as float32")
        if array.size == 0:
            raise Refusal(f"{what} is empty (shape {array.shape})", "remove the layer")
        if not np.isfinite(array).all():
            raise Refusal(f"{what} holds NaN or infinity", "train or export the model again")
        return array

    def numbers(self, name: str, what: str) -> tuple[list[Fraction], tuple[int, ...]]:
        """A constant's exact values and its shape; it may have passed a Quant node."""
        value = self.values.get(name)
        if isinstance(value, Grid):
            return value.values(), value.integers.shape
        if name in self.values:
            self.codes_or_skip(name)
            raise Refusal(f"{what} is computed from the network's input", "only constants are possible here")
        array = self.constant(name, what)
        return exact(array), array.shape

    def per_channel(self, name: str, what: str, x: Pending) -> list[Fraction]:
        """A constant that broadcasts over a tensor, one number per channel."""
        numbers, shape = self.numbers(name, what)
        if len(numbers) == 1 and len(shape) <= (2 if x.flat else 4):
            return numbers * x.channels
        rank = 2 if x.flat else 4
        full = (1,) * (rank - len(shape)) + tuple(shape)
        wanted = (1, x.channels) if x.flat else (1, x.channels, 1, 1)
        if full != wanted or (x.flat and x.shape[1:] != (1, 1)):
            raise Refusal(f"{what} of shape {tuple(shape)} is not one number per tensor or per channel",
                          f"{x.channels} channels need shape {wanted}")
        return numbers

    def vector(self, name: str, what: str, channels: int) -> list[Fraction]:
        """A constant of one number per channel, of shape (channels,)."""
        numbers, shape = self.numbers(name, what)
        if math.prod(shape) != channels:
            raise Refusal(f"{what} has {math.prod(shape)} numbers for {channels} channels", "export the model again")
        return numbers

    # -- activations -------------------------------------------------------------------

    @property
    def quantizing(self) -> str:
        """What quantizes a tensor in this file, for messages."""
        return "QuantizeLinear and DequantizeLinear" if self.file.qdq else "a Quant node"

    def codes_or_skip(self, name: str, raw: bool = False) -> object:
        """The value of an activation; Skipped where it is not known.  ``raw``: integers will do, too."""
        value = self.values.get(name, UNKNOWN)
        if isinstance(value, Hosted):
            raise Refusal(f"it follows {value.node!r}, which only the host can compute", "end the network before that")
        if isinstance(value, Codes) and value.raw and not raw:
            raise Refusal(f"its input {name!r} is integers", "put DequantizeLinear before it")
        if value is UNKNOWN:
            if name in self.file.constants:
                raise Refusal(f"the constant {name!r} stands where an activation is expected", "export the model again")
            raise Skipped
        return value

    def codes(self, node: NodeProto, name: str, raw: bool = False) -> Codes:
        """A quantized activation; where it is not quantized that is noted.  ``raw``: integers will do, too."""
        value = self.codes_or_skip(name, raw)
        if isinstance(value, Image):
            raise Refusal("the network's input is not quantized", f"start the network with {self.quantizing}")
        if isinstance(value, Pending):
            value = self.settled(name, value)
        if isinstance(value, Pending):
            self.note(node, Refusal(f"its input {name!r} is not quantized", f"put {self.quantizing} before it"))
            return Codes(name, value.shape, Quantizer(Fraction(1)), value.flat)
        if not isinstance(value, Codes):
            raise Refusal(f"its input {name!r} is a weight", "export the model again")
        return value

    def settled(self, name: str, value: Pending) -> Codes | Pending:
        """Codes where the values are on their codes' grid without a quantizer (Relu of a quantized tensor)."""
        quantizer = on_grid(value)
        if quantizer is None:
            return value
        self.network.layers.append(Layer(value, quantizer, name, value.source.name))
        codes = Codes(name, value.shape, quantizer, value.flat)
        self.values[name] = codes
        return codes

    def real(self, node: NodeProto, name: str) -> Pending:
        """An activation as real values."""
        value = self.codes_or_skip(name)
        return value if isinstance(value, Pending) else pending_codes(node_name(node), self.codes(node, name))

    # -- Quant nodes and weights -------------------------------------------------------

    def quant_fields(self, node: NodeProto, options: dict) -> tuple[np.ndarray, np.ndarray, int, bool, bool, str]:
        """(scale, zero, bits, signed, narrow, mode) of a Quant node, checked."""
        if len(node.input) != 4:
            raise Refusal(f"a Quant node has 4 inputs, this one has {len(node.input)}", "export the model again")
        scale = self.constant(node.input[1], "its scale")
        zero = self.constant(node.input[2], "its zero point")
        width = self.constant(node.input[3], "its bit width")
        if (scale <= 0).any():
            raise Refusal(f"its scale must be positive, not {scale.min():g}", "train or export the model again")
        if not np.array_equal(zero, np.round(zero)) or np.abs(zero).max() > 1 << 24:
            raise Refusal("its zero point is not an integer", "use integer zero points")
        if width.size != 1 or float(width.reshape(-1)[0]) not in range(1, 33):
            raise Refusal(f"its bit width must be one integer of 1 to 32, not {width.reshape(-1)[:4].tolist()}",
                          "use 1 to 8 bits")
        mode = MODES.get(str(options.get("rounding_mode", "ROUND")).upper())
        if mode is None:
            raise Refusal(f"unknown rounding mode {options['rounding_mode']!r}", f"use one of {', '.join(MODES)}")
        return (scale, zero, int(width.reshape(-1)[0]), bool(options.get("signed", 1)), bool(options.get("narrow", 1)),
                mode)

    def weight(self, name: str, rank: int) -> Grid:
        """A quantized weight."""
        value = self.values.get(name)
        if value is UNKNOWN:
            raise Skipped
        if not isinstance(value, Grid):
            what = "DequantizeLinear" if self.file.qdq else "a Quant node of at most 8 bits"
            raise Refusal("its weight is not quantized", f"put {what} between weight and layer")
        if value.zeros is not None:
            raise Refusal("its weight is integers", "put DequantizeLinear before it")
        if value.integers.ndim != rank:
            raise Refusal(f"its weight has {value.integers.ndim} dimensions, not {rank}", "use a 2-D layer")
        if value.bits > 8:
            raise Refusal(f"its weight has {value.bits} bits", "use at most 8")
        return value

    def rows(self, node: NodeProto, grid: Grid) -> tuple[np.ndarray, tuple[str, ...]]:
        """(scale, scheme) per row of a weight whose first axis is the row."""
        scales = grid.row_scales()
        if scales is None:
            raise Refusal("its weight's scale differs within a row", "use one scale per output channel")
        name = node_name(node)
        listed = None
        for key in (name, grid.source):
            if key in self.schemes:
                listed = self.schemes[key]
                self.used_schemes.add(key)
        found = []
        if listed is not None and len(listed) != len(grid.integers):
            raise Refusal(f"hwgen.schemes has {len(listed)} schemes for its {len(grid.integers)} rows",
                          "list one per row")
        for index, row in enumerate(grid.integers):
            try:
                found.append(_row_scheme(index, row, None if listed is None else listed[index]))
            except Refusal as refusal:  # the first row that fails speaks for the layer
                self.note(node, refusal)
                return scales, ("fixed8",) * len(grid.integers)
        return scales, tuple(found)

    def _scheme_metadata(self) -> dict[str, list[str]]:
        text = self.file.metadata.get("hwgen.schemes")
        if text is None:
            return {}
        try:
            listed = json.loads(text)
        except ValueError:
            listed = None
        if not isinstance(listed, dict) or not all(isinstance(value, list) for value in listed.values()):
            self._problem("hwgen.schemes", "metadata", "is not a JSON object of lists",
                          'write {"layer": ["sp2", "fixed4", ...]}')
            return {}
        return listed


def _row_scheme(index: int, row: np.ndarray, listed: str | None) -> str:
    if listed is None:
        candidates = discover(row)
        if not candidates:
            raise Refusal(f"row {index} of its weight holds integers from {row.min()} to {row.max()}, which no scheme "
                          "holds", "quantize weights to int8 with zero point 0")
        return candidates[0]
    if listed not in NAMES:
        raise Refusal(f"hwgen.schemes names the unknown scheme {listed!r} for row {index}",
                      f"known are {', '.join(NAMES)}")
    legal = get(listed).contains(row)
    if not legal.all():
        raise Refusal(f"row {index} holds {int(row[~legal].flat[0])}, which is not on the grid of {listed}, the scheme "
                      "that hwgen.schemes gives it", "correct the metadata or remove it")
    return listed
