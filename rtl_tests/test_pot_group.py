# amaranth: UnusedElaboratable=no
"""Groups of pot rows against integers, portable and with 7-series and ECP5 cells, as described and after synthesis."""

import subprocess
import sys

from amaranth.back import rtlil
from lane_bench import pack
from netlist import SHARE, YOSYS, compare
import numpy as np
import pytest

from hwgen.lanes import POT, dot_bits
from hwgen.rtl.lanes.pot import PotGroup

WEIGHTS = [0, *(1 << e for e in range(7)), *(-(1 << e) for e in range(7))]
MODELS = {"xilinx7": "-D_ABC {}/xilinx/cells_sim.v", "ecp5": "-overwrite {}/lattice/cells_sim_ecp5.v"}
FLOWS = {"": "xilinx7_unmapped", "xilinx7": "xilinx7_unmapped", "ecp5": "ecp5_unmapped"}
"""Flows in which a description runs as it is."""

pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")


def code_of(weight):
    """The sign above 1 + exponent."""
    return (weight < 0) * 8 + abs(weight).bit_length()


def check(family, flow, stream, ki, px, rows):
    """Run a stream of (weights, activations), one per cycle; a negative weight adds 15 times its magnitude."""
    dut = PotGroup(ki=ki, px=px, rows=rows, family=family)
    vectors, expected = [], [None] * dut.latency
    for weights, acts in stream:
        codes = [pack([code_of(int(weight)) for weight in row], 4) for row in weights]
        operands = [pack([int(act) for act in pixel], 4) for pixel in acts]
        vectors.append({"codes": pack(codes, 4 * ki), "operands": pack(operands, 4 * ki)})
        dots = [sum(int(w) * int(a) - 15 * min(int(w), 0) for w, a in zip(row, pixel, strict=True))
                for row in weights for pixel in acts]
        expected.append(pack(dots, dut.dot_bits))
    return compare(dut, flow, vectors + [{}] * dut.latency, ["dots"], expected)


def random_stream(seed, ki, px, rows, cycles):
    """Random words among words of extremes, other weights in every cycle."""
    rng = np.random.default_rng(seed)
    for cycle in range(cycles):
        few = rng.choice(WEIGHTS, 2) if cycle % 3 == 0 else WEIGHTS
        acts = (0, 15) if cycle % 5 == 0 else range(16)
        yield rng.choice(few, (rows, ki)), rng.choice(acts, (px, ki))


@pytest.mark.parametrize("ki", [2, 16])
@pytest.mark.parametrize("family", FLOWS)
def test_every_weight_and_activation_at_every_position(family, ki):
    """Four pairs of a weight and an activation in a cycle, between what adds least and what adds most."""
    def stream():
        for position in range(ki):
            for weight, act in ((64, 0), (-64, 0), (64, 15)):
                for some in zip(WEIGHTS, [*WEIGHTS[8:], *WEIGHTS[:8]], strict=True):
                    for several in range(0, 16, 2):
                        rows, pixels = np.full((2, ki), weight), np.full((2, ki), act)
                        rows[:, position], pixels[:, position] = some, (several, several + 1)
                        yield rows, pixels

    check(family, FLOWS[family], stream(), ki, 2, 2)


@pytest.mark.parametrize("ki,px,rows,cycles", [(2, 8, 3, 400), (4, 1, 5, 400), (8, 3, 2, 200), (16, 6, 2, 40),
                                               (32, 2, 1, 60)])
@pytest.mark.parametrize("family", FLOWS)
def test_random(family, ki, px, rows, cycles):
    check(family, FLOWS[family], random_stream(ki, ki, px, rows, cycles), ki, px, rows)


@pytest.mark.parametrize("family,flow", [("xilinx7", "xilinx7"), ("ecp5", "ecp5"), ("", "ice40"), ("", "ecp5")])
def test_after_synthesis(family, flow):
    cells = check(family, flow, random_stream(6, 8, 2, 2, 300), 8, 2, 2)
    assert not [cell for cell in cells if cell.startswith(("SRL", "DSP", "MULT", "SB_MAC", "TRELLIS_DPR"))]


def test_luts():
    """Of a dot: 16 turns in 2, 2 first products in 6, 14 steps in 10, 2 counters in 4, and 13 to add two chains."""
    cells = check("xilinx7", "xilinx7", random_stream(7, 16, 2, 1, 100), 16, 2, 1)
    assert sum(n for cell, n in cells.items() if cell.startswith("LUT")) <= 2 * 205
    assert cells["CARRY4"] <= 2 * 48


@pytest.mark.parametrize("family,ki", [("xilinx7", 2), ("ecp5", 2), ("ecp5", 4)])
def test_twins_are_equal(family, ki, tmp_path):
    """Proof: whatever the registers hold at first, after ``latency`` cycles both give the same for all inputs.

    Nothing is fed back, so one cycle after that stands for all.
    """
    for variant, top in (("", "portable"), (family, "cells")):
        text = rtlil.convert(PotGroup(ki=ki, px=1, rows=1, family=variant), name=top, emit_src=False)
        # A module marked as the top would make "hierarchy" drop the other.
        (tmp_path / f"{top}.il").write_text(text.replace("attribute \\top 1\n", ""))
    latency = PotGroup(ki=ki, px=1, rows=1).latency
    script = [f"read_verilog {MODELS[family].format(SHARE)}", f"read_rtlil {tmp_path}/portable.il",
              f"read_rtlil {tmp_path}/cells.il", "hierarchy", "proc", "flatten portable cells", "opt_clean",
              "miter -equiv -make_outputs -flatten portable cells miter", "hierarchy -top miter", "flatten",
              "async2sync", "setattr -unset init w:*", "opt",
              f"sat -verify -seq {latency + 1} -prove-skip {latency} -prove trigger 0 -set in_rst 0 miter"]
    done = subprocess.run([sys.executable, "-c", YOSYS, *script], capture_output=True, text=True)
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]


def test_latency_and_width():
    found = [(dut.latency, dut.dot_bits) for ki in (2, 4, 8, 16, 32) for dut in [PotGroup(ki=ki, px=1, rows=1)]]
    assert found == [(3, 11), (5, 12), (9, 13), (10, 14), (11, 15)]
    assert [dot_bits(POT, ki) for ki in (2, 4, 8, 16, 32)] == [bits for _, bits in found]


def test_codes_and_corrections():
    rows = np.array([[0, 1, 64], [-1, -2, 4], [-64, 0, -16]])
    assert POT.encode(rows).tolist() == [[code_of(int(w)) for w in row] for row in rows]
    assert POT.correction(rows).tolist() == [0, 45, 1200]
    assert POT.takes(np.array([[64, -64], [3, 1], [128, 0], [-1, 1]])).tolist() == [True, False, False, True]


@pytest.mark.parametrize("keywords,message", [
    ({"ki": 6}, "ki must be a power of two from 2 to 32, not 6"),
    ({"px": 9}, r"px must be in 1..8, not 9"),
    ({"rows": 0}, "rows must be at least 1, not 0"),
    ({"family": "virtex"}, "family must be one of .*, not 'virtex'"),
])
def test_illegal_parameters(keywords, message):
    with pytest.raises(ValueError, match=message):
        PotGroup(**({"ki": 8, "px": 1, "rows": 1} | keywords))
