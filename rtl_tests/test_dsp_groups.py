# amaranth: UnusedElaboratable=no
"""Groups of fixed-point rows against integers: the twins, and the netlists of the vendors' cells."""

import random

from lane_bench import drive, pack
from netlist import compare
import numpy as np
import pytest

from hwgen.device.parts import get_part
from hwgen.rtl.emit import verilog
from hwgen.rtl.lanes.fixed import FixedGroup
from hwgen.rtl.lanes.dsp48 import Cascade
from hwgen.synth.yosys import synthesize

DSP = {"xilinx7": "DSP48E1", "ecp5": "MULT18X18D", "ice40": "SB_MAC16"}


class Stream:
    """Cycles of operands ``[t, pixel, k]`` and weights ``[t, row, k]`` for one shape of group."""

    def __init__(self, *, ki, px, rows, wide):
        self.shape = {"ki": ki, "px": px, "rows": rows, "wide": wide}
        self.top = 255 if wide else 15
        self.operands, self.weights = [], []

    def add(self, operands, weights):
        self.operands.append(operands)
        self.weights.append(weights)

    def random(self, rng, cycles):
        """Uniform values, among them stretches of all largest ones, which fill every field to its brim."""
        ki, px, rows = (self.shape[name] for name in ("ki", "px", "rows"))
        for t in range(cycles):
            full = t // 8 % 4 == 3
            self.add([[15 if full else rng.randrange(16) for _ in range(ki)] for _ in range(px)],
                     [[self.top if full else rng.randrange(self.top + 1) for _ in range(ki)] for _ in range(rows)])
        return self

    def one_hot(self, *, full):
        """Every weight times every operand at every input of every row and pixel; all others zero or largest."""
        ki, px, rows = (self.shape[name] for name in ("ki", "px", "rows"))
        a_rest, w_rest = (15, self.top) if full else (0, 0)
        for position in range(ki):
            for row in range(rows):
                for p in range(px):
                    for weight in range(self.top + 1):
                        for operand in range(16):
                            acts, codes = np.full((px, ki), a_rest), np.full((rows, ki), w_rest)
                            acts[p, position], codes[row, position] = operand, weight
                            self.add(acts.tolist(), codes.tolist())
        return self

    def vectors(self):
        for operands, weights in zip(self.operands, self.weights, strict=True):
            vector = {"operands": self._port(operands, 0), "codes": self._port(weights, 0)}
            if self.shape["wide"]:
                vector["high"] = self._port(weights, 4)
            yield vector

    def _port(self, vectors, shift):
        return pack([pack([value >> shift & 15 for value in vector], 4) for vector in vectors], 4 * self.shape["ki"])

    def expected(self, latency):
        """The ``dots`` port after each cycle, None while the pipeline fills."""
        dots = np.einsum("trk,tpk->trp", np.array(self.weights), np.array(self.operands))
        bits = int(15 * self.top * self.shape["ki"]).bit_length()
        values = [pack(row.reshape(-1).tolist(), bits) for row in dots]
        return [None] * latency + values[:len(values) - latency]

    def check_twin(self, **options):
        dut = FixedGroup(**self.shape, **options, twin=True)
        found = drive(dut, self.vectors(), ["dots"])
        wanted = self.expected(dut.latency)
        assert found[dut.latency:] == wanted[dut.latency:]

    def check_netlist(self, family, multiplier="dsp", flow=None):
        """Blocks taken and dots; ``flow`` of rtl_tests/netlist.py, by default the family's synthesis."""
        dut = FixedGroup(**self.shape, family=family, multiplier=multiplier)
        cells = compare(dut, flow or family, list(self.vectors()), ["dots"], self.expected(dut.latency))
        if flow is None:
            assert cells.get(DSP[family], 0) == dut.blocks
        return cells


SHAPES = [
    # ki, px, rows, wide: whole and half blocks, one and several cascades
    (2, 1, 1, False), (2, 2, 2, True), (4, 2, 2, False), (4, 3, 1, True), (8, 3, 3, False), (8, 1, 2, False),
    (16, 2, 1, False), (16, 2, 1, True), (32, 1, 1, False), (32, 1, 1, True),
]

