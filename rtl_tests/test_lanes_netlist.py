# amaranth: UnusedElaboratable=no
"""Lanes after synthesis: Yosys' cells give what the RTL gave, in as many DSP blocks as the lanes announce.

Yosys 0.70 has turned correct RTL into wrong netlists here (products lost in SB_MAC16, a sign lost behind
a DSP48E1), so the shapes that avoid it are held by these tests.
"""

import random

from lane_bench import drive
from netlist import compare
import pytest
import test_requantize_lane as lane

from hwgen.rtl.lanes import Accumulator

DSP = {"ecp5": "MULT18X18D", "xilinx7": "DSP48E1", "ice40": "SB_MAC16"}


def random_vectors(dut, count):
    rng = random.Random(count)
    ports = [name for name, member in dut.signature.members.items() if member.flow.name == "In"]
    return [{name: rng.getrandbits(len(getattr(dut, name))) for name in ports} for _ in range(count)]


@pytest.mark.parametrize("family", DSP)
def test_accumulator(family):
    def build():
        return Accumulator(dot_bits=11, acc_bits=20)

    vectors = random_vectors(build(), 300)
    expected = drive(build(), vectors, ["total"])
    cells = compare(build(), family, vectors, ["total"], expected, skip=20)
    assert DSP[family] not in cells


@pytest.mark.parametrize("family,options,widths,n_dsp", [
    ("ecp5", lane.OPTIONS, {}, 5),
    ("xilinx7", lane.OPTIONS, {}, 5),
    ("xilinx7", lane.OPTIONS, {"dsp_bits": 25}, 3),
    ("xilinx7", lane.OPTIONS, {"acc_bits": 20, "sum_bits": 12, "m_bits": 21, "dsp_bits": 25}, 3),
    ("xilinx7", lane.OPTIONS, {"dsp_bits": 25, "fused": False}, 3),
    ("xilinx7", lane.OPTIONS, {"acc_bits": 20, "sum_bits": 12, "m_bits": 21, "dsp_bits": 25, "fused": False,
                               "swap": True}, 3),
    ("xilinx7", ("rescale",), {}, 3),
    ("ecp5", ("rescale",), {"wraps": True}, 3),
    ("ice40", lane.OPTIONS, {}, 10),
    ("ice40", ("residual", "rescale"), {"dsp_bits": 16, "m_bits": 16}, 5),
], ids=str)
def test_requantizer(family, options, widths, n_dsp):
    def build():
        return lane.build(*options, pool_depth=4, **widths)

    rng, dut, vectors = random.Random(3), build(), []
    for _ in range(5):
        pools = lane.pool_operands(rng, dut, 50) if dut.pool else [{}] * 50
        settings = lane.random_layer(rng, dut)
        vectors.append(settings | {"valid": 0})
        vectors += [lane.random_operand(rng, dut, settings) | pool | {"valid": 1} for pool in pools]
        vectors += [{"valid": 0}] * dut.latency
    rows = [row if row[0] else None for row in drive(dut, vectors, ["o_valid", "o"])]
    cells = compare(build(), family, vectors, ["o_valid", "o"], rows)
    assert cells[DSP[family]] == n_dsp
