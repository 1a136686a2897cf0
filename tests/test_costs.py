"""The resource model against what Yosys made of engines, memories and products."""

from dataclasses import replace
import json
from pathlib import Path

import pytest

from hwgen.device import costs, get_part
from hwgen.device.costs import breakdown, estimate, memory_blocks, spram_blocks
from hwgen.device.resources import Resources
from hwgen.engine import Engine
from hwgen.lanes import DSP_WIDE, KINDS, dot_bits, dsp_blocks, latency
from hwgen.rtl import emit_verilog
from hwgen.rtl.lanes import make_group
from hwgen.synth import synthesize

RECORD = json.loads(Path(__file__).with_name("synthesized_engines.json").read_text(encoding="utf-8"))
"""Written by ``python benchmarks/calibrate.py --family F --check``."""
PARTS = {"ecp5": get_part("LFE5U-85F"), "xilinx7": get_part("XC7Z020"), "ice40": get_part("iCE40UP5K")}
RECORDED = [pytest.param(family, item, id=f"{family}-{use}-{number}")
            for family, data in RECORD.items() for use in ("calibration", "checks")
            for number, item in enumerate(data[use])]
SMALL = Engine(ki=4, px=2, sp2_rows=4, dsp_rows=4, drain_lanes=2, acc_bits=18, wide=False, thresholds=False)


@pytest.mark.parametrize("family, item", RECORDED)
def test_recorded_engines(family, item):
    guess = estimate(Engine(**item["engine"]), PARTS[family].without_ports())
    assert guess.dsp == item["dsp"]
    # Yosys makes one of the walker's tables of registers in some iCE40 engines, of up to five block RAMs in others.
    assert item["bram"] <= guess.bram <= item["bram"] + (5 if family == "ice40" else 0)
    assert guess.lut == pytest.approx(item["lut"], rel=0.10)
    assert guess.ff == pytest.approx(item["ff"], rel=0.15)


@pytest.mark.parametrize("family", sorted(PARTS))
def test_every_family_is_recorded_with_its_yosys(family):
    assert RECORD[family]["yosys"] == costs.calibration(family)["yosys"]
    assert RECORD[family]["checks"]


def test_a_live_synthesis_has_the_same_dsp_and_bram(tmp_path):
    engine = Engine(ki=2, px=1, sp2_rows=1, dsp_rows=1, drain_lanes=1, acc_bits=14, m_bits=17, wide=False,
                    residual=True, rescale=False, pool=True, thresholds=False, ring_depth=256, scratch_depth=768,
                    family="ecp5")
    (tmp_path / "engine.sv").write_text(emit_verilog(engine))
    part = PARTS["ecp5"]
    made = synthesize(tmp_path / "engine.sv", "hwgen_engine", part, tmp_path / "out").resources
    guess = estimate(engine, part)
    assert (guess.dsp, guess.bram) == (made.dsp, made.bram)
    assert guess.lut == pytest.approx(made.lut, rel=0.10)


@pytest.mark.parametrize("family", sorted(PARTS))
@pytest.mark.parametrize("field, values", [("dsp_rows", range(2, 34, 2)), ("sp2_rows", range(0, 34, 2)),
                                           ("px", range(1, 9)), ("acc_bits", range(12, 33)), ("m_bits", range(8, 33)),
                                           ("scratch_depth", range(256, 4097, 256))])
def test_more_never_takes_less(family, field, values):
    amounts = [estimate(replace(SMALL, **{field: value}), PARTS[family]) for value in values]
    for less, more in zip(amounts, amounts[1:], strict=False):
        # A memory that grows may move from LUTs and flip-flops into blocks, or into blocks of another shape.
        area = [a.lut + a.ff + 200 * a.bram for a in (less, more)]
        assert area[0] <= area[1] and less.dsp <= more.dsp


@pytest.mark.parametrize("family", sorted(PARTS))
@pytest.mark.parametrize("feature", ["residual", "rescale", "pool", "thresholds"])
def test_features_cost_something(family, feature):
    plain = replace(SMALL, residual=False, rescale=False, pool=False)
    assert estimate(replace(plain, **{feature: True}), PARTS[family]).lut > estimate(plain, PARTS[family]).lut


