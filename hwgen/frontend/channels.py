"""Slice, Split and Gather of channels, and shuffles of channels (Reshape, Transpose, Reshape).

A handler is ``(importer, node, options) -> (words, value)``; Split gives several values.
"""

import math

import numpy as np
from onnx import NodeProto

from hwgen.frontend.folding import cuts, resolved
from hwgen.frontend.importer import Importer
from hwgen.frontend.picked import Picked, pick, whole
from hwgen.frontend.values import Codes, Refusal

WORDS = "channels of the same tensor, read where they lie"


def _of(importer: Importer, node: NodeProto) -> tuple[Codes, np.ndarray, list[str]]:
    """The tensor, which of its channels the node reads, and the letters of the node's axes ("N" first)."""
    value = importer.codes_or_skip(node.input[0], raw=True)
    if not isinstance(value, Picked):
        value = whole(importer.codes(node, node.input[0], raw=True))
    codes = value.one_axis().codes
    if codes.flat and codes.shape[1:] != (1, 1):
        raise Refusal("some features of a map", "put it before Flatten")
    return codes, value.index, ["N", "C"] if codes.flat else ["N", *codes.axes]


def _axis(axis: int, letters: list[str]) -> str:
    if not -len(letters) <= axis < len(letters):
        raise Refusal(f"the axis {axis} of a tensor of {len(letters)} dimensions", "export the model again")
    return letters[axis]


def slice_(importer: Importer, node: NodeProto, options: dict):
    codes, index, letters = _of(importer, node)
    operands = [importer.constant(name, "its range") if name else None for name in node.input[1:]]
    for start, end, axis, step in cuts(options, operands):
        letter = _axis(axis, letters)
        if step == 0:
            raise Refusal("a step of 0", "export the model again")
        if letter == "C":
            index = index[slice(start, end, step)]
        elif letter == "N" or start not in (0, -codes.shape["CHW".index(letter)]) or step != 1 \
                or end < codes.shape["CHW".index(letter)]:
            raise Refusal(f"a slice of the axis {letter} (from {start} to {end}, step {step})",
                          "slice channels only, or use a convolution with strides")
    if not index.size:
        raise Refusal("no channel is left", "export the model again")
    return WORDS, pick(codes, index, node.output[0])


def split(importer: Importer, node: NodeProto, options: dict):
    codes, index, letters = _of(importer, node)
    if _axis(int(options.get("axis", 0)), letters) != "C":
        raise Refusal(f"a split along axis {options.get('axis', 0)}", "split channels only")
    count = len(node.output)
    if len(node.input) > 1 and node.input[1]:
        sizes = [int(size) for size in importer.constant(node.input[1], "its sizes").reshape(-1)]
    else:
        part = math.ceil(len(index) / count)
        sizes = [int(size) for size in options.get("split") or [part] * (count - 1) + [len(index) - part * (count - 1)]]
    if len(sizes) != count or min(sizes) < 1 or sum(sizes) != len(index):
        raise Refusal(f"{len(index)} channels in parts of {tuple(sizes)} for {count} outputs", "export the model again")
    ends = np.cumsum(sizes)
    return WORDS, *(pick(codes, index[end - size:end], name)
                    for size, end, name in zip(sizes, ends, node.output, strict=True))


def gather(importer: Importer, node: NodeProto, options: dict):
    codes, index, letters = _of(importer, node)
    if _axis(int(options.get("axis", 0)), letters) != "C":
        raise Refusal(f"a Gather along axis {options.get('axis', 0)}", "gather channels only")
    wanted = importer.constant(node.input[1], "its indices")
    if wanted.ndim != 1 or wanted.min() < -len(index) or wanted.max() >= len(index):
        raise Refusal(f"indices of shape {wanted.shape} for {len(index)} channels", "use one list of channels")
    return WORDS, pick(codes, index[wanted.astype(np.int64)], node.output[0])


def reshaped(importer: Importer, node: NodeProto, target: list[int]):
    """Channels as two axes, or as one again; None where the reshape is another one."""
    value = importer.values.get(node.input[0])
    if isinstance(value, Codes) and value.border is None and not value.guessed:
        value = whole(value)
    if not isinstance(value, Picked) or value.codes.flat or not value.codes.axes.startswith("C"):
        return None
    sides = [value.codes.shape["CHW".index(axis)] for axis in value.codes.axes[1:]]
    after = resolved(target, [*value.index.shape, *sides])
    parts = after[:len(after) - len(sides)]
    if after[len(parts):] != sides or math.prod(parts) != value.index.size or min(parts, default=0) < 1:
        return None
    if len(parts) == 2 and 1 not in parts:
        return WORDS, Picked(value.codes, value.index.reshape(parts), node.output[0])
    if len(parts) == 1 and value.index.ndim == 2:
        return WORDS, pick(value.codes, value.index.reshape(-1), node.output[0])
    return None


def transposed(importer: Importer, node: NodeProto, options: dict):
    """The two axes of channels in the other order; None where the tensor has one."""
    value = importer.values.get(node.input[0])
    if not isinstance(value, Picked) or value.index.ndim == 1:
        return None
    rank = 2 + len(value.codes.axes)
    perm = [int(axis) for axis in options.get("perm", range(rank)[::-1])]
    if perm != [0, 2, 1, *range(3, rank)]:
        raise Refusal(f"a Transpose {tuple(perm)} of channels in two axes", "exchange these two axes only")
    return WORDS, Picked(value.codes, value.index.T.copy(), node.output[0])
