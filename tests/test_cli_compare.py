"""``hwgen compare``: both formats, its three sources of images, its exit codes."""

from dataclasses import replace
import json

import numpy as np
import pytest

from hwgen.frontend.qonnx_writer import QonnxBuilder

from commands import run
from qdq_networks import FloatNet, plain


@pytest.fixture
def qdq(tmp_path):
    net = FloatNet(3)
    np.save(tmp_path / "x.npy", net.images(6))
    return net.quantized(tmp_path / "net.onnx", plain(net), per_channel=True)


@pytest.fixture
def qonnx(tmp_path):
    rng, builder = np.random.default_rng(7), QonnxBuilder("net", (4, 6, 6), 4, 0.31)
    x = builder.quant(builder.conv(builder.input, rng.integers(-7, 8, (6, 4, 3, 3)), 1.0), 3.7, bits=4)
    builder.output(builder.quant(builder.linear(x, rng.integers(-7, 8, (5, 96)), 0.7), 9.1, bits=8, signed=True))
    return builder.save(tmp_path / "net.onnx")


def test_qdq_with_real_images(qdq, tmp_path, capsys):
    code, out, _ = run(capsys, "compare", qdq, "--inputs", tmp_path / "x.npy")
    assert code == 0
    assert "6 images" in out and "(real values), in onnxruntime and in the golden model" in out
    assert "outputs: 30 codes, 30 equal" in out
    rows = [[word.strip() for word in line.split("|")] for line in out.splitlines() if "|" in line]
    assert rows[0] == ["layer", "codes", "equal", "ties", "different"]
    assert [row[1] for row in rows[1:]] == ["1,152", "3,072", "768", "144", "36", "30"]
    assert all(row[4] == "0" for row in rows[1:])


def test_qonnx_with_codes_as_json(qonnx, tmp_path, capsys):
    np.save(tmp_path / "codes.npy", np.random.default_rng(8).integers(0, 16, (9, 4, 6, 6)))
    code, out, _ = run(capsys, "compare", qonnx, "--inputs", tmp_path / "codes.npy", "--images", 7, "--json")
    tree = json.loads(out)
    assert code == 0 and tree["ok"] and tree["executor"] == "qonnx" and tree["images"] == 7
    assert tree["compared"] == 35 == tree["equal"] + tree["ties"] and tree["first_difference"] is None
    assert [layer["compared"] for layer in tree["layers"]] == [7 * 144, 7 * 96, 35]


def test_without_images_random_codes(qdq, capsys):
    code, out, _ = run(capsys, "compare", qdq)
    assert code == 0 and "16 images, random codes," in out


def test_a_difference_is_exit_code_1(qdq, capsys, monkeypatch):
    import hwgen.frontend

    load = hwgen.frontend.load

    def wrong(path, data=None):
        graph = load(path, data=data)
        op = graph.ops[0]
        return replace(graph, ops=(replace(op, weight=-op.weight), *graph.ops[1:]))

    monkeypatch.setattr(hwgen.frontend, "load", wrong)
    code, out, err = run(capsys, "compare", qdq)
    assert code == 1 and "first difference: image 0, " in err
    assert "QuantizeLinear at (channel, y, x) = (0, 0, 0): golden" in err and "differ otherwise" in out


@pytest.mark.parametrize("array, text", [
    (np.zeros((2, 3, 9, 9), np.float32), "images must have the shape (3, 8, 8)"),
    (np.full((2, 3, 8, 8), np.nan, np.float32), "NaN"),
    (np.full((2, 3, 8, 8), 256), "codes of 0..255"),
    (np.zeros((0, 3, 8, 8), np.float32), "no images"),
])
def test_inputs_that_do_not_fit(qdq, tmp_path, capsys, array, text):
    np.save(tmp_path / "bad.npy", array)
    code, _, err = run(capsys, "compare", qdq, "--inputs", tmp_path / "bad.npy")
    assert code == 1 and text in err


def test_no_such_files(qdq, tmp_path, capsys):
    assert "no such file" in run(capsys, "compare", qdq, "--inputs", tmp_path / "absent.npy")[2]
    assert run(capsys, "compare", tmp_path / "absent.onnx")[0] == 1
