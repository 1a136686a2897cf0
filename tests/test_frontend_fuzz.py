"""Damaged files: whatever is in them, there is a network or one message, never a traceback.

``make bench`` runs 10,000 of them.
"""

import json
from functools import cache
from time import monotonic

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from onnx import ModelProto
from onnx_graphs import QONNX, Hand
import pytest
from qdq_networks import QdqHand

from hwgen.errors import HwgenError
from hwgen.frontend import inspect, load
from hwgen.graph.ir import Graph

SECONDS = 30
"""Far more than any of these small files takes: a declared size must not become work."""


def ints(*shape):
    return np.random.default_rng(3).integers(-7, 8, shape)


def classic(h):
    x = h.quant("image", 0.9871, 2.0, 4.0)
    y = h.node("BatchNormalization", h.conv(x, pads=[1, 1, 1, 1]), *(h.const(np.array(v)) for v in (
        [1.5, -0.75, 0.5], [1.0, -2.0, 5.0], [10.0, -3.0, 2.0], [4.0, 0.3, 2.0])), epsilon=0.01)
    x = h.quant(h.node("Relu", y), 0.3, bits=4.0)
    x = h.quant(h.node("Add", h.conv(x, channels=3, pads=[1, 1, 1, 1]), x), 4.1, signed=1)
    x = h.node("Flatten", h.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    return h.quant(h.node("Gemm", x, h.weight(ints(4, 27)), h.const(np.arange(4.0)), transB=1), 20.3, signed=1)


def joined(h):
    x = h.node("Pad", h.quant("image", 0.9871, 0.0, 4.0), h.const(np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    y = h.node("LeakyRelu", h.conv(x), alpha=0.1)
    z = h.node("MultiThreshold", h.conv(x, ints(2, 2, 3, 3)), h.const(np.arange(7)[None] * 9.0), domain=QONNX,
               out_dtype="UINT3")
    x = h.quant(h.node("Concat", y, z, axis=1), np.arange(1, 6).reshape(1, 5, 1, 1) * 0.913)
    x = h.node("Sub", h.node("Mul", x, h.const(np.float32(1.5))), h.const(np.arange(5).reshape(1, 5, 1, 1) / 4))
    x = h.quant(h.node("Conv", x, h.weight(ints(5, 1, 3, 3)), group=5, dilations=[2, 2]), 3.3, bits=5.0)
    return h.node("Softmax", h.node("Squeeze", h.quant(h.node("GlobalAveragePool", x), 0.3), h.const(np.array([2, 3]))))


def last(h):
    x = h.node("Transpose", h.quant("image", 0.9871, 0.0, 4.0), perm=[0, 3, 1, 2])
    y = h.node("Conv", x, h.weight(ints(3, 6, 3, 2)), auto_pad="SAME_UPPER")
    y = h.quant(h.node("Tanh", h.quant(y, 3.1, bits=4.0, signed=1, mode="DOWN")), 0.17, bits=4.0, signed=1)
    y = h.node("Transpose", y, perm=[0, 2, 3, 1])
    y = h.node("Reshape", y, h.node("Concat", h.const(np.array([1])), h.const(np.array([-1])), axis=0))
    y = h.node("MatMul", y, h.weight(ints(36, 3)))
    constants = [h.const(np.float32(value)) for value in (2.5, 0.0, 8.0, 4.0)]
    return h.node("Trunc", h.quant(y, 2.5), *constants, domain=QONNX, rounding_mode="FLOOR")


def pairs(h):
    """A QDQ file: zero points, weights per channel and from floats, a Clip of integers, a bias behind codes."""
    x = h.dq(h.node("MaxPool", h.q("image", 0.25, np.uint8(3)), kernel_shape=[2, 2]), 0.25, np.uint8(3))
    bias = h.dq(h.const(np.array([-70, 700, 12], np.int32)), np.full(3, 0.0625), np.zeros(3, np.int32), axis=0)
    weight = h.dq(h.const(ints(3, 2, 3, 3).astype(np.int8)), np.full(3, 0.25), np.zeros(3, np.int8), axis=0)
    q = h.node("Clip", h.q(h.node("Conv", x, weight, bias), 2.0), h.const(np.uint8(0)), h.const(np.uint8(127)))
    x = h.node("Relu", h.dq(q, 2.0))
    x = h.node("Flatten", h.qdq(h.node("Add", x, h.const(np.arange(3.0).reshape(1, 3, 1, 1))), 3.0, np.uint8(9)))
    weight = h.dq(h.q(h.const(ints(4, 27) * 0.11), 0.1, np.int8(0)), 0.1, np.int8(0))
    return h.node("Softmax", h.qdq(h.node("Gemm", x, weight, transB=1), 20.0, np.int8(-5)))


@cache
def files() -> tuple[bytes, ...]:
    hands = Hand(), Hand(), Hand((1, 3, 4, 6)), QdqHand()
    return tuple(hand.model(case(hand)).SerializeToString()
                 for case, hand in zip((classic, joined, last, pairs), hands, strict=True))


def examine(data: bytes) -> None:
    began = monotonic()
    try:
        assert isinstance(load("damaged.onnx", data=data), Graph)
    except HwgenError as error:
        assert str(error)
    try:
        json.dumps(inspect("damaged.onnx", data=data).to_json())
    except HwgenError as error:
        assert str(error)
    assert monotonic() - began < SECONDS


def mutated_bytes(seed: int) -> bytes:
    """One to four edits: a byte, a piece left out, doubled, moved, or the end cut off."""
    rng = np.random.default_rng(seed)
    data = bytearray(files()[seed % len(files())])
    for _ in range(int(rng.integers(1, 5))):
        at, other = (int(value) for value in rng.integers(0, max(1, len(data)), 2))
        size = int(rng.integers(1, 9))
        kind = int(rng.integers(0, 6))
        if kind <= 1 and data:
            data[at] = int(rng.integers(0, 256))
        elif kind == 2:
            del data[at:at + size]
        elif kind == 3:
            data[at:at] = data[other:other + size]
        elif kind == 4:
            data[at:at + size] = data[other:other + size]
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)


NUMBERS = (0, 1, -1, 2, 3, 7, 255, 4096, 1 << 20, 1 << 31, -(1 << 31), (1 << 62), -(1 << 62))
REALS = (0.0, -1.0, 1e-45, 1e38, float("nan"), float("inf"), -float("inf"), 0.5, 3.0)


def messages(message, depth=0):
    """Every message of a file, itself first."""
    yield message
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE and depth < 12:
            for part in value if field.is_repeated else [value]:
                yield from messages(part, depth + 1)


def mutated_fields(seed: int) -> bytes:
    """One to three fields of the file's messages get other values, names of other things, or none."""
    rng = np.random.default_rng(seed)
    model = ModelProto.FromString(files()[seed % len(files())])
    words = [name for node in model.graph.node for name in (*node.input, *node.output, node.op_type)]
    words += ["", "If", "FloatQuant", "x" * 3000, "IntQuant", "Resize", "DOWN", "finn.custom_op.fpgadataflow"]
    for _ in range(int(rng.integers(1, 4))):
        parts = list(messages(model))
        message = parts[int(rng.integers(0, len(parts)))]
        fields = list(message.DESCRIPTOR.fields)
        present = [field for field, _ in message.ListFields()]
        field = (present or fields)[int(rng.integers(0, len(present or fields)))] if rng.random() < 0.8 else \
            fields[int(rng.integers(0, len(fields)))]
        try:
            change(message, field, rng, words)
        except (ValueError, TypeError):
            continue  # the value does not fit the field's type
    return model.SerializeToString()


def change(message, field, rng, words) -> None:
    repeated = field.is_repeated
    items = getattr(message, field.name)
    if rng.random() < 0.15:
        message.ClearField(field.name)
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        if repeated and len(items):
            at, other = (int(value) for value in rng.integers(0, len(items), 2))
            kind = int(rng.integers(0, 3))
            if kind == 0:
                del items[at]
            elif kind == 1:
                items.add().CopyFrom(items[at])
            else:
                copy = type(items[at])()
                copy.CopyFrom(items[at])
                items[at].CopyFrom(items[other])
                items[other].CopyFrom(copy)
        elif not repeated:
            items.SetInParent()
    else:
        value = drawn(field, rng, words)
        if not repeated:
            setattr(message, field.name, value)
        elif len(items) and rng.random() < 0.7:
            items[int(rng.integers(0, len(items)))] = value
        else:
            items.append(value)


def drawn(field, rng, words):
    if field.type == FieldDescriptor.TYPE_STRING:
        return words[int(rng.integers(0, len(words)))]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return [b"", b"SAME_UPPER", b"HALF_UP", b"\xff\xfe", b"NHWC", rng.bytes(int(rng.integers(1, 200)))][
            int(rng.integers(0, 6))]
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return REALS[int(rng.integers(0, len(REALS)))]
    return NUMBERS[int(rng.integers(0, len(NUMBERS)))]


def test_seeds_are_sound():
    for data in files():
        assert load("whole.onnx", data=data).ops


@settings(max_examples=80, derandomize=True, deadline=None, database=None)
@given(st.integers(0, 1 << 30))
def test_bytes(seed):
    examine(mutated_bytes(seed))


@settings(max_examples=120, derandomize=True, deadline=None, database=None)
@given(st.integers(0, 1 << 30))
def test_fields(seed):
    examine(mutated_fields(seed))


@pytest.mark.bench
@pytest.mark.parametrize("part", range(10))
@pytest.mark.parametrize("mutate", [mutated_bytes, mutated_fields], ids=lambda mutate: mutate.__name__)
def test_ten_thousand(mutate, part):
    for seed in range(500 * part, 500 * (part + 1)):
        try:
            examine(mutate(seed))
        except Exception as error:
            raise AssertionError(f"{mutate.__name__}({seed})") from error


# -- single faults, by name --------------------------------------------------------------


def declared(dims, name="const1"):
    """The classic file with a tensor that declares another shape than it has data for."""
    model = ModelProto.FromString(files()[0])
    for tensor in model.graph.initializer:
        if tensor.name == name:
            del tensor.dims[:]
            tensor.dims.extend(dims)
    return model.SerializeToString()


@pytest.mark.parametrize("dims", [[1 << 29], [1 << 31], [1 << 16, 1 << 16], [1 << 62, 4], [-1], [-5, 3]])
def test_two_gigabytes_in_a_kilobyte(dims):
    data = declared(dims)
    assert len(data) < 10_000
    if dims == [-1]:
        return examine(data)
    with pytest.raises(HwgenError, match="const1"):
        load("damaged.onnx", data=data)


@pytest.mark.parametrize("side", [1 << 21, 1 << 40, 1 << 62])
def test_giant_input(side):
    hand = Hand((1, side))
    y = hand.quant(hand.node("Mul", hand.quant("image"), hand.const(np.float32(2.0))))
    with pytest.raises(HwgenError, match="dimension 1 of the input 'image' is .* at most"):
        load("damaged.onnx", data=hand.model(y).SerializeToString())


def test_giant_map_from_a_small_file():
    """A million channels by a million columns."""
    hand = Hand((1, 1 << 20, 1 << 20))
    with pytest.raises(HwgenError, match="numbers; at most"):
        load("damaged.onnx", data=hand.model(hand.quant(hand.quant("image"), 2.0)).SerializeToString())


@pytest.mark.parametrize("attributes, words", [
    ({"dilations": [1 << 20, 1 << 20]}, "makes a weight of"), ({"pads": [1 << 40] * 4}, "padding"),
    ({"strides": [0, 1]}, "strides must be"), ({"group": 1 << 40}, "groups for"), ({"group": 0}, "groups for"),
    ({"pads": [1]}, "pads must be")])
def test_giant_attributes(attributes, words):
    hand = Hand()
    y = hand.quant(hand.conv(hand.quant("image", 1.0, 0.0, 4.0), name="bad", **attributes))
    with pytest.raises(HwgenError, match=f"bad .Conv.: .*{words}"):
        load("damaged.onnx", data=hand.model(y).SerializeToString())


def test_giant_constant_made_by_a_node():
    hand = Hand()
    big = hand.node("ConstantOfShape", hand.const(np.array([1 << 20, 1 << 20])), name="big")
    y = hand.quant(hand.node("Add", hand.quant("image"), big))
    with pytest.raises(HwgenError, match="constant node 'big' is damaged .*too large"):
        load("damaged.onnx", data=hand.model(y).SerializeToString())
