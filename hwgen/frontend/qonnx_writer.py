"""Writes an integer network as an ONNX file in the QONNX dialect.

The file holds the real-valued network (convolutions, batch norm, ReLU, pools) with a
``Quant`` node at every place where a tensor is integer, so that the ``qonnx`` package
executes it directly.  What QONNX has no field for goes into the file's metadata:

* ``hwgen.schemes``: JSON, ``{weight layer: [scheme of row 0, scheme of row 1, ...]}``
* ``hwgen.name``, ``hwgen.float_accuracy``, ``hwgen.quantized_accuracy``

The same calls give the same bytes: names are counted, nothing in the file is a time or
a path.
"""

from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from hwgen.errors import HwgenError
from hwgen.schemes import get, quant_bits

QONNX_DOMAIN = "qonnx.custom_op.general"
OPSET = 13
IR_VERSION = 8
PRODUCER = "hwgen"


@dataclass(frozen=True)
class Value:
    """A tensor of the network under construction."""

    name: str
    shape: tuple[int, ...]
    """(channels, height, width), or (features,) after ``flatten`` and ``linear``; no batch."""


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(value, (int, np.integer)):
        return int(value), int(value)
    first, second = value
    return int(first), int(second)


def _four(pads: int | Sequence[int]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right), ONNX's order, from one, two or four numbers."""
    if isinstance(pads, (int, np.integer)):
        return (int(pads),) * 4
    sides = tuple(int(side) for side in pads)
    if len(sides) == 2:
        return sides[0], sides[1], sides[0], sides[1]
    top, left, bottom, right = sides
    return top, left, bottom, right


