"""The model files inside the qonnx package: those in scope against its executor, the others refused by name."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.frontend import inspect, load
from hwgen.frontend.execute import compare

FOLDER = Path(str(resources.files("qonnx"))) / "data" / "onnx"


def test_first_layer_of_a_streamlined_mobilenet():
    """Integer weights without a Quant node, an input typed by annotation, a factor per channel behind the Relu."""
    path = FOLDER / "eltwise_chanlast_testcase.onnx"
    found = inspect(path)
    assert found.ok and found.input_shape == (3, 224, 224)
    layer, = found.layers
    assert (layer.rows, layer.input_bits, layer.output_bits) == (32, 8, 4)
    assert layer.holds["fixed8"] == 32 and 0 < layer.holds["sp2"] < 32
    graph = load(path)
    assert graph.tensors[graph.input].bits == 8 and graph.ops[0].requant.proven == 32
    codes = np.random.default_rng(3).integers(0, 256, (2, 3, 224, 224))
    result = compare(path, graph, codes)
    assert result.different == 0 and result.equal > 0.9999 * result.compared


@pytest.mark.parametrize("name, words", [
    ("bsd300x3-espcn/subpixel/quant_model.onnx", ["Conv_5 (Conv): the network's input is not quantized",
                                                  "DepthToSpace_42 (DepthToSpace): "]),
    ("bsd300x3-espcn/nn_resize/quant_model.onnx", ["the network's input is not quantized",
                                                   "resizing is not supported"]),
    ("bsd300x3-espcn/subpixel/float_model.onnx", ["the model is not quantized"]),
    ("bsd300x3-espcn/nn_resize/float_model.onnx", ["the model is not quantized"]),
    ("floatquant_exec/qonnx_act_weight_fp8.onnx", ["FloatQuant"]),
    ("mnist-conv/model.onnx", ["the model is not quantized"]),
    ("residual_block_clean.onnx", ["the model is not quantized"]),
    ("matmul_update/sdp.onnx", ["exactly one input, it has 3"]),
])
def test_refused(name, words):
    with pytest.raises(HwgenError) as caught:
        load(FOLDER / name)
    for word in words:
        assert word in str(caught.value)


def test_every_file_of_the_package_is_named_here():
    assert len(list(FOLDER.rglob("*.onnx"))) == 9
