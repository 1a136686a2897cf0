"""Exploration: fronts against brute force, ratio curves, the picture and the command."""

import itertools
import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from small_networks import chain_network, residual_network

from hwgen.cli.main import main
from hwgen.device.parts import get_part
from hwgen.engine import GROUPS, Engine
from hwgen.errors import HwgenError
from hwgen.graph.check import check
from hwgen.graph.ir import Conv
from hwgen.plan import explore as explore_module
from hwgen.plan.assign import takers
from hwgen.plan.explore import (AXES, LEVEL, Point, Ratio, best, engine_front, explore, pareto, quotas_of,
                                ratio_curve, with_mix)
from hwgen.plan.search import Search
from hwgen.plan.sizing import size
from hwgen.report.exploration import draw, print_exploration, shape
from hwgen.schemes import get
from hwgen.schemes.mix import Mix

PART = get_part("LFE5U-25F")
NETWORK = residual_network(1)[0]


class FakePoint(Point):
    """A point with given figures."""

    def __init__(self, cycles, costs):
        object.__setattr__(self, "given", (cycles, dict(zip(AXES, costs, strict=True))))

    cycles = property(lambda self: self.given[0])
    costs = property(lambda self: self.given[1])

    @property
    def sized(self):
        class Sized:
            engine = Engine(ki=4, px=1, sp2_rows=4, dsp_rows=4, drain_lanes=4)
        return Sized


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("axes", [AXES, ("lut",), ("dsp", "bandwidth")])
def test_front_against_brute_force(seed, axes):
    rng = random.Random(seed)
    points = [FakePoint(rng.randrange(8), [rng.randrange(6) for _ in AXES]) for _ in range(60)]

    def figures(point):
        return (point.cycles, *(point.costs[axis] for axis in axes))

    wanted = {figures(p) for p in points if not any(
        figures(q) != figures(p) and all(a <= b for a, b in zip(figures(q), figures(p), strict=True)) for q in points)}
    front = pareto(points, axes)
    assert sorted(wanted) == [figures(point) for point in front]


@pytest.mark.parametrize("percent", [0, 30, 100])
def test_mix_changes_schemes_and_nothing_else(percent):
    other = with_mix(NETWORK, Mix.of(sp2=percent, fixed4=100 - percent))
    check(other)
    assert other.tensors == NETWORK.tensors
    for old, new in zip(NETWORK.ops, other.ops, strict=True):
        if not isinstance(old, Conv):
            assert old is new
            continue
        assert abs(new.schemes.count("sp2") - percent / 100 * len(new.schemes)) <= 0.5
        assert new.weight.shape == old.weight.shape and new.requant is old.requant
        for name, row in zip(new.schemes, new.weight, strict=True):
            assert set(row.ravel().tolist()) <= {"sp2": {8, 6}, "fixed4": {7, 6}}[name]
            assert row.max() == get(name).max_abs
        size_ = old.weight.reshape(len(old.weight), -1).std(axis=1) * old.row_scales
        soft = np.array([name == "sp2" for name in new.schemes])
        assert not soft.any() or soft.all() or size_[soft].max() <= size_[~soft].min()


@pytest.fixture(scope="module")
def found():
    return explore(NETWORK, PART, clock_mhz=50)


def test_front_holds_the_fastest_engine_and_every_point_is_real(found):
    fastest = Search(NETWORK, PART).fastest()
    assert found.points[0].cycles == fastest.cycles.total
    assert len(found.points) > 10 and [p.cycles for p in found.points] == sorted(p.cycles for p in found.points)
    for point in found.points:
        again = size(NETWORK, point.sized.engine, PART)
        assert again.cycles.total == point.cycles and again.fits(PART)
        assert point.fps * point.cycles == pytest.approx(50e6) and point.latency_ms * point.fps == pytest.approx(1e3)
    # Small engines are found too: a tenth of the speed at less than half the logic.
    assert any(p.cycles > 8 * fastest.cycles.total and p.costs["lut"] < fastest.total.lut / 2 for p in found.points)
    for axis, front in found.fronts().items():
        assert front[0] is found.points[0] and [p.costs[axis] for p in front] == sorted(
            (p.costs[axis] for p in front), reverse=True)


def test_ratio_curve(found):
    curve = found.ratios
    assert [ratio.sp2_percent for ratio in curve] == list(range(0, 101, 10))
    top = best(curve)
    assert found.best_ratio is top and all(ratio.fps <= (1 + LEVEL) * top.fps for ratio in curve)
    assert all(top.point.sized.total.lut <= ratio.point.sized.total.lut for ratio in curve if ratio.fps >= top.fps)
    for ratio in curve:
        schemes = [name for layer in ratio.point.sized.layout.layers if layer.conv.name in
                   {op.name for op in NETWORK.ops if isinstance(op, Conv)} for name in layer.conv.schemes]
        assert set(schemes) <= {"sp2", "fixed4"} and abs(schemes.count("sp2") / len(schemes) * 100
                                                       - ratio.sp2_percent) < 10
        assert ratio.point.sized.fits(PART)


