"""Nodes between constants, evaluated as the executor would: moves of data, limits, and correctly rounded arithmetic."""

from collections.abc import Callable
from functools import reduce
import math
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from hwgen.errors import HwgenError

MAX_SIZE = 1 << 28
"""Numbers of a constant that a node may make."""

ARITHMETIC: dict[str, Callable] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Neg": np.negative, "Abs": np.abs,
    "Sqrt": np.sqrt, "Reciprocal": np.reciprocal, "Ceil": np.ceil, "Floor": np.floor, "Round": np.rint, "Sign": np.sign,
    "Min": np.minimum, "Max": np.maximum}
"""IEEE 754 rounds each of them correctly, so every executor has the same result."""
FUNCTIONS = ("Log", "Exp", "Pow")
"""No standard rounds them; onnxruntime does, in which both executors compute them."""

MOVES = ("Identity", "Cast", "Constant", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Concat", "Gather",
         "Slice", "ConstantOfShape", "Expand", "Clip")


Operands = list[Any]
"""Arrays; None for an optional input that is not given."""


def array_of(path: Path, tensor, what: str) -> np.ndarray:
    """A tensor of the file; HwgenError where its data does not fit its shape."""
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:  # the class depends on the fault
        raise HwgenError(f"{path}: {what} is damaged ({error})") from error


def fold(path: Path, node: NodeProto, attributes: Callable[[NodeProto], dict],
         constants: dict[str, np.ndarray]) -> bool:
    """Adds the result of a node that only has constants as inputs to ``constants``; True when it did."""
    if node.domain not in ("", "ai.onnx") or len(node.output) != 1:
        return False
    if node.op_type not in (*MOVES, *ARITHMETIC, *FUNCTIONS):
        return False
    if any(name and name not in constants for name in node.input):
        return False
    inputs = [constants[name] if name else None for name in node.input]
    what = f"the constant node {node.name or node.output[0]!r}"
    if any(array is not None and array.dtype.kind not in "fiub" for array in inputs):
        return False
    try:
        with np.errstate(all="ignore"):
            constants[node.output[0]] = _evaluate(path, node.op_type, attributes(node), inputs, what)
    except (ArithmeticError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise HwgenError(f"{path}: {what} is damaged ({error})") from error
    return True


def _evaluate(path: Path, op: str, options: dict, inputs: Operands, what: str) -> np.ndarray:
    if op == "Constant":
        if "value" in options:
            return array_of(path, options["value"], what)
        (key, value), = options.items()
        return np.asarray(value, np.float32 if "float" in key else np.int64)
    if op == "ConstantOfShape":
        shape = _checked(inputs[0].reshape(-1).tolist())
        fill = array_of(path, options["value"], what) if "value" in options else np.zeros(1, np.float32)
        return np.full(shape, fill.reshape(-1)[0])
    if op in ARITHMETIC or op in FUNCTIONS:
        _checked(np.broadcast_shapes(*(array.shape for array in inputs)))
        return _executed(op, inputs) if op in FUNCTIONS else _arithmetic(op, inputs)
    return _move(op, options, inputs)


def _arithmetic(op: str, inputs: Operands) -> np.ndarray:
    if op == "Div" and inputs[0].dtype.kind in "iu":
        sign = np.sign(inputs[0]) * np.sign(inputs[1])
        return (sign * (abs(inputs[0]) // abs(inputs[1]))).astype(inputs[0].dtype)
    function = ARITHMETIC[op]
    return np.asarray(reduce(function, inputs) if op in ("Min", "Max") else function(*inputs), inputs[0].dtype)


def _executed(op: str, inputs: Operands) -> np.ndarray:
    """The result that onnxruntime has; ValueError where it refuses."""
    import onnxruntime

    names = [f"x{i}" for i in range(len(inputs))]
    kinds = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
             for name, array in zip(names, inputs, strict=True)]
    result = helper.make_tensor_value_info("y", kinds[0].type.tensor_type.elem_type, None)
    graph = helper.make_graph([helper.make_node(op, names, ["y"])], op, kinds, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(["y"], dict(zip(names, inputs, strict=True)))[0]
    except Exception as error:  # the class depends on the fault
        raise ValueError(str(error)) from error


def _checked(shape) -> tuple[int, ...]:
    sides = tuple(int(side) for side in shape)
    if math.prod(sides) > MAX_SIZE:
        raise ValueError(f"its shape {sides} is too large")
    return sides


def _move(op: str, options: dict, inputs: Operands) -> np.ndarray:
    array = inputs[0]
    if op == "Cast":
        return array.astype(_type(options["to"]))
    if op == "Reshape":
        wanted = options["shape"] if len(inputs) < 2 else inputs[1].reshape(-1).tolist()
        return array.reshape([array.shape[i] if side == 0 else side for i, side in enumerate(wanted)])
    if op == "Transpose":
        return array.transpose(options.get("perm"))
    if op == "Flatten":
        axis = int(options.get("axis", 1)) % (array.ndim + 1)
        return array.reshape(math.prod(array.shape[:axis]), -1)
    if op == "Concat":
        return np.concatenate(inputs, axis=options["axis"])
    if op == "Gather":
        _checked((*inputs[1].shape, array.size))
        return np.take(array, inputs[1], axis=options.get("axis", 0))
    if op == "Clip":
        given = [None if part is None else part.item() for part in inputs[1:]] + [None, None]
        low, high = options.get("min", given[0]), options.get("max", given[1])
        return np.clip(array, low, high).astype(array.dtype)
    if op == "Expand":
        shape = _checked(np.broadcast_shapes(array.shape, tuple(inputs[1].reshape(-1).tolist())))
        return np.broadcast_to(array, shape).copy()
    if op == "Slice":
        picked = [slice(None)] * array.ndim
        for start, end, axis, step in cuts(options, inputs[1:]):
            picked[axis] = slice(start, end, step)
        return array[tuple(picked)]
    if op in ("Unsqueeze", "Squeeze"):
        listed = inputs[1] if len(inputs) > 1 else None
        axes = options.get("axes", None if listed is None else listed.reshape(-1).tolist())
        if op == "Squeeze":
            return np.squeeze(array, None if axes is None else tuple(axes))
        return np.expand_dims(array, tuple(axes or ()))
    return array


def _type(to) -> np.dtype:
    """The numpy type of a Cast; opset 1 to 5 name it by a string."""
    return helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(to) if isinstance(to, str) else to)


def cuts(options: dict, operands: Operands) -> list[tuple[int, int, int, int]]:
    """(start, end, axis, step) of a Slice: attributes up to opset 9, operands behind the data since.

    ValueError where the lists differ in length, TypeError where starts or ends are missing.
    """
    lists: list[Any] = [options.get(key) for key in ("starts", "ends", "axes", "steps")]
    for place, array in enumerate(operands):
        if array is not None:
            lists[place] = array.reshape(-1).tolist()
    starts, ends, axes, steps = lists
    return list(zip(starts, ends, axes or range(len(starts)), steps or [1] * len(starts), strict=True))


def resolved(target: list[int], before: list[int]) -> list[int]:
    """The sides, without the batch, that a Reshape's target gives a tensor of the sides ``before``.

    0 keeps a side; one -1 takes what is left, and stays where nothing fits.
    """
    after = [before[i] if side == 0 and i < len(before) else side for i, side in enumerate(target[1:])]
    if after.count(-1) == 1:
        total, known = math.prod(before), -math.prod(after)
        after[after.index(-1)] = total // known if known > 0 and total % known == 0 else -1
    return after
