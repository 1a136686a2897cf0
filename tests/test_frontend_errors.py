"""Every error that a model file can cause: HwgenError, one clear message with the name of what is wrong."""


import numpy as np
from onnx import TensorProto, external_data_helper, helper
from onnx_graphs import Hand
import pytest

from hwgen.errors import HwgenError
from hwgen.frontend import inspect, load
from hwgen.frontend.qonnx_writer import QonnxBuilder


def small(tmp_path, name="net.onnx"):
    hand = Hand()
    y = hand.quant(hand.conv(hand.quant("image"), name="conv_a"), 4.0, bits=4.0)
    return hand.save(tmp_path / name, y)


def message(path) -> str:
    with pytest.raises(HwgenError) as caught:
        load(path)
    return str(caught.value)


# -- files -----------------------------------------------------------------------------


def test_small_network_loads(tmp_path):
    assert load(small(tmp_path)).ops[0].name == "conv_a"


def test_missing_file(tmp_path):
    assert "no such file" in message(tmp_path / "absent.onnx")


def test_folder(tmp_path):
    assert "not a file" in message(tmp_path)


def test_empty_file(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"")
    assert "empty" in message(tmp_path / "a.onnx")


@pytest.mark.parametrize("content", [b"hello, world\n" * 20, b"\x89PNG\r\n\x1a\n" + bytes(200), b"\x00" * 64,
                                     b'{"model": 1}'])
def test_not_onnx(tmp_path, content):
    (tmp_path / "a.onnx").write_bytes(content)
    assert "not an ONNX file" in message(tmp_path / "a.onnx")


def test_cut_anywhere(tmp_path):
    """Cut in half, and at every 37th byte: never a traceback, never a silently smaller network."""
    path = small(tmp_path)
    data = path.read_bytes()
    for length in (len(data) // 2, *range(0, len(data) - 60, 37)):
        path.write_bytes(data[:length])
        text = message(path)
        assert "cut short" in text or "empty" in text, (length, text)


def test_external_data_missing(tmp_path):
    hand = Hand()
    y = hand.quant(hand.conv(hand.quant("image")), bits=4.0)
    model = hand.model(y)
    external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    external_data_helper.write_external_data_tensors(model, str(tmp_path))
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    assert len(load(path).ops) == 1
    (tmp_path / "weights.bin").unlink()
    assert "external data" in message(path)


def test_flipped_bytes(tmp_path):
    """Any byte of the file may be wrong: it loads, or there is one message."""
    path = small(tmp_path)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(11)
    for position in rng.integers(0, len(data), 400).tolist():
        broken = bytearray(data)
        broken[position] ^= int(rng.integers(1, 256))
        path.write_bytes(broken)
        try:
            load(path)
        except HwgenError as error:
            assert str(error)


def test_text_that_is_not_utf8(tmp_path):
    path = small(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"conv_a", b"conv_\xff"))
    assert "not UTF-8" in message(path)


def test_malformed_node(tmp_path):
    hand = Hand()
    y = hand.quant(hand.node("Conv", hand.quant("image"), name="bad"))
    assert "bad (Conv): the node is malformed" in message(hand.save(tmp_path / "a.onnx", y))


def test_damaged_tensor(tmp_path):
    hand = Hand()
    model = hand.model(hand.quant(hand.conv(hand.quant("image")), bits=4.0))
    model.graph.initializer[0].raw_data = b"\x00"
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert "damaged" in message(tmp_path / "a.onnx")


# -- not a quantized network -----------------------------------------------------------


def test_float_model(tmp_path):
    hand = Hand()
    y = hand.node("Conv", "image", hand.const(np.ones((3, 2, 3, 3))))
    assert "not quantized" in message(hand.save(tmp_path / "a.onnx", hand.node("Relu", y)))


def test_activation_and_weight_not_quantized(tmp_path):
    """Both float places are named, and what follows them is still examined."""
    hand = Hand()
    x = hand.conv(hand.quant("image"), name="first")
    x = hand.conv(x, name="second", channels=3)
    y = hand.node("Conv", hand.quant(x), hand.const(np.full((2, 3, 1, 1), 0.3)), name="third")
    text = message(hand.save(tmp_path / "a.onnx", y))
    assert "second (Conv): its input 'first_out' is not quantized" in text
    assert "third (Conv): its weight is not quantized" in text


