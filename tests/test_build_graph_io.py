"""Saving and loading the integer network."""

from dataclasses import fields, is_dataclass, replace
import json

import numpy as np
import pytest

from hwgen.build.graph_io import GraphFormatError, dump_graph, json_bytes, npz_bytes, parse_graph, parse_npz
from hwgen.build.models import find_model, list_models
from hwgen.frontend import load
from hwgen.graph.ir import Add, Conv, Graph, MaxPool, Requant, Rescale, Tensor

from fake_build import tiny_graph


def same(a, b) -> bool:
    """Equal in every integer, every float bit, every dtype, shape and type."""
    if isinstance(a, np.ndarray):
        return (isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape
                and np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes())
    if is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def every_kind() -> Graph:
    """A graph with every operation and every optional field."""
    tiny = tiny_graph()
    steps = Requant(multiplier=np.zeros(3, np.int64), constant=np.zeros(3, np.int64), shift=np.ones(3, np.int64),
                    low=1, high=3, thresholds=np.array([[1, 2], [-(1 << 40), 1 << 40], [0, 0]]),
                    negate=np.array([True, False, True]))
    fused = replace(tiny.ops[0].requant, residual_multiplier=np.array([1, -2, 3]))
    conv = tiny.ops[0]
    return replace(tiny, tensors={**tiny.tensors, "a b/\u00fc": Tensor("a b/\u00fc", (3, 2, 2), 8, 5e-324, 255)}, ops=(
        conv, replace(conv, name="steps", requant=steps, pads=(0, 1, 2, 3), strides=(1, 2)),
        replace(conv, name="fused", requant=fused, residual="y"),
        replace(conv, name="depthwise", weight=conv.weight[:, :1], groups=3),
        MaxPool("max", "y", "a b/\u00fc", (2, 1), (1, 2), (0, 1, 0, 1)), tiny.ops[1],
        Add("add", "y", "y", "a b/\u00fc", Rescale(a=-3, b=7, constant=-(1 << 33), shift=9, rounding="floor"))))


@pytest.mark.parametrize("graph", [tiny_graph(), every_kind()], ids=["tiny", "every kind"])
def test_round_trip_is_exact(graph):
    files = dump_graph(graph)
    assert same(parse_graph(*files), graph)
    assert dump_graph(parse_graph(*files)) == files


@pytest.mark.parametrize("name", list_models())
def test_round_trip_of_the_models(name):
    graph = load(find_model(name).path)
    assert same(parse_graph(*dump_graph(graph)), graph)


def test_comparison_sees_differences():
    graph = tiny_graph()
    conv = graph.ops[0]
    scales = conv.row_scales.copy()
    scales[1] = np.nextafter(scales[1], 1)
    for other in (replace(conv, row_scales=scales), replace(conv, weight=conv.weight.astype(np.int32)),
                  replace(conv, schemes=("fixed4",) * 3)):
        assert not same(replace(graph, ops=(other, graph.ops[1])), graph)


def test_same_graph_same_bytes():
    assert dump_graph(tiny_graph()) == dump_graph(tiny_graph())


def test_loaded_arrays_are_read_only():
    conv = parse_graph(*dump_graph(tiny_graph())).ops[0]
    assert isinstance(conv, Conv)
    with pytest.raises(ValueError, match="read-only"):
        conv.weight[0, 0, 0, 0] = 1


def test_numpy_scalars_become_plain_numbers():
    graph = replace(tiny_graph(), tensors={"x": Tensor("x", (np.int64(2), 4, 4), 4, np.float64(0.1))})
    loaded = parse_graph(*dump_graph(graph)).tensors["x"]
    assert (type(loaded.shape[0]), type(loaded.scale)) == (int, float)


@pytest.mark.parametrize("spoil", [
    lambda s, a: (s[: len(s) // 2], a),
    lambda s, a: (s, a[: len(a) // 2]),
    lambda s, a: (s, b""),
    lambda s, a: (b'"text"', a),
    lambda s, a: (s.replace(b'"Graph"', b'"Tensor"', 1), a),
    lambda s, a: (s.replace(b'"AvgPool"', b'"Other"'), a),
    lambda s, a: (s, npz_bytes({"other": np.zeros(1)})),
])
def test_damaged_files_are_refused(spoil):
    with pytest.raises(GraphFormatError):
        parse_graph(*spoil(*dump_graph(tiny_graph())))


def test_npz_and_json_have_one_form():
    arrays = {"b": np.arange(3), "a": np.array(1.5)}
    assert npz_bytes(arrays) == npz_bytes(dict(reversed(arrays.items())))
    assert same(parse_npz(npz_bytes(arrays)), dict(sorted(arrays.items())))
    assert json.loads(json_bytes({"b": 1, "a": [0.1]})) == {"a": [0.1], "b": 1}
    with pytest.raises(ValueError):
        json_bytes({"a": float("nan")})
    with pytest.raises(TypeError, match="'o' holds Python objects"):
        npz_bytes({"o": np.array([None])})
    with pytest.raises(TypeError, match="graph.metadata"):
        dump_graph(replace(tiny_graph(), metadata={"a": {1}}))