FOR_TWINS = [(2, 2, 2, True), (4, 2, 2, False), (8, 1, 2, False), (16, 2, 1, False), (32, 1, 1, True)]
"""Shapes that netlists of the others cover too; synthesis takes most of these tests' time."""


@pytest.mark.parametrize("family", DSP)
@pytest.mark.parametrize("ki,px,rows,wide", [shape for shape in SHAPES if shape not in FOR_TWINS])
def test_netlist(family, ki, px, rows, wide):
    stream = Stream(ki=ki, px=px, rows=rows, wide=wide).random(random.Random(f"{ki} {px} {rows} {wide}"), 300)
    stream.check_netlist(family)


@pytest.mark.parametrize("family", ["", *DSP])
@pytest.mark.parametrize("multiplier", ["dsp", "lut"])
@pytest.mark.parametrize("ki,px,rows,wide", SHAPES)
def test_twin(family, multiplier, ki, px, rows, wide):
    stream = Stream(ki=ki, px=px, rows=rows, wide=wide).random(random.Random(f"{ki} {px} {rows} {wide}"), 100)
    stream.check_twin(family=family, multiplier=multiplier)


@pytest.mark.parametrize("full", [False, True], ids=["zero", "full"])
@pytest.mark.parametrize("ki,px,rows,wide", [(4, 2, 2, False), (2, 2, 1, True)])
@pytest.mark.parametrize("family", DSP)
def test_netlist_every_weight_and_operand_in_every_field(family, ki, px, rows, wide, full):
    # The cells of 7-series are all instantiated, and its synthesis is slow: it need not be repeated here.
    flow = "xilinx7_unmapped" if family == "xilinx7" else None
    Stream(ki=ki, px=px, rows=rows, wide=wide).one_hot(full=full).check_netlist(family, flow=flow)


@pytest.mark.parametrize("full", [False, True], ids=["zero", "full"])
@pytest.mark.parametrize("ki,px,rows,wide", [(4, 2, 1, False), (2, 1, 1, True)])
@pytest.mark.parametrize("multiplier", ["dsp", "lut"])
def test_twin_every_weight_and_operand(multiplier, ki, px, rows, wide, full):
    Stream(ki=ki, px=px, rows=rows, wide=wide).one_hot(full=full).check_twin(multiplier=multiplier)


@pytest.mark.parametrize("family", DSP)
@pytest.mark.parametrize("ki,px,rows,wide", [(2, 1, 1, True), (4, 2, 1, False)])
def test_without_blocks(family, ki, px, rows, wide):
    stream = Stream(ki=ki, px=px, rows=rows, wide=wide).random(random.Random(ki), 300)
    cells = stream.check_netlist(family, multiplier="lut")
    assert DSP[family] not in cells
    dut = FixedGroup(**stream.shape, multiplier="lut")
    found = drive(dut, stream.vectors(), ["dots"])
    assert found[dut.latency:] == stream.expected(dut.latency)[dut.latency:]


@pytest.mark.parametrize("family", DSP)
def test_wide_rows_with_4_bit_weights(family):
    """A tile of 4-bit weights has zero high nibbles and w + 8 in the low ones."""
    rng = random.Random(7)
    stream = Stream(ki=4, px=2, rows=2, wide=True)
    for _ in range(300):
        top = rng.choice([15, 16, 255])
        stream.add([[rng.randrange(16) for _ in range(4)] for _ in range(2)],
                   [[rng.randrange(top + 1) for _ in range(4)] for _ in range(2)])
    stream.check_netlist(family)


@pytest.mark.parametrize("wide,most", [(False, 1.25), (True, 1.9)])
def test_cost_on_7_series(wide, most):
    """LUTs per product of the adders behind the cascades; the accumulator's share comes on top."""
    stream = Stream(ki=16, px=2, rows=2, wide=wide).random(random.Random(5), 100)
    cells = stream.check_netlist("xilinx7")
    assert sum(n for name, n in cells.items() if name.startswith(("LUT", "SRL"))) <= most * 64


