# amaranth: UnusedElaboratable=no
"""Groups of LUT lanes against integers, portable and with a family's cells, as described and after synthesis.

Everything runs under Icarus; an "unmapped" flow is the description as it is, with Yosys' models of the cells.
"""

import random
import subprocess
import sys

from amaranth.back import rtlil
from lane_bench import pack
from netlist import FLOWS, SHARE, YOSYS, compare
import numpy as np
import pytest

from hwgen.lanes import INT4, SP2, dot_bits
from hwgen.rtl.lanes import Accumulator
from hwgen.rtl.lanes.int4 import Int4Group
from hwgen.rtl.lanes.sp2 import Sp2Group

GROUPS = {"sp2": (Sp2Group, SP2, sorted({s * w for s in (1, -1) for w in (0, 1, 2, 4, 5, 6, 8)})),
          "int4": (Int4Group, INT4, list(range(-8, 8)))}
"""Component, what the planner knows of it, and its weights."""
UNMAPPED = {"": "xilinx7_unmapped", "xilinx7": "xilinx7_unmapped", "ecp5": "ecp5_unmapped"}
KI = (2, 4, 8, 16, 32)

pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")


def vector_of(weights, acts, kind):
    """Port values of one cycle: ``weights`` (rows, ki), ``acts`` (px, ki)."""
    ki = weights.shape[1]
    return {"codes": pack([pack(map(int, row), 4) for row in kind.encode(weights)], 4 * ki),
            "operands": pack([pack(map(int, pixel), 4) for pixel in acts], 4 * ki)}


def check(name, family, flow, stream, ki, px, rows):
    """Run a stream of (weights, acts), one per cycle; a dot less its row's correction is the exact product sum."""
    group, kind, _ = GROUPS[name]
    dut = group(ki=ki, px=px, rows=rows, family=family)
    vectors, expected = [], [None] * dut.latency
    for weights, acts in stream:
        vectors.append(vector_of(weights, acts, kind))
        dots = weights @ acts.T + kind.correction(weights)[:, None]
        expected.append(pack(map(int, dots.reshape(-1)), dut.dot_bits))
    return compare(dut, flow, vectors + [{}] * dut.latency, ["dots"], expected)


def random_stream(name, ki, px, rows, cycles):
    """Random words among words of extremes, other weights in every cycle."""
    rng = np.random.default_rng(ki * 100 + px * 10 + rows)
    weights = np.array(GROUPS[name][2])
    for cycle in range(cycles):
        few = rng.choice(weights, 2) if cycle % 3 == 0 else weights
        acts = (0, 15) if cycle % 5 == 0 else range(16)
        yield rng.choice(few, (rows, ki)), rng.choice(acts, (px, ki))


@pytest.mark.parametrize("ki", [2, 4, 8, 16])
@pytest.mark.parametrize("family", UNMAPPED)
@pytest.mark.parametrize("name", GROUPS)
def test_every_weight_and_activation_at_every_position(name, family, ki):
    """Four pairs of a weight and an activation in a cycle, between the smallest or the largest ones."""
    weights = GROUPS[name][2]
    pairs = [*zip(weights[::2], [*weights[1::2], weights[0]], strict=False)]
    acts = [(act, act + 1) for act in range(0, 16, 2)]

    def stream():
        for position in range(ki):
            for weight, act in ((weights[0], 0), (weights[-1], 15)):
                for some in pairs:
                    for several in acts:
                        rows, pixels = np.full((2, ki), weight), np.full((2, ki), act)
                        rows[:, position], pixels[:, position] = some, several
                        yield rows, pixels

    check(name, family, UNMAPPED[family], stream(), ki, 2, 2)


@pytest.mark.parametrize("ki,px,rows", [(2, 8, 3), (4, 1, 5), (8, 3, 2), (16, 6, 2), (32, 2, 1), (16, 1, 1)])
@pytest.mark.parametrize("family", UNMAPPED)
@pytest.mark.parametrize("name", GROUPS)
def test_random(name, family, ki, px, rows):
    check(name, family, UNMAPPED[family], random_stream(name, ki, px, rows, 400), ki, px, rows)


@pytest.mark.parametrize("family,flow", [("xilinx7", "xilinx7"), ("ecp5", "ecp5"), ("", "ecp5"), ("", "ice40")])
@pytest.mark.parametrize("name", GROUPS)
def test_after_synthesis(name, family, flow):
    cells = check(name, family, flow, random_stream(name, 8, 2, 2, 300), 8, 2, 2)
    assert not [cell for cell in cells if cell.startswith(("SRL", "DSP", "MULT", "SB_MAC"))]


