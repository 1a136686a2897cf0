"""Pools and changes of shape.

A handler is ``(importer, node, options) -> (words, value)``.
"""

from dataclasses import replace
from fractions import Fraction
import math

from onnx import NodeProto, TensorProto

from hwgen.frontend.importer import Image, Importer
from hwgen.frontend.model_file import node_name
from hwgen.frontend.quantizers import Grid
from hwgen.frontend.values import Codes, Hosted, MaxPoolStep, Pending, PoolLayer, PoolSource, Refusal
from hwgen.frontend.windows import kernel_of, window


def max_pool(importer: Importer, node: NodeProto, options: dict):
    if len(node.output) > 1 and node.output[1]:
        raise Refusal("its indices are used", "use only the values of MaxPool")
    kernel = kernel_of(options)
    x = importer.codes_or_skip(node.input[0], raw=True)
    if not isinstance(x, Pending):
        x = importer.codes(node, node.input[0], raw=True)
    strides, pads, size = _pool_window(options, x, kernel)
    step = MaxPoolStep(node_name(node), kernel, strides, pads, (x.shape[0], *size))
    words = f"max pool {kernel[0]}x{kernel[1]}"
    if isinstance(x, Pending):
        return words, replace(x, shape=step.shape, pools=(*x.pools, step))
    importer.network.layers.append(PoolLayer(step, x, node.output[0]))
    return words, replace(x, tensor=node.output[0], shape=step.shape)


def _pool_window(options: dict, x: Codes | Pending, kernel: tuple[int, int]):
    if x.flat:
        raise Refusal("a pool of a vector", "put it before Flatten")
    strides, pads, size = window(options, x.shape, kernel)
    if any(pad >= side for pad, side in zip(pads, kernel * 2, strict=True)):
        raise Refusal(f"padding {pads} is not smaller than the kernel {kernel}", "use less padding")
    return strides, pads, size


def _average(importer: Importer, node: NodeProto, x: Codes, kernel, strides, pads, shape, flat: bool):
    quantizer, channels = x.quantizer, x.shape[0]
    source = PoolSource(node_name(node), x, kernel, strides, pads)
    slope = quantizer.scale / (kernel[0] * kernel[1])
    none = [None] * channels
    return f"average pool {kernel[0]}x{kernel[1]}", Pending(
        source, shape, [slope] * channels, [-quantizer.scale * quantizer.code_zero] * channels,
        [Fraction(0)] * channels, list(none), list(none), flat=flat)


def average_pool(importer: Importer, node: NodeProto, options: dict):
    kernel = kernel_of(options)
    x = importer.codes(node, node.input[0])
    strides, pads, size = _pool_window(options, x, kernel)
    if any(pads) and not options.get("count_include_pad", 0):
        raise Refusal("padding that does not count (count_include_pad=0)", "use count_include_pad=1 or no padding")
    return _average(importer, node, x, kernel, strides, pads, (x.shape[0], *size), False)


def global_average_pool(importer: Importer, node: NodeProto, options: dict):
    x = importer.codes(node, node.input[0])
    if x.flat:
        raise Refusal("a pool of a vector", "put it before Flatten")
    return _average(importer, node, x, x.shape[1:], (1, 1), (0, 0, 0, 0), (x.shape[0], 1, 1), False)


def reduce_mean(importer: Importer, node: NodeProto, options: dict):
    axes = options.get("axes")
    if len(node.input) > 1 and node.input[1]:
        axes = importer.constant(node.input[1], "its axes").reshape(-1).tolist()
    if axes is None or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        raise Refusal(f"a mean over the axes {axes}", "only the mean over height and width is possible")
    x = importer.codes(node, node.input[0])
    if x.flat:
        raise Refusal("a mean of a vector", "put it before Flatten")
    return _average(importer, node, x, x.shape[1:], (1, 1), (0, 0, 0, 0), (x.shape[0], 1, 1),
                    not options.get("keepdims", 1))


