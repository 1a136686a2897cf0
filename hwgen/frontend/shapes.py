"""Changes of shape and order: none of them moves a code, they say how the file sees a map.

A handler is ``(importer, node, options) -> (words, value)``.
"""

from dataclasses import replace
import math

import numpy as np
from onnx import NodeProto, TensorProto

from hwgen.frontend import channels
from hwgen.frontend.folding import resolved
from hwgen.frontend.grids import Grid
from hwgen.frontend.importer import Importer
from hwgen.frontend.inputs import CHANNELS_LAST, NAMED, channels_last
from hwgen.frontend.join import Joined
from hwgen.frontend.picked import Picked
from hwgen.frontend.values import Codes, Image, Pending, Refusal

Seen = Codes | Pending | Image | Joined
NOTHING = "nothing: the same map in another order or shape"


def with_axes(value, axes: str, flat: bool = False):
    """The value as the file sees it now; a tensor of one axis is a vector."""
    if isinstance(value, Joined):
        return replace(value, parts=tuple(with_axes(part, axes, flat) for part in value.parts))
    if len(axes) == 1 and not flat:
        return replace(value, flat=True, axes="CHW")
    return replace(value, flat=flat, axes=axes)


def _seen(importer: Importer, node: NodeProto, border: bool = False) -> Seen:
    """The value that a node moves; with ``border`` the zeros of a Pad node around a map may move with it."""
    value = importer.codes_or_skip(node.input[0], raw=True)
    if isinstance(value, (Pending, Image)):
        if value.border is not None and not border:
            raise Refusal("a change of shape behind a Pad node", "put Pad directly before its layer")
        return value
    if isinstance(value, Joined):
        return value
    return importer.codes(node, node.input[0], border, raw=True)


def _letters(value: Seen) -> list[tuple[str, int]]:
    """(axis, size) behind the batch, in the file's order, flattened or not."""
    return [(axis, value.shape["CHW".index(axis)]) for axis in value.axes]


def flatten(importer: Importer, node: NodeProto, options: dict):
    if isinstance(importer.values.get(node.input[0]), Grid):
        raise Refusal("Flatten of a weight", "store the weight with its final shape")
    value = _seen(importer, node)
    rank = 2 if value.flat else 1 + len(value.axes)
    if int(options.get("axis", 1)) % rank != 1:
        raise Refusal(f"Flatten with axis {options['axis']}", "use axis 1")
    return "nothing: a linear layer reads a whole map", with_axes(value, value.axes, True)


def reshape(importer: Importer, node: NodeProto, options: dict):
    listed = options["shape"] if len(node.input) < 2 else importer.constant(node.input[1], "its shape").reshape(-1)
    target = [int(side) for side in listed]
    value = importer.values.get(node.input[0])
    if isinstance(value, Grid):
        return "shape of the weight", value.reshape([value.integers.shape[i] if side == 0 else side
                                                     for i, side in enumerate(target)])
    found = channels.reshaped(importer, node, target)
    if found is not None:
        return found
    value = _seen(importer, node)
    if len(target) < 2:
        raise Refusal(f"a reshape to {tuple(target)}", "only (N, -1) is possible")
    sides = [value.shape["CHW".index(axis)] for axis in value.axes]
    before = [math.prod(sides)] if value.flat else sides
    total = math.prod(sides)
    after = resolved(target, before)
    if min(after) < 1 or math.prod(after) != total:
        raise Refusal(f"a reshape of {tuple(before)} to {tuple(target)}", "only (N, -1) is possible")
    return _reshaped(importer, node, value, after)


def _reshaped(importer: Importer, node: NodeProto, value: Seen, after: list[int]):
    if len(after) == 1:
        return "nothing: a linear layer reads a whole map", with_axes(value, value.axes, True)
    axes = _matched(_letters(value), after)
    if axes is not None:
        return NOTHING, with_axes(value, axes)
    unread = isinstance(value, Codes) and value is importer.network.input and not importer.network.layers
    if len(after) not in (2, 3) or not (isinstance(value, Image) or unread) or value.axes not in ("CHW", "C"):
        raise Refusal(f"a reshape of {tuple(side for _, side in _letters(value))} to {tuple(after)}",
                      "only (N, -1) is possible")
    last = channels_last(node.output[0], len(after) + 1, importer.file.nodes)
    axes = (CHANNELS_LAST if last else NAMED)[len(after) + 1]
    by_axis = dict(zip(axes, after, strict=True))
    assert isinstance(value, (Codes, Image))
    seen = replace(value, shape=(by_axis["C"], by_axis.get("H", 1), by_axis["W"]), axes=axes, flat=False)
    if isinstance(seen, Codes):
        importer.network.input = seen
    return "shape of the input", seen


def _matched(letters: list[tuple[str, int]], after: list[int]) -> str | None:
    """Axes of a shape that differs from the present one in sides of 1 only; None if it differs in more."""
    large = [axis for axis, side in letters if side != 1]
    if [side for _, side in letters if side != 1] != [side for side in after if side != 1] or len(after) > 3:
        return None
    spare = iter([axis for axis in "CHW" if axis not in large])
    order = iter(large)
    return "".join(next(order) if side != 1 else next(spare) for side in after)


