"""Sizing: what is found fits and is good, what cannot be is refused with numbers and alternatives."""

from dataclasses import replace
import json
import random
import re

import numpy as np
import pytest
from small_networks import Builder, chain_network, odd_network, residual_network, sparse_network

from hwgen.device.parts import PARTS, get_part
from hwgen.device.resources import FIELDS, Resources
from hwgen.engine import STORE_WORDS, Engine, EngineError
from hwgen.errors import HwgenError
from hwgen.graph.ir import Conv, Graph, Requant, Tensor
from hwgen.plan import make_plan
from hwgen.plan.ideal import ideal, layer_macs
from hwgen.plan.load import Memory
from hwgen.plan.presets import engine_text, parse_engine
from hwgen.plan.cycles import count_cycles
from hwgen.plan.candidates import Demand, bound, candidates, splits
from hwgen.plan.layout import lay_out, needs, sum_bits
from hwgen.plan.tiles import Unplaceable
from hwgen.plan.refuse import fill
from hwgen.plan.neighbours import neighbours
from hwgen.plan.search import Search
from hwgen.plan.sizing import size
from hwgen.program.assemble import assemble_layout

PART = get_part("LFE5U-85F")
NETWORK = residual_network(1)[0]


@pytest.fixture(scope="module")
def search():
    return Search(NETWORK, PART)


def test_candidates_are_legal_and_differ(search):
    found = list(candidates(search.work, PART))
    assert len(found) == len(set(found)) > 200
    # Rows of every scheme are in the network: multipliers are needed.
    assert all(engine.dsp_rows for engine in found)
    assert {engine.dsp_weights for engine in found} <= {"dsp", "lut"}
    assert list(candidates(search.work, PART)) == found


@pytest.mark.parametrize("share,rows", [(0.0, (0, 0, 24, 8)), (0.6, (19, 0, 5, 8)), (0.75, (24, 0, 0, 8))])
def test_multipliers_fill_the_blocks_beside_the_requantizers(share, rows):
    """16 x 5 with 8 drain lanes on 220 blocks: two rows take 16 * 3, eight requantizers 24: four pairs fit."""
    shape = Engine(ki=16, px=5, dsp_rows=8, drain_lanes=8, family="xilinx7", mem_bits=256, ports=4)
    found = splits(shape, 32, Demand((share, 0.0, 0.0, 0.0), 1 - share, 0.0, 0.0), get_part("XC7Z020"))
    assert rows in found and all(sum(split) == 32 for split in found)


def test_rough_bounds_hold(search):
    rng = random.Random(1)
    checked = 0
    for rough in rng.sample(search.rough(), 60):
        sized = search.exact(rough.engine)
        if sized is not None:
            assert rough.least <= sized.cycles.total
            checked += 1
    assert checked > 30


def test_fastest_is_as_fast_as_any_sampled_candidate(search):
    best = search.fastest()
    assert best.fits(PART)
    rng = random.Random(2)
    for rough in rng.sample(search.rough(), 80):
        sized = search.exact(rough.engine)
        if sized is not None and sized.fits(PART):
            assert best.cycles.total <= sized.cycles.total


@pytest.mark.parametrize("factor", [1.0, 1.5, 4, 20])
def test_smallest_reaches_its_limit(search, factor):
    limit = search.fastest().cycles.total * factor
    sized = search.smallest(limit)
    assert sized.cycles.total <= limit and sized.fits(PART)
    # No neighbour is smaller and still fast enough.
    for engine in neighbours(sized.engine):
        other = search.exact(engine)
        if other is not None and other.cycles.total <= limit and other.fits(PART):
            assert other.total.lut / PART.lut >= 0.8 * sized.total.lut / PART.lut


def test_smaller_limits_need_no_smaller_engines(search):
    fast = search.fastest().cycles.total
    luts = [search.smallest(fast * factor).total.lut for factor in (1.0, 2.0, 8.0)]
    assert luts == sorted(luts, reverse=True)


