"""The exported file against torch: through our golden model, and through the qonnx package."""

import json

from networks import Inverted, ceiled, seen, sequence, tiny
import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
import torch
from torch import nn

from hwgen import golden, schemes
from hwgen.errors import HwgenError
from hwgen.frontend import load
from hwgen.quantize import Policy, accuracy, export, fit, freeze, integer_forward, prepare


def trained(policy, seed):
    torch.manual_seed(seed)
    labels = torch.arange(128) % 4
    images = (torch.rand(128, 2, 9, 8) + labels.view(-1, 1, 1, 1)) / 4
    qmodel = prepare(tiny(seed), policy, images)
    fit(qmodel, [(images[i:i + 32], labels[i:i + 32]) for i in range(0, 128, 32)], 3, 5e-3)
    return qmodel


def random_codes(seed, count, bits=8):
    return np.random.default_rng(seed).integers(0, 1 << bits, size=(count, 2, 9, 8), dtype=np.uint8)


POLICIES = [Policy.msq((50, 50)), Policy.msq((30, 70), residual="fused"), Policy.fixed4(act_bits=3, add_bits=6),
            Policy.msq(input_bits=4, output_bits=4, pool_bits=6)]


@pytest.mark.parametrize("policy", POLICIES)
def test_golden_equals_the_integer_forward(policy, tmp_path):
    qmodel = trained(policy, 11)
    codes = random_codes(12, 1000, policy.input_bits)
    # a fused residual has too many pairs of accumulator and operand to be proven: there it needs wide multipliers
    graph = load(export(qmodel, tmp_path / "tiny.onnx"), m_bits=32)
    found = golden.run(graph, codes)[graph.outputs[0]].reshape(1000, -1)
    assert np.array_equal(found, integer_forward(qmodel, codes))


def by_turns(name, weight):
    return tuple(("sp2", "fixed8", "binary", "pot4", "fixed4")[row % 5] for row in range(len(weight)))


EVERY_KIND = {
    "msq_60_40": Policy.msq(), "pot4": Policy.pot4(), "sp2": Policy.sp2(), "fixed8": Policy.fixed8(act_bits=8),
    "msp": Policy.msp(), "rmsmp": Policy.rmsmp((60, 35, 5), ends="fixed8"), "ilmpq": Policy.ilmpq(),
    "small": Policy.of({"sp2m3": 25, "fixed3": 25, "fixed2": 25, "pot3": 25}, act_bits=2, add_bits=3),
    "wide": Policy.of({"sp2m5": 1, "fixed5": 1, "fixed6": 1, "fixed7": 1}, wide_by="variance", act_bits=6),
    "own": Policy.own(by_turns, act_bits=5), "w4a8": Policy.fixed4(act_bits=8),
}


KINDS = {"inverted": (Inverted, (3, 8, 7)), "sequence": (sequence, (3, 20)), "ceiled": (ceiled, (2, 9, 8))}


@pytest.mark.parametrize("name", EVERY_KIND)
@pytest.mark.parametrize("kind", KINDS)
def test_every_policy_on_every_kind_of_layer(name, kind, tmp_path):
    make, shape = KINDS[kind]
    torch.manual_seed(31)
    network = seen(make(), shape, 31)
    qmodel = prepare(network, EVERY_KIND[name], torch.rand(64, *shape))
    codes = np.random.default_rng(32).integers(0, 256, size=(1000, *shape), dtype=np.uint8)
    graph = load(export(qmodel, tmp_path / "net.onnx"), m_bits=32)
    images = codes.reshape(1000, *graph.tensors[graph.input].shape)
    found = golden.run(graph, images)[graph.outputs[0]].reshape(1000, -1)
    assert np.array_equal(found, integer_forward(qmodel, codes))
    assert len(np.unique(found)) > 2


