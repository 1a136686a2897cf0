"""The cycle model: its sums, its lower bound, its load unit; equality with the simulation is tested in rtl_tests."""

from dataclasses import replace
import random

import pytest
from small_networks import NETWORKS, Builder

from hwgen.plan.candidates import bound, work_of
from hwgen.plan.cycles import FIRST_WORD, _Loader, count_cycles
from hwgen.engine import Engine, EngineError
from hwgen.plan.layout import lay_out, needs
from hwgen.plan.lower import lower
from hwgen.plan.place import Unplaceable
from hwgen.program.assemble import assemble_layout


def random_engine(rng):
    while True:
        drain = rng.choice((1, 2, 4))
        try:
            return Engine(ki=rng.choice((2, 4, 8, 16)), px=rng.randint(1, 8), sp2_rows=drain * rng.randint(0, 8),
                          dsp_rows=drain * rng.randint(1, 8), drain_lanes=drain)
        except EngineError:
            continue


def laid_out(graph, engine, ring=None):
    """The layout on the engine with the widths that it needs; None where its rows find no place."""
    try:
        layout = lay_out(graph, engine)
    except Unplaceable:
        return None
    asked = needs(layout)
    asked["ring_depth"] = max(16, ring or 1, 1 << (asked["ring_depth"] - 1).bit_length())
    asked["m_bits"] = max(18, asked["m_bits"])
    asked["scratch_depth"] = max(16, asked["scratch_depth"])
    return replace(layout, engine=replace(engine, **asked))


def cases(count):
    rng = random.Random(11)
    found = []
    while len(found) < count:
        name, seed, engine = rng.choice(list(NETWORKS)), rng.randrange(9), random_engine(rng)
        layout = laid_out(NETWORKS[name](seed)[0], engine)
        if layout:
            found.append(pytest.param(layout, id=f"{name} {seed} {engine.ki}x{engine.px}x{engine.rows}"))
    return found


@pytest.mark.parametrize("layout", cases(60))
def test_sums(layout):
    """Layers follow each other without a gap, no count is negative, and the program is as long as it says."""
    cycles = count_cycles(layout)
    assert cycles.first_load + sum(cycles.layers) == cycles.total
    for column in (cycles.layers, cycles.collisions):
        assert len(column) == len(layout.layers) and min(column) >= 0
    assert assemble_layout(layout).words == cycles.program_words
    # The load unit takes one word per cycle at most.
    assert cycles.total >= cycles.program_words + FIRST_WORD


@pytest.mark.parametrize("layout", cases(60))
def test_bound_is_a_lower_bound(layout):
    work = work_of(lower(layout.network.graph, layout.engine.ki))
    assert bound(work, layout.engine) <= count_cycles(layout).total


@pytest.mark.parametrize("layout", cases(25))
def test_every_word_costs_its_cycles(layout):
    """A layer takes at least the words of all its groups, and the drain's cycles of all its tiles."""
    engine, cycles = layout.engine, count_cycles(layout)
    for layer, spent in zip(layout.layers, cycles.layers, strict=True):
        groups = layout.walks[layer.name].groups
        tiles = layout.tiles(layer)
        words = layout.words(layer) * layout.planes(layer.input)
        assert spent >= sum(groups * (words + layout.residual_words(layer, tile)) for tile in tiles)
        assert spent >= sum(groups * tile.chunks(engine.drain_lanes) for tile in tiles) * engine.px * layout.step(layer)


@pytest.mark.parametrize("layout", cases(25))
def test_a_deeper_ring_never_costs_cycles(layout):
    deeper = replace(layout, engine=replace(layout.engine, ring_depth=4 * layout.engine.ring_depth))
    assert count_cycles(deeper).total <= count_cycles(layout).total


def test_bound_counts_what_is_loaded_and_beside_what():
    """A linear layer of one row behind a convolution: its weights come while the convolution computes."""
    b = Builder(1, (8, 16, 16), 4, ("sp2",))
    graph = b.graph(b.conv(b.conv("input", 8, (3, 3), (1, 1), (1, 1, 1, 1)), 1, (16, 16)))
    for rows in (8, 32):
        layout = laid_out(graph, Engine(ki=8, px=1, sp2_rows=rows, dsp_rows=0, drain_lanes=1), ring=1024)
        least = bound(work_of(lower(graph, 8)), layout.engine)
        # 256 pixels of 9 words, then 256 words; a drain of 8 rows is shorter.
        assert least == 256 * 9 + 256
        assert least <= count_cycles(layout).total < least + 500


def test_load_unit_waits_for_ring_room_and_parameter_buffers():
    loader = _Loader(16)
    # START is word 0; a packet of n words takes n + 1 cycles.
    assert loader.packet(4) == FIRST_WORD + 1
    assert (loader.at, loader.words) == (FIRST_WORD + 6, 6)
    for _ in range(2):
        loader.params(3)
        loader.weights(10, 7)
    assert loader.at == FIRST_WORD + 6 + 2 * (4 + 11)
    loader.released, loader.params_free = [100, 300], [200, 400]
    # The third tile needs the first one's parameter buffer, and 7 + 7 + 7 words do not fit 16.
    loader.params(3)
    assert loader.at == 204
    loader.weights(10, 7)
    assert loader.at == 215
    loader.released.append(500)
    loader.params_free.append(600)
    # Two tiles must go for 16 words.
    loader.params(3)
    assert loader.at == 404
    loader.weights(20, 16)
    assert loader.at == 521


def test_one_pixel_per_word():
    """Twice the pixels of a layer that is bound by its words: half the cycles of its groups, to the cycle."""
    b = Builder(1, (16, 8, 8), 4, ("sp2",))
    graph = b.graph(b.conv("input", 4, (3, 3), (1, 1), (1, 1, 1, 1)))
    spent = {}
    for px in (1, 2):
        layout = laid_out(graph, Engine(ki=4, px=px, sp2_rows=4, dsp_rows=0, drain_lanes=4))
        cycles = count_cycles(layout)
        assert cycles.collisions == (0,)
        spent[px] = cycles.layers[0]
    # 64 pixels, 9 taps of 4 words each; the drain of the last group takes a cycle more.
    assert spent[1] - spent[2] == 32 * 36 - 1
