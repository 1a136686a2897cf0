"""Which row gets which scheme: every policy, the Hessian, assigning anew, the picture."""

import numpy as np
import pytest
import torch
from torch import nn
from networks import tiny

from hwgen.errors import HwgenError
from hwgen.quantize import Policy, assigned, draw_assignment, prepare, reassign
from hwgen.quantize.hessian import row_eigenvalues


def rows_of(policy, weight, importance=None):
    return policy.assign({"layer": weight}, None if importance is None else {"layer": importance})["layer"]


@pytest.mark.parametrize("rows", [2, 3, 5, 7, 10, 16, 44, 75])
@pytest.mark.parametrize("ratio", [(50, 50), (60, 40), (67, 33), (2, 1)])
def test_msq_gives_the_calm_rows_sp2(rows, ratio):
    weight = np.random.default_rng(rows).normal(size=(rows, 3, 3, 3)) * np.linspace(0.1, 2, rows)[:, None, None, None]
    found = rows_of(Policy.msq(ratio), weight)
    assert found == rows_of(Policy.msq(ratio), weight.copy())
    variances = weight.reshape(rows, -1).var(axis=1)
    sp2 = [v for v, name in zip(variances, found, strict=True) if name == "sp2"]
    fixed = [v for v, name in zip(variances, found, strict=True) if name == "fixed4"]
    assert len(sp2) + len(fixed) == rows
    assert max(sp2) <= min(fixed)
    assert abs(len(sp2) - rows * ratio[0] / sum(ratio)) < 1


def test_rmsmp_by_hand():
    weight = np.arange(1, 21)[:, None] * np.array([[1.0, -1.0]])
    importance = np.zeros(20)
    importance[3] = 7
    found = rows_of(Policy.rmsmp(), weight, importance)
    expected = ["pot4"] * 13 + ["fixed4"] * 7  # the calmest twelve of the other nineteen
    expected[3] = "fixed8"
    assert list(found) == expected


def test_msp_gives_the_widest_rows_8_bits():
    weight = np.arange(1, 21)[:, None] * np.array([[1.0, -1.0]])
    assert list(rows_of(Policy.msp(), weight)) == ["sp2"] * 12 + ["fixed4"] * 7 + ["fixed8"]


@pytest.mark.parametrize("name", ["fixed4", "pot4", "sp2", "fixed8"])
def test_one_scheme_everywhere(name):
    assert rows_of(getattr(Policy, name)(), np.ones((3, 5))) == (name,) * 3
    assert Policy.parse(name) == getattr(Policy, name)()


def test_first_and_last_layer():
    weights = {name: np.random.default_rng(0).normal(size=(4, 6)) for name in ("a", "b", "c")}
    found = Policy.msq((50, 50), ends="fixed8").assign(weights)
    assert found["a"] == found["c"] == ("fixed8",) * 4
    assert sorted(found["b"]) == ["fixed4", "fixed4", "sp2", "sp2"]


def test_a_ratio_over_the_whole_network():
    """Relative to their layer's mean the variances are a: 2/3, 4/3 and b: 0, 2; the lower half is b0, a0."""
    weights = {"a": np.array([[1.0, -1.0], [2 ** 0.5, -(2 ** 0.5)]]), "b": np.array([[0.0, 0.0], [9.0, -9.0]])}
    assert Policy.msq((50, 50), scope="network").assign(weights) == {"a": ("sp2", "fixed4"), "b": ("sp2", "fixed4")}
    weights["b"] = np.array([[5.0, -5.0], [5.0, -5.0], [5.0, -5.0]])  # all 1: between the two of a
    assert Policy.msq((40, 60), scope="network").assign(weights) == {
        "a": ("sp2", "fixed4"), "b": ("sp2", "fixed4", "fixed4")}


def test_quotas():
    policy = Policy.msq((50, 50), quotas=(("sp2", 24), ("fixed4", 8)))
    found = rows_of(policy, np.random.default_rng(1).normal(size=(64, 9)))
    assert (found.count("sp2"), found.count("fixed4")) == (48, 16)


