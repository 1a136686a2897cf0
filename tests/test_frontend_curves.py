"""Sigmoid and Tanh before a quantizer, against the executors; at the end of a network they are left to the host."""

from fractions import Fraction
import math

from exactness import assert_exact
import numpy as np
from onnx_graphs import MODES, Hand
import pytest
from qdq_networks import QdqHand

from hwgen.errors import HwgenError
from hwgen.frontend import inspect, load, read_network
from hwgen.frontend.curves import CURVES
from hwgen.golden import run

FUNCTIONS = {"Sigmoid": lambda y: 1 / (1 + np.exp(-y)), "Tanh": np.tanh}


def ints(*shape, seed=3):
    return np.random.default_rng(seed).integers(-7, 8, shape)


def exact(path, images=40, values=3):
    return assert_exact(path, images, values, 1 / 50)


def layer(h, op, scale=0.011):
    return h.node(op, h.node("MatMul", h.quant("image", bits=4.0), h.weight(ints(12, 9), scale)))


@pytest.mark.parametrize("op", FUNCTIONS)
@pytest.mark.parametrize("bits, signed, narrow, zero", [
    (2.0, 0, 0, 0.0), (4.0, 0, 0, 0.0), (4.0, 1, 1, 0.0), (5.0, 1, 0, 0.0), (4.0, 0, 0, 5.0), (8.0, 0, 0, 0.0),
    (8.0, 1, 1, 0.0)])
def test_against_qonnx_and_by_hand(tmp_path, op, bits, signed, narrow, zero):
    hand = Hand((1, 12))
    scale = np.float32(1.9 / 2**bits)
    y = hand.quant(layer(hand, op), scale, zero, bits, signed, narrow)
    graph, codes = exact(hand.save(tmp_path / "net.onnx", y))
    # the same in float64, apart from values within 2^-40 of a tie
    sums = (codes.reshape(-1, 12).astype(float) @ ints(12, 9)) * float(np.float32(0.011))
    place = FUNCTIONS[op](sums) / float(scale) + zero
    low = 1 - 2**(bits - 1) - (1 - narrow) if signed else 0
    wanted = np.clip(np.round(place), low, low + 2**bits - 1 - narrow) + (2**(bits - 1) if signed else 0)
    sure = abs(place - np.floor(place) - 0.5) > 2.0**-40
    got = run(graph, codes)[graph.outputs[0]].reshape(wanted.shape)
    assert np.array_equal(got[sure], wanted[sure]) and sure.mean() > 0.9


@pytest.mark.parametrize("op", FUNCTIONS)
@pytest.mark.parametrize("scale", [0.077, 0.125, 1.0])
@pytest.mark.parametrize("mode", MODES)
def test_rounding_modes(tmp_path, op, scale, mode):
    """Zero is the only sum at which the functions are rational: there Sigmoid is 4 steps or half a step, Tanh none."""
    hand = Hand((1, 12))
    y = hand.quant(layer(hand, op, 2.0**-5), scale, 0.0, 4.0 if op == "Sigmoid" else 5.0, int(op == "Tanh"), mode=mode)
    path = hand.save(tmp_path / "net.onnx", y)
    graph, _ = exact(path, 200, 1 if scale == 1 else 3)
    zero = graph.tensors[graph.input].zero_point
    got = run(graph, np.full((1, 12, 1, 1), zero))[graph.outputs[0]]
    half = {"CEIL": 1, "UP": 1, "HALF_UP": 1}.get(mode, 0)
    wanted = 16 if op == "Tanh" else {0.125: 4, 1.0: half}.get(scale, got.max())
    assert (got == wanted).all()


