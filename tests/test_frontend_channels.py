"""Slice, Split and Gather of channels and shuffles of channels, each compared with the executor of the file."""

import numpy as np
from onnx_graphs import Hand
import pytest
from qonnx_reference import assert_equals_qonnx

from hwgen.errors import HwgenError
from hwgen.frontend import inspect, load, read_network
from hwgen.frontend.folding import cuts
from hwgen.golden import run
from hwgen.graph.ir import Conv


def start(h, channels=6, **options):
    """Six channels of 4 x 4 codes."""
    return h.quant(h.conv(h.quant("image", 0.9871, 0.0, 4.0), rows=channels), 9.3, bits=4.0, **options)


def cut(h, x, begin, end, axis=1, step=1):
    return h.node("Slice", x, *(h.const(np.array([value])) for value in (begin, end, axis, step)))


def conv(h, x, rows, channels, kernel=1, seed=3, **options):
    shape = rows, channels, kernel, kernel
    return h.node("Conv", x, h.weight(np.random.default_rng(seed).integers(-7, 8, shape)), **options)


def reshape(h, x, *shape):
    return h.node("Reshape", x, h.const(np.array(shape)))


def shuffle(h, x, parts, each, *sides):
    y = h.node("Transpose", reshape(h, x, -1, parts, each, *sides), perm=[0, 2, 1, *range(3, 3 + len(sides))])
    return reshape(h, y, -1, parts * each, *sides)


# -- each returns the network's last tensor ----------------------------------------------


def halves(h):
    """One half through a convolution, the other one through a depthwise one, side by side again, as ShuffleNet does."""
    x = start(h)
    a = h.quant(conv(h, cut(h, x, 0, 3), 3, 3, 3, pads=[1, 1, 1, 1]), 7.13)
    b = h.quant(conv(h, cut(h, x, 3, 2**63 - 1), 3, 1, 3, group=3, pads=[1, 1, 1, 1]), 3.07)
    return h.quant(conv(h, h.quant(h.node("Concat", a, b, axis=1), 5.71), 4, 6), 30.7, signed=1)


def shuffled(h):
    y = shuffle(h, h.quant(h.node("Relu", start(h, signed=1)), 4.77), 2, 3, 4, 4)
    return h.quant(conv(h, cut(h, y, -4, -1), 5, 3), 11.3, signed=1)


