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


def evaluations(layer):
    """(cy, cx) in the order of computation."""
    window = layer.window
    _, height, width = layer.conv_shape
    top, left, bottom, right = window.pads
    for y in range(-top, height + bottom - window.kernel[0] + 1, window.strides[0]):
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
    assert (*pooled_shape(layer),) == network.tensors[layer.output].shape[1:] == steps.out_shape
    assert steps.conv_shape == layer.conv_shape[1:]


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
