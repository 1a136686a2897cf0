"""Generated networks: shapes as published, rows on their grids, activations that spread, the same bytes each time."""

import subprocess
import sys

import numpy as np
import pytest

from hwgen.build.models import find_model, list_generated
from hwgen.errors import HwgenError
from hwgen.frontend import load
from hwgen.frontend.execute import compare
from hwgen.golden import run
from hwgen.graph.ir import Add, Conv
from hwgen.graph.shapes import macs, params, scheme_rows
from hwgen.schemes import get
from hwgen.synthetic import Mix, Options, smooth_images
from hwgen.synthetic.rows import draw_rows

SMALL = "size=32,channels=8"


def test_known_generators():
    assert list_generated() == ["mobilenet_v2", "resnet18", "resnet50", "vgg16"]


def test_thresholds_only_where_no_multiplier_is_exact():
    """Four layers of ResNet-18 with RMSMP's rows have none of 18 bits, but one of 19."""
    convs = [op for op in find_model("resnet18@rmsmp").load().ops if isinstance(op, Conv)]
    assert all(op.requant.thresholds is None and op.requant.proven == len(op.schemes) for op in convs)
    assert sum(abs(op.requant.multiplier).max() >= 1 << 17 for op in convs if op.name != "classify") == 4


@pytest.mark.parametrize("name, multiplies, weights", [
    # torchvision's parameter counts less batch norm and bias
    ("resnet18", 1_814_073_344, 11_689_512 - 9_600 - 1_000), ("resnet50", 4_089_184_256, 25_557_032 - 53_120 - 1_000),
    ("mobilenet_v2", 300_774_272, 3_504_872 - 34_112 - 1_000)])
def test_published_shapes(name, multiplies, weights):
    graph = find_model(name).load()
    assert sum(macs(graph).values()) == multiplies and params(graph) == weights
    assert graph.tensors[graph.input].shape == (3, 224, 224) and graph.tensors[graph.input].bits == 8
    inside = [tensor for name, tensor in graph.tensors.items() if name not in (graph.input, *graph.outputs)]
    assert {tensor.bits for tensor in inside} == {4}
    convs = [op for op in graph.ops if isinstance(op, Conv)]
    assert all(op.requant.proven == len(op.schemes) for op in convs)
    assert all(abs(op.schemes.count("sp2") - 0.6 * len(op.schemes)) <= 0.5 for op in convs)


def test_resnet18_operations():
    graph = find_model(f"resnet18@{SMALL}").load()
    assert sum(isinstance(op, Conv) for op in graph.ops) == 21 and sum(isinstance(op, Add) for op in graph.ops) == 8
    assert graph.tensors[graph.outputs[0]].shape == (1000, 1, 1) and graph.tensors[graph.outputs[0]].bits == 8


def test_mobilenet_v2_operations():
    convs = [op for op in find_model("mobilenet_v2@size=32").load().ops if isinstance(op, Conv)]
    depthwise = [op for op in convs if op.groups > 1]
    assert len(convs) == 1 + 2 + 16 * 3 + 2 and all(op.groups == len(op.weight) for op in depthwise)
    assert [len(op.weight) for op in depthwise] == [32, 96, 144, 144, 192, 192, 192, *[384] * 4, *[576] * 3, *[960] * 3]


def test_vgg16_operations():
    convs = [op for op in find_model(f"vgg16@{SMALL}").load().ops if isinstance(op, Conv)]
    assert [op.weight.shape[:2] for op in convs[:5]] == [(8, 3), (8, 8), (16, 8), (16, 16), (32, 16)]
    assert [op.weight.shape[0] for op in convs[13:]] == [512, 512, 1000] and len(convs) == 16


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "resnet50", "vgg16"])
@pytest.mark.parametrize("seed", [1, 5])
def test_same_bytes_and_equal_to_qonnx(name, seed, tmp_path):
    model = find_model(f"{name}@{SMALL},seed={seed}")
    data = model.data
    assert find_model(model.name).data == data
    assert find_model(f"{name}@{SMALL},seed={seed + 1}").data != data
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    assert load(path).name == model.name
    codes, labels, known = model.inputs(model.load())
    assert codes.shape == (3, 3, 32, 32) and labels is None and known
    assert compare(path, None, codes).different == 0


