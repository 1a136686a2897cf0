"""Files that are no quantized network: ``hwgen check`` and ``hwgen build`` say so in one message, exit code 1."""

import numpy as np
from onnx import TensorProto, external_data_helper, helper
from onnx_graphs import QONNX, Hand
import pytest

from hwgen.cli.main import main
from hwgen.errors import HwgenError
from hwgen.frontend import load

WEIGHT = np.linspace(-1, 1, 54).reshape(3, 2, 3, 3)


def float_model(h):
    return h.node("Relu", h.node("Conv", "image", h.const(WEIGHT)))


def float_layer_in_a_quantized_model(h):
    x = h.quant(h.conv(h.quant("image")), 3.0)
    return h.quant(h.node("Conv", x, h.const(np.linspace(-1, 1, 12).reshape(4, 3, 1, 1)), name="bad"), 2.0)


def float_quant(h):
    return h.node("FloatQuant", "image", *(h.const(np.float32(v)) for v in (1, 4, 3, 7, 448)), domain=QONNX)


def float_quant_inside(h):
    x = h.node("FloatQuant", h.conv(h.quant("image")), *(h.const(np.float32(v)) for v in (1, 4, 3, 7, 448)),
               domain=QONNX, name="bad")
    return h.quant(x, 3.0)


def lowered(h):
    x = h.node("Thresholding_Batch", "image", h.const(np.ones((2, 3))), domain="finn.custom_op.fpgadataflow")
    return h.node("MVAU_hls", x, h.const(np.ones((3, 2))), domain="finn.custom_op.fpgadataflow.hls")


def lowered_partly(h):
    x = h.quant("image")
    return h.quant(h.node("MVAU_hls", x, domain="finn.custom_op.fpgadataflow.hls", name="bad"), 3.0)


def im2col(h):
    x = h.node("Transpose", h.quant("image"), perm=[0, 2, 3, 1])
    x = h.node("Im2Col", x, domain=QONNX, name="bad", stride=[1, 1], kernel_size=[3, 3], input_shape="(1,6,6,2)")
    return h.quant(h.node("MatMul", x, h.weight(np.ones((18, 3)))), 3.0)


def control_flow(h):
    x = h.quant("image")
    out = helper.make_tensor_value_info("branch_out", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Relu", [x], ["branch_out"])], "branch", [], [out])
    y = h.node("If", h.const(np.array(True)), name="bad", then_branch=branch, else_branch=branch)
    return h.quant(h.conv(y), 3.0)


def loop(h):
    body = helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "body", [], [])
    return h.quant(h.node("Loop", h.const(np.array(3)), h.const(np.array(True)), h.quant("image"), name="bad",
                          body=body), 3.0)


def unknown_input(h):
    return h.quant(h.node("Relu", "nowhere", name="bad"), 3.0)


def inner_softmax(h):
    x = h.node("Softmax", h.quant("image"), axis=1, name="soft")
    return h.quant(h.conv(x, name="bad"), 3.0)


def reflected_padding(h):
    x = h.node("Pad", h.quant("image"), h.const(np.array([0, 0, 1, 1, 0, 0, 1, 1])), mode="reflect", name="bad")
    return h.quant(h.conv(x), 3.0)


def concat_without_common_grid(h):
    x = h.quant("image", 1.0, 0.0, 4.0)
    y = h.node("Concat", h.quant(h.conv(x), 3.17), h.quant(h.conv(x), 2.3), axis=1)
    return h.quant(h.conv(y, channels=6, name="bad"), 9.0)


def leaky_twice(h):
    y = h.node("LeakyRelu", h.node("LeakyRelu", h.conv(h.quant("image"))), name="bad")
    return h.quant(y, 3.0)


def leaky_by_channel_wide(h):
    y = h.node("LeakyRelu", h.conv(h.quant("image")))
    y = h.node("Add", y, h.const(np.array([1.0, 30.0, 90.0]).reshape(3, 1, 1)))
    return h.quant(y, 3.0, name="bad")