def test_size_gives_the_engine_what_it_needs():
    sized = size(NETWORK, Engine(ki=8, px=2, sp2_rows=8, dsp_rows=8, drain_lanes=4), PART)
    for name, value in needs(sized.layout).items():
        assert getattr(sized.engine, name) >= value, name
    engine = sized.engine
    assert engine.ring_depth & engine.ring_depth - 1 == 0 and engine.m_bits >= 18
    assert engine.residual and engine.rescale and engine.pool and engine.wide and not engine.thresholds
    shares = sized.share(PART)
    total, available = sized.total, PART.available
    assert shares == {name: getattr(total, name) / (getattr(available, name) * fill(PART)[name]) for name in FIELDS}


def test_accumulator_width_follows_from_shapes():
    """Largest sum: positions times 155 on shift-add lanes, 15 * 255 for 8-bit weights; times 17 for two planes."""
    b = Builder(1, (5, 4, 4), 8)
    graph = b.graph(b.conv("input", 3, (3, 3), schemes=("sp2",)))
    engine = Engine(ki=4, px=1, sp2_rows=4, dsp_rows=4, drain_lanes=4)
    # Columns are packed: 15 channels are 4 words of 4, three rows of the kernel.
    assert sum_bits(lay_out(graph, engine)) == (3 * 16 * 155 * 17).bit_length()
    b = Builder(1, (5, 4, 4), 4)
    graph = b.graph(b.conv("input", 3, schemes=("fixed8",)))
    assert sum_bits(lay_out(graph, engine)) == (8 * 255 * 15).bit_length()


def test_plan_explains_itself_and_is_reproducible():
    plans = [make_plan(chain_network(1)[0], PART, clock_mhz=50, fps=fps) for fps in (None, 1000, 1000)]
    assert plans[1].to_json() == plans[2].to_json()
    for plan, fps in zip(plans, (None, 1000, 1000), strict=False):
        data = json.loads(json.dumps(plan.to_json()))
        assert data["cycles"] == plan.cycles == data["first_load"] + sum(layer["planned"] for layer in data["layers"])
        text = "\n".join(plan.explanation)
        assert f"{plan.cycles:,} cycles" in text and "MACs per cycle" in text
        assert re.search(r"bound by|largest share is", text) and re.search("LUT|DSP|BRAM|FF", text)
        assert any("one more pixel" in line for line in plan.explanation)
        if fps:
            assert 50e6 / plan.cycles >= fps
    assert plans[1].estimate.lut <= plans[0].estimate.lut


def test_macs_are_those_of_the_network():
    plan = make_plan(odd_network(1)[0], PART, clock_mhz=50)
    for index, layer in enumerate(plan.layout.layers):
        convs = [op for op in plan.layout.network.graph.ops if op.name in layer.ops and isinstance(op, Conv)]
        expected = sum(op.weight.size * np.prod(plan.layout.network.graph.tensors[op.output].shape[1:]) for op in convs)
        assert layer_macs(plan.layout, index) == expected


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bytes_per_cycle", [2, 8])
def test_no_engine_beats_the_bound(seed, bytes_per_cycle):
    for builder in (residual_network, chain_network, odd_network, sparse_network):
        sized = size(builder(seed)[0], Engine(ki=8, px=3, sp2_rows=8, int4_rows=8, dsp_rows=8, drain_lanes=4), PART)
        cycles = count_cycles(sized.layout, Memory(bytes_per_cycle=bytes_per_cycle))
        assert ideal(sized.layout, cycles, bytes_per_cycle).total <= cycles.total


def test_bound_by_hand():
    """16 x 16 weights on 8 x 8 pixels of 8 bits: two planes; 128 multiply-accumulates per cycle."""
    b = Builder(1, (16, 8, 8), 8, ("sp2",))
    layout = size(b.graph(b.conv("input", 16)), Engine(ki=8, px=2, sp2_rows=8, drain_lanes=8), PART).layout
    cycles = count_cycles(layout)
    found = ideal(layout, cycles, 8)
    assert found.computing == 16 * 16 * 64 * 2 / 128 and layer_macs(layout, 0) == 16 * 16 * 64
    # 128 bytes of weights, 1,024 of the input (half a memory word each), parameters and commands.
    assert 128 + 1024 < 8 * found.moving < 128 + 2048 + 1000
    assert found.total == max(found.computing + cycles.first_load + cycles.total - cycles.last_word, found.moving)