def test_output_not_quantized(tmp_path):
    """More bits than an engine's accumulators have, and what is more than one layer's result."""
    hand = Hand((1, 140, 32, 32))
    weight = hand.weight(127 - np.arange(140 * 1024).reshape(140 * 1024, 1) % 2, bits=8.0)
    y = hand.node("MatMul", hand.node("Flatten", hand.quant("image", 1.0, 0.0, 8.0)), weight, name="last")
    text = message(hand.save(tmp_path / "a.onnx", y))
    assert "last_out (output): the output is not quantized, and its accumulators have more than 32 bits" in text
    hand = Hand()
    y = hand.node("MaxPool", hand.conv(hand.quant("image")), kernel_shape=[2, 2], name="last")
    text = message(hand.save(tmp_path / "a.onnx", y))
    assert "last_out (output): the output is not quantized, nor the plain result of a layer" in text


def test_input_not_quantized(tmp_path):
    hand = Hand()
    y = hand.quant(hand.conv("image", name="first"))
    assert "first (Conv): the network's input is not quantized" in message(hand.save(tmp_path / "a.onnx", y))


# -- shapes ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape, text", [(("N", 2, "H", 6), "dimension 2 of the input 'image' is dynamic"),
                                         ((1, 2, 0, 6), "is 0; it must be positive"),
                                         ((1, 2, 6, 6, 1), "it has 5 dimensions")])
def test_input_shapes(tmp_path, shape, text):
    hand = Hand(shape)
    assert text in message(hand.save(tmp_path / "a.onnx", hand.quant(hand.conv(hand.quant("image")))))


def test_two_inputs(tmp_path):
    hand = Hand()
    model = hand.model(hand.quant(hand.conv(hand.quant("image"))))
    model.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, (1, 2, 6, 6)))
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert "exactly one input, it has 2" in message(tmp_path / "a.onnx")


def test_empty_weight(tmp_path):
    hand = Hand()
    y = hand.quant(hand.node("Conv", hand.quant("image"), hand.quant(hand.const(np.ones((0, 2, 3, 3))), signed=1)))
    assert "is empty (shape (0, 2, 3, 3))" in message(hand.save(tmp_path / "a.onnx", y))


def test_channels_do_not_fit(tmp_path):
    hand = Hand()
    y = hand.quant(hand.conv(hand.quant("image"), channels=5, name="bad"))
    assert "bad (Conv): its weight has 5 input channels, its input has 2" in message(hand.save(tmp_path / "a.onnx", y))


def test_kernel_larger_than_map(tmp_path):
    hand = Hand()
    y = hand.quant(hand.conv(hand.quant("image"), kernel=7, name="bad"))
    assert "larger than its padded input" in message(hand.save(tmp_path / "a.onnx", y))


# -- numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("scale, text", [(np.nan, "NaN or infinity"), (np.inf, "NaN or infinity"),
                                         (0.0, "must be positive, not 0"), (-0.5, "must be positive, not -0.5")])
@pytest.mark.parametrize("place", ["input", "weight", "output"])
def test_bad_scales(tmp_path, scale, text, place):
    scales = {"input": 1.0, "weight": 0.5, "output": 4.0, place: scale}
    hand = Hand()
    x = hand.quant("image", scales["input"], name="quant_input")
    w = hand.quant(hand.const(np.ones((3, 2, 3, 3))), scales["weight"], bits=4.0, signed=1, name="quant_weight")
    y = hand.quant(hand.node("Conv", x, w), scales["output"], name="quant_output")
    found = message(hand.save(tmp_path / "a.onnx", y))
    assert f"quant_{place} (Quant): its scale" in found and text in found


@pytest.mark.parametrize("what", ["weight", "bias"])
def test_nan_constants(tmp_path, what):
    weight, bias = np.ones((3, 2, 3, 3)), np.zeros(3)
    (weight if what == "weight" else bias).flat[1] = np.nan
    hand = Hand()
    w = hand.quant(hand.const(weight), 0.5, bits=4.0, signed=1)
    y = hand.quant(hand.node("Conv", hand.quant("image"), w, hand.const(bias)))
    assert "holds NaN or infinity" in message(hand.save(tmp_path / "a.onnx", y))


