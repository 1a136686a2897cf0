"""One network in the forms that qonnx makes of it: QuantizeLinear, Clip, DequantizeLinear; cleaned; channels last."""

from pathlib import Path
import warnings

import numpy as np
import onnx
from onnx import helper
from onnx_graphs import Hand
import pytest
import test_frontend_channel_scales as scales
import test_frontend_channels as channels
import test_frontend_layouts as layouts
import test_frontend_reader as reader

from hwgen.frontend import load
from hwgen.frontend.execute import compare
from hwgen.golden import run
from hwgen.graph.ir import Conv

SHAPE = 1, 2, 6, 6
CASES = {case.__name__: (case, shape) for cases, shape in (
    (reader.CASES, SHAPE), (channels.CASES, SHAPE), (scales.CASES, SHAPE), (layouts.WINDOWS, SHAPE),
    (layouts.ONE_DIMENSION, (1, 3, 17)), (layouts.LAST, (1, 6, 7, 2))) for case in cases}


def widths(h, bits, signed, narrow):
    """Weights and activations of this width, which QDQ files have as Clips of 8-bit integers."""
    top = (1 << (bits - 1)) - 1
    integers = np.random.default_rng(bits).integers(-top, top + 1, (3, 2, 3, 3))
    weight = h.quant(h.const(integers * 0.5), 0.5, 0.0, float(bits), signed=1, narrow=1)
    x = h.quant("image", 0.7, 0.0, float(bits), signed=signed, narrow=narrow)
    y = h.quant(h.node("Conv", x, weight), 0.31 * (top + 1), 0.0, float(bits), signed=signed, narrow=narrow)
    y = h.quant(h.node("MaxPool", y, kernel_shape=[2, 2]), 0.31 * (top + 1), 0.0, float(bits), signed=signed,
                narrow=narrow)
    return h.quant(h.conv(y, rows=4, channels=3, kernel=2), 2.3 * (top + 1), 0.0, float(bits), signed=signed,
                   narrow=narrow)


def forms(tmp_path, case, shape):
    """The two files; None for the second where qonnx has no QDQ form for all its Quant nodes."""
    warnings.simplefilter("ignore")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.qonnx_to_qcdq import QuantToQCDQ

    hand = Hand(shape)
    first, second = hand.save(tmp_path / "qonnx.onnx", case(hand)), tmp_path / "qdq.onnx"
    model = ModelWrapper(str(first)).transform(QuantToQCDQ()).model
    kinds = {node.op_type for node in model.graph.node}
    onnx.save(model, str(second))
    return first, None if kinds & {"Quant", "IntQuant", "BipolarQuant", "MultiThreshold", "Trunc"} else second


def assert_same(tmp_path, case, shape=SHAPE):
    first, second = forms(tmp_path, case, shape)
    if second is None:
        pytest.skip("no QDQ form")
    one, two = load(first), load(second)
    tensor = one.tensors[one.input]
    codes = np.random.default_rng(5).integers(0, 1 << tensor.bits, (30, *tensor.shape))
    mine, theirs = (sorted((graph.tensors[op.output].bits, stored[op.output].tobytes()) for op in graph.ops)
                    for graph in (one, two) for stored in [run(graph, codes, keep=True)])
    assert mine == theirs and len(mine) == len(one.ops)  # in another order, with other names
    return second, codes


