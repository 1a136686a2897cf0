"""The cycle model: its sums, its lower bound, its load unit; equality with the simulation is tested in rtl_tests."""

from dataclasses import replace
import random

import numpy as np
import pytest
from small_networks import NETWORKS, Builder

from hwgen.plan.candidates import bound, work_of
from hwgen.plan.cycles import count_cycles
from hwgen.engine import Engine, EngineError
from hwgen.plan.layout import MAX_DEPTH, lay_out, needs
from hwgen.plan.load import FIRST_WORD, Load, Memory
from hwgen.plan.lower import lower
from hwgen.plan.tiles import Unplaceable
from hwgen.program.assemble import assemble_layout


def random_engine(rng):
    while True:
        drain = rng.choice((1, 2, 4))
        try:
            return Engine(ki=rng.choice((2, 4, 8, 16)), px=rng.randint(1, 8), sp2_rows=drain * rng.randint(0, 8),
                          dsp_rows=drain * rng.randint(1, 8), drain_lanes=drain)
        except EngineError:
            continue


def laid_out(graph, engine, ring=None, share=1.0):
    """The layout on the engine with the widths that it needs; None where its rows find no place.

    With ``share`` the scratchpad is that part of what whole maps need, or as much more as it takes.
    """
    try:
        layout = lay_out(graph, replace(engine, scratch_depth=MAX_DEPTH))
    except Unplaceable:
        return None
    words = needs(layout)["scratch_depth"]
    while share < 1:
        try:
            layout = lay_out(graph, replace(engine, scratch_depth=max(16, int(words * share))))
            break
        except Unplaceable:
            share += 0.05
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
        share = rng.choice((1.0, 0.5, 0.2))
        layout = laid_out(NETWORKS[name](seed)[0], engine, share=share)
        if layout:
            found.append(pytest.param(layout, id=f"{name} {seed} {engine.ki}x{engine.px}x{engine.rows} {share}"))
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
        groups = sum(step.walk.groups for step in layout.steps if step.layer is layer)
        tiles = layout.tiles(layer)
        assert spent >= sum(groups * (layout.words(layer, tile) * layout.planes(layer.input)
                                     + layout.residual_words(layer, tile)) for tile in tiles)
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


def test_bound_of_a_layer_with_few_weights():
    """64 rows of one weight each in 8 tiles: a word per tile, where a dense layer takes 8; the drain takes 4 cycles."""
    b = Builder(1, (64, 24, 24), 4, ("sp2",))
    graph = b.graph(b.conv("input", 64))
    graph.ops[0].weight[:, :, 0, 0] = np.eye(64)
    layout = laid_out(graph, Engine(ki=8, px=4, sp2_rows=8, dsp_rows=0, drain_lanes=8), ring=64)
    least = bound(work_of(lower(graph, 8)), layout.engine)
    assert [layout.words(layout.layers[0], tile) for tile in layout.tiles(layout.layers[0])] == [1] * 8
    assert least == 8 * 24 * 24 <= count_cycles(layout).total < 8 * 24 * 24 + 1000


def loader(engine=None, words=10_000, memory=None):
    """The load unit with START taken."""
    load = Load(engine or Engine(ki=4, px=2, sp2_rows=4, dsp_rows=4, drain_lanes=2, ring_depth=16), words, memory)
    assert load.take(1) == FIRST_WORD + (0 if memory is None else memory.latency - 1)
    return load


def test_load_unit_waits_for_ring_room_and_parameter_buffers():
    load = loader()
    # A packet of n words takes n + 1 cycles.
    assert load.packet(4) == FIRST_WORD + 1
    assert (load.at, load.words) == (FIRST_WORD + 6, 6)
    for _ in range(2):
        load.params(3)
        load.weights(10, 7)
    assert load.at == FIRST_WORD + 6 + 2 * (4 + 11)
    load.released, load.params_free = [100, 300], [200, 400]
    # The third tile needs the first one's parameter buffer, and 7 + 7 + 7 words do not fit 16.
    load.params(3)
    assert load.at == 204
    load.weights(10, 7)
    assert load.at == 215
    load.released.append(500)
    load.params_free.append(600)
    # Two tiles must go for 16 words; the numbers of slices are taken before.
    load.params(3)
    assert load.at == 404
    load.weights(20, 16)
    assert load.at == 520


