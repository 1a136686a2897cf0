"""Recipes, the command, post-training quantization: on a small data set made here."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from networks import Inverted, seen, sequence

from hwgen import golden
from hwgen.build.graph_io import parse_npz
from hwgen.cli.main import main
from hwgen.errors import HwgenError
from hwgen.frontend import load
from hwgen.quantize import Policy, export, integer_forward
from hwgen.quantize.datasets import Batches, Split, digits, fashion_mnist, japanese_vowels
from hwgen.quantize.post import post_training
from hwgen.quantize.recipe import find_recipe, list_recipes
from hwgen.quantize.train import check_golden
from hwgen.quantize import freeze, prepare

RECIPE = '''
import numpy as np
from torch import nn
from hwgen.quantize.datasets import Data, Split
from hwgen.quantize.recipe import Recipe

def network():
    return nn.Sequential(nn.Conv1d(2, 6, 3, padding=1, bias=False), nn.BatchNorm1d(6), nn.ReLU(), nn.Flatten(),
                         nn.Linear(48, 3))

def split(seed, count):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    return Split((rng.integers(0, 150, (count, 2, 8)) + 50 * labels[:, None, None]).astype(np.uint8), labels)

def data():
    return Data(split(1, 240), split(2, 1100))

RECIPE = Recipe(network, data, float_epochs=6, float_lr=1e-2, epochs=4, lr=2e-3, batch=24, norm_batches=5)
'''


@pytest.fixture
def recipe(tmp_path):
    folder = tmp_path / "steps"
    folder.mkdir()
    (folder / "recipe.py").write_text(RECIPE)
    return folder / "recipe.py"


def command(capsys, *words):
    assert main(["quantize", *(str(word) for word in words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("options", [[], ["--admm", "0.01"], ["--distill", "0.5"]])
def test_the_command(options, recipe, tmp_path, capsys):
    found = command(capsys, recipe, "--policy", "rmsmp", "--threads", "1", "-o", tmp_path / "out", *options)
    assert found["network"] == "steps" and found["test_set"] == 1100
    assert found["rows"] == {"fixed4": 3, "pot4": 6}
    assert found["accuracy"] > 0.9 and found["float_accuracy"] > 0.9
    graph = load(tmp_path / "out" / "steps.onnx")
    known = parse_npz((tmp_path / "out" / "test_images.npz").read_bytes())
    assert known["codes"].shape == (500, 2, 1, 8)
    answers = golden.run(graph, known["codes"])[graph.outputs[0]].reshape(500, -1).argmax(1)
    assert (answers == known["labels"]).mean() > 0.9
    assert (tmp_path / "out" / "assignment.png").stat().st_size > 1000
    assert float(graph.metadata["hwgen.quantized_accuracy"]) == round(found["accuracy"], 4)


def test_the_command_resumes_to_the_same_file(recipe, tmp_path, capsys, monkeypatch):
    command(capsys, recipe, "--threads", "1", "-o", tmp_path / "whole")
    from hwgen.quantize import checkpoint

    save = checkpoint.Checkpoint.save

    def stop(self, history):
        save(self, history)
        if self.settings["epochs"] == 4 and len(history) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Checkpoint, "save", stop)
    words = ["quantize", str(recipe), "--threads", "1", "-o", str(tmp_path / "again")]
    assert main(words) == 130
    monkeypatch.undo()
    assert not (tmp_path / "again" / "steps.onnx").exists()
    command(capsys, *words[1:], "--resume")
    assert (tmp_path / "again" / "steps.onnx").read_bytes() == (tmp_path / "whole" / "steps.onnx").read_bytes()


@pytest.mark.parametrize("policy", ["fixed8", "fixed4", "msq"])
def test_post_training_by_command(policy, recipe, tmp_path, capsys):
    found = command(capsys, recipe, "--policy", policy, "--post", "--threads", "1", "-o", tmp_path / "out")
    assert found["accuracy"] > 0.85


@pytest.mark.parametrize(("words", "message"), [
    (["nothing"], "no recipe 'nothing': .*models/ has .*fmnist_mlp"),
    (["resnet18"], "models/resnet18 has generated weights and no data"),
    (["RECIPE", "--policy", "best"], "unknown policy 'best'"),
    (["RECIPE", "--part", "none"], "unknown part 'none'"),
    (["RECIPE", "--policy", "fixed4", "--part", "XC7Z020"], "leave --part out"),
    (["RECIPE", "--epochs", "0"], "--epochs must be at least 1"),
    (["RECIPE", "-o", "RECIPE"], "cannot write to"),
])
def test_wrong_use(words, message, recipe, capsys):
    assert main(["quantize", *(word.replace("RECIPE", str(recipe)) for word in words), "--threads", "1"]) == 1
    import re

    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(("text", "message"), [
    ("x = 1", "has no RECIPE"), ("1 / 0", "does not load: ZeroDivisionError"), ("def", "does not load: SyntaxError")])
def test_bad_recipes(text, message, recipe):
    recipe.write_text(text)
    with pytest.raises(HwgenError, match=message):
        find_recipe(str(recipe))


def test_weights_of_another_network(recipe, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    torch.save({"a": torch.zeros(1)}, tmp_path / "out" / "float.6_epochs.seed1.pt")
    assert main(["quantize", str(recipe), "-o", str(tmp_path / "out"), "--threads", "1"]) == 1
    assert "does not hold weights of this network" in capsys.readouterr().err


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_s_network_can_be_prepared(name):
    _, recipe = find_recipe(name)
    shapes = {"digits_mlp": (1, 8, 8), "vowels_cnn": (12, 25)}
    qmodel = prepare(recipe.new_network(1), Policy.msq(**recipe.widths), torch.rand(8, *shapes.get(name, (1, 28, 28))))
    assert freeze(qmodel).steps


def test_missing_data_names_the_package(tmp_path, monkeypatch):
    with pytest.raises(HwgenError, match="apt-get install dataset-fashion-mnist"):
        fashion_mnist(tmp_path)
    with pytest.raises(HwgenError, match="pip install --no-deps aeon"):
        japanese_vowels(tmp_path)
    monkeypatch.setattr("hwgen.quantize.datasets.find_spec", lambda name: None)
    with pytest.raises(HwgenError, match="pip install --no-deps aeon"):
        japanese_vowels()
    with pytest.raises(HwgenError, match="pip install scikit-learn"):
        digits()


def test_vowels_are_read(tmp_path):
    for part in ("TRAIN", "TEST"):
        path = tmp_path / f"JapaneseVowels_eq_{part}.ts"
        path.write_text("@classLabel true 1 2\n@data\n-2,0:2,1:2\n1.0,-9:0,0:1\n")
    split = japanese_vowels(tmp_path).train
    assert split.codes.tolist() == [[[0, 128], [255, 191]], [[191, 0], [128, 128]]]
    assert split.labels.tolist() == [1, 0]


def test_augmented_images_are_moved_and_mirrored():
    image = np.zeros((1, 1, 6, 6), np.uint8)
    image[0, 0, 2, 1] = 255
    torch.manual_seed(0)
    batches = Batches(Split(np.repeat(image, 400, axis=0), np.zeros(400, np.int64)), 400, 8, augment=True)
    found = {tuple(position) for position in next(iter(batches))[0][:, 0].nonzero()[:, 1:].tolist()}
    assert found == {(row, column) for row in range(5) for column in (0, 1, 2, 3, 4, 5)}


@pytest.mark.parametrize("policy", [Policy.fixed8(act_bits=8, add_bits=8), Policy.fixed4(act_bits=8, add_bits=8)])
@pytest.mark.parametrize("make, shape", [(Inverted, (3, 8, 7)), (sequence, (3, 20))])
def test_post_training(policy, make, shape, tmp_path):
    network = seen(make(), shape, 41)
    inputs = torch.rand(300, *shape)
    plain, qmodel = prepare(network, policy, inputs).eval(), post_training(network, policy, inputs)
    with torch.no_grad():
        wanted, before, after = network(inputs), plain(inputs), qmodel(inputs)
    step = qmodel.get_submodule(str(list(qmodel.graph.nodes)[-2].target)).scale().item()
    # no output is off by more than a step on average; without the correction at least one is further away
    assert (after - wanted).mean(0).abs().max() < step
    assert (after - wanted).mean(0).abs().max() <= (before - wanted).mean(0).abs().max()
    codes = np.random.default_rng(42).integers(0, 256, (1000, *shape), dtype=np.uint8)
    graph = load(export(qmodel, tmp_path / "post.onnx"), m_bits=32)
    found = golden.run(graph, codes.reshape(1000, *graph.tensors[graph.input].shape))[graph.outputs[0]]
    assert np.array_equal(found.reshape(1000, -1), integer_forward(qmodel, codes))


def test_a_file_that_differs_is_refused(tmp_path):
    first, second = (prepare(seen(sequence(), (3, 20), seed), Policy.msq(), torch.rand(64, 3, 20)) for seed in (1, 2))
    path = export(first, tmp_path / "first.onnx")
    codes = np.random.default_rng(3).integers(0, 256, (50, 3, 20), dtype=np.uint8)
    check_golden(path, freeze(first), codes)
    with pytest.raises(HwgenError, match="export refused: for input 0 output 0 of the file is"):
        check_golden(path, freeze(second), codes)
    assert not path.exists()


def test_a_layer_without_bias_gets_one():
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 3, bias=False))
    qmodel = post_training(network, Policy.fixed4(), torch.rand(200, 6))
    assert qmodel.get_submodule("1").bias.shape == (3,) and network[1].bias is None