@pytest.mark.parametrize("part", ["XC7Z020", "LFE5U-25F", "iCE40UP5K"])
def test_emitted_verilog_synthesizes(part, tmp_path):
    """Vendor cells that the Verilog does not define are found, and counted by hwgen's own flow."""
    part = get_part(part)
    dut = FixedGroup(ki=4, px=3, rows=1, wide=False, family=part.family)
    (tmp_path / "group.sv").write_text(verilog(dut, "group_top"))
    assert synthesize(tmp_path / "group.sv", "group_top", part, tmp_path).resources.dsp == dut.blocks


@pytest.mark.parametrize("family,wide,ki,px,rows,blocks", [
    ("xilinx7", False, 16, 6, 8, 192), ("xilinx7", True, 16, 6, 8, 384), ("xilinx7", False, 16, 5, 7, 192),
    ("xilinx7", True, 16, 5, 7, 336), ("ecp5", False, 8, 3, 5, 60), ("ecp5", True, 8, 3, 5, 80),
    ("ice40", False, 4, 2, 2, 8), ("ice40", True, 4, 1, 2, 8), ("", False, 16, 6, 8, 0),
])
def test_blocks(family, wide, ki, px, rows, blocks):
    shape = {"ki": ki, "px": px, "rows": rows, "wide": wide, "family": family}
    assert FixedGroup(**shape).blocks == blocks
    assert FixedGroup(**shape, multiplier="lut").blocks == 0
    assert FixedGroup(**shape, twin=True).blocks == blocks


@pytest.mark.parametrize("family,multiplier,wide,latencies", [
    ("xilinx7", "dsp", False, [4, 6, 7, 8, 8]), ("xilinx7", "dsp", True, [4, 6, 7, 8, 8]),
    ("ecp5", "dsp", False, [3, 4, 5, 6, 7]), ("ecp5", "dsp", True, [4, 5, 6, 7, 8]),
    ("ice40", "dsp", False, [1, 2, 3, 4, 5]), ("ice40", "dsp", True, [2, 3, 4, 5, 6]),
    ("ecp5", "lut", False, [3, 4, 5, 6, 7]), ("ecp5", "lut", True, [4, 5, 6, 7, 8]),
])
def test_latency(family, multiplier, wide, latencies):
    for twin in (False, True):
        found = [FixedGroup(ki=ki, px=1, rows=1, wide=wide, family=family, multiplier=multiplier, twin=twin).latency
                 for ki in (2, 4, 8, 16, 32)]
        assert found == latencies


@pytest.mark.parametrize("n", [1, 4])
def test_cascade_keeps_48_bits(n):
    """Operands as wide as the ports of a cascade; the sum stays below 2**48."""
    rng = random.Random(n)
    sets = [[(rng.getrandbits(24), rng.getrandbits(14)) for _ in range(n)] for _ in range(100)]
    sets += [[((1 << 24) - 1, (1 << 14) - 1)] * n] * 5
    waits = [Cascade.skew(i) for i in range(n)]
    vectors = []
    for t in range(len(sets)):
        late = [sets[max(t - wait, 0)][i] for i, wait in enumerate(waits)]
        vectors.append({"a": pack([a for a, _ in late], 24), "b": pack([b for _, b in late], 14)})
    sums = [sum(a * b for a, b in pairs) for pairs in sets]
    latency = n + 2
    compare(Cascade(n=n), "xilinx7", vectors, ["p"], [None] * latency + sums[:-latency], skip=latency + 2)


@pytest.mark.parametrize("options,message", [
    ({"ki": 3}, "ki must be a power of two from 2 to 32, not 3"),
    ({"px": 0}, "px must be in 1..8, not 0"),
    ({"rows": 0}, "rows must be at least 1, not 0"),
    ({"wide": 1}, "wide must be True or False, not 1"),
    ({"family": "virtex"}, "family must be one of .*, not 'virtex'"),
    ({"multiplier": "mul"}, "multiplier must be one of .*, not 'mul'"),
])
def test_illegal_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        FixedGroup(**{"ki": 4, "px": 1, "rows": 1, "wide": False} | options)
