"""QuantizeLinear and DequantizeLinear nodes: of constants, of the image, and of activations.

Between the two a tensor is integers (``Codes.raw``, ``Grid.zeros``), which only moves of data and a Clip may touch.
A handler is ``(importer, node, options) -> (words, value)``; it raises Refusal.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from onnx import NodeProto, TensorProto

from hwgen.frontend import pointwise
from hwgen.frontend.grids import Grid
from hwgen.frontend.importer import Importer
from hwgen.frontend.model_file import attributes
from hwgen.frontend.network import HostValue
from hwgen.frontend.picked import Picked
from hwgen.frontend.pointwise import limits
from hwgen.frontend.quantize_nodes import activation, activation_scale
from hwgen.frontend.quantizers import Quantizer
from hwgen.frontend.values import Codes, Factors, Image, Refusal

TYPES: dict[int, tuple[int, bool]] = {
    TensorProto.UINT8: (8, False), TensorProto.INT8: (8, True), TensorProto.UINT16: (16, False),
    TensorProto.INT16: (16, True), TensorProto.INT32: (32, True), TensorProto.UINT4: (4, False),
    TensorProto.INT4: (4, True)}
"""(bits, signed) of ONNX's integer types."""

NAMES = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "uint16": TensorProto.UINT16,
         "int16": TensorProto.INT16, "int32": TensorProto.INT32, "uint4": TensorProto.UINT4,
         "int4": TensorProto.INT4}

_SAME = "quantize with QuantFormat.QDQ, which writes both nodes alike"


