"""Networks of quantize_static: the golden model against onnxruntime, layer by layer."""

import numpy as np
import onnx
from onnxruntime.quantization import QuantType
import pytest

from hwgen.frontend import inspect, load, read_network
from hwgen.frontend.execute import compare, execute
from hwgen.golden import run
from hwgen.graph.ir import Conv

from qdq_networks import (FloatNet, branches, channels_last, dyadic, loose, mobile, onnxruntime_tensors, plain,
                          residual, shuffled)

NETWORKS = {"plain": plain, "residual": residual, "branches": branches, "loose": loose, "mobile": mobile,
            "channels_last": channels_last, "shuffled": shuffled}
ACTIVATIONS = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}


def make(tmp_path, name, activations="uint8", seed=3, **options):
    net = FloatNet(seed)
    path = net.quantized(tmp_path / "net.onnx", NETWORKS[name](net), ACTIVATIONS[activations], **options)
    return net, path


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("activations", list(ACTIVATIONS))
@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_layer_is_onnxruntimes(tmp_path, name, activations, per_channel):
    """On real images every code of every layer is onnxruntime's, or proven to be a tie of its float32."""
    net, path = make(tmp_path, name, activations, per_channel=per_channel)
    graph = load(path)
    images = net.images(20)
    if name == "channels_last":  # maps of the golden model have the channels in front
        images = images.transpose(0, 3, 1, 2)
    result = compare(path, graph, images, every_layer=True)
    assert result.ok and result.different == 0 and result.executor == "onnxruntime", result
    assert result.compared == result.equal + result.ties
    codes = sum(layer.compared for layer in result.layers)
    ties = sum(layer.ties for layer in result.layers)
    assert ties == result.tie_rounds < 0.002 * codes + 150 and all(not layer.different for layer in result.layers)


@pytest.mark.parametrize("activations", list(ACTIVATIONS))
@pytest.mark.parametrize("name", ["plain", "residual", "branches"])
def test_equal_without_exception_where_float32_is_exact(tmp_path, name, activations):
    """With scales that are powers of two onnxruntime rounds nothing but the codes: all tensors are equal, ties too."""
    net, path = make(tmp_path, name, activations, per_channel=True)
    dyadic(path)
    graph, network = load(path), read_network(path)
    unit = network.input.quantizer
    codes = np.random.default_rng(4).integers(0, 256, (12, *net.shape), dtype=np.uint8)
    images = (float(unit.scale) * (codes.astype(np.float64) - unit.code_zero)).astype(np.float32)
    golden = run(graph, codes, keep=True)
    quantized = [node.output[0] for node in onnx.load(path).graph.node
                 if node.op_type == "QuantizeLinear" and node.output[0] in golden]
    assert len(quantized) >= 5
    offset = 128 if activations == "int8" else 0
    for tensor, theirs in zip(quantized, onnxruntime_tensors(path, images, quantized), strict=True):
        assert np.array_equal(golden[tensor], (theirs.astype(int) + offset).reshape(golden[tensor].shape)), tensor
    result = compare(path, graph, codes, every_layer=True)
    assert result.ok and result.ties == result.tie_rounds == 0 and result.equal == result.compared
    for tensor, values in execute(path, codes).items():
        assert np.array_equal(values, golden[tensor])


def test_requantizers_are_proven(tmp_path):
    for name in NETWORKS:
        _, path = make(tmp_path, name, per_channel=True)
        for op in load(path).ops:
            assert not isinstance(op, Conv) or op.requant.proven == len(op.weight), op.name


def test_weights_that_are_quantized_in_the_file(tmp_path):
    """QuantizeLinear of float weights gives the same network as their integers."""
    codes = np.random.default_rng(4).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    graphs = []
    for pair in (False, True):
        _, path = make(tmp_path, "plain", extra_options={"AddQDQPairToWeight": pair})
        graphs.append(load(path))
        assert compare(path, graphs[-1], codes, every_layer=True).ok
    for one, two in zip(*(graph.ops for graph in graphs), strict=True):
        assert not isinstance(one, Conv) or np.array_equal(one.weight, two.weight)
    first, second = (run(graph, codes)[graph.outputs[0]] for graph in graphs)
    assert np.array_equal(first, second)


def test_uint8_weights(tmp_path):
    """With a zero point: refused row by row where they leave -128..127, else read."""
    _, path = make(tmp_path, "plain", weights=QuantType.QUInt8)
    found = inspect(path)
    assert not found.ok
    for problem in found.problems:
        assert problem.op in ("Conv", "Gemm") and "which no scheme holds" in problem.reason
        assert "int8" in problem.help
    net, path = make(tmp_path, "plain", weights=QuantType.QUInt8, extra_options={"WeightSymmetric": True})
    assert compare(path, None, net.images(5), every_layer=True).ok


def test_other_widths_are_refused_by_name(tmp_path):
    net = FloatNet(3)
    path = net.quantized(tmp_path / "net.onnx", plain(net), QuantType.QUInt16)
    problems = inspect(path).problems
    assert {problem.op for problem in problems} == {"QuantizeLinear"}
    assert all("16 bits" in problem.reason for problem in problems)


def test_softmax_is_left_to_the_host(tmp_path):
    """The network's output are the codes that Softmax reads; nodes behind it are named as the host's."""
    _, path = make(tmp_path, "residual")
    assert [node.becomes for node in inspect(path).nodes if node.op == "Softmax"] == [
        "left to the host"]
    softmax = next(node for node in onnx.load(path).graph.node if node.op_type == "Softmax")
    output, = load(path).outputs
    reader = next(node for node in onnx.load(path).graph.node if node.output[0] == softmax.input[0])
    assert reader.input[0] == output