@pytest.mark.parametrize("bits, text", [(9.0, "an activation of 9 bits"), (16.0, "an activation of 16 bits"),
                                        (2.5, "its bit width"), (0.0, "its bit width"), (64.0, "its bit width")])
def test_activation_bits(tmp_path, bits, text):
    hand = Hand()
    y = hand.quant(hand.conv(hand.quant("image")), bits=bits, name="wide")
    found = message(hand.save(tmp_path / "a.onnx", y))
    assert "wide (Quant): " in found and text in found


def test_weight_bits(tmp_path):
    hand = Hand()
    y = hand.quant(hand.node("Conv", hand.quant("image"), hand.weight(np.ones((3, 2, 3, 3)), bits=9.0), name="wide"))
    assert "wide (Conv): its weight has 9 bits" in message(hand.save(tmp_path / "a.onnx", y))


def test_row_that_no_scheme_holds(tmp_path):
    integers = np.ones((3, 2, 3, 3), int)
    integers[1, 0, 0, 0] = 200
    hand = Hand()
    w = hand.quant(hand.const(integers * 0.5), 0.5, bits=8.0, signed=0)
    y = hand.quant(hand.node("Conv", hand.quant("image"), w, name="wide"))
    found = message(hand.save(tmp_path / "a.onnx", y))
    assert "wide (Conv): row 1 of its weight holds integers from 1 to 200, which no scheme holds" in found


def test_scale_within_a_row(tmp_path):
    hand = Hand()
    scales = np.full((3, 2, 1, 1), 0.5)
    scales[1, 1] = 0.3
    y = hand.quant(hand.node("Conv", hand.quant("image"), hand.weight(np.ones((3, 2, 3, 3)), scales), name="bad"))
    assert "bad (Conv): its weight's scale differs within a row" in message(hand.save(tmp_path / "a.onnx", y))


@pytest.mark.parametrize("zero, text", [(0.5, "not an integer"), (300.0, "outside the range")])
def test_zero_points(tmp_path, zero, text):
    hand = Hand()
    y = hand.quant(hand.conv(hand.quant("image")), 1.0, zero, name="bad")
    assert text in message(hand.save(tmp_path / "a.onnx", y))


def test_rounding_mode(tmp_path):
    hand = Hand()
    y = hand.quant(hand.conv(hand.quant("image")), mode="STOCHASTIC", name="bad")
    assert "bad (Quant): unknown rounding mode 'STOCHASTIC'" in message(hand.save(tmp_path / "a.onnx", y))


def test_scale_computed_in_the_graph(tmp_path):
    hand = Hand()
    y = hand.node("Quant", hand.conv(hand.quant("image")), "image", hand.const(0.0), hand.const(8.0), name="bad",
                  domain="qonnx.custom_op.general", signed=0, narrow=0)
    assert "bad (Quant): its scale is not a constant" in message(hand.save(tmp_path / "a.onnx", y))


# -- operations ------------------------------------------------------------------------


def test_all_unsupported_at_once(tmp_path):
    """One message names every node, also those behind a refused one."""
    hand = Hand()
    x = hand.quant("image")
    x = hand.quant(hand.conv(x, name="groups", rows=2, channels=1, group=3, pads=[1, 1, 1, 1]))
    x = hand.quant(hand.node("Selu", x, name="selu"))
    x = hand.node("MaxPool", x, name="holes", kernel_shape=[2, 2], dilations=[3, 3])
    x = hand.node("Resize", x, "", hand.const([1.0, 1.0, 2.0, 2.0]), name="resize")
    x = hand.node("ConvTranspose", x, hand.weight(np.ones((2, 2, 3, 3))), name="deconv")
    y = hand.node("Elu", x, name="elu")
    path = hand.save(tmp_path / "a.onnx", y)
    text = message(path)
    for name, reason in (("groups (Conv)", "3 groups"), ("selu (Selu)", "not supported"),
                         ("holes (MaxPool)", "dilation"),
                         ("resize (Resize)", "resizing"), ("deconv (ConvTranspose)", "transposed"),
                         ("elu (Elu)", "not supported")):
        line = next(line for line in text.splitlines() if name in line)
        assert reason in line
    assert "6 problems" in text
    found = inspect(path)
    assert not found.ok and len(found.problems) == 6
    assert {report.node for report in found.nodes if report.problems} == {
        "groups", "selu", "holes", "resize", "deconv", "elu"}
    assert found.to_json()["problems"][0]["node"] == "groups"