@dataclass(frozen=True, eq=False)
class _Fields:
    """Scale and zero point of a node, checked; one number each, or one per slice of ``axis``."""

    scale: np.ndarray
    zero: np.ndarray
    bits: int
    signed: bool
    axis: int

    def along(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """(scale, zero) as float64 and int64, broadcastable to a constant of this rank."""
        if self.scale.size == 1:
            shape = (1,) * rank
        elif -rank <= self.axis < rank:
            shape = tuple(self.scale.size if axis == self.axis % rank else 1 for axis in range(rank))
        else:
            raise Refusal(f"its axis {self.axis} is none of a constant of {rank} dimensions", "export the model again")
        zero = np.broadcast_to(self.zero.reshape(-1), (self.scale.size,))
        return self.scale.reshape(shape).astype(np.float64), zero.reshape(shape).astype(np.int64)

    def quantizer(self, importer: Importer, node: NodeProto) -> tuple[Quantizer, Factors]:
        """Of an activation, and the scales of its channels."""
        if (self.zero != self.zero.flat[0]).any():
            raise Refusal("an activation with one zero point per channel", "use one per tensor")
        if self.bits > 8:
            raise Refusal(f"an activation of {self.bits} bits", "use uint8 or int8")
        step, factors = activation_scale(importer, node, self.axis)
        return Quantizer(step, 0, self.bits, self.signed, after=int(self.zero.flat[0])), factors


def quantize_linear(importer: Importer, node: NodeProto, options: dict):
    """``q = saturate(round_half_even(x / scale) + zero)``."""
    fields = _fields(importer, node, options, TensorProto.UINT8)
    name = node.input[0]
    if name in importer.file.constants:
        return f"{fields.bits}-bit constant", _quantized(importer, fields, name)
    value = importer.values.get(name)
    if isinstance(value, HostValue):
        return "left to the host", value
    plain, factors = fields.quantizer(importer, node)
    node, quantizer = _with_clip(importer, node, plain)
    known = importer.network.input
    if isinstance(value, Image) and known is not None and known.quantizer == quantizer and \
            (value.factor, value.offset) == importer.network.before and value.border == known.border:
        return "the input's codes again", known
    words, codes = activation(importer, node, quantizer, factors=factors)
    if isinstance(codes, Picked):
        return words, replace(codes, codes=replace(codes.codes, raw=True))
    return words, replace(codes, raw=True)


def dequantize_linear(importer: Importer, node: NodeProto, options: dict):
    """``y = (q - zero) * scale``."""
    name = node.input[0]
    value = importer.values.get(name)
    if isinstance(value, HostValue):
        return "left to the host", value
    if name in importer.file.constants:
        return _constant(importer, node, options, name)
    if isinstance(value, Image):
        return _image(importer, node, options, value)
    if isinstance(value, Grid):
        if value.zeros is None:
            raise Refusal("its input is real values", "put QuantizeLinear before it")
        fields = _fields(importer, node, options, TensorProto.INT8 if value.zeros.min() < 0 else TensorProto.UINT8)
        scale, zero = fields.along(value.integers.ndim)
        if not all(_equal(*pair, value.integers.shape) for pair in ((scale, value.scales), (zero, value.zeros))):
            raise Refusal("a constant whose scale or zero point is not that of its QuantizeLinear", _SAME)
        return "values of the constant", replace(value, zeros=None)
    value = importer.codes_or_skip(name, raw=True)
    if isinstance(value, Picked):
        return "values of the codes", replace(value, codes=_real(importer, node, options, value.codes,
                                                                 value.seen.factors))
    return "values of the codes", _real(importer, node, options, value, getattr(value, "factors", None))


def _real(importer: Importer, node: NodeProto, options: dict, codes: object, expected: Factors) -> Codes:
    """The same codes as real values; ``expected``: scales of the channels that the node reads."""
    if not isinstance(codes, Codes) or not (codes.raw or codes.guessed):
        raise Refusal("its input is real values", "put QuantizeLinear before it")
    if codes.guessed:
        return replace(codes, raw=False)
    old = codes.quantizer
    fields = _fields(importer, node, options, TensorProto.INT8 if old.signed else TensorProto.UINT8)
    new, factors = fields.quantizer(importer, node)
    if (new.scale, new.after, new.signed, factors) != \
            (old.scale, old.code_zero - old.sign_offset, old.signed, expected):
        raise Refusal("its scale or zero point is not that of the QuantizeLinear before it", _SAME)
    return replace(codes, raw=False)


def clip(importer: Importer, node: NodeProto, options: dict):
    """Clip of integers, as PyTorch writes it for 7-bit activations and weights without -128; else of real values."""
    value = importer.values.get(node.input[0])
    if isinstance(value, Grid) and value.zeros is not None:
        low, high = limits(importer, node, options)
        integers = np.clip(value.integers + value.zeros, None if low is None else int(low),
                           None if high is None else int(high))
        return "limits of the constant", replace(value, integers=integers - value.zeros)
    codes = value.codes if isinstance(value, Picked) else value
    if isinstance(codes, Codes) and codes.raw:
        low, high = limits(importer, node, options)
        if _clipped(codes.quantizer, low, high) != codes.quantizer:
            raise Refusal("a Clip of integers that does not follow QuantizeLinear, or not alone",
                          "export the model again")
        return "nothing: the codes are within the limits already", value
    return pointwise.clip(importer, node, options)


def _clipped(quantizer: Quantizer, low: Fraction | None, high: Fraction | None) -> Quantizer:
    """A quantizer that saturates at a Clip's limits instead of its own, as files have it for fewer than 8 bits."""
    least, most = quantizer.low - quantizer.sign_offset, quantizer.high - quantizer.sign_offset
    first, last = (least if low is None else max(least, int(low))), (most if high is None else min(most, int(high)))
    found = quantizer.limited(first, last)
    if found is None:
        raise Refusal(f"integers limited to {first}..{last}, with the zero point {quantizer.after}",
                      "use the whole range of 1 to 8 bits, signed or not, narrow or not, with the zero point in it")
    return found


def _with_clip(importer: Importer, node: NodeProto, quantizer: Quantizer) -> tuple[NodeProto, Quantizer]:
    """A QuantizeLinear node that only a Clip reads as one node with that Clip; others as they are."""
    name = node.output[0]
    if importer.readers.get(name) != ["Clip"] or name in importer.file.outputs:
        return node, quantizer
    behind = next(other for other in importer.file.nodes if name in other.input)
    try:
        narrow = _clipped(quantizer, *limits(importer, behind, attributes(behind)))
    except Refusal:  # listed when the Clip itself is read
        return node, quantizer
    whole = NodeProto()
    whole.CopyFrom(node)
    whole.output[0] = behind.output[0]
    return whole, narrow


def _quantized(importer: Importer, fields: _Fields, name: str) -> Grid:
    """A constant through QuantizeLinear, by one float32 division, as the operator is defined.

    An IEEE division is the same everywhere, and weights are often exactly on a tie in float32 (a scale of max/127.5):
    exact division would give a network with other weights than every executor has.
    """
    real = importer.constant(name, "the constant it quantizes")
    if fields.bits > 8 or real.dtype != np.float32:
        raise Refusal(f"a constant of the type {real.dtype} quantized to {fields.bits} bits", "use float32 and int8")
    scale, zero = fields.along(real.ndim)
    low = -(1 << (fields.bits - 1)) if fields.signed else 0
    with np.errstate(over="ignore"):
        position = np.rint(real / _fitting(scale, real.shape).astype(np.float32)).astype(np.float64)
    integers = np.clip(position + zero, low, low + (1 << fields.bits) - 1).astype(np.int64) - zero
    return Grid(integers, scale, fields.bits, name, zero)


def _fitting(scale: np.ndarray, shape) -> np.ndarray:
    """The scale of a constant of this shape, broadcast to it."""
    try:
        return np.broadcast_to(scale, shape)
    except ValueError as error:
        raise Refusal(str(error), "export the model again") from error


def _fields(importer: Importer, node: NodeProto, options: dict, default: int) -> _Fields:
    if not 2 <= len(node.input) <= 3:
        raise Refusal(f"a {node.op_type} node has 2 or 3 inputs, this one has {len(node.input)}",
                      "export the model again")
    if options.get("block_size", 0):
        raise Refusal("one scale per block", "use one scale per tensor or per channel")
    scale = importer.constant(node.input[1], "its scale")
    if scale.dtype != np.float32:
        raise Refusal(f"its scale has the type {scale.dtype}", "use float32")
    if (scale <= 0).any():
        raise Refusal(f"its scale must be positive, not {scale.min():g}", "train or export the model again")
    zero = np.zeros(1, np.int64)
    kind = options.get("output_dtype", 0) or default
    if len(node.input) > 2 and node.input[2]:
        array = importer.constant(node.input[2], "its zero point")
        kind, zero = type_of(array), array.astype(np.int64)
    if kind not in TYPES:
        raise Refusal(f"quantization to {TensorProto.DataType.Name(kind)}", "use uint8 or int8")
    if zero.size not in (1, scale.size):
        raise Refusal(f"it has {zero.size} zero points for {scale.size} scales", "export the model again")
    return _Fields(scale, zero, *TYPES[kind], int(options.get("axis", 1)))


def type_of(array: np.ndarray) -> int:
    """ONNX's number of a constant's integer type; Refusal where it is none.

    onnx gives 4-bit integers as 8-bit ones with the type's name as a field.
    """
    name = array.dtype.names[0] if array.dtype.names else array.dtype.name
    if name not in NAMES:
        raise Refusal(f"quantization to {name}", "use uint8 or int8")
    return NAMES[name]


def _constant(importer: Importer, node: NodeProto, options: dict, name: str):
    array = importer.constant(name, "the constant it reads")
    kind = type_of(array)
    fields = _fields(importer, node, options, kind)
    if (fields.bits, fields.signed) != TYPES[kind] and len(node.input) > 2:
        raise Refusal("its zero point has another type than its input", "export the model again")
    scale, zero = fields.along(array.ndim)
    integers = array.astype(np.int64) - zero
    if integers.min() >= -128 and integers.max() <= 127:
        integers = integers.astype(np.int8)
    _fitting(scale, array.shape)
    return f"{fields.bits}-bit constant", Grid(integers, scale, fields.bits, name)


def _image(importer: Importer, node: NodeProto, options: dict, image: Image):
    """A graph input that is integers already."""
    kind = importer.file.input_element
    if kind not in (TensorProto.UINT8, TensorProto.INT8):
        raise Refusal("the network's input is not quantized", f"start the network with {importer.quantizing}")
    quantizer, _ = _fields(importer, node, options, kind).quantizer(importer, node)
    if (quantizer.bits, quantizer.signed) != TYPES[kind]:
        raise Refusal("its zero point has another type than its input", "export the model again")
    codes = Codes(node.input[0], image.shape, quantizer, image.flat, image.axes, image.border)
    if importer.network.input is not None and importer.network.input != codes:
        raise Refusal("the network's input is dequantized twice, differently", "share one DequantizeLinear node")
    importer.network.input = codes
    return f"the input, {quantizer.code_bits}-bit codes", codes


def _equal(one: np.ndarray, two: np.ndarray, shape) -> bool:
    return bool((np.broadcast_to(one, shape) == np.broadcast_to(two, shape)).all())