def test_rounding_to_whole_tiles_makes_ratios_faster_and_none_slower(monkeypatch):
    """38 of 64 rows fill two tiles of 19 sp2 + 13 others, 38.4 do not."""
    network, part = residual_network(2, rows=64)[0], get_part("XC7Z020")
    rounded = ratio_curve(network, part, clock_mhz=100, percents=(0, 30, 60))
    monkeypatch.setattr(explore_module, "quotas_of", lambda engine, mix: None)
    plain = ratio_curve(network, part, clock_mhz=100, percents=(0, 30, 60))
    assert [ratio.fps for ratio in rounded[:1]] == [ratio.fps for ratio in plain[:1]]
    assert all(a.fps >= b.fps for a, b in zip(rounded, plain, strict=True))
    assert any(a.fps > b.fps for a, b in zip(rounded, plain, strict=True))
    for ratio in rounded[1:]:
        schemes = [name for layer in ratio.point.sized.layout.layers for name in layer.conv.schemes]
        assert ratio.point.sized.fits(part) and abs(schemes.count("sp2") / len(schemes) * 100 - ratio.sp2_percent) < 8


@pytest.mark.parametrize(("rows", "mix", "expected"), [
    ({"sp2_rows": 24, "dsp_rows": 8}, {"sp2": 60, "fixed4": 40}, {"fixed4": 8, "sp2": 24}),
    ({"sp2_rows": 8, "dsp_rows": 8, "int4_rows": 16}, {"sp2": 60, "fixed4": 40}, {"fixed4": 24, "sp2": 8}),
    ({"pot_rows": 16, "dsp_rows": 4}, {"pot4": 80, "fixed4": 20}, {"fixed4": 4, "pot4": 16}),
    ({"dsp_rows": 32}, {"sp2": 60, "fixed4": 40}, None),  # no lanes of its own: nothing to round to
    ({"pot_rows": 16, "dsp_rows": 4}, {"pot4": 80, "fixed4": 15, "fixed8": 5}, None),
    ({"pot_rows": 16, "dsp_rows": 4}, {"fixed4": 95, "fixed8": 5}, None),
    ({"sp2_rows": 16, "dsp_rows": 4}, {"sp2": 1}, None),
])
def test_the_quotas_of_an_engine(rows, mix, expected):
    assert quotas_of(Engine(ki=8, px=2, drain_lanes=1, **rows), Mix.of(**mix)) == expected


@pytest.mark.parametrize("name,groups", [
    ("sp2", {"sp2"}), ("pot4", {"pot"}), ("fixed4", {"int4", "dsp"}), ("fixed8", set())])
def test_stand_ins_run_where_trained_rows_do(name, groups):
    """An sp2 row of nothing but 8 would run on lanes for powers of two."""
    for op in with_mix(NETWORK, Mix.of(**{name: 1})).ops:
        if isinstance(op, Conv) and op.weight[0].size > 1:
            cheap, every = takers(op)
            assert all({g for i, g in enumerate(GROUPS) if mask >> i & 1} == groups for mask in cheap.tolist())
            assert (every >> GROUPS.index("dsp") & 1).all()


def test_of_ratios_that_are_alike_the_nearest_or_the_smallest_is_best():
    def ratio(percent, cycles, lut):
        total = SimpleNamespace(lut=lut)
        sized = SimpleNamespace(cycles=SimpleNamespace(total=cycles), total=total)
        return Ratio(percent, Point(sized, PART, 50))

    curve = [ratio(0, 1000, 300), ratio(20, 1009, 200), ratio(50, 1012, 100), ratio(60, 1008, 400), Ratio(80, None)]
    assert best(curve).sp2_percent == 20
    assert [best(curve, near).sp2_percent for near in (0, 9, 11, 30, 50, 100)] == [0, 0, 20, 20, 60, 60]


def test_curve_is_the_same_whatever_schemes_the_network_has():
    first, second = (ratio_curve(chain_network(1, schemes)[0], PART, clock_mhz=50, percents=(0, 50))
                     for schemes in (("fixed4",), ("sp2",)))
    assert [r.sp2_percent for r in first] == [0, 50]
    # Weights differ, and with them the requantizers' constants: widths may, shapes not.
    assert all(abs(a.fps / b.fps - 1) < 0.1 for a, b in zip(first, second, strict=True))


def test_what_does_not_fit_is_refused():
    from test_plan_search import large_network
    with pytest.raises(HwgenError, match="does not fit iCE40UP5K"):
        ratio_curve(large_network(64, 2, 12), get_part("iCE40UP5K"), clock_mhz=12, percents=(0, 100))


def test_narrow_ports_are_tried():
    points = engine_front(NETWORK, get_part("XC7Z020"), clock_mhz=100)
    assert {point.costs["bandwidth"] for point in points} == {8, 16, 32}


def test_picture_and_tables(found):
    data = found.to_json()
    assert json.loads(json.dumps(data)) == data
    assert draw(data)[:8] == b"\x89PNG\r\n\x1a\n"
    console = Console(width=100, record=True, file=open("/dev/null", "w"))
    print_exploration(data, console)
    console.file.close()
    text = console.export_text()
    assert f"{found.best_ratio.fps:,.1f}" in text and " best" in text
    assert shape(data["pareto"][0]) in " ".join(text.split()) and f"{found.points[0].latency_ms:.3f}" in text
    names = [set(point["fronts"]) for point in data["pareto"]]
    assert set(itertools.chain(*names)) == set(AXES)


def test_command(tmp_path, capsys):
    assert main(["explore", "digits_mlp", "--part", "LFE5U-25F", "-o", str(tmp_path / "x"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data == json.loads((tmp_path / "x" / "explore.json").read_text())
    assert data["model"] == "digits_mlp" and data["clock_mhz"] == 50 and len(data["ratios"]) == 11
    assert (tmp_path / "x" / "explore.png").read_bytes()[:4] == b"\x89PNG"
    assert main(["explore", "digits_mlp"]) == 1 and "--part" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["explore", "digits_mlp", "--part", "LFE5U-25F", "-o", str(tmp_path / "file")]) == 1
    assert "choose another -o DIR" in capsys.readouterr().err
