"""Networks that end without a Quant node: what leaves the engine is the layer's result, whole."""

import json
from pathlib import Path

import numpy as np
from onnx import TensorProto
from onnx_graphs import QONNX, Hand
import pytest
from qonnx_reference import executed

from hwgen.frontend import load, read_network
from hwgen.frontend.execute import compare
from hwgen.golden import run
from hwgen.graph.ir import Conv


FILES = Path(__file__).parent / "files"


def ints(*shape, low=-7, high=8):
    return np.random.default_rng(3).integers(low, high, shape)


def check(path, images=25, top=None, step=1):
    """The exact accumulators are those of qonnx's real output; returns the network.

    Input codes are multiples of ``step`` up to ``top``.
    """
    graph, network = load(path), read_network(path)
    tensor = graph.tensors[graph.input]
    top = (1 << tensor.bits) - 1 if top is None else top
    codes = step * np.random.default_rng(9).integers(0, top // step + 1, (images, *tensor.shape))
    found = executed(network, codes)
    got = run(graph, codes)
    for op in graph.ops:
        assert op.requant.proven == len(op.weight) if isinstance(op, Conv) else op.rescale.proven
    output, = network.floats
    real = output.codes[0].to_map(found[output.tensor]).astype(float)
    slope, intercept = (np.array([float(v) for v in values]).reshape(1, -1, 1, 1)
                        for values in (output.pending.slope, output.pending.intercept))
    assert np.array_equal(output.accumulators(got), np.round((real - intercept) / slope))
    assert np.allclose(output.values(got), real, rtol=1e-5, atol=1e-4)
    assert len(np.unique(output.accumulators(got))) > 5
    result = compare(path, graph, codes)
    assert result.ok and result.layers[-1].layer == output.tensor
    assert result.layers[-1].compared == result.layers[-1].equal == found[output.tensor].size
    return graph, network


def test_two_codes(tmp_path):
    """W4A4 as a classifier ends: bias, batch norm, no Quant node."""
    hand = Hand()
    y = hand.node("Gemm", hand.node("Flatten", hand.quant("image", 0.31, 0.0, 4.0)), hand.weight(ints(5, 72)),
                  hand.const(np.arange(5.0)), transB=1, name="logits")
    y = hand.node("BatchNormalization", y, *(hand.const(np.array(v)) for v in (
        [1.5, -0.75, 0.5, 1, 2], [1.0, -2.0, 5.0, 0, 0], [10.0, -3, 2, 1, 0], [4.0, 0.3, 2.0, 1, 1])), name="norm")
    path = hand.save(tmp_path / "net.onnx", y)
    graph, network = check(path)
    assert graph.outputs == ("norm_out.digit1", "norm_out.digit0")
    step, = json.loads(graph.metadata["hwgen.host"])
    assert (step["op"], step["tensor"]) == ("Affine", "norm_out") and len(step["options"]["slope"]) == 5


@pytest.mark.parametrize("channels,most,digits", [(1, 7, 2), (2, 127, 3), (600, 127, 4)])
def test_digits_of_wide_accumulators(tmp_path, channels, most, digits):
    """W4A8 and W8A8 without a Quant node at the end; float32 does not hold the widest, integers do."""
    hand = Hand((1, channels, 6, 6))
    weight = ints(4, 36 * channels, low=-most, high=most + 1)
    weight[1:3] = np.abs(weight[1:3]) * [[1], [-1]]
    x = hand.node("Flatten", hand.quant("image", 0.031, 0.0, 8.0))
    y = hand.node("Gemm", x, hand.weight(weight, bits=8.0), hand.const(np.arange(4.0)), transB=1, name="logits")
    path = hand.save(tmp_path / "net.onnx", y)
    graph, network = load(path), read_network(path)
    assert graph.outputs == tuple(f"logits_out.digit{digit}" for digit in reversed(range(digits)))
    assert [op.requant.wrap for op in graph.ops] == [False] + [True] * (digits - 1)
    codes = np.random.default_rng(9).integers(0, 256, (25, channels, 6, 6))
    codes[:2] = np.array([0, 255]).reshape(2, 1, 1, 1)
    output, = network.floats
    sums = codes.reshape(25, -1) @ weight.T
    assert np.array_equal(output.accumulators(run(graph, codes)).reshape(25, 4), sums)
    values = output.values(run(graph, codes)).reshape(25, 4)
    assert np.allclose(values, sums * 0.5 * float(np.float32(0.031)) + np.arange(4.0), rtol=1e-12)
    result = compare(path, graph, codes)
    assert result.ok and result.layers[-1].equal == 100


def test_one_code_of_a_binary_layer(tmp_path):
    hand = Hand((1, 20))
    real = np.random.default_rng(1).normal(0, 1, (20, 6))
    weight = hand.node("BipolarQuant", hand.const(real), hand.const(np.float32(0.13)), domain=QONNX)
    y = hand.node("MatMul", hand.quant("image", 0.5, 0.0, 2.0), weight, name="logits")
    graph, _ = check(hand.save(tmp_path / "net.onnx", y))
    assert graph.outputs == ("logits_out.digit0",)


@pytest.mark.parametrize("op", ["Softmax", "ArgMax", "TopK"])
def test_softmax_behind_it(tmp_path, op):
    hand = Hand()
    y = hand.node("Gemm", hand.node("Flatten", hand.quant("image", 0.31, 0.0, 4.0)), hand.weight(ints(5, 72)),
                  transB=1, name="logits")
    if op == "TopK":
        hand.node("TopK", y, hand.const(np.array([1])), name="last", outputs=2, axis=-1)
        outputs = ["last_out", "last_out1"]
    else:
        outputs = [hand.node(op, y, name="last", axis=1)]
    path = hand.save(tmp_path / "net.onnx", *outputs)
    graph, network = load(path), read_network(path)
    assert graph.outputs == ("logits_out.digit1", "logits_out.digit0")
    assert [step.op for step in network.host[:2]] == ["Affine", op] and network.host[1].output == "logits_out.digit0"


def test_convolution_and_scaled_codes(tmp_path):
    """A map as output; and codes with a factor behind them, which need no layer."""
    hand = Hand()
    check(hand.save(tmp_path / "net.onnx", hand.node("Conv", hand.quant("image", 0.31, 3.0, 4.0),
                                                     hand.weight(ints(3, 2, 3, 3)), pads=[1, 1, 1, 1])))
    hand = Hand()
    x = hand.quant(hand.conv(hand.quant("image", 0.31, 3.0, 4.0)), 4.17, signed=1, name="codes")
    graph, network = check(hand.save(tmp_path / "net.onnx", hand.node("Mul", x, hand.const(np.float32(0.7)))))
    assert graph.outputs == ("codes_out",) and len(graph.ops) == 1


def test_cnn_of_brevitas():
    """Batch norm, depthwise, residual, Trunc: every accumulator of the last layer, through all of it."""
    graph, network = check(FILES / "brevitas_cnn.onnx")
    assert {"Trunc", "BatchNormalization", "Add", "Conv", "Gemm"} <= {report.op for report in network.reports}
    assert graph.outputs == ("linear.digit1", "linear.digit0")


def test_binary_network_of_brevitas():
    graph, network = check(FILES / "brevitas_binary.onnx", top=2, step=2)
    assert network.before == (2, -1)
    assert [set(op.schemes) for op in graph.ops] == [{"binary"}, {"binary"}]


def test_binary_mlp_as_finn_reads_it(tmp_path):
    """An annotated uint8 image, signs by MultiThreshold, batch norm between Unsqueeze and Squeeze, TopK on the host."""
    hand = Hand((1, 1, 4, 5))
    rng = np.random.default_rng(8)
    x = hand.node("Reshape", hand.node("Div", "image", hand.const(np.float32(256.0))), hand.const(np.array([1, -1])))
    x = hand.node("Sub", hand.node("Mul", x, hand.const(np.float32(2.0))), hand.const(np.float32(1.0)))
    for features, rows in ((20, 12), (12, 9)):
        sign = hand.node("MultiThreshold", x, hand.const(np.zeros((1, 1))), domain="qonnx.custom_op.general",
                         out_dtype="BIPOLAR", out_scale=2.0, out_bias=-1.0)
        y = hand.node("MatMul", sign, hand.const(rng.choice([-1.0, 1.0], (features, rows))))
        y = hand.node("Unsqueeze", hand.node("Mul", y, hand.const(np.float32(0.031))), hand.const(np.array([2])))
        gamma, beta, mean = rng.normal(0, 1, (3, rows))
        y = hand.node("BatchNormalization", y, *(hand.const(v) for v in (gamma, beta, mean, rng.uniform(1, 2, rows))))
        x = hand.node("Squeeze", y, hand.const(np.array([2])))
    hand.node("TopK", x, hand.const(np.array([1])), name="last", outputs=2, axis=-1)
    model = hand.model("last_out1")
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    note = model.graph.quantization_annotation.add(tensor_name="image")
    note.quant_parameter_tensor_names.add(key="finn_datatype", value="UINT8")
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    graph, network = check(path)
    assert graph.tensors[graph.input].bits == 8 and [step.op for step in network.host] == ["Affine", "TopK"]
    assert [set(op.schemes) for op in graph.ops[1:]] == [{"binary"}, {"binary"}]
