"""Placement: every row once, in slots that can compute it, in whole words, in orders that adds share."""

import functools
import itertools
import random

import numpy as np
import pytest
from small_networks import NETWORKS, Builder

from hwgen.engine import Engine
from hwgen.plan.lower import lower
from hwgen.plan.place import input_order, place
from hwgen.plan.tiles import Unplaceable

ENGINES = {
    "mixed": Engine(ki=4, px=2, sp2_rows=4, dsp_rows=4, drain_lanes=2),
    "few multipliers": Engine(ki=4, px=1, sp2_rows=8, dsp_rows=2, drain_lanes=2),
    "few shifters": Engine(ki=8, px=1, sp2_rows=2, dsp_rows=8, drain_lanes=2),
    "multipliers": Engine(ki=8, px=1, sp2_rows=0, dsp_rows=6, drain_lanes=2),
    "shifters": Engine(ki=8, px=2, sp2_rows=6, dsp_rows=0, drain_lanes=1),
    "wide words": Engine(ki=16, px=1, sp2_rows=2, dsp_rows=4, drain_lanes=2),
    "many lanes": Engine(ki=8, px=1, sp2_rows=8, dsp_rows=8, drain_lanes=8),
    "everything at once": Engine(ki=16, px=1, sp2_rows=48, dsp_rows=48, drain_lanes=4),
    "all groups": Engine(ki=8, px=1, sp2_rows=4, pot_rows=4, int4_rows=8, dsp_rows=4, drain_lanes=4),
    "4-bit multipliers": Engine(ki=8, px=2, sp2_rows=4, pot_rows=2, int4_rows=2, dsp_rows=4, drain_lanes=2, wide=False),
    "uneven lanes": Engine(ki=8, px=1, sp2_rows=5, pot_rows=1, int4_rows=3, dsp_rows=7, drain_lanes=4),
    "no multipliers": Engine(ki=4, px=2, sp2_rows=4, pot_rows=2, int4_rows=6, drain_lanes=2),
}
LEVELS = {"sp2": {0, 1, 2, 4, 5, 6, 8, -1, -2, -4, -5, -6, -8}, "int4": set(range(-8, 8)),
          "pot": {0, *(1 << e for e in range(7)), *(-(1 << e) for e in range(7))}}


ROWS = ("sp2_rows", "pot_rows", "int4_rows", "dsp_rows")


def network_of(name, seed, engine):
    schemes = ["sp2", "binary", *(["pot4"] if engine.pot_rows or engine.dsp_rows and engine.wide else []),
               *(["fixed4"] if engine.int4_rows or engine.dsp_rows else []),
               *(["fixed8"] if engine.dsp_rows and engine.wide else [])]
    if not engine.sp2_rows and not (engine.dsp_rows and engine.wide):
        schemes.remove("sp2")
    return lower(NETWORKS[name](seed, schemes=schemes)[0], engine.ki)


def orders_of(network, placements):
    """Channel at each stored position, by tensor, from the tiles themselves."""
    orders = {layer.output: np.concatenate([tile.rows for tile in placements[layer.name].tiles])
              for layer in network.layers}
    return orders | {network.graph.input: input_order(network, placements)}


def check_tile(layer, tile, engine, last):
    lanes = engine.drain_lanes
    present = tile.rows >= 0
    assert len(tile.rows) == len(tile.slots)
    assert len(tile.rows) % (lanes if last else engine.ki) == 0
    assert len(tile.rows) <= max(engine.rows, engine.ki)
    assert tile.chunks(lanes) == len(tile.rows) // lanes
    slots = tile.slots[present]
    assert len(set(slots.tolist())) == len(slots)
    assert (slots % lanes == np.flatnonzero(present) % lanes).all()
    assert ((0 <= slots) & (slots < engine.rows)).all()
    groups, at = [], 0
    for group, fetched in zip(("sp2", "pot", "int4", "dsp"), tile.fetched, strict=True):
        rows = getattr(engine, f"{group}_rows")
        mine = slots[(slots >= at) & (slots < at + rows)] - at
        # What is fetched ends with the last slot in use.
        assert fetched == (mine.max() + 1 if len(mine) else 0)
        groups += [group] * rows
        at += rows
    wide = False
    for row, slot in zip(tile.rows[present], slots, strict=True):
        values = set(layer.conv.weight[row].ravel().tolist())
        if groups[slot] == "dsp":
            assert engine.wide or values <= set(range(-8, 8))
            wide |= not values <= set(range(-8, 8))
        else:
            assert values <= LEVELS[groups[slot]]
    assert tile.wide == wide


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("seed", range(4))
def test_every_row_once_in_a_legal_slot(name, kind, seed):
    engine = ENGINES[kind]
    network = network_of(name, seed, engine)
    placements = place(network, engine)
    for layer in network.layers:
        placement = placements[layer.name]
        rows = np.concatenate([tile.rows for tile in placement.tiles])
        assert sorted(rows[rows >= 0].tolist()) == list(range(len(layer.conv.weight)))
        for index, tile in enumerate(placement.tiles):
            check_tile(layer, tile, engine, index == len(placement.tiles) - 1)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("seed", range(4))