@pytest.mark.parametrize("window,pool_bits", [((2, 3), 8), ((4, 6), 8), ((2, 2), 5), ((4, 3), 6)])
def test_averages_of_windows_whose_sums_can_end_in_halves(window, pool_bits, tmp_path):
    """One sum of six codes in six would be halfway between two codes, and no multiplier rounds all of them to even."""
    torch.manual_seed(41)
    network = nn.Sequential(nn.Conv2d(2, 8, 1), nn.ReLU(), nn.AvgPool2d(window), nn.Flatten(),
                            nn.Linear(8 * 24 // (window[0] * window[1]), 3)).eval()
    qmodel = prepare(network, Policy.fixed8(act_bits=8, pool_bits=pool_bits), torch.rand(64, 2, 4, 6))
    codes = np.random.default_rng(42).integers(0, 256, size=(1000, 2, 4, 6), dtype=np.uint8)
    graph = load(export(qmodel, tmp_path / "net.onnx"), m_bits=32)
    stored, found = integer_forward(qmodel, codes, keep=True), golden.run(graph, codes, keep=True)
    for name in ("_1_quant", "_2_quant", "_4_quant"):
        assert np.array_equal(found[f"{name}_out"].reshape(stored[name].shape), stored[name]), name


def test_schemes_without_hardware_run_as_others_or_are_refused(tmp_path):
    network = seen(sequence(), (3, 20), 33)
    path = export(prepare(network, EVERY_KIND["small"], torch.rand(64, 3, 20)), tmp_path / "small.onnx")
    layers = json.loads({p.key: p.value for p in ModelWrapper(str(path)).model.metadata_props}["hwgen.schemes"])
    assert {scheme for rows in layers.values() for scheme in rows} == {"sp2", "fixed4"}
    study = prepare(network, Policy.of({"sp2m6": 1, "sp2m7": 1}), torch.rand(64, 3, 20))
    with pytest.raises(HwgenError, match=r"go beyond 8 bits(.|\n)*sp2m6, sp2m7") as caught:
        export(study, tmp_path / "x.onnx")
    assert len(str(caught.value).splitlines()) == 5


@pytest.mark.parametrize("policy", POLICIES)
def test_qonnx_equals_the_integer_forward(policy, tmp_path):
    qmodel = trained(policy, 13)
    codes = random_codes(14, 16, policy.input_bits)
    wrapper = ModelWrapper(str(export(qmodel, tmp_path / "tiny.onnx")))
    source, sink = wrapper.graph.input[0].name, wrapper.graph.output[0].name
    frozen = freeze(qmodel)
    last = frozen.steps[-1].settings
    low = -(1 << (last["bits"] - 1))
    scale = np.float32(1 / ((1 << policy.input_bits) - 1))
    for image, expected in zip(codes, integer_forward(frozen, codes), strict=True):
        real = execute_onnx(wrapper, {source: image[None].astype(np.float32) * scale})[sink]
        # a difference of one code is a rounding tie within float32 error; seed 14 has none
        assert np.array_equal(np.round(real[0] / last["scale"]).astype(int) - low, expected)


def test_training_sees_what_is_exported():
    """The fake-quantized float32 network differs from the exported integers only at float32 ties."""
    qmodel = trained(Policy.msq(), 15)
    codes = random_codes(16, 1000)
    with torch.no_grad():
        real = qmodel(torch.from_numpy(codes).float() / 255).numpy()
    scale = freeze(qmodel).steps[-1].settings["scale"]
    trained_codes = np.round(real / scale).astype(int) + 128
    assert (trained_codes != integer_forward(qmodel, codes)).mean() < 0.01


@pytest.mark.parametrize("make, shape", KINDS.values(), ids=list(KINDS))
def test_training_sees_what_is_exported_of_every_kind(make, shape):
    """torch's own layers against the integers: padding, groups, strides and limits are the same on both sides."""
    qmodel = prepare(seen(make(), shape, 34), Policy.msq(), torch.rand(64, *shape))
    codes = np.random.default_rng(35).integers(0, 256, size=(1000, *shape), dtype=np.uint8)
    with torch.no_grad():
        real = qmodel(torch.from_numpy(codes).float() / 255).numpy()
    trained_codes = np.round(real / freeze(qmodel).steps[-1].settings["scale"]).astype(int) + 128
    assert (trained_codes != integer_forward(qmodel, codes)).mean() < 0.01


def test_the_file_holds_the_schemes(tmp_path):
    qmodel = trained(Policy.msq(), 17)
    path = export(qmodel, tmp_path / "named.onnx", metadata={"hwgen.float_accuracy": 0.75})
    properties = {p.key: p.value for p in ModelWrapper(str(path)).model.metadata_props}
    assert (properties["hwgen.name"], properties["hwgen.float_accuracy"]) == ("named", "0.75")
    layers = json.loads(properties["hwgen.schemes"])
    weights = {s.name: s.settings for s in freeze(qmodel).steps if "weight" in s.settings}
    assert set(layers) == set(weights)
    for name, rows in layers.items():
        assert 0.3 <= rows.count("sp2") / len(rows) <= 0.7
        for scheme, row in zip(rows, weights[name]["weight"], strict=True):
            assert schemes.get(scheme).contains(row).all()


def test_the_same_network_gives_the_same_bytes(tmp_path):
    qmodel = trained(Policy.msq(), 18)
    first, second = export(qmodel, tmp_path / "a.onnx", name="n"), export(qmodel, tmp_path / "b.onnx", name="n")
    assert first.read_bytes() == second.read_bytes()


def test_keep_returns_every_quantizer():
    stored = integer_forward(trained(Policy.msq(), 19), random_codes(20, 3), keep=True)
    assert stored["x_quant"].tolist() == random_codes(20, 3).tolist()
    assert stored["relu1_quant"].shape[0] == 3


def test_a_flat_input(tmp_path):
    torch.manual_seed(21)
    qmodel = prepare(nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3)), Policy.msq(), torch.rand(50, 9))
    codes = np.random.default_rng(22).integers(0, 256, size=(1000, 9, 1, 1), dtype=np.uint8)
    graph = load(export(qmodel, tmp_path / "flat.onnx"))
    found = golden.run(graph, codes)[graph.outputs[0]].reshape(1000, -1)
    assert np.array_equal(found, integer_forward(qmodel, codes))


def test_a_loop_of_one_s_own(tmp_path):
    torch.manual_seed(23)
    labels = torch.arange(60) % 2
    images = (torch.rand(60, 2, 9, 8) + labels.view(-1, 1, 1, 1)) / 2
    qmodel = prepare(tiny(23), Policy.msq(), images).train()
    optimizer = torch.optim.Adam(qmodel.parameters(), lr=5e-3)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(qmodel(images), labels).backward()
        optimizer.step()
    qmodel.eval()
    assert accuracy(qmodel, [(images, labels)]) > 0.9
    assert export(qmodel, tmp_path / "own.onnx").stat().st_size > 0


def test_export_refuses(tmp_path):
    qmodel = trained(Policy.msq(), 24)
    with pytest.raises(HwgenError, match="does not exist"):
        export(qmodel, tmp_path / "missing" / "x.onnx")
    with torch.no_grad():
        next(m for m in qmodel.modules() if hasattr(m, "log_scale")).log_scale.fill_(float("nan"))
    with pytest.raises(HwgenError, match="not a finite number"):
        export(qmodel, tmp_path / "x.onnx")