def _axes_of(importer: Importer, node: NodeProto, options: dict) -> list[int] | None:
    if len(node.input) > 1 and node.input[1]:
        return [int(axis) for axis in importer.constant(node.input[1], "its axes").reshape(-1)]
    axes = options.get("axes")
    return None if axes is None else [int(axis) for axis in axes]


def squeeze(importer: Importer, node: NodeProto, options: dict):
    value = _seen(importer, node)
    axes = _axes_of(importer, node, options)
    rank = 2 if value.flat else 1 + len(value.axes)
    letters = _letters(value)
    if axes is None:
        axes = [index + 1 for index, (_, side) in enumerate(letters) if side == 1]
    chosen = {axis % rank - 1 for axis in axes}
    if value.flat or -1 in chosen or any(letters[index][1] != 1 for index in chosen) or len(chosen) == len(letters):
        raise Refusal("a Squeeze of an axis that is not of size 1", "use Flatten")
    return NOTHING, with_axes(value, "".join(axis for i, (axis, _) in enumerate(letters) if i not in chosen))


def unsqueeze(importer: Importer, node: NodeProto, options: dict):
    value = importer.values.get(node.input[0])
    axes = _axes_of(importer, node, options)
    if isinstance(value, Grid):
        return "shape of the weight", value.reshape(np.expand_dims(value.integers, tuple(axes or ())).shape)
    value = _seen(importer, node)
    before = [value.shape["CHW".index(axis)] for axis in value.axes]
    before = [math.prod(before)] if value.flat else before
    rank = 1 + len(before) + len(axes or ())
    chosen = {axis % rank for axis in axes or ()}
    order = iter(before)
    after = [1 if index in chosen else next(order) for index in range(1, rank)] if 0 not in chosen else []
    found = _matched(_letters(value), after) if after else None
    if found is None:
        raise Refusal("an Unsqueeze of the batch or to more than four dimensions", "remove it")
    return NOTHING, with_axes(value, found)


def transpose(importer: Importer, node: NodeProto, options: dict):
    value = importer.values.get(node.input[0])
    if isinstance(value, Grid):
        return "shape of the weight", value.transpose(options.get("perm"))
    found = channels.transposed(importer, node, options)
    if found is not None:
        return found
    value = _seen(importer, node, border=True)
    rank = 2 if value.flat else 1 + len(value.axes)
    perm = [int(axis) for axis in options.get("perm", range(rank)[::-1])]
    if sorted(perm) != list(range(rank)) or perm[0] != 0:
        raise Refusal(f"a Transpose {tuple(perm)} of a tensor of {rank} dimensions", "leave the batch in front")
    if value.flat:
        return NOTHING, value
    return NOTHING, with_axes(value, "".join(value.axes[axis - 1] for axis in perm[1:]))


def identity(importer: Importer, node: NodeProto, options: dict):
    value = importer.values.get(node.input[0])
    return "nothing", value if isinstance(value, Grid) else importer.codes_or_skip(node.input[0], raw=True)


def dropout(importer: Importer, node: NodeProto, options: dict):
    if len(node.input) > 2 and node.input[2]:
        training = importer.file.constants.get(node.input[2])
        if training is None or training.any():
            raise Refusal("Dropout in training mode", "export the model for inference")
    return identity(importer, node, options)


def cast(importer: Importer, node: NodeProto, options: dict):
    value, to = importer.values.get(node.input[0]), options.get("to")
    if isinstance(value, Codes) and value.raw:
        signed = value.quantizer.signed
        if value.quantizer.bits > 4 and to != (TensorProto.INT8 if signed else TensorProto.UINT8):
            raise Refusal("a Cast of quantized integers to another type", "put DequantizeLinear before it")
    elif isinstance(value, Grid) and value.zeros is not None and to in (TensorProto.INT8, TensorProto.UINT8):
        integers, low = value.integers + value.zeros, -128 if to == TensorProto.INT8 else 0
        if integers.min() < low or integers.max() > low + 255:
            raise Refusal("a Cast that changes the integers of a constant", "export the model again")
    elif to not in (TensorProto.FLOAT, TensorProto.DOUBLE, "FLOAT", "DOUBLE"):
        raise Refusal("a Cast of an activation to a type that is not float", "remove it")
    return identity(importer, node, options)


def shape(importer: Importer, node: NodeProto, options: dict):
    """A constant, for shapes are fixed; the batch stands as 1, which a reshape takes for any."""
    value = importer.codes_or_skip(node.input[0])
    if isinstance(value, Picked):
        value = value.one_axis().seen
    if not isinstance(value, (Codes, Pending, Image, Joined)):
        raise Refusal("the shape of a weight", "fold it with qonnx-cleanup")
    sides = [side for _, side in _letters(value)]
    dims = [1, math.prod(sides)] if value.flat else [1, *sides]
    importer.file.constants[node.output[0]] = np.array(dims[options.get("start", 0):options.get("end")], np.int64)
    return "a constant", None