@pytest.mark.parametrize("op, attributes, text", [
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, "count_include_pad=0"),
    ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, "ceil_mode"),
    ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, "dilation"),
    ("MaxPool", {"kernel_shape": [3]}, "kernel_shape must be two positive numbers"),
    ("MaxPool", {"kernel_shape": [2, 2], "pads": [2, 0, 0, 0]}, "not smaller than the kernel"),
    ("ReduceMean", {"axes": [1]}, "a mean over the axes"),
    ("Flatten", {"axis": 2}, "axis 2"),
    ("Transpose", {"perm": [1, 0, 2, 3]}, "leave the batch in front"),
    ("Einsum", {"equation": "abcd->abcd"}, "the operation Einsum is not supported"),
])
def test_refused_by_name(tmp_path, op, attributes, text):
    hand = Hand()
    y = hand.quant(hand.node(op, hand.quant("image"), name="bad", **attributes))
    found = message(hand.save(tmp_path / "a.onnx", y))
    assert f"bad ({op}): " in found and text in found


def test_arithmetic_of_constants_that_no_standard_rounds(tmp_path):
    """What qonnx-cleanup folds: named, with the way out."""
    hand = Hand()
    factor = hand.node("Erf", hand.const([4.0]), name="bad")
    y = hand.quant(hand.node("Mul", hand.conv(hand.quant("image")), factor))
    assert "bad (Erf): Erf of constants" in message(hand.save(tmp_path / "a.onnx", y))
    assert "qonnx-cleanup" in message(tmp_path / "a.onnx")


def test_a_refused_product_has_the_shape_of_its_larger_operand(tmp_path):
    """Squeeze and excite: what follows the product is examined with the map's shape, and has no problem of its own."""
    hand = Hand()
    x = hand.quant(hand.conv(hand.quant("image"), rows=2))
    gate = hand.quant(hand.conv(hand.quant(hand.node("GlobalAveragePool", x)), rows=2, channels=2, kernel=1))
    y = hand.quant(hand.node("Add", hand.quant(hand.node("Mul", gate, x, name="gated")), x, name="sum"))
    found = inspect(hand.save(tmp_path / "a.onnx", y))
    assert [problem.node for problem in found.problems] == ["gated"]


def test_foreign_domain(tmp_path):
    hand = Hand()
    x, w = hand.quant("image"), hand.weight(np.ones((3, 2, 3, 3)))
    y = hand.quant(hand.node("Conv", x, w, name="bad", domain="other"))
    assert "bad (Conv): the operation Conv of the domain other" in message(hand.save(tmp_path / "a.onnx", y))


def test_add_of_two_unquantized(tmp_path):
    hand = Hand()
    x = hand.quant("image")
    y = hand.quant(hand.node("Add", hand.conv(x), hand.conv(x), name="bad"))
    assert "bad (Add): neither of its operands is quantized" in message(hand.save(tmp_path / "a.onnx", y))


def test_relu_before_fused_add(tmp_path):
    hand = Hand()
    x = hand.quant("image")
    relu = hand.node("Relu", hand.conv(x))
    y = hand.quant(hand.node("Add", relu, hand.quant(hand.conv(x)), name="bad"))
    assert "bad (Add): its operand that is not quantized" in message(hand.save(tmp_path / "a.onnx", y))


def test_broadcast_add(tmp_path):
    hand = Hand()
    x = hand.quant("image")
    y = hand.quant(hand.node("Add", hand.quant(hand.conv(x)), hand.quant(hand.conv(x, pads=[1, 1, 1, 1])), name="bad"))
    assert "bad (Add): its operands have the shapes" in message(hand.save(tmp_path / "a.onnx", y))