@pytest.mark.parametrize("name", GROUPS)
def test_luts(name):
    """What docs/lanes.md promises for 16 inputs, without accumulators: 185 LUTs and 48 carry blocks a dot."""
    cells = check(name, "xilinx7", "xilinx7", random_stream(name, 16, 2, 1, 100), 16, 2, 1)
    assert sum(n for cell, n in cells.items() if cell.startswith("LUT")) <= 2 * 185
    assert cells["CARRY4"] <= 2 * 48


@pytest.mark.parametrize("family", ["xilinx7", "ecp5"])
@pytest.mark.parametrize("name", GROUPS)
def test_twins_are_equal(name, family, tmp_path):
    """Proof: whatever the registers hold at first, after ``latency`` cycles both give the same for all inputs.

    Nothing is fed back, so one cycle after that stands for all.  Two inputs: with four the solver is not done in
    ten minutes, because a tree and a chain have no sums in common.
    """
    group = GROUPS[name][0]
    for whose, top in (("", "portable"), (family, "cells")):
        text = rtlil.convert(group(ki=2, px=1, rows=1, family=whose), name=top, emit_src=False)
        (tmp_path / f"{top}.il").write_text(text)
    steps = group(ki=2, px=1, rows=1).latency + 1
    models = SHARE / FLOWS[family][1]
    script = [f"read_verilog -nooverwrite -I{models} {models / FLOWS[family][2]}",
              f"read_rtlil {tmp_path}/portable.il", f"read_rtlil {tmp_path}/cells.il",
              "miter -equiv -make_outputs portable cells miter",
              "hierarchy -top miter", "proc", "setattr -unset init w:*", "flatten -wb", "opt_clean",
              f"sat -verify -seq {steps} -prove-skip {steps - 1} -set in_rst 0 -prove trigger 0 miter"]
    done = subprocess.run([sys.executable, "-c", YOSYS, *script], capture_output=True, text=True)
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.parametrize("family,flow", [("xilinx7", "xilinx7_unmapped"), ("xilinx7", "xilinx7"), ("ecp5", "ecp5")])
@pytest.mark.parametrize("bits,acc_bits", [(12, 20), (6, 20), (12, 13)])
def test_accumulator(bits, acc_bits, family, flow):
    rng = random.Random(f"{bits} {acc_bits}")
    vectors, expected = [], [None] * Accumulator.latency
    total, running = None, 0
    for _ in range(800):
        dot, valid, high, last = rng.getrandbits(bits), rng.random() < 0.8, rng.random() < 0.4, rng.random() < 0.1
        last = last and valid
        vectors.append({"dot": dot, "valid": int(valid), "high": int(high), "last": int(last)})
        if valid:
            running += dot * 16 if high else dot
            if last:
                total, running = running % (1 << acc_bits), 0
        expected.append(total)
    dut = Accumulator(dot_bits=bits, acc_bits=acc_bits, family=family)
    cells = compare(dut, flow, vectors, ["total"], expected[:len(vectors)])
    if flow == "xilinx7":
        # one for each bit that a dot can reach, and the gates of reset and enable
        assert sum(n for cell, n in cells.items() if cell.startswith("LUT")) <= min(bits + 4, acc_bits) + 2


@pytest.mark.parametrize("name", GROUPS)
def test_latency_and_width(name):
    group, kind, _ = GROUPS[name]
    found = [(dut.latency, dut.dot_bits) for ki in KI for dut in [group(ki=ki, px=1, rows=1)]]
    assert found == [(3, 9), (5, 10), (9, 11), (10, 12), (10, 13)]
    assert [dot_bits(kind, ki) for ki in KI] == [bits for _, bits in found]


@pytest.mark.parametrize("keywords,message", [
    ({"ki": 6}, "ki must be a power of two from 2 to 32, not 6"),
    ({"px": 9}, r"px must be in 1..8, not 9"),
    ({"rows": 0}, "rows must be at least 1, not 0"),
    ({"family": "virtex"}, "family must be one of .*, not 'virtex'"),
])
@pytest.mark.parametrize("name", GROUPS)
def test_illegal_parameters(name, keywords, message):
    with pytest.raises(ValueError, match=message):
        GROUPS[name][0](**({"ki": 8, "px": 1, "rows": 1} | keywords))