def test_tensors_of_an_add_share_one_order(name, kind, seed):
    """Position by position the same channel on both sides, so that the drain can join them."""
    engine = ENGINES[kind]
    network = network_of(name, seed, engine)
    placements = place(network, engine)
    orders = orders_of(network, placements)
    joins = 0
    for layer in network.layers:
        if layer.residual:
            one, two = orders[layer.output], orders[layer.residual]
            n = min(len(one), len(two))
            assert one[:n].tolist() == two[:n].tolist()
            assert (one[n:] < 0).all() and (two[n:] < 0).all()
            joins += 1
    assert joins


def test_full_tiles_when_the_mix_fits():
    """32 sp2 and 32 fixed rows on 16 + 16 slots: two full tiles, whatever the order of the rows."""
    engine = Engine(ki=8, px=1, sp2_rows=16, dsp_rows=16, drain_lanes=4)
    b = Builder(1, (3, 4, 4), 4)
    out = b.conv("input", 64, schemes=np.random.default_rng(2).permutation(["sp2"] * 32 + ["fixed4"] * 32).tolist())
    tiles = place(lower(b.graph(out), 8), engine)["conv0"].tiles
    assert [len(tile.rows) for tile in tiles] == [32, 32]
    assert all((tile.rows >= 0).all() for tile in tiles)


def test_shift_add_rows_use_idle_multipliers():
    """40 sp2 rows on 8 + 8 slots: all slots work in every tile, so three tiles and not five."""
    engine = Engine(ki=8, px=1, sp2_rows=8, dsp_rows=8, drain_lanes=8)
    b = Builder(3, (3, 4, 4), 4)
    out = b.conv("input", 40, schemes=("sp2",))
    tiles = place(lower(b.graph(out), 8), engine)["conv0"].tiles
    assert [len(tile.rows) for tile in tiles] == [16, 16, 8]


def test_rows_that_no_lane_takes_are_refused_by_layer():
    engine = Engine(ki=4, px=1, sp2_rows=4, dsp_rows=0, drain_lanes=2)
    b = Builder(4, (3, 4, 4), 4)
    free = b.conv("input", 5, schemes=("fixed4",))
    with pytest.raises(Unplaceable, match="layer 'conv0': no lane group takes its rows"):
        place(lower(b.graph(free), 4), engine)
    b = Builder(4, (3, 4, 4), 4)
    left, right = (b.conv("input", 5, schemes=("fixed4",)) for _ in range(2))
    with pytest.raises(Unplaceable, match="layer 'conv0': no lane group takes its rows"):
        place(lower(b.graph(b.add(left, right)), 4), engine)


def best_tiles(rows, caps, ki):
    """Fewest tiles for rows given by the sets of groups that can run them, by trying everything."""
    kinds = sorted(set(rows))

    def possible(take):
        """Hall: rows that only some groups can run must fit these."""
        return all(sum(n for n, kind in zip(take, kinds, strict=True) if not kind & ~some)
                   <= sum(cap for g, cap in enumerate(caps) if some >> g & 1) for some in range(1 << len(caps)))

    @functools.cache
    def fill(left):
        best = 0 if not any(left) else 1000
        for take in itertools.product(*(range(n + 1) for n in left)):
            rest, n = tuple(a - b for a, b in zip(left, take, strict=True)), sum(take)
            # A tile that is not the last holds whole words, unless it cannot fill one.
            if n and not (any(rest) and n >= ki and n % ki) and possible(take):
                best = min(best, 1 + fill(rest))
        return best

    return fill(tuple(rows.count(kind) for kind in kinds))


