"""Lowering: the layers compute what the graph computes, and what is fused, copied and packed."""

import numpy as np
import pytest
from small_networks import NETWORKS, Builder

from hwgen.golden import rescale, run
from hwgen.golden.operations import avg_pool, conv, max_pool
from hwgen.graph.ir import AvgPool, MaxPool
from hwgen.plan.lower import lower
from hwgen.plan.packing import InputPacking, pack_codes


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
@pytest.mark.parametrize("seed,px,slots", [(1, 1, 1), (2, 1, 1), (2, 8, 64)])
def test_layers_compute_the_graph(name, ki, seed, px, slots):
    graph, images = NETWORKS[name](seed)
    golden = run(graph, images, keep=True)
    network = lower(graph, ki, px, slots)
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
    assert found["add1"].conv.weight.tolist() == [[[[1]]]] * 3 and found["add1"].conv.groups == 3
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


def packing_of(ki, channels=3, kernel=(3, 3), strides=(2, 2), size=8, rows=4, **array):
    b = Builder(6, (channels, size, size), 8)
    pads = [k // 2 for k in kernel] * 2
    network = lower(b.graph(b.conv("input", rows, kernel, strides, pads)), ki, **array)
    layer = network.layers[0]
    words = layer.conv.weight.shape[2] * layer.conv.weight.shape[3] * -(-layer.conv.weight.shape[1] // ki)
    return network.packing, words - layer.spare_words


def test_packing_saves_words_or_is_not_done():
    """The whole kernel side by side is 27 channels, two words of 16 instead of nine."""
    assert packing_of(16) == (InputPacking((3, 3), (2, 2), (1, 1), (4, 4)), 2)
    # 27 channels are 14 words of 2 instead of 18.
    assert packing_of(2)[1] == 14
    # 4 channels are whole words of 4: nothing to gain.
    assert packing_of(4, channels=4) == (None, 9)
    # Three rows of three channels are one word, and so is the kernel that has no more than that.
    assert packing_of(16, kernel=(3, 1)) == (InputPacking((3, 1), (2, 1), (1, 0), (4, 8)), 1)


def test_packing_weighs_what_is_fetched():
    """7x7x3, stride 2: the fewest words are 10; where computing is quick the map is fetched with less in it."""
    assert packing_of(16, kernel=(7, 7), size=64, rows=64)[1] == 10
    # Two rows of seven columns: 3 words for each of four pairs of rows, but the last row is alone: 11.
    assert packing_of(16, kernel=(7, 7), size=64, rows=64, px=6, slots=32) == (
        InputPacking((2, 7), (2, 2), (3, 3), (35, 32)), 11)
    # So quick that only the fewest words of the map count: two rows, two columns, 12 channels in each word.
    assert packing_of(16, kernel=(7, 7), size=64, rows=64, px=6, slots=10_000)[0].side == (2, 2)


@pytest.mark.parametrize("kernel", [(7, 7), (5, 3), (2, 3), (1, 4), (3, 5)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("px,slots", [(1, 1), (4, 16), (6, 1000)])
def test_packed_layers_compute_the_same(kernel, strides, px, slots):
    b = Builder(9, (3, 9, 10), 8)
    pads = (kernel[0] - 1, kernel[1] // 2, kernel[0] // 2, 0)
    graph = b.graph(b.conv("input", 9, kernel, strides, pads))
    images = b.images()
    network = lower(graph, 4, px, slots)
    out = graph.outputs[0]
    assert np.array_equal(execute(network, images)[out], run(graph, images)[out])
    # What is left out of a tile has no weights: the words at the end, in the order of the engine.
    layer = network.layers[0]
    flat = layer.conv.weight.transpose(0, 2, 3, 1)
    flat = np.pad(flat, ((0, 0), (0, 0), (0, 0), (0, -flat.shape[3] % 4))).reshape(9, -1, 4)
    assert not flat[:, flat.shape[1] - layer.spare_words:].any()


def test_input_with_two_readers_is_not_packed():
    b = Builder(7, (3, 8, 8), 8)
    one, two = b.conv("input", 4, (3, 3)), b.conv("input", 4, (3, 3))
    assert lower(b.graph(one, two), 16).packing is None


@pytest.mark.parametrize("side,steps,pads,shape", [((1, 3), (1, 1), (0, 1), (3, 7)), ((2, 5), (2, 2), (1, 3), (3, 4)),
                                                   ((2, 1), (1, 1), (0, 0), (2, 7)), ((1, 1), (1, 1), (0, 0), (3, 7))])
def test_pack_codes(side, steps, pads, shape):
    """The zero point outside the image."""
    codes = np.random.default_rng(8).integers(0, 255, (2, 3, 7)).astype(np.uint8)
    found = pack_codes(codes, InputPacking(side, steps, pads, shape), 9)
    assert found.shape == (side[0] * side[1] * 2, *shape)
    for i, j, c, y, x in np.ndindex(*side, 2, *shape):
        at = y * steps[0] + i - pads[0], x * steps[1] + j - pads[1]
        inside = 0 <= at[0] < 3 and 0 <= at[1] < 7
        assert found[(i * side[1] + j) * 2 + c, y, x] == (codes[c, at[0], at[1]] if inside else 9)
    assert pack_codes(codes, None, 9) is codes