def shuffled_and_copied(h):
    """Read by a max pool, an add, a ReLU and a layer with groups: one copy for all of them."""
    x = shuffle(h, start(h, signed=1), 3, 2, 4, 4)
    a = h.node("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    b = h.quant(h.node("Add", conv(h, x, 6, 2, group=3), h.node("Relu", x)), 13.1, signed=1)
    return h.quant(conv(h, h.quant(h.node("Add", a, b), 17.9), 4, 6), 40.3, signed=1)


def split_in_three(h):
    x = start(h)
    h.node("Split", x, h.const(np.array([1, 3, 2])), axis=-3, name="split", outputs=3)
    parts = [conv(h, name, 4, channels, seed=channels) for name, channels in
             (("split_out", 1), ("split_out1", 3), ("split_out2", 2))]
    y = h.quant(h.node("Add", h.quant(parts[0], 7.1), parts[1]), 9.7)
    return h.quant(h.node("Add", y, parts[2]), 13.9, signed=1)


def equal_split(h):
    h.node("Split", start(h), axis=1, name="split", outputs=2)
    return h.quant(h.node("Add", h.quant(conv(h, "split_out1", 4, 3), 7.1), conv(h, "split_out", 4, 3, 3,
                                                                                 pads=[1, 1, 1, 1])), 13.97)


def gathered(h):
    """In another order, and one channel twice, which no weight could hold."""
    x = start(h)
    a = h.node("Gather", x, h.const(np.array([4, 0, -1])), axis=1)
    b = h.node("Gather", x, h.const(np.array([2, 2, 5])), axis=1)
    return h.quant(h.node("Add", h.quant(conv(h, a, 4, 3, 2), 7.1), conv(h, b, 4, 3, 2)), 13.9)


def backwards(h):
    return h.quant(conv(h, cut(h, start(h), 5, -7, step=-2), 4, 3, 2), 17.3, signed=1)


def quantized_again(h):
    """The same grid changes nothing, another one is a layer."""
    x = h.quant(cut(h, start(h), 1, 4), 9.3, bits=4.0)
    return h.quant(conv(h, h.quant(x, 21.7, bits=3.0), 4, 3), 30.9)


def of_a_slice(h):
    return h.quant(conv(h, cut(h, cut(h, start(h), 1, 6), 1, 3), 4, 2), 17.3, signed=1)


def side_by_side(h):
    """Branches of a concatenation that is quantized: no copies but the concatenation's own layers."""
    x = start(h, signed=1)
    y = h.quant(h.node("Concat", cut(h, x, 4, 6), cut(h, x, 0, 3), axis=1), 12.7)
    return h.quant(conv(h, y, 4, 5, 2), 30.7, signed=1)


def last(h):
    """As the network's output."""
    return cut(h, start(h), 2, 5)


def everything(h):
    """Nothing is left out, so there is no layer for it."""
    return cut(h, cut(h, start(h), 0, 6), 0, 4, axis=2)


def of_a_vector(h):
    x = h.quant(h.node("MatMul", reshape(h, h.quant("image", 0.9871, 0.0, 4.0), -1, 72),
                       h.weight(np.random.default_rng(1).integers(-7, 8, (72, 9)))), 31.1)
    x = h.node("Slice", x, *(h.const(np.array([value])) for value in (2, 7, 1)))
    return h.quant(h.node("MatMul", x, h.weight(np.random.default_rng(2).integers(-7, 8, (5, 4)))), 60.3, signed=1)


CASES = [halves, shuffled, shuffled_and_copied, split_in_three, equal_split, gathered, backwards, quantized_again,
         of_a_slice, side_by_side, everything, of_a_vector]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_equals_qonnx(case, tmp_path):
    hand = Hand()
    graph = assert_equals_qonnx(hand.save(tmp_path / "net.onnx", case(hand)))
    codes = np.random.default_rng(1).integers(0, 16, (10, *graph.tensors[graph.input].shape))
    assert len(np.unique(run(graph, codes)[graph.outputs[0]])) > 3


def test_the_output(tmp_path):
    hand = Hand()
    graph = load(hand.save(tmp_path / "net.onnx", last(hand)))
    codes = np.random.default_rng(1).integers(0, 16, (10, *graph.tensors[graph.input].shape))
    found = run(graph, codes, keep=True)
    assert np.array_equal(found[graph.outputs[0]], found[graph.ops[0].output][:, 2:5])


@pytest.mark.parametrize("case, layers", [
    (halves, ["stem", "conv", "copy", "depthwise", "concat", "concat", "conv"]), (shuffled, ["stem", "relu", "conv"]),
    (backwards, ["stem", "conv"]), (everything, ["stem"]), (of_a_slice, ["stem", "conv"]),
    (equal_split, ["stem", "conv", "conv+add"]), (side_by_side, ["stem", "concat", "concat", "conv"]),
    (shuffled_and_copied, ["stem", "copy", "max", "relu", "conv+add", "add", "conv"]),
])
def test_only_readers_other_than_convolutions_take_layers(case, layers, tmp_path):
    hand = Hand()
    graph = load(hand.save(tmp_path / "net.onnx", case(hand)))
    assert len(graph.ops) == len(layers), [(type(op).__name__, op.name) for op in graph.ops]


def test_ranges_of_old_and_new_slices():
    """An operand that is left out keeps its place."""
    one, three, two = np.array([1]), np.array([3]), np.array([2])
    assert cuts({}, [one, three, None, two]) == [(1, 3, 0, 2)]
    assert cuts({}, [one, three, two]) == cuts({"starts": [1], "ends": [3], "axes": [2]}, []) == [(1, 3, 2, 1)]


def test_a_convolution_reads_the_tensor_itself(tmp_path):
    """With its weights at the channels that it has and zeros elsewhere."""
    hand = Hand()
    graph = load(hand.save(tmp_path / "net.onnx", backwards(hand)))
    first, second = graph.ops
    assert isinstance(second, Conv) and second.input == first.output
    weight = np.random.default_rng(3).integers(-7, 8, (4, 3, 2, 2))
    assert np.array_equal(second.weight[:, [5, 3, 1]], weight) and not second.weight[:, ::2].any()


@pytest.mark.parametrize("make, reason", [
    (lambda h, x: cut(h, x, 0, 2, axis=2), "a slice of the axis H"),
    (lambda h, x: cut(h, x, 0, 4, axis=3, step=2), "a slice of the axis W"),
    (lambda h, x: cut(h, x, 0, 1, axis=0), "a slice of the axis N"),
    (lambda h, x: cut(h, x, 4, 2), "no channel is left"),
    (lambda h, x: cut(h, x, 0, 4, axis=7), "the axis 7 of a tensor of 4 dimensions"),
    (lambda h, x: cut(h, x, 0, 4, step=0), "a step of 0"),
    (lambda h, x: h.node("Split", x, h.const(np.array([1, 2])), axis=1, outputs=2), "parts of (1, 2) for 2 outputs"),
    (lambda h, x: h.node("Split", x, axis=2, outputs=2), "a split along axis 2"),
    (lambda h, x: h.node("Gather", x, h.const(np.array([0, 6])), axis=1), "for 6 channels"),
    (lambda h, x: h.node("Gather", x, h.const(np.array(2)), axis=1), "indices of shape ()"),
    (lambda h, x: h.node("Gather", x, h.const(np.array([2])), axis=2), "a Gather along axis 2"),
    (lambda h, x: h.node("Relu", reshape(h, x, -1, 2, 3, 4, 4)), "channels that were reshaped to two axes"),
    (lambda h, x: h.node("Transpose", reshape(h, x, -1, 2, 3, 4, 4), perm=[0, 3, 1, 2, 4]),
     "a Transpose (0, 3, 1, 2, 4) of channels in two axes"),
    (lambda h, x: cut(h, h.node("Flatten", x), 0, 4), "some features of a map"),
])
def test_refused_by_name(make, reason, tmp_path):
    hand = Hand()
    y = make(hand, start(hand))
    path = hand.save(tmp_path / "net.onnx", hand.quant(hand.node("Relu", y), 3.0))
    with pytest.raises(HwgenError) as caught:
        load(path)
    assert reason in str(caught.value), str(caught.value)
    assert not inspect(path).ok and len(read_network(path).problems) == 1