@pytest.mark.parametrize("name", CASES)
def test_both_forms_are_one_network(name, tmp_path):
    assert_same(tmp_path, *CASES[name])


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("signed, narrow", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_every_width(bits, signed, narrow, tmp_path):
    """Code for code the same in both forms, and in onnxruntime."""
    if (bits, signed, narrow) == (8, 0, 1):
        pytest.skip("qonnx leaves the Clip of 0..254 out, so that its QDQ form is another network")
    path, codes = assert_same(tmp_path, lambda h: widths(h, bits, signed, narrow))
    graph = load(path)
    low = 1 if signed and narrow else 0
    codes = np.clip(codes, low, (1 << bits) - 1 - (1 if narrow and not signed else 0))
    result = compare(path, graph, codes, every_layer=True)
    assert result.ok and result.executor == "onnxruntime" and result.different == 0, result


def layouts_of(tmp_path, case, shape, last):
    """The file as it is and as qonnx cleans it, with the channels in the last axis if ``last``."""
    warnings.simplefilter("ignore")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.util.cleanup import cleanup_model

    hand = Hand(shape)
    first, second = hand.save(tmp_path / "first.onnx", case(hand)), tmp_path / "second.onnx"
    model = cleanup_model(ModelWrapper(str(first)))
    if last:
        for node in model.graph.node:
            _spell_out(model, node)
        model = model.transform(ConvertToChannelsLastAndClean(make_input_channels_last=True))
    onnx.save(model.model, str(second))
    return first, second


def _spell_out(model, node):
    """Attributes that have defaults in ONNX, for qonnx asks for them."""
    given = {item.name for item in node.attribute}
    if node.op_type in ("Conv", "MaxPool"):
        sides = (model.get_tensor_shape(node.input[1])[2:] if node.op_type == "Conv" else
                 next(item.ints for item in node.attribute if item.name == "kernel_shape"))
        options = {"kernel_shape": list(sides), "strides": [1] * len(sides), "pads": [0] * 2 * len(sides),
                   "dilations": [1] * len(sides)}
        options |= {"group": 1} if node.op_type == "Conv" else {"ceil_mode": 0}
        node.attribute.extend(helper.make_attribute(key, value) for key, value in options.items() if key not in given)


UNLIKE = {"ceil_mode": "uneven padding of a pool", "max_pool_before_quant": "uneven padding of a pool",
          **dict.fromkeys(("same_upper", "same_lower", "valid", "same_pool", "keras_conv", "keras_flatten",
                           "keras_output_channels_last", "keras_pool_between"), "auto_pad"),
          **dict.fromkeys(("dense_on_a_map", "residual_channels_last"), "channels are last already"),
          **dict.fromkeys(("scales_before_depthwise", "scales_before_a_pool_and_a_convolution"),
                          "qonnx leaves the scales along the axis that the channels had before"),
          "ceil_mode_whose_last_window_is_beyond": "qonnx infers a size that onnxruntime does not have",
          "add_to_itself": "its cleaning gives a file with a missing tensor"}
"""Networks for which qonnx has no channels-last form, and why."""


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", [name for name in CASES if name != "add_to_itself"])
def test_cleaned_and_with_channels_last(name, last, tmp_path):
    if last and name in UNLIKE:
        pytest.skip(UNLIKE[name])
    first, second = layouts_of(tmp_path, *CASES[name], last)
    one, two = load(first), load(second)
    tensor = one.tensors[one.input]
    codes = np.random.default_rng(5).integers(0, 1 << tensor.bits, (30, *tensor.shape))
    mine, theirs = (list(run(graph, codes.reshape(30, *graph.tensors[graph.input].shape)).values())
                    for graph in (one, two))
    assert len(mine) == len(theirs) > 0
    assert all(np.array_equal(a.reshape(30, -1), b.reshape(30, -1)) for a, b in zip(mine, theirs, strict=True))
    if last:
        kinds = {node.domain for node in onnx.load(str(second)).graph.node}
        has_maps = any(node.op_type in ("Conv", "MaxPool") for node in onnx.load(str(first)).graph.node)
        assert ("qonnx.custom_op.channels_last" in kinds) == has_maps
        assert compare(second, two, codes[:5], every_layer=True).different == 0


def test_brevitas_writes_both_forms_of_a_network():
    """Code for code the same network, and every layer as in qonnx and in onnxruntime; all rows proven."""
    codes, found = None, []
    for form, executor in (("qonnx", "qonnx"), ("qdq", "onnxruntime")):
        path = Path(__file__).parent / "files" / f"brevitas_residual_{form}.onnx"
        graph = load(path)
        if codes is None:
            codes = np.random.default_rng(7).integers(0, 256, (40, *graph.tensors[graph.input].shape))
        assert all(op.requant.proven == len(op.weight) for op in graph.ops if isinstance(op, Conv))
        result = compare(path, graph, codes, every_layer=True)
        assert result.ok and result.executor == executor, result
        found.append([run(graph, codes, keep=True)[op.output] for op in graph.ops])
    assert len(found[0]) == len(found[1]) == 10
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(*found, strict=True))