def test_within_a_convolutional_network(tmp_path):
    """Batch norm before, a max pool between, codes of the curve in a convolution behind."""
    hand = Hand((1, 2, 8, 8))
    constants = [hand.const(np.array(values)) for values in ([0.05, -0.03, 0.02], [0.1, -0.3, 0.4], [2.0, 0.5, 1.0],
                                                             [4.0, 1.0, 9.0])]
    y = hand.node("BatchNormalization", hand.conv(hand.quant("image", 0.5, bits=4.0)), *constants)
    y = hand.node("MaxPool", hand.quant(hand.node("Sigmoid", y), 1 / 15, bits=4.0), kernel_shape=[2, 2])
    y = hand.quant(hand.node("Tanh", hand.conv(y, rows=4, channels=3)), 1 / 7, bits=4.0, signed=1)
    exact(hand.save(tmp_path / "net.onnx", hand.quant(hand.conv(y, rows=5, channels=4, kernel=1), 0.9, signed=1)))


@pytest.mark.parametrize("op", FUNCTIONS)
def test_qdq(tmp_path, op):
    hand = QdqHand((1, 12))
    y = hand.node(op, hand.node("MatMul", hand.qdq("image", 0.02, np.uint8(100)), hand.weight(ints(12, 9), 0.25)))
    exact(hand.save(tmp_path / "net.onnx", hand.q(y, 1 / 128, np.int8(-3) if op == "Tanh" else np.uint8(0))))


@pytest.mark.parametrize("op", FUNCTIONS)
def test_codes_of_codes(tmp_path, op):
    hand = Hand((1, 2, 6, 6))
    y = hand.quant(hand.node(op, hand.quant("image", 0.3, 6.0, 4.0)), 1 / 7, bits=4.0, signed=1)
    exact(hand.save(tmp_path / "net.onnx", hand.quant(hand.conv(y), 0.9, signed=1)))


def test_at_the_end_it_is_left_to_the_host(tmp_path):
    hand = Hand((1, 12))
    y = hand.quant(hand.node("MatMul", hand.quant("image", bits=4.0), hand.weight(ints(12, 3))), 3.3, signed=1)
    network = read_network(hand.save(tmp_path / "net.onnx", hand.node("Sigmoid", y)))
    assert [step.op for step in network.host] == ["Sigmoid"]


def problems(hand, path, y):
    return [str(problem) for problem in inspect(hand.save(path / "net.onnx", y)).problems]


def test_what_is_refused(tmp_path):
    cases = {}
    hand = Hand()
    y = hand.node("Tanh", hand.conv(hand.quant("image")), name="bad")
    cases["bad (Tanh): a Tanh that no quantizer follows directly"] = hand, hand.quant(hand.node("Relu", y))
    hand = Hand()
    x = hand.quant("image")
    y = hand.node("Add", hand.conv(x, rows=2, pads=[1, 1, 1, 1]), x)
    cases["bad (Sigmoid): a Sigmoid of a sum"] = hand, hand.quant(hand.node("Sigmoid", y, name="bad"))
    hand = Hand()
    y = hand.node("Tanh", hand.conv(hand.quant("image")))
    cases["bad (Quant): one scale per channel of a Tanh"] = hand, hand.quant(
        y, np.array([0.5, 0.1, 0.2]).reshape(1, 3, 1, 1), name="bad")
    hand = Hand()
    y = hand.node("Tanh", hand.conv(hand.quant("image")))
    cases["bad (Quant): 1-bit signed activations of a Tanh"] = hand, hand.quant(y, bits=1.0, signed=1, name="bad")
    for text, (hand, y) in cases.items():
        found = problems(hand, tmp_path, y)
        assert len(found) == 1 and found[0].startswith(text), found
    with pytest.raises(HwgenError):
        load(tmp_path / "net.onnx")


@pytest.mark.parametrize("name", CURVES)
def test_inverses(name):
    curve = CURVES[name]
    for value in (Fraction(1, 1000), Fraction(1, 3), Fraction(999, 1000), Fraction(2 * curve.low + 1, 7)):
        assert math.isclose(curve.value(float(curve.inverse(value))), float(value), rel_tol=1e-12)
    assert curve.inverse(Fraction(1 + curve.low, 2)) == 0
    assert curve.value(-1e4) >= curve.low and curve.value(1e4) == 1