def test_upper_products_take_blocks_in_place_of_luts():
    """Only where an accumulator is wider than M leaves room for: one block per lane."""
    wide = replace(SMALL, acc_bits=19, m_bits=22, family="xilinx7")
    one, other = (estimate(replace(wide, upper_blocks=blocks), PARTS["xilinx7"]) for blocks in (False, True))
    assert other.dsp == one.dsp + wide.drain_lanes and other.lut < one.lut and other.ff < one.ff
    narrow = replace(wide, m_bits=18)
    assert estimate(replace(narrow, upper_blocks=True), PARTS["xilinx7"]) == estimate(narrow, PARTS["xilinx7"])


@pytest.mark.parametrize("family", sorted(PARTS))
def test_the_blocks_add_up(family):
    total = Resources()
    for value in breakdown(SMALL, PARTS[family]).values():
        total += value
    assert total.rounded() == estimate(SMALL, PARTS[family])


@pytest.mark.parametrize("ki", [2, 4, 8, 16, 32])
@pytest.mark.parametrize("family", ["", *sorted(PARTS)])
def test_lane_figures_are_those_of_the_hardware(ki, family):
    shape = {"ki": ki, "px": 3, "drain_lanes": 1, "mem_bits": 128, "family": family}
    engines = [Engine(**shape, **{f"{group}_rows": 5}) for group in ("sp2", "pot", "int4")]
    engines += [Engine(**shape, dsp_rows=21, wide=wide, dsp_weights=how) for wide in (False, True)
                for how in ("dsp", "lut")]
    if family in ("", "xilinx7"):
        engines += [Engine(**shape, dsp_rows=21, wide=wide, dsp_weights="single", dsp_products=40 * ki)
                    for wide in (False, True)]
    for engine in engines:
        group = engine.group_of(0)
        blocks = [make_group(group, block, engine, False) for block in range(len(engine.blocks(group)))]
        kind = DSP_WIDE if group == "dsp" and engine.wide else KINDS[group]
        assert {(block.latency, block.dot_bits) for block in blocks} == {(latency(group, engine), dot_bits(kind, ki))}
        if group == "dsp":
            assert sum(block.blocks for block in blocks) == dsp_blocks(engine)
        # A twin behaves alike.
        assert make_group(group, 0, engine, True).latency == latency(group, engine)


@pytest.mark.parametrize("ports", [1, 2, 4])
def test_axi_ports_are_a_block_of_their_own(ports):
    """What Yosys took more for AXI3 ports of a small engine: 132, 252 and 488 LUTs, 112, 228 and 456 flip-flops."""
    engine, part = replace(SMALL, mem_bits=64 * ports, ports=ports), PARTS["xilinx7"]
    block = breakdown(engine, part)["axi ports"]
    assert "axi ports" not in breakdown(engine, part.without_ports())
    assert block.lut == pytest.approx({1: 132, 2: 252, 4: 488}[ports], rel=0.07)
    assert block.ff == pytest.approx({1: 112, 2: 228, 4: 456}[ports], rel=0.02)
    more, less = estimate(engine, part), estimate(engine, part.without_ports())
    assert (more.lut - less.lut, more.ff - less.ff) == pytest.approx((block.lut, block.ff), abs=1)
    assert (more.dsp, more.bram) == (less.dsp, less.bram)


def test_program_memory():
    # 2,048 words of 64 bits: eight DP16KD; half as many RAMB36; all four SPRAMs are one memory of 16,384.
    assert memory_blocks(2048, 64, PARTS["ecp5"]) == 8
    assert memory_blocks(2048, 64, PARTS["xilinx7"]) == 4
    assert (memory_blocks(2048, 64, PARTS["ice40"]), spram_blocks(2048, 64, PARTS["ice40"])) == (0, 4)
    assert spram_blocks(16385, 64, PARTS["ice40"]) == 0
    assert memory_blocks(0, 64, PARTS["ecp5"]) == 0
    # made of LUTs: no block RAM
    assert memory_blocks(13, 64, PARTS["ecp5"]) == memory_blocks(17, 64, PARTS["xilinx7"]) == 0


