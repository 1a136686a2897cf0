"""The accuracy table: what is in it, and that nothing is trained twice."""

import json

import pytest
import torch
from torch import nn

from benchmarks import accuracy
from hwgen.errors import HwgenError
from hwgen.quantize.datasets import Data, Split
from hwgen.quantize.recipe import Recipe


def results(**policies):
    return {policy: {str(seed + 1): {"accuracy": value, "epochs": 2, "float_epochs": 5, "test": 1000}
                     for seed, value in enumerate(values)} for policy, values in policies.items()}


def test_mean_and_spread():
    """The third seed of fixed4 does not count: float has none."""
    found = accuracy.comparable({"net": results(float=[90.0, 91.0], fixed4=[88.0, 89.5, 88.9])})
    tree = accuracy.summary(found)
    assert tree == {"net": {"float": {"mean": 90.5, "spread": 1.0, "seeds": 2},
                            "fixed4": {"mean": 88.75, "spread": 1.5, "seeds": 2}}}
    lines = accuracy.table(tree, found).splitlines()
    assert "| float | 90.50 (1.00) |" in lines and "| pot4 | - |" in lines
    assert "| *epochs in float, then with quantizers* | 5 + 2 |" in lines and "| *test examples* | 1,000 |" in lines


def test_the_page(tmp_path):
    work, docs = tmp_path / "work", tmp_path / "docs"
    docs.mkdir()
    with pytest.raises(HwgenError, match="no results"):
        accuracy.write(work, docs)
    work.mkdir()
    (work / "results.net.json").write_text(json.dumps({"net": results(float=[90.0], sp2=[89.0])}))
    (docs / "accuracy.md").write_text(f"before\n{accuracy.BEGIN}\nold\n{accuracy.END}\nafter\n")
    for _ in range(2):
        accuracy.write(work, docs)
    text = (docs / "accuracy.md").read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert text.count("| sp2 | 89.00 |") == 1
    assert json.loads((docs / "accuracy.json").read_text())["net"]["sp2"] == {"mean": 89.0, "spread": 0.0, "seeds": 1}
    assert (docs / "accuracy.svg").stat().st_size > 1000
    # another machine goes on from what is published
    (work / "results.net.json").write_text(json.dumps({"net": results(float=[90.0, 92.0], sp2=[88.0, 89.5])}))
    (docs / accuracy.RUNS).write_text((docs / accuracy.RUNS).read_text().replace("net", "old"))
    accuracy.write(work, docs)
    tree = json.loads((docs / "accuracy.json").read_text())
    assert tree["old"]["sp2"]["mean"] == 89.0 and tree["net"]["sp2"] == {"mean": 88.75, "spread": 1.5, "seeds": 2}


def test_results_are_kept_and_not_made_again(tmp_path, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 256, (60, 4), generator=generator, dtype=torch.uint8).numpy()
    split = Split(codes, (codes[:, 0] > 127).astype("int64"))
    recipe = Recipe(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), lambda: Data(split, split),
                    float_epochs=3, float_lr=1e-2, epochs=2, lr=1e-3, batch=20)
    monkeypatch.setattr(accuracy, "find_recipe", lambda name: (name, recipe))
    accuracy.measure("net", ["float", "rmsmp_60_35_5"], [1, 2], None, tmp_path)
    found = accuracy.read(tmp_path)
    assert {policy: sorted(seeds) for policy, seeds in found["net"].items()} == {
        "float": ["1", "2"], "rmsmp_60_35_5": ["1", "2"]}
    # the same command again finds everything done; one more policy would be trained
    monkeypatch.setattr(accuracy.Job, "quantized", lambda *_: pytest.fail("trained again"))
    accuracy.measure("net", ["float", "rmsmp_60_35_5"], [1, 2], None, tmp_path)
    assert accuracy.read(tmp_path) == found
