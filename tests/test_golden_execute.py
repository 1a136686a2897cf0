"""Whole networks: wiring, kept tensors, chunks, refusals."""

from time import perf_counter

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.golden import accumulators, operations, run
from hwgen.graph.check import check, macs
from hwgen.graph.ir import Add, AvgPool, Conv, Graph, MaxPool, Requant, Rescale, Tensor


def requant(rng, rows, **kwargs):
    return Requant(rng.integers(-90, 90, rows), rng.integers(0, 1 << 14, rows), np.full(rows, 11), **kwargs)


def conv(rng, name, source, target, shape, **kwargs):
    rows = shape[0]
    rule = requant(rng, rows, residual_multiplier=rng.integers(-400, 400, rows) if "residual" in kwargs else None)
    weight = rng.integers(-8, 8, shape)
    return Conv(name, source, target, weight, ("fixed4",) * rows, np.ones(rows), rule, **kwargs)


def small_graph(seed=0):
    """Every operation once: two branches, one fused and one two-step residual."""
    rng = np.random.default_rng(seed)
    tensors = [Tensor("in", (2, 8, 8), 8, zero_point=77), Tensor("a", (5, 8, 8), 4, zero_point=3),
               Tensor("b", (5, 4, 4), 4, zero_point=3), Tensor("c", (5, 4, 4), 4), Tensor("d", (5, 4, 4), 4),
               Tensor("e", (5, 4, 4), 4), Tensor("f", (5, 2, 2), 4), Tensor("out", (3, 1, 1), 4)]
    ops = (conv(rng, "first", "in", "a", (5, 2, 3, 3), pads=(1, 1, 1, 1)),
           MaxPool("pool", "a", "b", (2, 2), (2, 2)),
           conv(rng, "fused", "b", "c", (5, 5, 3, 3), pads=(0, 1, 2, 1), residual="b"),
           conv(rng, "one", "a", "d", (5, 5, 1, 1), strides=(2, 2)),
           Add("add", "c", "d", "e", Rescale(a=700, b=500, constant=-900, shift=10)),
           AvgPool("mean", "e", "f", (2, 2), (2, 2), Rescale(a=256, constant=0, shift=10, rounding="half_even")),
           conv(rng, "last", "f", "out", (3, 5, 2, 2)))
    return Graph("small", {tensor.name: tensor for tensor in tensors}, ops, "in", ("out", "b"))


def images(count, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, 2, 8, 8)).astype(np.uint8)


def test_run_is_its_operations_in_order():
    graph = small_graph()
    check(graph)
    codes = images(40)
    first, pool, fused, one, add, mean, last = graph.ops
    a = operations.conv(first, codes, 77)
    b = operations.max_pool(pool, a)
    c = operations.conv(fused, b, 3, b)
    d = operations.conv(one, a, 3)
    e = operations.add(add, c, d)
    f = operations.avg_pool(mean, e, 0)
    expected = {"in": codes, "a": a, "b": b, "c": c, "d": d, "e": e, "f": f, "out": operations.conv(last, f, 0)}
    got = run(graph, codes, keep=True)
    assert list(got) == list(expected)
    for name, want in expected.items():
        assert got[name].dtype == np.uint8
        assert np.array_equal(got[name], want), name
        assert len(np.unique(want)) > 3, f"{name} hardly varies: the test would show nothing"
    outputs = run(graph, codes)
    assert list(outputs) == ["out", "b"]
    assert all(np.array_equal(outputs[name], got[name]) for name in outputs)


def test_accumulators():
    graph = small_graph()
    codes = images(3)
    kept = run(graph, codes, keep=True)
    got = accumulators(graph, codes)
    assert list(got) == ["first", "fused", "one", "last"]
    for op in graph.ops:
        if isinstance(op, Conv):
            want = operations.conv_accumulators(op, kept[op.input], graph.tensors[op.input].zero_point)
            assert np.array_equal(got[op.name], want)


def test_chunks_do_not_change_results(monkeypatch):
    graph = small_graph()
    codes = images(7)
    whole, sums = run(graph, codes, keep=True), accumulators(graph, codes)
    monkeypatch.setattr(operations, "CHUNK", 15000)
    chunked, chunked_sums = run(graph, codes, keep=True), accumulators(graph, codes)
    assert all(np.array_equal(whole[name], chunked[name]) for name in whole)
    assert all(np.array_equal(sums[name], chunked_sums[name]) for name in sums)


def test_no_images():
    graph = small_graph()
    assert run(graph, images(0))["out"].shape == (0, 3, 1, 1)
    assert accumulators(graph, images(0))["fused"].shape == (0, 5, 4, 4)


@pytest.mark.parametrize("codes, message", [
    (np.zeros((3, 2, 8), dtype=np.uint8), r"must have shape \(images, 2, 8, 8\), not \(3, 2, 8\)"),
    (np.zeros((3, 2, 8, 9), dtype=np.uint8), r"must have shape"),
    (np.zeros((1, 2, 8, 8)), "must hold integer codes, not float64; quantize it first"),
    (np.full((1, 2, 8, 8), -1), r"codes of 0..255, not -1..-1"),
    (np.full((1, 2, 8, 8), 256), r"codes of 0..255, not 256..256"),
])
def test_refuses_other_inputs(codes, message):
    with pytest.raises(HwgenError, match=f"input 'in' {message}" if message.startswith("must") else message):
        run(small_graph(), codes)


def test_a_thousand_images_take_seconds():
    """A network of 4 M multiply-accumulates on 28x28 images; the limit is generous for busy machines."""
    rng = np.random.default_rng(3)
    tensors = [Tensor("in", (1, 28, 28), 8), Tensor("a", (16, 28, 28), 4), Tensor("b", (24, 14, 14), 4),
               Tensor("c", (24, 14, 14), 4), Tensor("d", (40, 7, 7), 4), Tensor("e", (40, 7, 7), 4),
               Tensor("out", (10, 1, 1), 8)]
    ops = (conv(rng, "1", "in", "a", (16, 1, 3, 3), pads=(1, 1, 1, 1)),
           conv(rng, "2", "a", "b", (24, 16, 5, 5), pads=(1, 1, 2, 2), strides=(2, 2)),
           conv(rng, "3", "b", "c", (24, 24, 3, 3), pads=(1, 1, 1, 1), residual="b"),
           conv(rng, "4", "c", "d", (40, 24, 3, 3), pads=(1, 1, 1, 1), strides=(2, 2)),
           conv(rng, "5", "d", "e", (40, 40, 3, 3), pads=(1, 1, 1, 1)),
           conv(rng, "6", "e", "out", (10, 40, 7, 7)))
    graph = Graph("speed", {tensor.name: tensor for tensor in tensors}, ops, "in", ("out",))
    check(graph)
    assert sum(macs(graph).values()) > 3_000_000
    start = perf_counter()
    result = run(graph, rng.integers(0, 256, (1000, 1, 28, 28)).astype(np.uint8))
    seconds = perf_counter() - start
    print(f"{seconds:.2f} s")
    assert result["out"].shape == (1000, 10, 1, 1)
    assert seconds < 30
