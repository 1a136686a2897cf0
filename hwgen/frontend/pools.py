"""Max and average pools.

A handler is ``(importer, node, options) -> (words, value)``.
"""

from dataclasses import replace
from fractions import Fraction

from onnx import NodeProto

from hwgen.frontend.importer import Importer
from hwgen.frontend.layers import PoolLayer
from hwgen.frontend.model_file import node_name
from hwgen.frontend.settle import scaled_codes
from hwgen.frontend.shapes import with_axes
from hwgen.frontend.values import Codes, MaxPoolStep, Pending, PoolSource, Refusal
from hwgen.frontend.windows import kernel_of, spatial, window


def max_pool(importer: Importer, node: NodeProto, options: dict):
    if len(node.output) > 1 and node.output[1]:
        raise Refusal("its indices are used", "use only the values of MaxPool")
    x = _maxed(importer, node)
    kernel = kernel_of(options, x)
    if isinstance(x, Codes) and x.border and (x.quantizer.code_zero or not _inside(x.border.pads, kernel)):
        x = importer.codes(node, node.input[0])  # zeros win over negative values: they are part of the map
    strides, pads, size = _pool_window(options, x, kernel)
    return _max_pool(importer, node, x, MaxPoolStep(node_name(node), kernel, strides, pads, (x.shape[0], *size)))


def global_max_pool(importer: Importer, node: NodeProto, options: dict):
    x = _maxed(importer, node)
    if isinstance(x, Codes):
        x = importer.codes(node, node.input[0])
    spatial(x)
    step = MaxPoolStep(node_name(node), (x.shape[1], x.shape[2]), (1, 1), (0, 0, 0, 0), (x.shape[0], 1, 1))
    return _max_pool(importer, node, x, step)


def _maxed(importer: Importer, node: NodeProto) -> Codes | Pending:
    x = importer.codes_or_skip(node.input[0], raw=True)
    if not isinstance(x, Pending) or scaled_codes(x) is not None:
        return importer.codes(node, node.input[0], border=True, raw=True)
    if x.border:
        raise Refusal("a max pool of a padded tensor that is not quantized", "put a Quant node before Pad")
    return x


def _max_pool(importer: Importer, node: NodeProto, x: Codes | Pending, step: MaxPoolStep):
    words = f"max pool {step.kernel[0]}x{step.kernel[1]}"
    if isinstance(x, Pending):
        return words, replace(x, shape=step.shape, pools=(*x.pools, step))
    x = replace(x, border=None)
    target = replace(x, tensor=node.output[0], shape=step.shape)
    importer.network.layers.append(PoolLayer(step, x, node.output[0]))
    return words, target


def _inside(pads, kernel) -> bool:
    return all(pad < side for pad, side in zip(pads, kernel * 2, strict=True))


def _pool_window(options: dict, x: Codes | Pending, kernel: tuple[int, int]):
    strides, pads, size = window(options, x, kernel)
    if not _inside(pads, kernel):
        raise Refusal(f"padding {pads} is not smaller than the kernel {kernel}", "use less padding")
    return strides, pads, size


def _average(node: NodeProto, x: Codes, kernel, strides, pads, shape) -> Pending:
    source = PoolSource(node_name(node), replace(x, border=None), kernel, strides, pads)
    slope = [scale / (kernel[0] * kernel[1]) for scale in x.scales]
    none = [None] * x.channels
    return Pending(source, shape, slope, [-scale * x.quantizer.code_zero for scale in x.scales],
                   [Fraction(0)] * x.channels, list(none), list(none), axes=x.axes)


def average_pool(importer: Importer, node: NodeProto, options: dict):
    x = importer.codes(node, node.input[0], border=True)
    kernel = kernel_of(options, x)
    if x.border and not _inside(x.border.pads, kernel):
        x = importer.codes(node, node.input[0])
    strides, pads, size = _pool_window(options, x, kernel)
    if pads != window({**options, "ceil_mode": 0}, x, kernel)[1]:
        raise Refusal("ceil_mode takes windows beyond the padding", "use ceil_mode=0 with explicit padding")
    own = pads if x.border is None else tuple(a - b for a, b in zip(pads, x.border.pads, strict=True))
    if any(own) and not options.get("count_include_pad", 0):
        raise Refusal("padding that does not count (count_include_pad=0)", "use count_include_pad=1 or no padding")
    y = _average(node, x, kernel, strides, pads, (x.shape[0], *size))
    return f"average pool {kernel[0]}x{kernel[1]}", y


def _whole(node: NodeProto, x: Codes):
    y = _average(node, x, x.shape[1:], (1, 1), (0, 0, 0, 0), (x.shape[0], 1, 1))
    return f"average pool {x.shape[1]}x{x.shape[2]}", y


def global_average_pool(importer: Importer, node: NodeProto, options: dict):
    x = importer.codes(node, node.input[0])
    spatial(x)
    return _whole(node, x)


def reduce_mean(importer: Importer, node: NodeProto, options: dict):
    axes = options.get("axes")
    if len(node.input) > 1 and node.input[1]:
        axes = importer.constant(node.input[1], "its axes").reshape(-1).tolist()
    x = importer.codes(node, node.input[0])
    if x.flat:
        raise Refusal("a mean of a vector", "put it before Flatten")
    rank = 1 + len(x.axes)
    letters = {"N" if int(axis) % rank == 0 else x.axes[int(axis) % rank - 1] for axis in axes or ()}
    if not letters or letters & {"N", "C"} or any(x.shape["CHW".index(axis)] > 1 for axis in {"H", "W"} - letters):
        raise Refusal(f"a mean over the axes {axes}", "only the mean over height and width is possible")
    words, y = _whole(node, x)
    if options.get("keepdims", 1):
        return words, y
    return words, with_axes(y, "".join(axis for axis in x.axes if axis not in letters))
