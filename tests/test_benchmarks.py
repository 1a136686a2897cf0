"""The bench: experiments that can be run, a report per experiment, a page that says what is published."""

from dataclasses import replace
import json
from types import SimpleNamespace

import pytest

from benchmarks import bench, experiments, page
from hwgen.build import load_build
from hwgen.build.models import find_model
from hwgen.device import Resources, get_part
from hwgen.plan.cycles import count_cycles
from hwgen.plan.layout import lay_out
from hwgen.plan.load import EXTERNAL
from hwgen.plan.presets import parse_engine
from hwgen.synth import CriticalPath, Placement


def test_experiments_are_complete():
    names = [experiment.name for experiment in experiments.EXPERIMENTS]
    assert len(set(names)) == len(names) and {"resnet18_xc7z020", "d1_1", "d1_2", "d1_3"} <= set(names)
    for experiment in experiments.EXPERIMENTS:
        assert experiments.find(experiment.name) is experiment
        assert experiment.target_mhz > 0 or "place" not in experiment.steps
        assert find_model(experiment.model).options is not None or not get_part(experiment.part).ports
        assert set(experiment.steps) <= set(experiments.STEPS)
        if experiment.engine:
            parse_engine(experiment.engine, get_part(experiment.part))


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    return experiments.Experiment(
        "small", "a small one", "resnet18@size=32,channels=8,fixed4", bandwidths=(32, 8), steps=experiments.STEPS,
        engine="ki=8,px=2,int4=8,drain=4,mem=256,ports=4", targets={"ms@32": 1e9, "ms@8": 1e-6})


@pytest.fixture
def report(small, tmp_path):
    return bench.run(replace(small, targets={"ms@32": 1e9, "lut": 0.0}), ("plan",)), tmp_path


def test_simulations_go_through_the_ports_of_the_build(small, monkeypatch, capsys):
    """Planned for the same memory as simulated; targets and the seconds of every step are told."""
    asked = []

    def simulate(made, codes, *, memory, protocol):
        asked.append((made.top, protocol, memory, len(codes)))
        planned = count_cycles(lay_out(made.graph, made.engine), memory.behind_axi()).total
        return SimpleNamespace(cycles=planned + 100, mismatches=0)

    monkeypatch.setattr(bench, "simulate", simulate)
    found = bench.run(replace(small, images=2), ("plan", "simulate"))
    assert asked == [("hwgen_axi_engine", "axi3", replace(EXTERNAL, bytes_per_cycle=width), images)
                     for width, images in ((32, 2), (8, 1))]
    assert found["protocol"] == "axi3"
    for row in found["memory"].values():
        assert row["simulated"] == row["planned"] + 100
        assert row["error_percent"] == pytest.approx(-1e4 / row["simulated"])
    assert {"plan", "build", "simulate@32", "simulate@8"} <= set(found["steps"])
    out = capsys.readouterr().out
    assert "  build: " in out and "  simulate@8: " in out
    assert ", at most 1e+09: met" in out and ", at most 1e-06: NOT MET" in out


def test_clocks_of_all_seeds_and_their_median(tmp_path, monkeypatch):
    asked = []

    def place(part, folder, sources, *, clock_mhz, seed):
        asked.append((part.name, sources, clock_mhz, seed))
        return Placement(Resources(lut=41820, ff=4, dsp=0, bram=1), {1: 90.0, 2: 125.0, 5: 100.0}[seed], {}, "nextpnr",
                         CriticalPath("engine.reader.room", "engine.store.mask", 2.0, 6.0), clock_mhz, seed)

    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    monkeypatch.setattr(bench, "place", place)
    monkeypatch.setattr(bench, "synthesize_wrapped", lambda verilog, *rest, memory_words: [verilog.name, memory_words])
    experiment = experiments.Experiment(
        "clock", "a clock", "digits_mlp", part="LFE5U-85F", engine="ki=2,px=1,sp2=2,dsp=2,drain=1,wide=1",
        clock_mhz=50.0, bandwidths=(), steps=("plan", "place"), target_mhz=110.0, seeds=(1, 2, 5),
        targets={"period_ns": 10.5})
    found = bench.run(experiment, experiments.STEPS)
    words = load_build(tmp_path / "clock" / "build").facts["memory_bits"] // 64
    assert asked == [("LFE5U-85F", ["engine.v", words], 110.0, seed) for seed in (1, 2, 5)]
    assert found["placed"]["median_mhz"] == 100.0 and found["targets"]["period_ns"]["met"]
    text = page.page([found])
    assert ("| a clock | LFE5U-85F | 41,820 (50%) | 110 | 2 | 125.0 "
            "| `engine.reader.room` to `engine.store.mask` | 75% |" in text)


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
    before, after = text.split("## Beside published figures")
    rows = after.split("## ")[0].splitlines()
    for _, _, who, ms, *_, source in experiments.PUBLISHED:
        assert who not in before
        assert any(f"| {who} | {ms:g} |" in row and f"| published: {source} |" in row for row in rows)
    assert sum("| here: cycles planned, resources estimated |" in row for row in rows) == 1
    assert page.page([found]) == text