def flatten(importer: Importer, node: NodeProto, options: dict):
    if isinstance(importer.values.get(node.input[0]), Grid):
        raise Refusal("Flatten of a weight", "store the weight with its final shape")
    x = importer.codes_or_skip(node.input[0], raw=True)
    assert isinstance(x, (Codes, Pending, Image))
    rank = 2 if x.flat else 4
    if int(options.get("axis", 1)) % rank != 1:
        raise Refusal(f"Flatten with axis {options['axis']}", "use axis 1")
    return "nothing: a linear layer reads a whole map", replace(x, flat=True)


def reshape(importer: Importer, node: NodeProto, options: dict):
    target = [int(side) for side in importer.constant(node.input[1], "its shape").reshape(-1)]
    value = importer.values.get(node.input[0])
    if isinstance(value, Grid):
        return "shape of the weight", value.reshape([value.integers.shape[i] if side == 0 else side
                                                     for i, side in enumerate(target)])
    x = importer.codes_or_skip(node.input[0], raw=True)
    assert isinstance(x, (Codes, Pending, Image))
    features = math.prod(x.shape)
    if len(target) == 2 and target[1] in (-1, features):
        return "nothing: a linear layer reads a whole map", replace(x, flat=True)
    if len(target) == 4 and _same_map(target[1:], x.shape):
        return "nothing: the shape of the map", replace(x, flat=False)
    raise Refusal(f"a reshape of {x.shape} to {tuple(target)}", "only (N, -1) is possible")


def _same_map(target: list[int], shape) -> bool:
    if target.count(-1) > 1:
        return False
    sides = [full if side in (0, -1) else side for side, full in zip(target, shape, strict=True)]
    return tuple(sides) == tuple(shape)


def squeeze(importer: Importer, node: NodeProto, options: dict):
    axes = options.get("axes")
    if len(node.input) > 1 and node.input[1]:
        axes = importer.constant(node.input[1], "its axes").reshape(-1).tolist()
    x = importer.codes_or_skip(node.input[0], raw=True)
    if not isinstance(x, (Codes, Pending)) or x.flat or x.shape[1:] != (1, 1) or axes is None \
            or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        raise Refusal("a Squeeze that is not of height and width 1", "use Flatten")
    return "nothing: a linear layer reads a whole map", replace(x, flat=True)


def transpose(importer: Importer, node: NodeProto, options: dict):
    value = importer.values.get(node.input[0])
    if isinstance(value, Grid):
        return "shape of the weight", value.transpose(options.get("perm"))
    importer.codes_or_skip(node.input[0])
    raise Refusal("a Transpose of an activation", "export the model with channels first")


def identity(importer: Importer, node: NodeProto, options: dict):
    value = importer.values.get(node.input[0])
    if isinstance(value, (Grid, Hosted)):
        return "nothing", value
    return "nothing", importer.codes_or_skip(node.input[0], raw=True)


def dropout(importer: Importer, node: NodeProto, options: dict):
    if len(node.input) > 2 and node.input[2]:
        training = importer.file.constants.get(node.input[2])
        if training is None or training.any():
            raise Refusal("Dropout in training mode", "export the model for inference")
    return identity(importer, node, options)


def cast(importer: Importer, node: NodeProto, options: dict):
    value, to = importer.values.get(node.input[0]), options.get("to")
    if isinstance(value, Grid) and value.zeros is not None and to in (TensorProto.INT8, TensorProto.UINT8):
        integers, low = value.integers + value.zeros, -128 if to == TensorProto.INT8 else 0
        if integers.min() < low or integers.max() > low + 255:
            raise Refusal("a Cast that changes the integers of a constant", "export the model again")
    elif isinstance(value, Codes) and value.raw:
        signed = value.quantizer.signed
        if value.quantizer.bits > 4 and to != (TensorProto.INT8 if signed else TensorProto.UINT8):
            raise Refusal("a Cast of quantized integers to another type", "put DequantizeLinear before it")
    elif to not in (TensorProto.FLOAT, TensorProto.DOUBLE) and not isinstance(value, Hosted):
        raise Refusal("a Cast of an activation to a type that is not float", "remove it")
    return identity(importer, node, options)
