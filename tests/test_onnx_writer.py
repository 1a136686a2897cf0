"""The file that the builder writes: bytes, weights, widths, metadata."""

import json
import re

import numpy as np
import onnx
from onnx import numpy_helper
import pytest
from qonnx_networks import GRIDS, random_network

from hwgen.errors import HwgenError
from hwgen.frontend import load
from hwgen.frontend.qonnx_writer import QonnxBuilder


@pytest.mark.parametrize("seed", range(3))
def test_same_calls_same_bytes(tmp_path, seed):
    random_network(seed, tmp_path / "a.onnx")
    random_network(seed, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def one_layer(path, weight, scales, schemes=None, bias=None):
    builder = QonnxBuilder("one", (weight.shape[1], 5, 5), 8, 1 / 255)
    x = builder.conv(builder.input, weight, scales, bias, name="layer", schemes=schemes)
    builder.output(builder.quant(x, 0.5, bits=4, signed=True))
    return builder.save(path)


@pytest.mark.parametrize("schemes, bits", [(["fixed4"], 4), (["sp2"], 5), (["pot4"], 8), (["fixed8"], 8),
                                           (["sp2", "fixed4"], 5), (["binary", "fixed4"], 4), (["binary"], None)])
def test_smallest_width_that_holds_the_grids(tmp_path, schemes, bits):
    weight = np.ones((len(schemes), 2, 3, 3), int)
    path = one_layer(tmp_path / "net.onnx", weight, 0.1, schemes)
    model = onnx.load(str(path))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    node = next(node for node in model.graph.node if node.name == "layer.weight_quant")
    if bits is None:
        assert node.op_type == "BipolarQuant"
    else:
        assert node.op_type == "Quant" and constants[node.input[3]] == bits
        assert {a.name: a.i for a in node.attribute if a.name != "rounding_mode"} == {"signed": 1, "narrow": 0}
    assert load(path).ops[0].schemes == tuple(schemes)


@pytest.mark.parametrize("seed", range(20))
def test_integers_come_back(tmp_path, seed):
    """Every integer of every grid at scales over 60 binary orders of magnitude, and schemes row by row."""
    rng = np.random.default_rng(seed)
    names = list(GRIDS)
    weight = np.stack([np.resize(rng.permutation(GRIDS[name]), (4, 8, 8)) for name in names])
    scales = (2.0 ** rng.uniform(-30, 30, len(names))).astype(np.float32)
    graph = load(one_layer(tmp_path / "net.onnx", weight[..., :5, :5], scales, names))
    op = graph.ops[0]
    assert np.array_equal(op.weight, weight[..., :5, :5])
    assert np.array_equal(op.row_scales, scales.astype(np.float64))
    assert op.schemes == tuple(names)


@pytest.mark.parametrize("groups, channels, rows", [(6, 1, 6), (6, 1, 12), (3, 2, 9), (1, 6, 4)])
def test_groups_come_back(tmp_path, groups, channels, rows):
    weight = np.random.default_rng(1).integers(-8, 8, (rows, channels, 3, 3))
    builder = QonnxBuilder("groups", (6, 5, 5), 8, 1 / 255)
    builder.output(builder.quant(builder.conv(builder.input, weight, 0.5, groups=groups), 0.5))
    op = load(builder.save(tmp_path / "net.onnx")).ops[0]
    assert op.groups == groups and np.array_equal(op.weight, weight)


@pytest.mark.parametrize("groups, problem", [
    (2, "weights has 6 input channels in each of 2 groups, its input is (6, 5, 5)"),
    (4, "the groups of weights must divide its 6 rows, not 4"), (0, "must divide its 6 rows, not 0")])
def test_wrong_groups(groups, problem):
    builder = QonnxBuilder("groups", (6, 5, 5), 8, 1 / 255)
    with pytest.raises(HwgenError, match=re.escape(problem)):
        builder.conv(builder.input, np.ones((6, 6, 1, 1)), 0.5, groups=groups, name="weights")


def test_metadata(tmp_path):
    builder = QonnxBuilder("named", (1, 4, 4), 4, 0.5)
    builder.metadata("hwgen.float_accuracy", 0.912)
    builder.metadata("hwgen.quantized_accuracy", "0.9")
    x = builder.conv(builder.input, np.ones((1, 1, 1, 1)), 0.5, name="a", schemes=["binary"])
    builder.output(builder.quant(x, 0.5))
    graph = load(builder.save(tmp_path / "x.onnx"))
    assert graph.name == "named"
    assert graph.metadata == {"hwgen.name": "named", "hwgen.float_accuracy": "0.912", "hwgen.quantized_accuracy": "0.9",
                              "hwgen.schemes": json.dumps({"a": ["binary"]})}


def test_names_are_unique(tmp_path):
    builder = QonnxBuilder("n", (1, 4, 4), 4, 0.5)
    x = builder.input
    for _ in range(3):
        x = builder.quant(builder.conv(x, np.ones((1, 1, 1, 1)), 0.5, name="same"), 0.5, name="q")
    builder.output(x)
    model = builder.model()
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert [op.name for op in load(builder.save(tmp_path / "n.onnx")).ops] == ["same", "same_1", "same_2"]


def test_onnx_accepts_the_file(tmp_path):
    """onnx's own checker; it knows no QONNX operators, so their domain is not checked."""
    net = random_network(0, tmp_path / "net.onnx")
    onnx.checker.check_model(str(net.path))