def test_product_of_activations(tmp_path):
    hand = Hand()
    x = hand.quant("image")
    assert "product of two activations" in message(hand.save(tmp_path / "a.onnx", hand.quant(hand.node("Mul", x, x))))


def test_limit_that_differs_by_channel(tmp_path):
    hand = Hand()
    y = hand.node("Relu", hand.conv(hand.quant("image")))
    y = hand.node("Add", y, hand.const(np.array([1.0, 2.0, 30.0]).reshape(1, 3, 1, 1)))
    text = message(hand.save(tmp_path / "a.onnx", hand.quant(y, 2.0, name="bad")))
    assert "bad (Quant): a limit (Relu or Clip)" in text


# -- metadata --------------------------------------------------------------------------


@pytest.mark.parametrize("value, text", [
    ("not json", "is not a JSON object"),
    ('["sp2"]', "is not a JSON object"),
    ('{"conv_a": ["sp2"]}', "1 schemes for its 3 rows"),
    ('{"conv_a": ["sp2", "fixed4", "fixed4"]}', "not on the grid of sp2"),
    ('{"conv_a": ["sp9", "fixed4", "fixed4"]}', "unknown scheme 'sp9'"),
    ('{"conv_b": ["fixed4"]}', "no layer has this name"),
])
def test_scheme_metadata(tmp_path, value, text):
    hand = Hand()
    hand.metadata["hwgen.schemes"] = value
    y = hand.quant(hand.conv(hand.quant("image"), name="conv_a"))
    assert text in message(hand.save(tmp_path / "a.onnx", y))


@pytest.mark.parametrize("value", ["x", "{}", '{"scale": -1, "bits": 8}', '{"scale": 1, "bits": 9}', "[1]",
                                   '{"scale": 1, "bits": 4, "zero_point": 16}', '{"scale": "nan", "bits": 4}'])
def test_input_metadata(tmp_path, value):
    hand = Hand()
    hand.metadata["hwgen.input"] = value
    y = hand.quant(hand.conv("image"))
    assert "image (metadata hwgen.input): " in message(hand.save(tmp_path / "a.onnx", y))


# -- the writer ------------------------------------------------------------------------


def builder():
    return QonnxBuilder("net", (2, 6, 6), 8, 1 / 255)


@pytest.mark.parametrize("call, text", [
    (lambda b: b.conv(b.input, np.ones((3, 5, 3, 3)), 0.1), "5 input channels"),
    (lambda b: b.conv(b.input, np.full((3, 2, 3, 3), 0.5), 0.1), "array of integers"),
    (lambda b: b.conv(b.input, np.ones((3, 2, 3, 3)), 0.0), "finite and positive"),
    (lambda b: b.conv(b.input, np.ones((3, 2, 3, 3)), [0.1, np.nan, 0.1]), "finite and positive"),
    (lambda b: b.conv(b.input, np.ones((3, 2, 3, 3)), 1e-45), "too small for float32"),
    (lambda b: b.conv(b.input, np.ones((3, 2, 9, 9)), 0.1), "larger than its padded input"),
    (lambda b: b.conv(b.input, np.ones((3, 2, 3, 3)), 0.1, schemes=["sp2"]), "3 rows but 1 schemes"),
    (lambda b: b.conv(b.input, np.full((1, 2, 3, 3), 3), 0.1, schemes=["sp2"]), "not on the grid of sp2"),
    (lambda b: b.conv(b.input, np.ones((3, 2, 3, 3)), 0.1, np.inf), "NaN or infinity"),
    (lambda b: b.linear(b.input, np.ones((3, 5)), 0.1), "5 input features"),
    (lambda b: b.quant(b.input, 0.0), "finite and positive"),
    (lambda b: b.quant(b.input, 1.0, bits=9), "9 bits"),
    (lambda b: b.add(b.input, b.flatten(b.input)), "must be equal"),
    (lambda b: b.max_pool(b.input, 9), "larger than its padded input"),
    (lambda b: b.save("unused.onnx"), "no output"),
])
def test_builder_refuses(call, text):
    with pytest.raises(HwgenError, match=text):
        call(builder())