@pytest.mark.parametrize("text", ["", "fused", "rmsmp"])
def test_activations_spread(text):
    """On images that no scale was chosen with; larger maps than above, whose statistics are steady."""
    model = find_model(f"resnet18@size=96,channels=32,{text}")
    graph = model.load()
    maps = run(graph, model.inputs(graph)[0], keep=True)
    for name, codes in maps.items():
        if graph.tensors[name].bits == 4 and codes.shape[2] > 1:
            count = np.bincount(codes.ravel(), minlength=16) / codes.size
            assert (count > 0).sum() >= 9 and count[15] < 0.06 and count.max() < 0.9, (name, count)
    assert np.unique(maps[graph.outputs[0]]).size > 50


@pytest.mark.parametrize("text, rows", [
    ("fixed4", {"fixed4": 100}), ("sp2=25,fixed4", {"sp2": 25, "fixed4": 75}),
    ("rmsmp", {"pot4": 60, "fixed4": 35, "fixed8": 5}), ("sp2=100", {"sp2": 100}),
    ("sp2=20,fixed4=12,fixed8=8", {"sp2": 50, "fixed4": 30, "fixed8": 20})])
def test_mixes(text, rows):
    mix = Options.parse(text).mix
    assert {name: n for name, n in mix.counts(100).items() if n} == rows
    for count in (1, 7, 10, 64):
        assert sum(mix.counts(count).values()) == count
        assert all(abs(mix.counts(count)[name] - count * share / mix.total) < 1 for name, share in mix.shares)
    graph = find_model(f"resnet18@{SMALL},{text}").load()
    assert set(scheme_rows(graph)) <= set(rows)


@pytest.mark.parametrize("seed", range(3))
def test_low_variance_is_sp2_and_rows_are_on_their_grids(seed):
    rng = np.random.default_rng(seed)
    variance = rng.random(50)
    schemes = np.array(Mix.of(sp2=60, fixed4=40).assign(variance, rng))
    assert (schemes == "sp2").sum() == 30 and variance[schemes == "sp2"].max() < variance[schemes == "fixed4"].min()
    weight, scales, schemes = draw_rows((40, 30, 3, 3), Options.parse("rmsmp").mix, rng)
    assert weight.dtype == np.int8 and scales.dtype == np.float32 and len(schemes) == 40
    for row, name in zip(weight, schemes, strict=True):
        assert get(name).contains(row).all()
        # a bell curve fills the grid: weights come near the top level, and most are below half of it
        assert np.abs(row).max() > get(name).max_abs / 2 and (np.abs(row) <= get(name).max_abs / 2).mean() > 0.7


@pytest.mark.parametrize("seed", range(3))
def test_images_are_smooth(seed):
    images = smooth_images(4, 64, seed).astype(int)
    assert images.shape == (4, 3, 64, 64) and 20 < images.std() < 80
    assert np.abs(np.diff(images, axis=3)).mean() < 0.4 * images.std()


@pytest.mark.parametrize("text", ["sp2=60", "sp2=120,fixed4", "size=100", "channels=2", "depth=3", "fixed4,sp2",
                                  "sp2=x", "size"])
def test_wrong_options(text):
    with pytest.raises(HwgenError, match="resnet|model|shares|share"):
        find_model(f"resnet18@{text}")


def test_command_writes_the_same_file(tmp_path):
    path = tmp_path / "net.onnx"
    command = [sys.executable, "-m", "models.resnet18.network", f"fixed4,{SMALL}", "-o", str(path)]
    subprocess.run(command, check=True)
    assert path.read_bytes() == find_model(f"resnet18@fixed4,{SMALL}").data
    bad = subprocess.run([*command[:3], "depth=3", "-o", str(path)], capture_output=True, text=True)
    assert bad.returncode == 1 and "depth=3" in bad.stderr