def test_a_slow_memory_gives_a_word_per_interval_and_a_fast_one_hides_its_latency():
    slow = loader(memory=Memory(latency=30, bytes_per_cycle=2, queue=8))
    assert slow.packet(399) == FIRST_WORD + 29 + 4
    assert slow.at == FIRST_WORD + 29 + 4 * 400 + 1
    far = loader(memory=Memory(latency=40, queue=8))
    far.packet(1999)
    assert far.at == FIRST_WORD + 39 + 2001
    # One request at a time: 16 words, then nothing for the latency.
    single = loader(memory=Memory(latency=40))
    single.packet(63)
    assert single.at == FIRST_WORD + 39 + 4 * 55 + 1


def test_room_bounds_what_is_requested_ahead():
    """A load unit that waits has 64 words in its FIFO; the memory must have them at once when it goes on."""
    load = loader(memory=Memory(latency=200, queue=8))
    load.packet(63)
    first = load.at
    load.packet(15, ready=first + 1000)
    # Words 64 to 79 were asked for when word 15 had been taken.
    assert load.at == first + 1000 + 16
    load.packet(79)
    # Words 80 to 127 are there too, those from 128 on only 200 cycles after word 79 was taken.
    assert load.at == first + 1016 + 48 + (200 + 4 - 48) + 32


def test_commands_and_thresholds_cost_a_cycle_per_64_bits():
    engine = Engine(ki=4, px=2, sp2_rows=4, dsp_rows=4, drain_lanes=2, mem_bits=256, ports=2)
    load = loader(engine)
    # The header in cycle 4, 18 commands from memory words of four each.
    assert load.commands(18) == [FIRST_WORD + 2 + 4 + k for k in range(18)]
    assert (load.words, load.at) == (1 + 1 + 5, FIRST_WORD + 2 + 18)
    load.thresholds(3)
    assert (load.words, load.at) == (7 + 1 + 6, FIRST_WORD + 20 + 1 + 24)


@pytest.mark.parametrize("ports,mem_bits", [(1, 64), (4, 256)])
def test_a_fetch_costs_a_cycle_per_pair_of_scratchpad_words(ports, mem_bits):
    """Header, payload, then the way of a request: queue of fetches, request, answer; then pair by pair."""
    def pairs(first, words):
        return (first + words - 1) // 2 - first // 2 + 1

    load = loader(Engine(ki=4, px=2, sp2_rows=4, dsp_rows=4, drain_lanes=2, mem_bits=mem_bits, ports=ports))
    begin = load.at
    # The payload is in the FIFO while the program's first run goes on for up to 16 words.
    load.fetch(5, 100, 0, lambda cycle: ())
    asked = max(begin + 1 + 1, 16)
    assert load.at == asked + 5 + pairs(5, 100)
    before = load.at
    load.fetch(7, 10, 500, lambda cycle: {530, 531, 540})
    # The counter of finished layers shows in cycle 500; the request goes out in 501.
    assert load.at == max(before, 501 + 5) + pairs(7, 10) and load.at < 530
    load.fetch(7, 30, 520, lambda cycle: {530, 531, 545})
    assert load.at == 521 + 5 + pairs(7, 30) + 2


def test_fetches_one_after_the_other_pay_the_latency_once():
    load = loader(memory=Memory(latency=24, queue=8))
    for _ in range(8):
        load.fetch(1024, 64, 0, lambda cycle: ())
    # The memory is busy with the first 64 words of the program, which were asked for before; then each fetch
    # takes its words and its packet's two.
    assert load.at == 24 + 64 + 4 + 8 * 32 + 7 * 2


def test_one_pixel_per_word():
    """Twice the pixels of a layer that is bound by its words: half the cycles of its groups, to the cycle."""
    b = Builder(1, (4, 8, 8), 4, ("sp2",))
    graph = b.graph(b.conv(b.conv("input", 16), 4, (3, 3), (1, 1), (1, 1, 1, 1)))
    spent = {}
    for px in (1, 2):
        layout = laid_out(graph, Engine(ki=4, px=px, sp2_rows=4, dsp_rows=0, drain_lanes=4))
        cycles = count_cycles(layout)
        assert cycles.collisions == (0, 0)
        spent[px] = cycles.layers[1]
    # 64 pixels, 9 taps of 4 words each; the first group of slots and the last drain take a cycle more each.
    assert spent[1] - spent[2] == 32 * 36 - 2
