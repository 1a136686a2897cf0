"""Walks and bank collisions against plain loops."""

from collections import Counter
import random

import pytest
from small_networks import NETWORKS, Builder

from hwgen.plan.geometry import input_cycles, pooled_shape, residual_cycles, walk
from hwgen.plan.lower import lower


def layers():
    for name, make in NETWORKS.items():
        network = lower(make(3)[0], 4)
        for layer in network.layers:
            yield pytest.param(network, layer, id=f"{name} {layer.name}")


def evaluations(layer, strip=None):
    """(cy, cx) in the order of computation, window by window, of all output rows or some."""
    window = layer.window
    _, height, width = layer.conv_shape
    top, left, bottom, right = window.pads
    rows = range(-top, height + bottom - window.kernel[0] + 1, window.strides[0])
    for y in rows[slice(*strip)] if strip else rows:
        for x in range(-left, width + right - window.kernel[1] + 1, window.strides[1]):
            for i in range(window.kernel[0]):
                for j in range(window.kernel[1]):
                    yield y + i, x + j


@pytest.mark.parametrize("network,layer", list(layers()))
@pytest.mark.parametrize("px", [1, 3])
def test_walk(network, layer, px):
    steps = walk(layer, px)
    assert list(zip(steps.cy.tolist(), steps.cx.tolist(), strict=False)) == list(evaluations(layer))
    assert steps.groups == -(-len(list(evaluations(layer))) // px)
    assert (*pooled_shape(layer),) == network.tensors[layer.output].shape[1:]
    assert (steps.rows, steps.columns, steps.inner) == (*pooled_shape(layer), layer.window.kernel)
    assert not steps.raster and steps.evaluations == len(steps.cy)
    assert steps.conv_shape == layer.conv_shape[1:]


WINDOWS = [((3, 3), (2, 2), (1, 1, 1, 1)), ((3, 3), (2, 2), (0, 0, 0, 0)), ((3, 3), (1, 1), (1, 1, 1, 1)),
           ((2, 2), (1, 1), (0, 0, 1, 1)), ((5, 4), (2, 3), (2, 1, 0, 3)), ((1, 5), (2, 2), (0, 4, 0, 0))]


@pytest.mark.parametrize("kernel,strides,pads", WINDOWS)
@pytest.mark.parametrize("strip", [None, (0, 2), (1, 3), (2, 4)])
def test_raster_walk(kernel, strides, pads, strip):
    """Row by row; every real position of every window is met, its last one where the outer steps say, flags too."""
    b = Builder(1, (1, 10, 11), 4)
    layer = lower(b.graph(b.pool(b.conv("input", 1), "max", kernel, strides, pads)), 4).layers[0]
    out = pooled_shape(layer)
    first, end = strip or (0, out[0])
    steps = walk(layer, 3, 100, strip)
    assert steps.raster and steps.evaluations < (end - first) * out[1] * kernel[0] * kernel[1]
    places = list(zip(steps.cy.tolist(), steps.cx.tolist(), strict=True))
    rows, columns = sorted({y for y, _ in places}), sorted({x for _, x in places})
    assert places == [(y, x) for y in rows for x in columns]
    for axis, found, outs, size in ((0, rows, range(first, end), 10), (1, columns, range(out[1]), 11)):
        k, s, pad = kernel[axis], strides[axis], pads[axis]
        assert found == list(range(found[0], found[-1] + 1)) and found[-1] == outs[-1] * s - pad + k - 1
        # The first outer step is met from ``start`` on; nothing before the first window that the map has.
        skipped = steps.start[axis]
        assert len(found) + skipped == s * (steps.rows, steps.columns)[axis] and 0 <= skipped < s
        assert found[0] == max(0, outs[0] * s - pad) or found[0] < 0
        for index, out_place in enumerate(outs):
            real = [place for place in range(out_place * s - pad, out_place * s - pad + k) if 0 <= place < size]
            assert set(real) <= set(found)
            # The window ends with its outer step.
            assert found[(index + steps.lead[axis] + 1) * s - 1 - skipped] == out_place * s - pad + k - 1
            begin = out_place * s - pad
            if begin in found:
                at = found.index(begin) + skipped
                assert at % s == steps.begin[axis]
                assert at // s + steps.ahead[axis] == index + steps.lead[axis]
            # A window that begins before the walk does so outside the map, at most two of them.
            assert begin in found or begin < 0 and index < 2
    assert not walk(layer, 3, steps.columns - 1, strip).raster


def test_walks_in_raster_order_only_where_that_saves():
    b = Builder(1, (1, 12, 12), 4)
    source = b.conv("input", 1)
    for kind, kernel, strides in (("max", (2, 2), (2, 2)), ("max", (12, 12), (1, 1)), ("max", (7, 3), (2, 2)),
                                  ("avg", (3, 3), (2, 2))):
        b.pool(source, kind, kernel, strides)
    layers = lower(b.graph(*(op.output for op in b.ops[1:])), 4).layers
    assert [walk(layer, 2, 100).raster for layer in layers] == [False] * 5


def fullest(points, banks):
    """Words in the fullest bank of one step; a point of None is not read."""
    return max(Counter(point % banks for point in points if point is not None).values(), default=1)


@pytest.mark.parametrize("network,layer", list(layers()))
@pytest.mark.parametrize("px,banks", [(1, 1), (2, 3), (3, 3), (5, 5), (8, 9)])
def test_cycles_are_the_fullest_bank(network, layer, px, banks):
    rng = random.Random(f"{layer.name} {px}")
    _, height, width = network.tensors[layer.input].shape
    pitch = width + rng.randrange(banks + 1)
    found = input_cycles(layer, walk(layer, px), (height, width), pitch, banks)
    places = list(evaluations(layer))
    groups = [places[i:i + px] for i in range(0, len(places), px)]
    conv = layer.conv
    kernel = [(i, j) for i in range(conv.weight.shape[2]) for j in range(conv.weight.shape[3])]
    assert found.shape == (len(groups), len(kernel))
    for g, group in enumerate(groups):
        for t, (i, j) in enumerate(kernel):
            points = []
            for cy, cx in group:
                y, x = cy * conv.strides[0] - conv.pads[0] + i, cx * conv.strides[1] - conv.pads[1] + j
                points.append(y * pitch + x if 0 <= y < height and 0 <= x < width else None)
            assert found[g, t] == fullest(points, banks)
    if layer.residual:
        shape = layer.conv_shape[1:]
        expected = [fullest([cy * pitch + cx if 0 <= cy < shape[0] and 0 <= cx < shape[1] else None
                             for cy, cx in group], banks) for group in groups]
        assert residual_cycles(walk(layer, px), pitch, banks).tolist() == expected


@pytest.mark.parametrize("px,banks", [(2, 3), (3, 3), (4, 5), (5, 5), (6, 7), (7, 7), (8, 9)])
@pytest.mark.parametrize("stride", [1, 2])
def test_an_odd_number_of_banks_has_a_pitch_without_collisions(px, banks, stride):
    """For strides 1 and 2 and every width some pitch below width + banks reads every group in one cycle."""
    for width in (5, 7, 8, 14, 28):
        b = Builder(width, (1, 6, width * stride), 4)
        out = b.conv("input", 1, (1, 1), (stride, stride), bits=4)
        layer = lower(b.graph(out), 4).layers[0]
        steps, size = walk(layer, px), (6, width * stride)
        assert any(input_cycles(layer, steps, size, pitch, banks).max() == 1
                   for pitch in range(size[1], size[1] + banks))
