"""Lowering: the layers compute what the graph computes, and what is fused, copied and packed."""

import numpy as np
import pytest
from small_networks import NETWORKS, Builder

from hwgen.golden import rescale, run
from hwgen.golden.operations import avg_pool, conv, max_pool
from hwgen.graph.ir import AvgPool, MaxPool
from hwgen.plan.lower import InputPacking, lower, pack_codes


def execute(network, images):
    """The lowered layers one by one with golden operations, on the packed input."""
    graph = network.graph
    zero = graph.tensors[graph.input].zero_point
    maps = {graph.input: np.stack([pack_codes(image, network.packing, zero) for image in images])}
    for layer in network.layers:
        other = maps[layer.residual] if layer.residual else None
        fused = other if layer.residual and layer.add is None else None
        codes = conv(layer.conv, maps[layer.input], network.tensors[layer.input].zero_point, fused)
        assert codes.shape[1:] == layer.conv_shape
        if layer.add is not None:
            codes = rescale(codes, layer.add, other)
        if layer.pool is not None:
            pool = layer.pool
            if pool.rescale is None:
                codes = max_pool(MaxPool("p", "", "", pool.kernel, pool.strides, pool.pads), codes)
            else:
                codes = avg_pool(AvgPool("p", "", "", pool.kernel, pool.strides, pool.rescale, pool.pads), codes,
                                 pool.pad_code)
        maps[layer.output] = codes
    return maps


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("ki", [2, 4, 8, 16, 32])
@pytest.mark.parametrize("seed", [1, 2])
def test_layers_compute_the_graph(name, ki, seed):
    graph, images = NETWORKS[name](seed)
    golden = run(graph, images, keep=True)
    network = lower(graph, ki)
    maps = execute(network, images)
    for layer in network.layers:
        assert np.array_equal(maps[layer.output], golden[layer.output]), layer.name
    assert set(graph.outputs) <= set(maps)
    done = [op for layer in network.layers for op in layer.ops]
    assert sorted(done) == sorted(op.name for op in graph.ops)
    assert any(len(np.unique(maps[output])) > 2 for output in graph.outputs)


def layers_of(builder, *outputs, ki=4):
    return {layer.name: layer for layer in lower(builder.graph(*outputs), ki).layers}


def test_add_joins_the_later_convolution():
    b = Builder(1, (3, 4, 4), 4)
    left, right = b.conv("input", 5), b.conv("input", 5)
    total = b.add(left, right)
    found = layers_of(b, total)
    assert [(n, layer.ops, layer.residual) for n, layer in found.items()] == [
        ("conv0", ("conv0",), None), ("conv1", ("conv1", "add2"), left)]
    rule, op = found["conv1"].add, b.ops[-1]
    # x of the rule is the layer's own code: the operands changed places.
    assert (rule.a, rule.b) == (op.rescale.b, op.rescale.a)


def test_add_does_not_join_a_convolution_that_somebody_else_reads():
    b = Builder(2, (3, 4, 4), 4)
    left = b.conv("input", 3)
    total = b.add(left, "input")
    other = b.conv(left, 2)
    found = layers_of(b, total, other)
    assert found["add1"].conv.name == "add1/copy"
    assert found["add1"].conv.weight.reshape(3, 3).tolist() == np.eye(3).tolist()
    assert (found["add1"].input, found["add1"].residual) == (left, "input")


def test_pool_joins_and_a_second_pool_is_a_layer_of_its_own():
    b = Builder(3, (3, 8, 8), 4)
    first = b.conv("input", 3)
    second = b.pool(b.pool(first), "avg")
    found = layers_of(b, second)
    assert [layer.ops for layer in found.values()] == [("conv0", "max1"), ("avg2",)]


def test_average_does_not_join_a_two_step_add():
    """Both need the second stage of the lane."""
    b = Builder(4, (3, 8, 8), 4)
    total = b.add(b.conv("input", 3), b.conv("input", 3))
    mean, largest = b.pool(total, "avg"), None
    assert [layer.ops for layer in layers_of(b, mean).values()] == [("conv0",), ("conv1", "add2"), ("avg3",)]
    b = Builder(4, (3, 8, 8), 4)
    total = b.add(b.conv("input", 3), b.conv("input", 3))
    largest = b.pool(total)
    assert [layer.ops for layer in layers_of(b, largest).values()] == [("conv0",), ("conv1", "add2", "max3")]


def test_output_tensor_is_not_swallowed():
    """A tensor that leaves the network is made even where an add could join it."""
    b = Builder(5, (3, 4, 4), 4)
    left = b.conv("input", 3)
    total = b.add(left, "input")
    assert left in [layer.output for layer in layers_of(b, left, total).values()]


def test_packing_saves_words_or_is_not_done():
    """Three columns of three channels are 9 channels: one word of 16 instead of three, five of 2 instead of six."""
    def packing(ki, channels=3, kernel=(3, 3)):
        b = Builder(6, (channels, 8, 8), 8)
        found = lower(b.graph(b.conv("input", 4, kernel, (2, 2), (1, 1, 1, 1))), ki).packing
        return found and (found.columns, found.stride, found.left, found.width)

    assert packing(16) == (3, 2, 1, 4)
    assert packing(2) == (3, 2, 1, 4)
    # 4 channels are whole words of 4: nothing to gain.
    assert packing(4, channels=4) is None
    assert packing(16, kernel=(3, 1)) is None


def test_input_with_two_readers_is_not_packed():
    b = Builder(7, (3, 8, 8), 8)
    one, two = b.conv("input", 4, (3, 3)), b.conv("input", 4, (3, 3))
    assert lower(b.graph(one, two), 16).packing is None


@pytest.mark.parametrize("columns,stride,left,width", [(3, 1, 1, 7), (5, 2, 3, 4), (2, 3, 0, 2), (1, 1, 0, 7)])
def test_pack_codes(columns, stride, left, width):
    """Column j of output x is input column x*stride + j - left, the zero point outside."""
    codes = np.random.default_rng(8).integers(0, 255, (2, 3, 7)).astype(np.uint8)

    found = pack_codes(codes, InputPacking(columns, stride, left, width), 9)
    assert found.shape == (columns * 2, 3, width)
    for j in range(columns):
        for c in range(2):
            for y in range(3):
                for x in range(width):
                    source = x * stride + j - left
                    assert found[j * 2 + c, y, x] == (codes[c, y, source] if 0 <= source < 7 else 9)
    assert pack_codes(codes, None, 9) is codes
