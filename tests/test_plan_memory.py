"""The memory map: nothing that lives at the same time overlaps, and every word has its place."""

from itertools import combinations

import pytest
from small_networks import NETWORKS
from test_plan_place import ENGINES, network_of

from hwgen.plan.geometry import input_cycles, residual_cycles, walk
from hwgen.plan.memory import depth, regions
from hwgen.plan.place import place

CASES = [(name, kind, seed) for name in NETWORKS for kind in ENGINES for seed in range(2)]


def mapped(name, kind, seed):
    engine = ENGINES[kind]
    network = network_of(name, seed, engine)
    placements = place(network, engine)
    walks = {layer.name: walk(layer, engine.px) for layer in network.layers}
    return network, engine, placements, walks, regions(network, placements, engine, walks)


def lives(network):
    """Steps (load, then one per layer) in which a tensor's words are needed, one by one."""
    steps = {name: set() for name in [network.graph.input, *(layer.output for layer in network.layers)]}
    for name in steps:
        made = 0 if name == network.graph.input else 1 + [layer.output for layer in network.layers].index(name)
        read = [1 + i for i, layer in enumerate(network.layers) if name in (layer.input, layer.residual)]
        steps[name] = set(range(made, max([made, *read]) + 1))
    return steps


@pytest.mark.parametrize("name,kind,seed", CASES)
def test_live_regions_do_not_overlap(name, kind, seed):
    network, engine, _, _, map_ = mapped(name, kind, seed)
    steps = lives(network)
    assert set(map_) == set(steps)
    for one, two in combinations(map_, 2):
        if steps[one] & steps[two]:
            a, b = map_[one], map_[two]
            assert not set(range(a.base, a.base + a.size)) & set(range(b.base, b.base + b.size)), (one, two)
    assert depth(map_) == max(r.base + r.size for r in map_.values())
    assert min(r.base for r in map_.values()) == 0


@pytest.mark.parametrize("name,kind,seed", CASES)
def test_every_word_has_its_own_place(name, kind, seed):
    """All (block, plane, y, x) of a tensor go to different (bank, address) inside its region."""
    network, engine, placements, _, map_ = mapped(name, kind, seed)
    for tensor, region in map_.items():
        channels, height, width = network.tensors[tensor].shape
        assert (region.height, region.width) == (height, width)
        assert region.planes == (2 if network.tensors[tensor].bits > 4 else 1)
        assert region.channels >= channels and region.blocks == -(-region.channels // engine.ki)
        places = set()
        for block in range(region.blocks):
            for plane in range(region.planes):
                for point in (y * region.pitch + x for y in range(height) for x in range(width)):
                    address = region.base + (block * region.planes + plane) * region.plane_step + point // engine.banks
                    assert region.base <= address < region.base + region.size
                    places.add((point % engine.banks, address))
        assert len(places) == region.blocks * region.planes * height * width


@pytest.mark.parametrize("name,kind,seed", CASES)
def test_no_pitch_collides_less(name, kind, seed):
    """Brute force over all pitches up to three times the banks."""
    network, engine, _, walks, map_ = mapped(name, kind, seed)

    def cost(tensor, pitch):
        _, height, width = network.tensors[tensor].shape
        total = 0
        for layer in network.layers:
            if layer.input == tensor:
                total += input_cycles(layer, walks[layer.name], (height, width), pitch, engine.banks).sum()
            if layer.residual == tensor:
                total += residual_cycles(walks[layer.name], pitch, engine.banks).sum()
        return total

    for tensor, region in map_.items():
        if region.height > 1:
            assert cost(tensor, region.pitch) == min(
                cost(tensor, pitch) for pitch in range(region.width, region.width + 3 * engine.banks))