class QonnxBuilder:
    """Builds a QONNX file layer by layer.

    The graph's input is the real-valued image (``input_scale * (code - input_zero_point)``)
    of shape (1, C, H, W); a Quant node of ``input_bits`` unsigned bits follows it and is
    what ``input`` names.  Convolutions, linear layers, adds and average pools give real
    values: call ``quant`` after each (with batchnorm and relu between, if wanted).

    Real numbers are stored as float32; ``float32(x)`` is what the network means from then
    on, so ``row_scales`` and ``scale`` should already be float32 values where exactness
    matters to the caller.
    """

    def __init__(self, name: str, input_shape: tuple[int, int, int], input_bits: int, input_scale: float,
                 input_zero_point: int = 0):
        if not name:
            raise HwgenError("QonnxBuilder: name must not be empty")
        self.name = name
        self._nodes: list[NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._infos: list = []
        self._names: dict[str, int] = {}
        self._taken: set[str] = set()
        self._outputs: list[Value] = []
        self._metadata: dict[str, str] = {"hwgen.name": name}
        self._schemes: dict[str, list[str]] = {}
        shape = tuple(int(side) for side in input_shape)
        if len(shape) != 3 or min(shape) < 1:
            raise HwgenError(f"{name}: input_shape must be (channels, height, width), not {input_shape!r}")
        self._image = Value(self._fresh("image"), shape)
        self.input = self.quant(self._image, input_scale, input_zero_point, input_bits, signed=False, name="input")

    # -- names, constants, nodes -------------------------------------------------------

    def _fresh(self, stem: str) -> str:
        """``stem`` if it is free, else ``stem_1``, ``stem_2``, ..."""
        name = stem
        while name in self._taken:
            self._names[stem] = self._names.get(stem, 0) + 1
            name = f"{stem}_{self._names[stem]}"
        self._taken.add(name)
        return name

    def _constant(self, stem: str, array) -> str:
        array = np.asarray(array)
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
            if not np.isfinite(array).all():
                raise HwgenError(f"{self.name}: {stem} holds NaN or infinity")
        name = self._fresh(stem)
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def _node(self, op: str, inputs: list[str], shape: tuple[int, ...], node: str, domain: str = "",
              **attributes) -> Value:
        """Appends a node under a name that the caller took with ``_fresh``."""
        value = Value(self._fresh(f"{node}_out"), shape)
        self._nodes.append(helper.make_node(op, inputs, [value.name], name=node, domain=domain,
                                            **dict(sorted(attributes.items()))))
        self._infos.append(self._info(value))
        return value

    @staticmethod
    def _info(value: Value):
        return helper.make_tensor_value_info(value.name, TensorProto.FLOAT, [1, *value.shape])

    # -- weight layers -----------------------------------------------------------------

    def _weights(self, stem: str, integers: np.ndarray, scales: np.ndarray, schemes: Sequence[str] | None) -> str:
        """A weight initializer behind the Quant node that makes its integers."""
        rows = len(integers)
        scales = np.broadcast_to(np.asarray(scales, np.float64).astype(np.float32).reshape(-1), (rows,))
        if not np.isfinite(scales).all() or (scales <= 0).any():
            raise HwgenError(f"{self.name}: the row scales of {stem} must be finite and positive")
        if (scales < np.finfo(np.float32).tiny).any():
            raise HwgenError(f"{self.name}: a row scale of {stem} is too small for float32")
        column = scales.reshape(rows, *[1] * (integers.ndim - 1))
        # The product is off by at most 2^-24 relative, so dividing and rounding gives the integer back.
        real = integers.astype(np.float32)
        real *= column
        weight = self._constant(f"{stem}.weight", real)
        node, out = self._fresh(f"{stem}.weight_quant"), self._fresh(f"{stem}.weight_q")
        if schemes is not None and set(schemes) == {"binary"}:
            inputs = [weight, self._constant(f"{stem}.weight_scale", column)]
            self._nodes.append(helper.make_node("BipolarQuant", inputs, [out], name=node, domain=QONNX_DOMAIN))
        else:
            bits = quant_bits(integers if schemes is None else schemes)
            inputs = [weight, self._constant(f"{stem}.weight_scale", column),
                      self._constant(f"{stem}.weight_zero", np.float32(0)),
                      self._constant(f"{stem}.weight_bits", np.float32(bits))]
            self._nodes.append(helper.make_node("Quant", inputs, [out], name=node, domain=QONNX_DOMAIN,
                                                narrow=0, rounding_mode="ROUND", signed=1))
        self._infos.append(helper.make_tensor_value_info(out, TensorProto.FLOAT, integers.shape))
        return out

    def _record(self, stem: str, integers: np.ndarray, schemes: Sequence[str] | None) -> None:
        """Takes the schemes of a layer; every row must be on its grid."""
        if schemes is None:
            return
        if len(schemes) != len(integers):
            raise HwgenError(f"{self.name}: {stem} has {len(integers)} rows but {len(schemes)} schemes")
        for index, (scheme, row) in enumerate(zip(schemes, integers, strict=True)):
            legal = get(scheme).contains(row)
            if not legal.all():
                raise HwgenError(f"{self.name}: row {index} of {stem} holds {int(row[~legal].flat[0])}, which is not "
                                 f"on the grid of {scheme}: {get(scheme).describe()}")
        self._schemes[stem] = [str(scheme) for scheme in schemes]

    def _bias(self, stem: str, rows: int, bias) -> list[str]:
        if bias is None:
            return []
        return [self._constant(f"{stem}.bias", np.broadcast_to(np.asarray(bias, np.float64), (rows,)))]

    def _integers(self, stem: str, weight, dims: int) -> np.ndarray:
        array = np.asarray(weight)
        integers = array if array.dtype.kind == "i" else np.round(array).astype(np.int64)
        if array.ndim != dims or array.size == 0 or not np.array_equal(integers, array):
            raise HwgenError(f"{self.name}: the weight of {stem} must be a non-empty {dims}-D array of integers, "
                             f"not shape {array.shape}")
        return integers

    def conv(self, x: Value, weight_ints, row_scales, bias_real=None, strides: int | Sequence[int] = 1,
             pads: int | Sequence[int] = 0, name: str | None = None, schemes: Sequence[str] | None = None,
             groups: int = 1) -> Value:
        """2-D convolution; ``weight_ints`` (rows, C / groups, kh, kw), one scale per row, bias real or None.

        ``strides`` is (vertical, horizontal), ``pads`` (top, left, bottom, right), (vertical,
        horizontal) or one number.
        """
        stem = self._fresh(name or "conv")
        integers = self._integers(stem, weight_ints, 4)
        rows, channels, kh, kw = integers.shape
        if groups < 1 or rows % groups:
            raise HwgenError(f"{self.name}: the groups of {stem} must divide its {rows} rows, not {groups}")
        if len(x.shape) != 3 or x.shape[0] != channels * groups:
            each = f" in each of {groups} groups" if groups > 1 else ""
            raise HwgenError(f"{self.name}: {stem} has {channels} input channels{each}, its input is {x.shape}")
        top, left, bottom, right = _four(pads)
        sy, sx = _pair(strides)
        height = (x.shape[1] + top + bottom - kh) // sy + 1
        width = (x.shape[2] + left + right - kw) // sx + 1
        if height < 1 or width < 1:
            raise HwgenError(f"{self.name}: the kernel {kh}x{kw} of {stem} is larger than its padded input {x.shape}")
        self._record(stem, integers, schemes)
        inputs = [x.name, self._weights(stem, integers, row_scales, schemes), *self._bias(stem, rows, bias_real)]
        return self._node("Conv", inputs, (rows, height, width), stem, dilations=[1, 1], group=groups,
                          kernel_shape=[kh, kw], pads=[top, left, bottom, right], strides=[sy, sx])

    def linear(self, x: Value, weight_ints, row_scales, bias_real=None, name: str | None = None,
               schemes: Sequence[str] | None = None) -> Value:
        """Linear layer; ``weight_ints`` (rows, features), features in (C, H, W) order; flattens ``x`` if needed."""
        stem = self._fresh(name or "linear")
        if len(x.shape) != 1:
            x = self.flatten(x)
        integers = self._integers(stem, np.asarray(weight_ints).reshape(len(weight_ints), -1), 2)
        rows, features = integers.shape
        if x.shape != (features,):
            raise HwgenError(f"{self.name}: {stem} has {features} input features, its input is {x.shape}")
        self._record(stem, integers, schemes)
        inputs = [x.name, self._weights(stem, integers, row_scales, schemes), *self._bias(stem, rows, bias_real)]
        return self._node("Gemm", inputs, (rows,), stem, alpha=1.0, beta=1.0, transA=0, transB=1)

    # -- pointwise ---------------------------------------------------------------------

    def batchnorm(self, x: Value, gamma, beta, mean, var, epsilon: float = 1e-5, name: str | None = None) -> Value:
        """Inference batch norm, (C,) each; the spec's formula, epsilon inside the root."""
        stem = self._fresh(name or "bn")
        inputs = [x.name]
        for part, array in (("gamma", gamma), ("beta", beta), ("mean", mean), ("var", var)):
            inputs.append(self._constant(f"{stem}.{part}", np.broadcast_to(np.asarray(array, np.float64), x.shape[:1])))
        return self._node("BatchNormalization", inputs, x.shape, stem, epsilon=float(epsilon))

    def relu(self, x: Value, name: str | None = None) -> Value:
        return self._node("Relu", [x.name], x.shape, self._fresh(name or "relu"))

    def clip(self, x: Value, low: float, high: float, name: str | None = None) -> Value:
        """``min(max(x, low), high)``; ReLU6 is ``clip(x, 0, 6)``."""
        stem = self._fresh(name or "clip")
        limits = [self._constant(f"{stem}.min", np.float32(low)), self._constant(f"{stem}.max", np.float32(high))]
        return self._node("Clip", [x.name, *limits], x.shape, stem)

    def quant(self, x: Value, scale: float, zero_point: int = 0, bits: int = 4, signed: bool = False,
              narrow: bool = False, rounding: str = "ROUND", name: str | None = None) -> Value:
        """``scale * (clamp(round(x/scale + zero_point)) - zero_point)``, QONNX's Quant.

        ``signed`` codes are -2^(bits-1)..2^(bits-1)-1; ``narrow`` drops the lowest signed or the
        highest unsigned one.  ``rounding`` is one of QONNX's names (ROUND is half to even).
        """
        stem = self._fresh(name or "quant")
        scale = float(np.float32(scale))
        if not np.isfinite(scale) or scale <= 0:
            raise HwgenError(f"{self.name}: the scale of {stem} must be finite and positive, not {scale!r}")
        if not 1 <= int(bits) <= 8:
            raise HwgenError(f"{self.name}: {stem} has {bits} bits; 1 to 8 are possible")
        inputs = [x.name, self._constant(f"{stem}.scale", np.float32(scale)),
                  self._constant(f"{stem}.zero", np.float32(zero_point)),
                  self._constant(f"{stem}.bits", np.float32(bits))]
        return self._node("Quant", inputs, x.shape, stem, domain=QONNX_DOMAIN, narrow=int(narrow),
                          rounding_mode=rounding, signed=int(signed))

    def bipolar(self, x: Value, scale: float, name: str | None = None) -> Value:
        """``scale`` where x >= 0, ``-scale`` elsewhere (codes 2 and 0, zero point 1)."""
        stem = self._fresh(name or "bipolar")
        inputs = [x.name, self._constant(f"{stem}.scale", np.float32(scale))]
        return self._node("BipolarQuant", inputs, x.shape, stem, domain=QONNX_DOMAIN)

    def add(self, x: Value, y: Value, name: str | None = None) -> Value:
        """Residual add.  Both quantized: two roundings; one of them an unquantized layer: fused."""
        if x.shape != y.shape:
            raise HwgenError(f"{self.name}: add of {x.shape} and {y.shape}; the shapes must be equal")
        return self._node("Add", [x.name, y.name], x.shape, self._fresh(name or "add"))

    # -- pools and shape ---------------------------------------------------------------

    def _pool(self, op: str, x: Value, kernel, strides, pads, name: str | None, **attributes) -> Value:
        kh, kw = _pair(kernel)
        sy, sx = _pair(kernel if strides is None else strides)
        top, left, bottom, right = _four(pads)
        shape = (x.shape[0], (x.shape[1] + top + bottom - kh) // sy + 1, (x.shape[2] + left + right - kw) // sx + 1)
        if min(shape) < 1:
            raise HwgenError(f"{self.name}: a {kh}x{kw} pool is larger than its padded input {x.shape}")
        return self._node(op, [x.name], shape, self._fresh(name or op.lower()), kernel_shape=[kh, kw], strides=[sy, sx],
                          pads=[top, left, bottom, right], **attributes)

    def max_pool(self, x: Value, kernel, strides=None, pads: int | Sequence[int] = 0, name: str | None = None) -> Value:
        return self._pool("MaxPool", x, kernel, strides, pads, name)

    def avg_pool(self, x: Value, kernel, strides=None, pads: int | Sequence[int] = 0, name: str | None = None) -> Value:
        """Average pool; padding counts as the real value 0 (count_include_pad)."""
        return self._pool("AveragePool", x, kernel, strides, pads, name, count_include_pad=1)

    def global_avg_pool(self, x: Value, name: str | None = None) -> Value:
        return self._node("GlobalAveragePool", [x.name], (x.shape[0], 1, 1), self._fresh(name or "globalavgpool"))

    def flatten(self, x: Value, name: str | None = None) -> Value:
        return self._node("Flatten", [x.name], (int(np.prod(x.shape)),), self._fresh(name or "flatten"), axis=1)

    # -- the file ----------------------------------------------------------------------

    def output(self, x: Value) -> None:
        """Marks ``x`` as an output of the graph."""
        self._outputs.append(x)

    def metadata(self, key: str, value) -> None:
        """A metadata property; anything that is not a string is written as JSON."""
        self._metadata[key] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)

    def model(self) -> ModelProto:
        """The ONNX model built so far."""
        if not self._outputs:
            raise HwgenError(f"{self.name}: no output; call output(x) before save")
        outputs = {value.name for value in self._outputs}
        graph = helper.make_graph(self._nodes, self.name, [self._info(self._image)],
                                  [self._info(value) for value in self._outputs], self._initializers,
                                  value_info=[info for info in self._infos if info.name not in outputs])
        model = helper.make_model(graph, producer_name=PRODUCER, ir_version=IR_VERSION,
                                  opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(QONNX_DOMAIN, 1)])
        properties = dict(self._metadata)
        if self._schemes:
            properties["hwgen.schemes"] = json.dumps(self._schemes, sort_keys=True)
        helper.set_model_props(model, dict(sorted(properties.items())))
        return model

    def save(self, path) -> Path:
        """Writes the file and returns its path."""
        path = Path(path)
        path.write_bytes(self.model().SerializeToString(deterministic=True))
        return path
