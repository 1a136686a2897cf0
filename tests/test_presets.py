"""Engines that are asked for: presets, parameters, and what is said when they cannot be."""

import pytest
from small_networks import Builder, chain_network

from hwgen.device.costs import requantizer_dsp
from hwgen.device.parts import get_part
from hwgen.engine import Engine
from hwgen.errors import HwgenError
from hwgen.plan import make_plan
from hwgen.plan.presets import PRESETS, engine_text, parse_engine
from hwgen.plan.search import Search

PART = get_part("XC7Z020")


@pytest.mark.parametrize("name,rows", [("d1-1", (0, 16)), ("d1-2", (16, 16)), ("d1-3", (24, 16)), ("D1-2", (16, 16))])
def test_presets_are_the_published_shapes(name, rows):
    engine = parse_engine(name, PART)
    assert (engine.ki, engine.px, engine.sp2_rows, engine.dsp_rows) == (16, 1, *rows)
    assert (engine.pot_rows, engine.int4_rows, engine.dsp_weights, engine.family) == (0, 0, "single", "xilinx7")
    assert engine.dsp_products == 220


def test_single_products_leave_blocks_to_the_requantizers():
    b = Builder(1, (3, 4, 4), 4)
    graph = b.graph(b.conv("input", 40, (3, 3), schemes=("sp2", "fixed4")))
    for name in ("d1-2", "d1-3"):
        plan = make_plan(graph, PART, clock_mhz=100, engine=name)
        taken = plan.engine.drain_lanes * requantizer_dsp(plan.engine, "xilinx7")
        assert 0 < taken < 60 and plan.engine.dsp_products == 220 - taken
        assert plan.estimate.dsp == 220
        assert plan.engine.sp2_rows == PRESETS[name]["sp2_rows"]
        assert any("the engine that was asked for; fits XC7Z020" in line for line in plan.explanation)


def test_free_form():
    engine = parse_engine("ki=16, px=6,sp2=24,int4=0,dsp=8,drain=8,mem=256,ports=4", PART)
    assert engine == Engine(ki=16, px=6, sp2_rows=24, dsp_rows=8, drain_lanes=8, mem_bits=256, ports=4, wide=False,
                            family="xilinx7")
    assert parse_engine("ki=4,px=1,dsp=2,wide=1,weights=lut", PART) == Engine(
        ki=4, px=1, dsp_rows=2, drain_lanes=1, dsp_weights="lut", family="xilinx7")


@pytest.mark.parametrize("memory,message", [
    ("mem=128", "XC7Z020 has 4 memory ports of 64 bits, not 1 of 128; mem must be 64 times ports"),
    ("mem=256,ports=2", "XC7Z020 has 4 memory ports of 64 bits, not 2 of 128; mem must be 64 times ports"),
])
def test_memory_words_that_the_ports_do_not_give(memory, message):
    text = f"ki=8,px=1,sp2=4,dsp=4,drain=2,{memory}"
    with pytest.raises(HwgenError, match=f"--engine {text}: {message}"):
        parse_engine(text, PART)
    # An on-chip memory is as wide as it must be.
    assert parse_engine(text, get_part("LFE5U-85F")).mem_bits >= 128


@pytest.mark.parametrize("text,message", [
    ("d9", "unknown engine 'd9'; known are d1-1, d1-2, d1-3, and parameters like ki=16"),
    ("ki=3,px=1,dsp=2", "--engine ki=3,px=1,dsp=2: ki must be a power of two from 2 to 32, not 3"),
    ("ki=4,colour=1", "unknown parameter 'colour'; known are ki, px, drain"),
    ("ki=4,px=two", "px must be a whole number, not 'two'"),
    ("px=2,dsp=2", "--engine px=2,dsp=2: .*'ki'"),
])
def test_texts_that_say_no_engine(text, message):
    with pytest.raises(HwgenError, match=message):
        parse_engine(text, PART)