@pytest.mark.parametrize("text", ["d1-2", "ki=16,px=6,sp2=24,dsp=8,drain=8",
                                  "ki=8,px=2,int4=4,dsp=4,drain=4,mem=256,ports=4,ring=1024,wide=1"])
def test_engine_text_is_read_back(text):
    part = get_part("XC7Z020")
    engine = parse_engine(text, part)
    assert parse_engine(engine_text(engine), part) == engine


def large_network(channels=256, layers=3, size=14):
    """Too many weights for a small part's memory."""
    rng = np.random.default_rng(1)
    tensors = {"x0": Tensor("x0", (channels, size, size), 4)}
    ops = []
    for i in range(layers):
        tensors[f"x{i + 1}"] = Tensor(f"x{i + 1}", (channels, size, size), 4)
        ones = np.ones(channels, np.int64)
        weight = rng.choice([0, 1, -1, 8], (channels, channels, 3, 3))
        ops.append(Conv(f"conv{i}", f"x{i}", f"x{i + 1}", weight, ("sp2",) * channels, np.ones(channels),
                        Requant(ones, ones, ones), (1, 1), (1, 1, 1, 1)))
    return Graph("large", tensors, tuple(ops), "x0", (f"x{layers}",))


def test_a_network_that_does_not_fit_is_refused_with_numbers_and_parts():
    with pytest.raises(HwgenError) as error:
        make_plan(large_network(96, 2, 7), get_part("iCE40UP5K"), clock_mhz=12)
    text = str(error.value)
    assert "network 'large' does not fit iCE40UP5K" in text
    name, needed, available = re.search(r"(LUT|FF|DSP|BRAM) ([\d,]+) of ([\d,]+)", text).groups()
    share = fill(get_part("iCE40UP5K"))[name.lower()]
    assert int(needed.replace(",", "")) > share * int(available.replace(",", ""))
    assert "parts that it fits: " in text and "LFE5U" in text


def test_alternatives_leave_out_parts_that_are_refused_at_once(monkeypatch):
    """A refusal names the part that was asked for, also where another one is too small for the weights alone."""
    part = get_part("iCE40UP5K")
    tiny = replace(part, name="LFE5U-25F", bram=1, spram=0)
    monkeypatch.setitem(PARTS, "LFE5U-25F", tiny)
    with pytest.raises(HwgenError, match="does not fit LFE5U-25F.*needs? at least"):
        Search(large_network(96, 2, 7), tiny)
    with pytest.raises(HwgenError) as error:
        make_plan(large_network(96, 2, 7), part, clock_mhz=12)
    first, others = str(error.value).split("parts that it fits: ")
    assert "does not fit iCE40UP5K" in first and "LFE5U-25F" not in others


@pytest.mark.parametrize("name", ["iCE40UP5K", "LFE5U-25F"])
def test_more_weights_than_any_memory_are_refused_at_once(name):
    """Numbers, before any engine is laid out: 12 layers of 512 x 512 x 9 weights are 28 million."""
    with pytest.raises(HwgenError) as error:
        make_plan(large_network(512, 12, 2), get_part(name), clock_mhz=12)
    text = str(error.value)
    assert f"does not fit {name}" in text and "28,311,552 weights" in text
    # The Zynq parts have ports to external memory.
    assert text.endswith("parts with enough: XC7Z020, XC7Z045")


def test_external_memory_holds_what_the_chip_cannot():
    """4.7 million weights are 18.9 Mb; the XC7Z020 has 5.2 Mb of block RAM."""
    plan = make_plan(large_network(512, 2, 2), get_part("XC7Z020"), clock_mhz=100)
    assert plan.sized.memory == Resources() and plan.sized.fits(get_part("XC7Z020"))
    assert (plan.engine.mem_bits, plan.engine.ports) == (256, 4)
    # Weights bound it: no engine is faster than its memory port.
    assert plan.cycles >= 2 * 512 * 512 * 9 * 4 / plan.engine.mem_bits


def test_an_unreachable_frame_rate_is_refused_with_the_fastest(search):
    fastest = search.fastest().cycles.total
    with pytest.raises(HwgenError) as error:
        make_plan(NETWORK, PART, clock_mhz=50, fps=50e6 / fastest * 2)
    text = str(error.value)
    assert f"no engine on LFE5U-85F needs at most {fastest / 2:,.0f} cycles per image" in text
    assert f"needs {fastest:,}" in text and "fewer frames" in text


