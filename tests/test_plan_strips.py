"""Steps: strips cover every layer once, nothing but a strip has to fit, and the cheapest maps go to memory."""

from dataclasses import replace
import random

import pytest
from small_networks import NETWORKS, Builder
from test_plan_cycles import laid_out

from hwgen.engine import Engine
from hwgen.plan.cycles import count_cycles
from hwgen.plan.layout import MAX_DEPTH, lay_out, needs
from hwgen.plan.tiles import Unplaceable
from hwgen.program.assemble import assemble_layout

SMALL = Engine(ki=4, px=2, sp2_rows=4, dsp_rows=4, drain_lanes=2, acc_bits=24, pool_columns=64, scratch_depth=MAX_DEPTH)
LARGE = Engine(ki=16, px=6, sp2_rows=24, dsp_rows=8, drain_lanes=8, acc_bits=24, ring_depth=1024, scratch_depth=7000,
               pool_columns=1024, mem_bits=256, ports=4)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("share", [1.0, 0.6, 0.4, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_strips_cover_the_layers_within_the_scratchpad(name, share, seed):
    engine = replace(SMALL, px=1 + seed)
    layout = laid_out(NETWORKS[name](seed)[0], engine, share=share)
    rows = {layer.name: [] for layer in layout.layers}
    order = []
    for step in layout.steps:
        rows[step.layer.name] += range(step.walk.first_row, step.walk.first_row + step.walk.out_rows)
        if not order or order[-1] != step.layer.name:
            order.append(step.layer.name)
        for region in (step.source, step.residual, step.target if step.keep else None):
            if region is not None:
                assert 0 <= region.base and region.base + region.size <= layout.engine.scratch_depth
        assert step.keep or step.store
    assert order == [layer.name for layer in layout.layers]
    for layer in layout.layers:
        assert rows[layer.name] == list(range(layout.tensor(layer.output).shape[1]))
    assert needs(layout)["scratch_depth"] <= layout.engine.scratch_depth


def resnet_stem(size, channels):
    """Stem, pool and one block with a projection at full width."""
    b = Builder(1, (3, size, size), 8, ("sp2",))
    x = b.pool(b.conv("input", channels, (7, 7), (2, 2), (3, 3, 3, 3)), "max", (3, 3), (2, 2), (1, 1, 1, 1))
    y = b.conv(b.conv(x, channels, (3, 3), (1, 1), (1, 1, 1, 1)), channels, (3, 3), (1, 1), (1, 1, 1, 1), residual=x)
    return b.graph(y)


def test_a_stem_in_strips_hides_its_fetches():
    """ResNet's stem at 224x224: maps of 56x56x64 stay, the image comes in strips, 11 words of 16 per pixel."""
    layout = lay_out(resnet_stem(224, 64), LARGE)
    stem = layout.layers[0]
    steps = [step for step in layout.steps if step.layer is stem]
    assert len(steps) > 2 and all(step.walk.raster and step.keep for step in steps)
    assert layout.most_words(stem) == 11
    assert layout.in_memory == (layout.network.graph.input, layout.layers[-1].output)
    cycles = count_cycles(layout)
    # Of what one strip after the other would wait, nothing is left but the first one.
    fetched = sum(fetch.words for step in steps for place in step.fetches for fetch in place)
    assert cycles.first_load < fetched // 4
    # 112 rows of 112 in groups of 6, two tiles of 32 rows, 24 cycles of drain, which 22 words do not exceed.
    assert cycles.layers[0] < 1.15 * 112 * -(-112 // 6) * 2 * 24


@pytest.mark.parametrize("size,channels,depth", [(608, 64, 7000), (608, 64, 3000), (416, 32, 1500), (224, 64, 1000)])
def test_large_inputs_on_the_same_engine(size, channels, depth):
    """Maps of many times the scratchpad: the residual comes back in strips, too; the program can be written."""
    graph = resnet_stem(size, channels)
    layout = lay_out(graph, replace(LARGE, scratch_depth=depth, acc_bits=28, m_bits=32))
    assert layout.schedule.depth <= depth
    sizes = {name: region.size for name, region in layout.maps.items()}
    assert max(sizes.values()) > depth
    for name in layout.schedule.resident:
        assert sizes[name] <= depth
    assert any(step.residual is not None for step in layout.steps)
    cycles = count_cycles(layout)
    assert assemble_layout(layout).words == cycles.program_words


def test_the_cheapest_map_goes_to_memory():
    """Two maps live beside each other: the one that is read less often, not the other one."""
    b = Builder(2, (4, 16, 16), 4, ("sp2",))
    twice = b.conv("input", 8)
    once = b.conv(twice, 8, (3, 3), (1, 1), (1, 1, 1, 1))
    # A layer between them, so that they cannot run in turns.
    between = b.conv(twice, 1, (16, 16))
    graph = b.graph(b.conv(once, 8, (3, 3), (1, 1), (1, 1, 1, 1), residual=twice), between)
    whole = laid_out(graph, SMALL)
    layout = lay_out(graph, replace(SMALL, scratch_depth=whole.schedule.depth * 4 // 5))
    assert once in layout.in_memory and twice not in layout.in_memory


def inverted_residual(seed=5, rows=24):
    """A wide map between an expansion and a depthwise layer, and the sum of what is narrow."""
    b = Builder(seed, (8, 60, 16), 4, ("sp2",))
    wide = b.conv("input", rows, bits=8)
    middle = b.conv(wide, rows, (3, 3), (1, 1), (1, 1, 1, 1), groups=rows)
    return b.graph(b.add(b.conv(middle, 8), "input")), wide


def test_layers_run_in_turns_where_the_map_between_them_is_large():
    graph, wide = inverted_residual()
    whole = laid_out(graph, SMALL)
    layout = lay_out(graph, replace(SMALL, scratch_depth=whole.schedule.depth // 2))
    assert layout.schedule.depth <= whole.schedule.depth // 2
    assert wide not in layout.in_memory and wide not in layout.schedule.resident
    steps = layout.steps
    made = [index for index, step in enumerate(steps) if step.layer.output == wide]
    rows = []
    assert len(made) > 1
    for index in made:
        maker, reader = steps[index], steps[index + 1]
        assert reader.layer.input == wide and reader.source == maker.target and maker.keep and not maker.store
        # What the reader finds are the rows that it reads, each with the row above and below.
        first, end = reader.walk.first_row, reader.walk.first_row + reader.walk.out_rows
        top = max(0, first - 1)
        assert (maker.target.first_row, maker.target.height) == (top, min(60, end + 1) - top)
        assert (maker.walk.first_row, maker.walk.out_rows) == (maker.target.first_row, maker.target.height)
        rows += range(first, end)
    assert rows == list(range(60))
    # Cheaper than the way out and back, and the same program for the same network.
    assert count_cycles(layout).total < 1.2 * count_cycles(whole).total
    assert assemble_layout(layout).words == count_cycles(layout).program_words


def test_a_strip_that_does_not_fit_is_refused_by_name_with_numbers():
    b = Builder(3, (64, 4, 300), 4, ("sp2",))
    graph = b.graph(b.conv("input", 4, (3, 3), (1, 1), (1, 1, 1, 1)))
    with pytest.raises(Unplaceable, match=r"layer 'conv0': one strip of its maps needs [\d,]+ words .*, 1,000 are"):
        lay_out(graph, replace(SMALL, scratch_depth=1000))


@pytest.mark.parametrize("seed", range(6))
def test_more_scratchpad_never_moves_more(seed):
    """Words fetched and stored fall, or stay, as the scratchpad grows."""
    name = random.Random(seed).choice(list(NETWORKS))
    graph = NETWORKS[name](seed)[0]
    moved = []
    for share in (0.3, 0.5, 0.7, 1.0):
        layout = laid_out(graph, SMALL, share=share)
        moved.append(sum(layout.maps[name].size for name in layout.in_memory))
    assert moved == sorted(moved, reverse=True)