def trunc_off_grid(h):
    constants = [h.const(np.float32(v)) for v in (0.7, 0.0, 8.0, 4.0)]
    return h.node("Trunc", h.quant("image", 1.0), *constants, domain=QONNX, name="bad", rounding_mode="FLOOR")


def mixed_layouts(h):
    x = h.quant("image")
    return h.quant(h.node("Add", x, h.node("Transpose", x, perm=[0, 1, 3, 2]), name="bad"), 3.0)


CASES = {
    float_model: "the model is not quantized: it has no Quant node",
    float_layer_in_a_quantized_model: "bad (Conv): its weight is not quantized",
    float_quant: "small floats (FloatQuant)",
    float_quant_inside: "bad (FloatQuant): FloatQuant (minifloat) is not supported",
    lowered: "FINN has lowered this network to its own hardware",
    lowered_partly: "bad (MVAU_hls): MVAU_hls is a node of a network that FINN has lowered",
    im2col: "bad (Im2Col): Im2Col is not supported; give the QONNX file from before",
    control_flow: "bad (If): control flow (If)",
    loop: "bad (Loop): control flow (Loop)",
    unknown_input: "bad (Relu): its input 'nowhere' is made by no node before it",
    inner_softmax: "bad (Conv): its input comes from Softmax, which is not supported inside the network",
    reflected_padding: "bad (Pad): padding of the mode 'reflect'",
    concat_without_common_grid: "bad (Conv): its branches have the scales 3.17, 2.3, and no grid of 8 bits",
    leaky_twice: "bad (LeakyRelu): a second leaky ReLU",
    leaky_by_channel_wide: "bad (Quant): a leaky ReLU that is scaled differently per channel",
    trunc_off_grid: "bad (Trunc): its input is not on the grid of its scale",
    mixed_layouts: "bad (Add): its operands have the shapes (2, 6, 6) and (2, 6, 6) and the axes NCWH and NCHW",
}


@pytest.mark.parametrize("command", ["check", "build"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_one_message(tmp_path, capfd, case, command):
    hand = Hand()
    path = hand.save(tmp_path / "net.onnx", case(hand))
    more = [] if command == "check" else ["--board", "ulx3s_85f", "-o", str(tmp_path / "built")]
    assert main([command, str(path), *more]) == 1
    err = capfd.readouterr().err
    assert CASES[case] in err
    assert err.count("hwgen: ") == 1 and "Traceback" not in err and str(path) in err
    assert not (tmp_path / "built").exists()


def test_dynamic_shapes(tmp_path):
    hand = Hand(("N", 2, "H", "W"))
    path = hand.save(tmp_path / "net.onnx", hand.quant(hand.conv(hand.quant("image")), 3.0))
    with pytest.raises(HwgenError, match="dimension 2 of the input 'image' is dynamic"):
        load(path)


@pytest.mark.parametrize("location", ["gone.bin", "../gone.bin", "/dev/zero", "."])
def test_external_data_that_is_not_there(tmp_path, location):
    hand = Hand()
    model = hand.model(hand.quant(hand.conv(hand.quant("image")), 3.0))
    tensor = model.graph.initializer[0]
    external_data_helper.set_external_data(tensor, location, 0, 1 << 31)
    tensor.ClearField("raw_data")
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(HwgenError, match="external data cannot be read"):
        load(path)


def test_all_problems_at_once(tmp_path):
    """Problems of different kinds in one file: each is listed once, by its node."""
    hand = Hand()
    x = hand.quant("image", name="in")
    one = hand.quant(hand.node("Elu", hand.conv(x), name="elu"), 3.0)
    two = hand.quant(hand.conv(x, name="wide"), 3.0, bits=12.0, name="bits")
    y = hand.node("Pad", hand.node("Add", one, two), hand.const(np.array([0, 1, 0, 0, 0, 0, 0, 0])), name="pad")
    path = hand.save(tmp_path / "net.onnx", y)
    with pytest.raises(HwgenError) as caught:
        load(path)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("3 problems:")
    assert [line.split(" (")[0].strip() for line in lines[1:]] == ["elu", "bits", "pad"]