def test_names():
    assert Policy.parse("msq") == Policy.msq((60, 40))
    assert Policy.parse("msq_67_33", act_bits=3) == Policy.msq((67, 33), act_bits=3)
    assert Policy.parse("rmsmp_65_30_5") == Policy.rmsmp((65, 30, 5))
    assert Policy.parse("ilmpq") == Policy.rmsmp((65, 30, 5), reassign_every=0)
    assert Policy.parse("msq", "xc7z020").part == "xc7z020"
    assert Policy.parse("msq_67_33+fixed8") == Policy.msq((67, 33), ends="fixed8")
    assert Policy.parse("fixed4+sp2") == Policy.fixed4(ends="sp2")


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Policy.msq((50, 50), part="XC7Z020"), "a ratio or a part"),
    (lambda: Policy.msq((0, 0)), "ratio must be 2 whole numbers"),
    (lambda: Policy.msq((-1, 2)), "ratio must be"),
    (lambda: Policy.rmsmp((60, 40)), "pot4 : fixed4 : fixed8"),
    (lambda: Policy.msq(part="nonsense"), "unknown part"),
    (lambda: Policy.of({"fixed4": 1}, part="XC7Z020"), "a part chooses the share of sp2 or pot4"),
    (lambda: Policy.msq(act_bits=9), "act_bits must be 2 to 8"),
    (lambda: Policy.fixed4(residual="three"), "residual must be"),
    (lambda: Policy.rmsmp(wide_by="luck"), "wide_by must be"),
    (lambda: Policy.msq(scope="row"), "scope must be"),
    (lambda: Policy.msq(ends="fixed9"), "unknown weight scheme"),
    (lambda: Policy.msq(reassign_every=-1), "number of epochs"),
    (lambda: Policy.msq(quotas=(("sp2", 8),)), "quotas must give"),
    (lambda: Policy.of({"sp3": 1}), "no mix with scheme"),
    (lambda: Policy.parse("best"), "unknown policy 'best'; known are fixed4"),
    (lambda: Policy.parse("fixed4_1"), "unknown policy"),
    (lambda: Policy.parse("msq_a"), "unknown policy"),
    (lambda: Policy.parse("msq+"), "name the scheme of the first and the last layer"),
    (lambda: Policy.parse("msq+fixed9"), "unknown weight scheme"),
    (lambda: Policy.parse("fixed8", part="XC7Z020"), "leave --part out"),
    (lambda: rows_of(Policy.own(lambda name, weight: ("sp2",)), np.ones((2, 2))), "1 schemes for the 2 rows of layer"),
    (lambda: rows_of(Policy.own(lambda name, weight: ("sp", "sp2")), np.ones((2, 2))), "unknown weight scheme 'sp'"),
])
def test_bad_policies(make, message):
    with pytest.raises(HwgenError, match=message):
        make()