def vector_layer(channels, kernel, rows=4, out_bits=4):
    b = Builder(3, (channels, *kernel), 4, ("sp2",))
    return b.graph(b.conv("input", rows, kernel, bits=out_bits))


def two_layers(kernel):
    """A kernel that the host cannot pack."""
    b = Builder(3, (2, *kernel), 4, ("sp2",))
    return b.graph(b.conv(b.conv("input", 2), 4, kernel))


@pytest.mark.parametrize("graph,message", [
    (two_layers((65, 1)), "layer 'conv1': 65 kernel height, at most 64"),
    (vector_layer(1100, (8, 8)), r"layer 'conv0': [\d,]+ weight words of a tile .*, at most 4,095"),
])
def test_numbers_beyond_the_instruction_set_are_refused_by_layer(graph, message):
    with pytest.raises(Unplaceable, match=message):
        lay_out(graph, Engine(ki=2, px=1, sp2_rows=4, dsp_rows=0, drain_lanes=2))
    with pytest.raises(HwgenError, match="layer 'conv.'.*at most"):
        make_plan(replace(graph, name="odd"), get_part("iCE40UP5K"), clock_mhz=12)


def test_a_small_engine_has_smaller_limits():
    """Maps of more than 511 columns, and programs beyond 16 bits of address."""
    engine = Engine(ki=2, px=1, sp2_rows=4, dsp_rows=0, drain_lanes=2, small=True, wide=False)
    b = Builder(3, (1, 1, 600), 4, ("sp2",))
    graph = b.graph(b.conv(b.conv("input", 2), 2))
    with pytest.raises(Unplaceable, match="layer 'conv.': 600 columns of the input map, at most 511"):
        size(graph, engine, PART)
    assert size(graph, replace(engine, small=False), PART).cycles.total > 0
    b = Builder(3, (1024, 1, 1), 4, ("sp2",))
    graph = b.graph(b.conv("input", 1200))
    with pytest.raises(HwgenError, match="words of memory, and a small engine reaches 65,536"):
        assemble_layout(size(graph, replace(engine, ring_depth=1024), PART).layout)


def test_a_tile_beyond_the_store_queue_is_refused():
    b = Builder(5, (2, 2, 2), 4, ("sp2",))
    graph = b.graph(b.conv("input", 96, bits=8))
    engine = Engine(ki=2, px=8, sp2_rows=96, dsp_rows=0, drain_lanes=2)
    # 48 words of two channels, two planes, eight pixels.
    assert 48 * 2 * 8 > STORE_WORDS
    with pytest.raises(Unplaceable, match=f"768 result words of a tile, at most {STORE_WORDS}"):
        lay_out(graph, engine)


def with_constant(graph, value):
    op = graph.ops[0]
    rule = replace(op.requant, constant=np.full(len(op.weight), value))
    return replace(graph, ops=(replace(op, requant=rule), *graph.ops[1:]))


def test_large_constants_widen_the_engine():
    """A bias that saturates every code: only the constants become wider."""
    graph = with_constant(vector_layer(3, (2, 2)), -(2**42))
    sized = size(graph, Engine(ki=2, px=1, sp2_rows=4, dsp_rows=0, drain_lanes=2), PART)
    # acc_bits is 12, its least: 12 positions of 155.
    assert (sized.engine.acc_bits, sized.engine.m_bits, sized.engine.c_extra) == (12, 18, 43 - 12 - 18)
    assert assemble_layout(sized.layout).words == sized.cycles.program_words
    with pytest.raises(Unplaceable, match="cannot be made: c_extra must be in 0..16, not 31"):
        size(with_constant(graph, 2**60), sized.engine, PART)
    with pytest.raises(HwgenError, match="c_extra must be in 0..16"):
        make_plan(with_constant(graph, 2**60), PART, clock_mhz=50)