@pytest.mark.parametrize("seed", range(4))
def test_as_few_tiles_as_trying_everything(seed):
    rng = random.Random(seed)
    values = {1: [5, 8], 2: [64], 1 | 2: [2, 8], 4 | 8: [3, -8], 1 | 4 | 8: [5], 1 | 2 | 4 | 8: [1, 2]}
    tried, missed = 0, 0
    while tried < 25:
        drain, ki = rng.choice((1, 2)), rng.choice((2, 4))
        caps = [drain * rng.randint(0, 2) for _ in range(4)]
        present = sum(1 << g for g, cap in enumerate(caps) if cap)
        masks = [mask for mask in rng.choices(sorted(values), k=rng.randint(1, 9)) if mask & present]
        if not masks:
            continue
        engine = Engine(ki=ki, px=1, **dict(zip(ROWS, caps, strict=True)), drain_lanes=drain, wide=False)
        b = Builder(1, (3, 4, 4), 4)
        graph = b.graph(b.conv("input", len(masks), schemes=("fixed8",)))
        for row, mask in enumerate(masks):
            graph.ops[0].weight[row] = np.resize(values[mask], graph.ops[0].weight[row].shape)
        tiles = len(place(lower(graph, ki), engine)["conv0"].tiles)
        best = best_tiles([mask & present for mask in masks], caps, ki)
        assert best <= tiles <= best + 1, (caps, ki, drain, masks)
        tried, missed = tried + 1, missed + (tiles > best)
    # Rows are spread over the groups before they are dealt to tiles: rarely another spread saves a tile.
    assert missed <= 1


def tiles_of(schemes, engine):
    b = Builder(5, (3, 4, 4), 4)
    graph = b.graph(b.conv("input", len(schemes), schemes=schemes))
    return place(lower(graph, engine.ki), engine)["conv0"].tiles


def test_plain_rows_use_lut_lanes_and_multipliers_together():
    engine = Engine(ki=8, px=1, int4_rows=24, dsp_rows=8, drain_lanes=8, wide=False)
    assert [tile.fetched for tile in tiles_of(["fixed4"] * 96, engine)] == [(0, 0, 24, 8)] * 3
    # Absent rows are not fetched.
    tiles = tiles_of(["fixed4"] * 75, engine)
    assert len(tiles) == 3 and 75 <= sum(sum(tile.fetched) for tile in tiles) <= 80


def test_no_group_is_idle_while_another_needs_a_tile_more():
    """36 sp2 and 28 plain rows on 8 sp2, 8 int4 and 16 multiplier rows: sp2 rows overflow to multipliers."""
    engine = Engine(ki=8, px=1, sp2_rows=8, int4_rows=8, dsp_rows=16, drain_lanes=8)
    tiles = tiles_of(["sp2"] * 36 + ["fixed4"] * 28, engine)
    assert [len(tile.rows) for tile in tiles] == [32, 32] and all((tile.rows >= 0).all() for tile in tiles)


def test_8_bit_rows_gather_in_few_tiles():
    engine = Engine(ki=8, px=1, int4_rows=24, dsp_rows=8, drain_lanes=8)
    tiles = tiles_of((["fixed4"] * 15 + ["fixed8"]) * 8, engine)
    assert [tile.wide for tile in tiles] == [True, False, False, False]


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("seed", range(3))
def test_a_tile_reads_the_channel_blocks_of_its_groups(kind, seed):
    """All that its rows need; of a depthwise layer as many as it makes, and without groups all."""
    engine = ENGINES[kind]
    network = network_of("grouped", seed, engine)
    placements = place(network, engine)
    orders = orders_of(network, placements)
    grouped = 0
    for layer in network.layers:
        order, (rows, channels) = orders[layer.input].tolist(), layer.conv.weight.shape[:2]
        for tile in placements[layer.name].tiles:
            read = order[tile.first_block * engine.ki:(tile.first_block + tile.blocks) * engine.ki]
            for row in tile.rows[tile.rows >= 0].tolist():
                first = row * layer.conv.groups // rows * channels
                assert set(range(first, first + channels)) <= set(read)
            if layer.conv.groups == 1:
                assert (tile.first_block, tile.blocks) == (0, -(-len(order) // engine.ki))
            elif layer.depthwise:
                assert tile.blocks == -(-len(tile.rows) // engine.ki)
                grouped += 1
    assert grouped >= 4


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("seed", range(3))
def test_a_tile_reads_no_channel_block_that_its_few_weights_do_not_need(kind, seed):
    """From the first block with a weight to the last; rows without any are content with one; dense layers read all."""
    engine = ENGINES[kind]
    network = network_of("sparse", seed, engine)
    placements = place(network, engine)
    orders = orders_of(network, placements)
    narrow = 0
    for layer in network.layers:
        order, weight = orders[layer.input].tolist(), layer.conv.weight
        whole = -(-len(order) // engine.ki)
        dense = 2 * np.count_nonzero(weight.any(axis=(2, 3))) > weight[:, :, 0, 0].size
        for tile in placements[layer.name].tiles:
            blocks = {place // engine.ki for place, channel in enumerate(order) if channel >= 0
                      and weight[tile.rows[tile.rows >= 0], channel].any()} or {0}
            wanted = (0, whole) if dense else (min(blocks), max(blocks) - min(blocks) + 1)
            assert (tile.first_block, tile.blocks) == wanted
            narrow += tile.blocks < whole
    assert narrow or kind == "everything at once"  # one tile takes all rows
