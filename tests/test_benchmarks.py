"""The bench: experiments that can be run, a report per experiment, a page that says what is published."""

import json

import pytest

from benchmarks import bench, experiments, page
from hwgen.build.models import find_model
from hwgen.device import get_part
from hwgen.plan.presets import parse_engine


def test_experiments_are_complete():
    names = [experiment.name for experiment in experiments.EXPERIMENTS]
    assert len(set(names)) == len(names) and {"resnet18_xc7z020", "d1_1", "d1_2", "d1_3"} <= set(names)
    for experiment in experiments.EXPERIMENTS:
        assert experiments.find(experiment.name) is experiment
        assert find_model(experiment.model).options is not None
        assert set(experiment.steps) <= set(experiments.STEPS)
        if experiment.engine:
            parse_engine(experiment.engine, get_part(experiment.part))


@pytest.fixture
def report(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    small = experiments.Experiment(
        "small", "a small one", "resnet18@size=32,channels=8,fixed4", bandwidths=(32, 8),
        engine="ki=8,px=2,int4=8,drain=4,mem=256,ports=4", targets={"ms@32": 1e9, "lut": 0.0})
    return bench.run(small, ("plan",)), tmp_path


def test_report_and_page(report):
    found, folder = report
    assert json.loads((folder / "small" / "report.json").read_text()) == json.loads(json.dumps(found))
    wide, narrow = found["memory"]["32"], found["memory"]["8"]
    assert wide["planned"] < narrow["planned"] and 0 < wide["bound_share"] <= 1 and 0 < narrow["bound_share"] <= 1
    assert wide["ms"] == pytest.approx(wide["planned"] / 1e5) and wide["simulated"] is None
    assert {name: target["met"] for name, target in found["targets"].items()} == {"ms@32": True, "lut": False}
    assert found["steps"]["plan"]["seconds"] >= 0 and found["date"]
    text = page.page([found])
    assert "a small one" in text and f"{wide['planned']:,}" in text and "not simulated" in text
    # Everything that is not ours is labelled.
    before, after = text.split("## As published")
    for _, _, who, ms, *_ in experiments.PUBLISHED:
        assert who not in before and f"| {ms} |" in after.split("## ")[0]
    assert page.page([found]) == text
