# amaranth: UnusedElaboratable=no
"""Multiplier lanes with one product per block: the twin, and the netlist with blocks and multipliers of logic."""

import random

from lane_bench import drive
from netlist import compare
import pytest
from test_dsp_groups import Stream

from hwgen.rtl.lanes.single import SingleGroup

SHAPES = [(2, 1, 1, False, 0), (2, 1, 3, True, 4), (4, 2, 2, False, 7), (8, 1, 2, False, 16), (16, 1, 1, True, 3)]
"""ki, px, rows, wide, products that take a block."""


def stream_of(ki, px, rows, wide, cycles):
    return Stream(ki=ki, px=px, rows=rows, wide=wide).random(random.Random(f"{ki} {px} {rows} {wide}"), cycles)


@pytest.mark.parametrize("ki,px,rows,wide,products", SHAPES)
@pytest.mark.parametrize("family", ["", "xilinx7"])
def test_twin(ki, px, rows, wide, products, family):
    stream = stream_of(ki, px, rows, wide, 100)
    dut = SingleGroup(**stream.shape, products=products, family=family, twin=True)
    found = drive(dut, stream.vectors(), ["dots"])
    assert found[dut.latency:] == stream.expected(dut.latency)[dut.latency:]


@pytest.mark.parametrize("ki,px,rows,wide,products", SHAPES)
def test_netlist(ki, px, rows, wide, products):
    stream = stream_of(ki, px, rows, wide, 200)
    dut = SingleGroup(**stream.shape, products=products, family="xilinx7")
    assert dut.blocks == products
    cells = compare(dut, "xilinx7", list(stream.vectors()), ["dots"], stream.expected(dut.latency))
    assert cells.get("DSP48E1", 0) == products


def test_more_blocks_than_products_are_not_taken():
    assert SingleGroup(ki=4, px=2, rows=3, wide=False, products=100, family="xilinx7").blocks == 24
    with pytest.raises(ValueError, match="family must be '' or 'xilinx7', not 'ecp5'"):
        SingleGroup(ki=4, px=2, rows=3, wide=False, products=1, family="ecp5")