@pytest.mark.parametrize("changes,message", [
    ({"ki": 3}, "ki must be a power of two from 2 to 32, not 3"),
    ({"px": 9}, "px must be in 1..8, not 9"),
    ({"drain_lanes": 3}, "drain_lanes must divide ki=4, not 3"),
    ({"sp2_rows": 3}, "the rows of all lane groups together must be a multiple of drain_lanes=2, not 7"),
    ({"pot_rows": -2}, "pot_rows must be at least 0, not -2"),
    ({"sp2_rows": 0, "dsp_rows": 0}, "the rows of all lane groups together must be in 1..256, not 0"),
    ({"ring_depth": 24}, "ring_depth must be a power of two of at least 16, not 24"),
    ({"scratch_depth": 8}, "scratch_depth must be at least 16, not 8"),
    ({"acc_bits": 33, "thresholds": False}, "acc_bits must be in 12..32, not 33"),
    ({"acc_bits": 32}, "acc_bits must be at most 31 with thresholds"),
    ({"m_bits": 33}, "m_bits must be in 8..32, not 33"),
    ({"mem_bits": 32}, "mem_bits must be 64, 128, 256 or 512, not 32"),
    ({"mem_bits": 192}, "mem_bits must be 64, 128, 256 or 512, not 192"),
    ({"mem_bits": 512, "ports": 3}, "ports must be 1, 2 or 4, not 3"),
    ({"mem_bits": 512, "ports": 2}, "a memory port must have 64 or 128 bits, not mem_bits=512 / ports=2"),
    ({"mem_bits": 64, "ports": 2}, "a memory port must have 64 or 128 bits, not mem_bits=64 / ports=2"),
    ({"ki": 32, "drain_lanes": 2}, r"4\*ki must not exceed mem_bits=64"),
    ({"m_bits": 20, "swap": True}, "swap is for M of 19 to 18 bits .* not m_bits=20"),
    ({"m_bits": 26, "acc_bits": 20, "swap": True, "family": "xilinx7"}, "swap is for M of 19 to 25 bits"),
    ({"fused": False, "rescale": False}, "a residual needs the first stage"),
])
def test_illegal_engines(changes, message):
    values = {"ki": 4, "px": 2, "sp2_rows": 4, "dsp_rows": 4, "drain_lanes": 2} | changes
    with pytest.raises(EngineError, match=message):
        Engine(**values)


def test_engine_id_differs_with_every_parameter():
    engine = Engine(ki=4, px=2, sp2_rows=4, dsp_rows=4, drain_lanes=2)
    others = [replace(engine, **change) for change in (
        {"ki": 8}, {"px": 3}, {"sp2_rows": 6}, {"dsp_rows": 6}, {"drain_lanes": 1}, {"ring_depth": 1024},
        {"scratch_depth": 1024}, {"acc_bits": 25}, {"m_bits": 19}, {"mem_bits": 128},
        {"mem_bits": 128, "ports": 2}, {"wide": False},
        {"fused": False}, {"wide_residual": False}, {"family": "xilinx7"},
        {"family": "xilinx7", "m_bits": 21, "swap": True}, {"residual": False}, {"rescale": False},
        {"pool": False}, {"thresholds": False}, {"dsp_weights": "lut"})]
    assert len({other.id for other in [engine, *others]}) == len(others) + 1
    assert all(0 <= other.id < 2**32 for other in others)
    assert replace(engine).id == engine.id


def test_bound_of_nothing_but_a_copy():
    """One evaluation, one word, one row."""
    b = Builder(6, (1, 1, 1), 4, ("sp2",))
    search = Search(b.graph(b.conv("input", 1)), PART)
    assert bound(search.work, Engine(ki=2, px=1, sp2_rows=1, dsp_rows=0, drain_lanes=1)) == 1


def test_an_all_fixed4_network_gets_lut_lanes_and_multipliers():
    """On a part with many of both, neither is left idle."""
    b = Builder(7, (32, 14, 14), 4, ("fixed4",))
    graph = b.graph(b.conv(b.conv("input", 256, (3, 3), pads=(1, 1, 1, 1)), 128, (3, 3), pads=(1, 1, 1, 1)))
    engine = Search(graph, get_part("XC7Z020")).fastest().engine
    assert engine.int4_rows and engine.dsp_rows and not engine.sp2_rows and not engine.wide
    assert engine.family == "xilinx7"
