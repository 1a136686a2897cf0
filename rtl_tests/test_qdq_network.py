"""Networks of other tools through the whole way: file, golden model against its executor, Verilog against golden.

One is quantized by onnxruntime here, 8 bits everywhere, wide enough to need shifts beyond 32; one is the first layer of
a MobileNet inside the qonnx package.
"""

from importlib import resources
import logging
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
import pytest

from hwgen.engine import Engine
from hwgen.frontend import load, read_network
from hwgen.frontend.execute import compare
from hwgen.frontend.executors import input_codes
from hwgen.frontend.qonnx_writer import QonnxBuilder
from hwgen.plan.cycles import count_cycles
from program_bench import Case, differences, make_case, run_cases
from test_networks import fitted

SHAPE = (3, 16, 16)
ENGINE = Engine(ki=8, px=2, dsp_rows=8, drain_lanes=4)


def float_network() -> onnx.ModelProto:
    """An inverted residual with ReLU6, and a linear layer over a whole map: 1,024 inputs."""
    rng = np.random.default_rng(4)
    constants = []

    def const(array) -> str:
        constants.append(numpy_helper.from_array(np.asarray(array, np.float32), f"c{len(constants)}"))
        return constants[-1].name

    def weights(*shape) -> list[str]:
        return [const(rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))), const(rng.normal(size=shape[0]) / 4)]

    limits = [const(0.0), const(6.0)]
    nodes = [
        helper.make_node("Conv", ["image", *weights(16, 3, 3, 3)], ["a"], "stem", pads=[0, 0, 1, 1], strides=[2, 2]),
        helper.make_node("Clip", ["a", *limits], ["b"], "stem_limit"),
        helper.make_node("Conv", ["b", *weights(32, 16, 1, 1)], ["c"], "expand"),
        helper.make_node("Clip", ["c", *limits], ["d"], "expand_limit"),
        helper.make_node("Conv", ["d", *weights(32, 1, 3, 3)], ["e"], "depthwise", group=32, pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["e", *limits], ["f"], "depthwise_limit"),
        helper.make_node("Conv", ["f", *weights(16, 32, 1, 1)], ["g"], "project"),
        helper.make_node("Add", ["b", "g"], ["h"], "add"),
        helper.make_node("Flatten", ["h"], ["i"], "flatten"),
        helper.make_node("Gemm", ["i", *weights(10, 1024)], ["logits"], "classify", transB=1),
    ]
    graph = helper.make_graph(nodes, "mobile", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, *SHAPE])],
                              [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *SHAPE)).astype(np.float32)


@pytest.fixture(scope="module")
def quantized(tmp_path_factory) -> Path:
    """What quantize_static makes of it: QDQ, uint8 activations, int8 weights per channel."""
    folder = tmp_path_factory.mktemp("qdq")
    onnx.save(float_network(), folder / "float.onnx")
    feed = iter([{"image": image[None]} for image in images(8, 1)])

    class Reader(CalibrationDataReader):
        def get_next(self):
            return next(feed, None)

    logging.disable(logging.WARNING)  # it advises to preprocess the model
    try:
        quantize_static(folder / "float.onnx", folder / "net.onnx", Reader(), quant_format=QuantFormat.QDQ,
                        per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    finally:
        logging.disable(logging.NOTSET)
    return folder / "net.onnx"


def through_verilog(name, graph, codes, engine, simulator_for) -> None:
    """Every code of every layer, and the planned cycles."""
    case = make_case(name, graph, codes, engine, 1 << 20)
    assert isinstance(case, Case), case
    (traces,) = run_cases(simulator_for(engine, "verilator", case.program.memory_words), [case])
    assert differences(case, traces) is None
    assert {trace.cycles for trace in traces} == {count_cycles(case.layout).total}


def test_qdq_network_of_8_bits(quantized, simulator_for):
    graph = load(quantized)
    rules = [op.requant for op in graph.ops if hasattr(op, "requant")]
    assert all(rule.proven == len(rule.shift) for rule in rules)
    real = images(6, 2)
    found = compare(quantized, graph, real, every_layer=True)
    assert found.ok and found.different == 0
    assert sum(layer.ties for layer in found.layers) < sum(layer.compared for layer in found.layers) // 1000
    engine = fitted(graph, ENGINE)
    assert engine.shift_base > 0
    through_verilog("qdq", graph, input_codes(read_network(quantized), real[:3]), engine, simulator_for)


def test_output_of_accumulators(simulator_for, tmp_path):
    """W8A8 that ends with a plain linear layer: 23 bits leave the engine as three digits."""
    rng = np.random.default_rng(5)
    build = QonnxBuilder("wide", (3, 9, 9), 8, 1 / 256)
    x = build.conv(build.input, rng.integers(-127, 128, (12, 3, 3, 3)), 2.0**-12, strides=2)
    x = build.quant(build.relu(x), 1 / 32, bits=8)
    weight = rng.integers(-127, 128, (13, 192))
    weight[:2] = np.abs(weight[:2]) * [[1], [-1]]
    build.output(build.linear(x, weight, 2.0**-9, rng.normal(size=13)))
    path = tmp_path / "net.onnx"
    build.save(path)
    graph = load(path)
    assert len(graph.outputs) == 3
    codes = rng.integers(0, 256, (3, 3, 9, 9)).astype(np.uint8)
    codes[0] = 255
    assert compare(path, graph, codes).ok
    engine = fitted(graph, ENGINE)
    assert engine.wrap and not engine.residual
    through_verilog("wide", graph, codes, engine, simulator_for)


def test_first_layer_of_a_mobilenet(simulator_for):
    graph = load(Path(str(resources.files("qonnx"))) / "data" / "onnx" / "eltwise_chanlast_testcase.onnx")
    codes = np.random.default_rng(3).integers(0, 256, (1, 3, 224, 224)).astype(np.uint8)
    through_verilog("mobilenet", graph, codes, fitted(graph, ENGINE), simulator_for)