def test_an_engine_that_cannot_run_the_network():
    with pytest.raises(HwgenError, match="does not run on this engine: layer 'conv0': no lane group takes its rows .*; "
                                         "give it other lane groups or leave --engine out"):
        make_plan(chain_network(1, ("fixed8",))[0], PART, clock_mhz=100, engine="ki=4,px=1,sp2=4,drain=4")


def test_an_engine_that_exceeds_the_part_is_planned_all_the_same():
    b = Builder(1, (3, 4, 4), 4)
    graph = b.graph(b.conv("input", 40, (3, 3), schemes=("sp2", "fixed4")))
    plan = make_plan(graph, PART, clock_mhz=100, engine="ki=16,px=8,sp2=32,dsp=32,drain=16")
    assert any("does not fit what a plan may use of XC7Z020: " in line and "DSP" in line for line in plan.explanation)


def test_the_scratchpad_is_as_deep_as_the_part_holds_or_as_it_may_be():
    b = Builder(1, (16, 96, 96), 4, ("sp2",))
    graph = b.graph(b.conv(b.conv("input", 64, (3, 3), (1, 1), (1, 1, 1, 1)), 8, (3, 3)))
    free = make_plan(graph, PART, clock_mhz=100, engine="ki=16,px=2,sp2=8,drain=4,mem=128,ports=2")
    held = make_plan(graph, PART, clock_mhz=100, engine="ki=16,px=2,sp2=8,drain=4,mem=128,ports=2,scratch=2048")
    assert held.engine.scratch_depth == 2048 < free.engine.scratch_depth
    # Layers that run in turns begin when their first strip is there: that may even save a little.
    assert free.estimate.bram <= 0.95 * PART.bram and held.cycles >= 0.99 * free.cycles


def test_the_requantizer_follows_the_network():
    """A residual of 4 bits in the second stage only; 19-bit M beside narrow sums; both wide."""
    b = Builder(1, (8, 6, 6), 4, ("sp2",))
    left = b.conv("input", 8)
    small = b.graph(b.add(left, b.conv(left, 8)))
    engine = "ki=8,px=2,sp2=8,drain=4"
    plain = make_plan(small, PART, clock_mhz=100, engine=engine).engine
    assert plain.residual and not (plain.fused or plain.wide_residual or plain.swap)
    conv = small.ops[0]
    conv.requant.multiplier[0] = 1 << 18
    assert make_plan(small, PART, clock_mhz=100, engine=engine).engine.swap
    deep = Builder(1, (128, 3, 3), 8, ("sp2",))
    graph = deep.graph(deep.conv("input", 8, (3, 3)))
    graph.ops[0].requant.multiplier[0] = 1 << 18
    both = make_plan(graph, PART, clock_mhz=100, engine=engine).engine
    assert both.m_bits > 18 and not both.swap


def test_rough_figures_of_an_engine_that_swaps():
    """The widths of about any engine may be too wide for the change of places that this one has."""
    b = Builder(1, (8, 12, 12), 4, ("sp2",))
    search = Search(b.graph(b.conv("input", 16, (3, 3))), PART)
    search.features |= {"acc_bits": 25, "m_bits": 21}
    engine = Engine(ki=8, px=2, sp2_rows=8, drain_lanes=4, acc_bits=20, m_bits=21, swap=True, family="xilinx7")
    assert search.measure(engine).resources.lut > 1000


@pytest.mark.parametrize("text", ["ki=16,px=8,int4=12,dsp=4,drain=16,mem=256,ports=4,upper=1",
                                  "ki=4,px=1,dsp=2,drain=2,wide=1,weights=lut", "ki=8,px=3,sp2=4,drain=4,scratch=4096"])
def test_an_engine_is_the_same_after_its_text(text):
    engine = parse_engine(text, PART)
    assert parse_engine(engine_text(engine), PART) == engine
    assert text.endswith("upper=1") == engine.upper_blocks