class Single(nn.Module):
    """One linear layer; the cross entropy ties its rows together."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 4, bias=False)

    def forward(self, x):
        return self.layer(x)


def test_eigenvalues_against_the_whole_hessian():
    torch.manual_seed(3)
    network, inputs, labels = Single().double(), torch.randn(40, 3).double(), torch.randint(0, 4, (40,))
    inputs *= torch.tensor([1.0, 3.0, 0.3]).double()
    with torch.no_grad():
        network.layer.weight[2] += 3

    def loss(weight):
        return nn.functional.cross_entropy(inputs @ weight.T, labels)

    whole = torch.autograd.functional.hessian(loss, network.layer.weight.detach())
    expected = [float(torch.linalg.eigvalsh(whole[row, :, row, :])[-1]) for row in range(4)]
    found = row_eigenvalues(network, inputs, labels, {"layer": network.layer.weight}, iterations=30, probes=64)["layer"]
    # other rows add noise of mean zero: the values are close and the order is right
    assert found == pytest.approx(expected, rel=0.2)
    assert np.argsort(found).tolist() == np.argsort(expected).tolist()
    again = row_eigenvalues(network, inputs, labels, {"layer": network.layer.weight}, iterations=30, probes=64)["layer"]
    assert np.array_equal(found, again)


def test_a_single_row_is_exact():
    """Only one row of a layer is asked: the other rows do not disturb it."""
    torch.manual_seed(4)
    inputs, labels = torch.randn(30, 5).double(), torch.randint(0, 2, (30,))
    weight = nn.Parameter(torch.randn(1, 5).double())

    class One(nn.Module):
        def forward(self, x):
            return torch.cat([x @ weight.T, torch.zeros(len(x), 1).double()], 1)

    def loss(w):
        return nn.functional.cross_entropy(torch.cat([inputs @ w.T, torch.zeros(30, 1).double()], 1), labels)

    whole = torch.autograd.functional.hessian(loss, weight.detach()).reshape(5, 5)
    found = row_eigenvalues(One(), inputs, labels, {"w": weight}, iterations=200)["w"]
    assert found == pytest.approx([float(torch.linalg.eigvalsh(whole)[-1])], rel=1e-6)


def test_prepare_asks_the_hessian_and_repeats_itself():
    images, labels = torch.rand(32, 2, 9, 8), torch.arange(32) % 4
    policy = Policy.rmsmp((50, 30, 20))
    found = assigned(prepare(tiny(7), policy, images, labels))
    assert found == assigned(prepare(tiny(7), policy, images, labels))
    assert all(schemes.count("fixed8") == round(len(schemes) * 0.2) for schemes in found.values())
    network = tiny(7)
    values = row_eigenvalues(network, images, labels, {"conv2": network.conv2.weight, "stem.0": network.stem[0].weight})
    assert [s == "fixed8" for s in found["stem.0"]].index(True) == int(np.argmax(values["stem.0"]))


def test_assigning_anew():
    images = torch.rand(32, 2, 9, 8)
    qmodel = prepare(tiny(8), Policy.msq((50, 50)), images)
    before = assigned(qmodel)
    scales = qmodel.conv1.weight_quant.log_scale.detach().clone()
    assert reassign(qmodel, images) == 0
    rows = [row for row, scheme in enumerate(before["conv1"]) if scheme == "sp2"]
    with torch.no_grad():
        qmodel.conv1.weight[rows[0]] *= 100
    assert reassign(qmodel, images) == 2
    after = assigned(qmodel)
    assert after["conv1"][rows[0]] == "fixed4" and after["conv1"].count("sp2") == before["conv1"].count("sp2")
    assert {name for name in after if after[name] != before[name]} == {"conv1"}
    changed = [row for row in range(7) if after["conv1"][row] != before["conv1"][row]]
    moved = (qmodel.conv1.weight_quant.log_scale != scales).nonzero().flatten().tolist()
    assert len(changed) == 2 and set(moved) <= set(changed)


@pytest.mark.parametrize("policy", ["msq", "rmsmp"])
def test_the_planner_s_ratio(policy, monkeypatch):
    """The policy takes the maximum of the curve that explore has, here one written out by hand."""
    from hwgen.plan import explore
    from hwgen.quantize import ratio

    asked = {}

    def curve(graph, part, *, clock_mhz, low, wide):
        asked.update(part=part.name, low=low, wide=wide, ops=len(graph.ops))
        return [explore.Ratio(percent, None) for percent in (0, 20, 80)]

    monkeypatch.setattr(ratio, "ratio_curve", curve)
    monkeypatch.setattr(ratio, "best", lambda found, own: found[1] if own in (60, 63) else None)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 10))
    found = assigned(prepare(network, Policy.parse(policy, "xc7z020"), torch.rand(64, 6)))
    wide = {"msq": 0, "rmsmp": 5}[policy]
    assert asked == {"part": "XC7Z020", "low": {"msq": "sp2", "rmsmp": "pot4"}[policy], "wide": wide, "ops": 2}
    assert found["1"].count(asked["low"]) == 4 and found["1"].count("fixed8") == wide // 5


def test_a_part_s_policy_is_explore_s_maximum(monkeypatch, tmp_path):
    """With the planner itself, at three points of the curve."""
    from hwgen.device import get_part
    from hwgen.frontend import load
    from hwgen.plan import explore
    from hwgen.quantize import export, ratio

    def curve(graph, part, **settings):
        return explore.ratio_curve(graph, part, percents=(0, 50, 100), **settings)

    monkeypatch.setattr(ratio, "ratio_curve", curve)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 10))
    qmodel = prepare(network, Policy.msq(part="LFE5U-85F"), torch.rand(64, 6))
    graph = load(export(qmodel, tmp_path / "net.onnx"))
    curve = explore.ratio_curve(graph, get_part("LFE5U-85F"), clock_mhz=100.0, percents=(0, 50, 100))
    assert assigned(qmodel)["1"].count("sp2") == 20 * explore.best(curve, 60).sp2_percent // 100


def test_the_picture(tmp_path):
    layers = {"stem": ("sp2", "fixed4", "sp2"), "head": ("fixed8", "sp2m5")}
    for name in ("a.png", "a.svg"):
        assert draw_assignment(layers, tmp_path / name, "title").stat().st_size > 1000
    text = (tmp_path / "a.svg").read_text()
    assert text.count("#2f7fb8") >= 3 and text.count("#9a86b8") >= 2  # two sp2 rows, one of training only, the legend
    assert draw_assignment(layers, tmp_path / "b.svg", "title").read_text().count("<path") == text.count("<path")
    for bad in (tmp_path / "none" / "a.png", tmp_path / "a.doc"):
        with pytest.raises(HwgenError, match="cannot write the picture"):
            draw_assignment(layers, bad)
