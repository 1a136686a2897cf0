"""Maps in the scratchpad: nothing that lives at the same time overlaps, and every word has its place."""

from itertools import combinations
import random

import pytest
from small_networks import NETWORKS
from test_plan_place import ENGINES, network_of

from hwgen.plan.geometry import input_cycles, residual_cycles, walk
from hwgen.plan.memory import Life, first_fit, whole_maps
from hwgen.plan.place import place

CASES = [(name, kind, seed) for name in NETWORKS for kind in ENGINES for seed in range(2)]


def mapped(name, kind, seed):
    engine = ENGINES[kind]
    network = network_of(name, seed, engine)
    placements = place(network, engine)
    walks = {layer.name: walk(layer, engine.px) for layer in network.layers}
    return network, engine, placements, walks, whole_maps(network, placements, engine, walks)


@pytest.mark.parametrize("seed", range(20))
def test_first_fit(seed):
    """What lives at the same time lies apart."""
    rng = random.Random(seed)
    lives = [Life(key, rng.randint(1, 40), begin := rng.randint(-1, 9), begin + rng.randint(0, 4)) for key in range(20)]
    bases = first_fit(lives)
    for one, two in combinations(lives, 2):
        if set(range(one.begin, one.end + 1)) & set(range(two.begin, two.end + 1)):
            a, b = (set(range(bases[life.key], bases[life.key] + life.size)) for life in (one, two))
            assert not a & b
    assert set(bases) == set(range(20)) and min(bases.values()) == 0


def test_strips_that_follow_each_other_take_turns():
    """Each lives during its own step and the one before: two places do, however many there are."""
    lives = [Life((at, "map"), 10, at - 1, at) for at in range(1, 25)]
    assert set(first_fit(lives).values()) == {0, 10}


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
