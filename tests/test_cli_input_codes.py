"""Files that do not quantize their input: the user says what its codes mean, ``net.onnx@bits=8,scale=1/255,zero=0``."""

import json

from commands import run
import numpy as np
from onnx import load_model, save_model
from onnx_graphs import Hand
import pytest

from hwgen.build.graph_io import parse_graph
from hwgen.build.models import find_model
from hwgen.golden import run as golden


@pytest.fixture
def bare(tmp_path):
    """A dense layer straight on the image, as Keras's converters write it."""
    hand = Hand((1, 12))
    weight = hand.weight(np.random.default_rng(2).integers(-7, 8, (12, 5)))
    y = hand.node("Relu", hand.node("MatMul", "image", weight, name="first"))
    return hand.save(tmp_path / "net.onnx", hand.quant(y, 0.31))


def test_the_message_says_how(bare, capsys):
    code, _, err = run(capsys, "check", bare)
    assert code == 1 and "first (MatMul): the network's input is not quantized" in err
    assert "net.onnx@bits=8,scale=1/255,zero=0" in " ".join(err.split())


def test_what_follows_is_examined_too(tmp_path, capsys):
    hand = Hand((1, 12))
    y = hand.node("MatMul", "image", hand.weight(np.ones((12, 5))), name="first")
    y = hand.quant(hand.node("Sin", hand.quant(y, 0.31), name="second"))
    _, out, err = run(capsys, "check", hand.save(tmp_path / "net.onnx", y))
    assert "first (MatMul): the network's input is not quantized" in err and "second (Sin): " in err
    assert "2 problems" in err and out.count("not examined") == 1


def test_codes_and_real_images(bare, tmp_path, capsys):
    model = f"{bare}@bits=8,scale=1/128,zero=128"
    assert run(capsys, "check", model)[0] == 0
    real = np.random.default_rng(3).uniform(-1, 1, (20, 12, 1, 1))
    codes = np.clip(np.round(real * 128) + 128, 0, 255).astype(np.uint8)
    for name, images in (("codes", codes), ("real", real)):
        np.save(tmp_path / f"{name}.npy", images)
        code, out, _ = run(capsys, "compare", model, "--inputs", tmp_path / f"{name}.npy", "--json")
        tree = json.loads(out)
        assert code == 0 and tree["ok"] and tree["images"] == 20 and tree["different"] == 0
    graph = find_model(model).load()
    weight = np.random.default_rng(2).integers(-7, 8, (12, 5))
    sums = (codes.reshape(20, 12).astype(int) - 128) @ weight
    expected = np.clip(np.round(sums * 0.5 / 128 / np.float32(0.31)), 0, 255)
    assert np.array_equal(golden(graph, codes)[graph.outputs[0]].reshape(20, 5), expected)


def test_build(bare, tmp_path, capsys):
    code, _, err = run(capsys, "build", f"{bare}@bits=4,scale=0.125", "--board", "icebreaker", "-o", tmp_path / "out")
    assert code == 0, err
    graph = parse_graph((tmp_path / "out" / "graph.json").read_bytes(), (tmp_path / "out" / "graph.npz").read_bytes())
    image = graph.tensors[graph.input]
    assert (image.bits, image.scale, image.zero_point) == (4, 0.125, 0)


def test_data_beside_the_file(bare, tmp_path, capsys):
    save_model(load_model(bare), tmp_path / "big.onnx", save_as_external_data=True, location="big.bin",
               size_threshold=0)
    assert run(capsys, "compare", f"{tmp_path / 'big.onnx'}@bits=8,scale=1/255")[0] == 0


def test_a_file_whose_name_has_an_at(bare, capsys):
    other = bare.rename(bare.with_name("net@home.onnx"))
    assert run(capsys, "check", f"{other}@bits=8,scale=1/255")[0] == 0
    assert "not quantized" in run(capsys, "check", other)[2]


@pytest.mark.parametrize("options", ["bits=8,scale=1/0", "bits=eight", "scale=1/255", "bits=8,sign=1", "bits=8,scale=",
                                     "fixed4", "bits=8,,"])
def test_bad_options(bare, capsys, options):
    code, out, err = run(capsys, "check", f"{bare}@{options}")
    assert code == 1 and not out
    assert f"model option '{options}': write what the codes of the file's input mean" in " ".join(err.split())


@pytest.mark.parametrize("options", ["bits=9", "bits=0", "bits=8,scale=-1", "bits=4,zero=16"])
def test_codes_out_of_range(bare, capsys, options):
    code, _, err = run(capsys, "check", f"{bare}@{options}")
    assert code == 1 and "out of range" in err


def test_damaged_file(bare, capsys):
    bare.write_bytes(bare.read_bytes()[:-40])
    code, _, err = run(capsys, "check", f"{bare}@bits=8")
    assert code == 1 and "net.onnx" in err and "Traceback" not in err
