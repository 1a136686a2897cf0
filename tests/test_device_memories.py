"""Rules for memories and products against what Yosys 0.70 made of single ones.

The expected values were counted in netlists of modules with one memory (one write port, one read
port, old data on a collision) or one signed product; the rule agreed on all 2,400 that were tried, of
which the ones around the borders are kept here.
"""

import pytest

from hwgen.device.memories import map_memory, map_used
from hwgen.device.multipliers import blocks

# (width, depth, clocked read, kind, block RAMs of the part or LUT sites)
MEMORIES = {
    "ecp5": [
        (4, 256, True, "lut", 96), (4, 512, True, "block", 1), (8, 128, True, "lut", 96), (8, 256, True, "block", 1),
        (12, 128, True, "block", 1), (17, 16, True, "lut", 30), (19, 64, True, "lut", 120),
        (19, 128, True, "block", 1), (19, 513, True, "block", 2), (22, 128, False, "lut", 288),
        (29, 48, True, "lut", 144), (29, 63, True, "block", 1), (30, 63, False, "lut", 192),
        (34, 32, True, "lut", 108), (34, 48, True, "block", 1), (36, 32, True, "lut", 108),
        (36, 64, True, "block", 1), (37, 64, False, "lut", 240), (37, 127, True, "block", 2),
        (39, 1536, True, "block", 4), (42, 63, False, "lut", 264), (46, 15, False, "lut", 72),
        (46, 64, False, "lut", 288), (47, 7, True, "lut", 72), (47, 8, True, "lut", 72), (47, 64, True, "lut", 288),
        (47, 96, True, "block", 2), (47, 128, True, "block", 2), (48, 64, False, "lut", 288),
        (48, 64, True, "lut", 288), (49, 48, True, "lut", 234), (49, 63, True, "block", 2),
        (49, 64, False, "lut", 312), (49, 64, True, "block", 2), (54, 48, True, "lut", 252),
        (54, 63, True, "block", 2), (56, 48, True, "lut", 252), (56, 63, True, "block", 2),
        (60, 32, True, "lut", 180), (60, 64, True, "block", 2), (68, 31, False, "lut", 204),
        (68, 32, True, "lut", 204), (68, 48, True, "block", 2), (128, 32, True, "lut", 384),
        (128, 64, True, "block", 4),
    ],
    "xilinx7": [
        (4, 16, True, "lut", 4), (16, 256, False, "lut", 96), (18, 128, True, "lut", 48),
        (18, 256, True, "block", 0.5), (25, 2, False, "lut", 20), (25, 4, True, "lut", 20),
        (25, 128, False, "lut", 72), (25, 2048, True, "block", 1.5), (39, 8, True, "lut", 28),
        (39, 128, False, "lut", 104), (39, 1536, True, "block", 2), (44, 8, False, "lut", 32),
        (44, 16, True, "lut", 32), (60, 2, False, "lut", 40), (60, 64, True, "lut", 80), (60, 128, True, "block", 1),
        (72, 16, True, "lut", 48), (128, 64, True, "lut", 172), (128, 128, True, "block", 2),
        (128, 512, True, "block", 2),
    ],
    "ice40": [
        (8, 2, False, "logic", 0), (12, 12, False, "logic", 0), (12, 768, True, "block", 3),
        (14, 7, True, "block", 1), (16, 2, False, "logic", 0), (18, 512, True, "block", 3), (20, 7, True, "logic", 0),
        (20, 8, True, "block", 2), (22, 4, True, "logic", 0), (22, 7, True, "block", 2), (22, 12, False, "logic", 0),
        (25, 4, True, "logic", 0), (25, 8, True, "block", 2), (26, 4, True, "logic", 0), (26, 7, True, "block", 2),
        (28, 4, True, "logic", 0), (28, 7, True, "block", 2), (34, 4, True, "logic", 0), (34, 7, True, "block", 3),
        (34, 8, True, "block", 3), (37, 4, True, "logic", 0), (37, 7, True, "block", 3), (39, 512, True, "block", 5),
        (39, 1536, True, "block", 15), (46, 4, True, "logic", 0), (46, 7, True, "block", 3),
        (46, 31, True, "block", 3), (46, 96, True, "block", 3), (47, 12, False, "logic", 0),
        (48, 64, True, "block", 3), (49, 64, True, "block", 4), (49, 768, True, "block", 10),
        (50, 4, True, "logic", 0), (56, 4, True, "logic", 0), (56, 7, True, "block", 4), (68, 4, True, "logic", 0),
        (68, 7, True, "block", 5),
    ],
}

# (width, width, DSP blocks)
PRODUCTS = {
    "ecp5": [
        (3, 4, 1), (3, 16, 1), (3, 18, 1), (3, 24, 2), (4, 4, 1), (4, 13, 1), (4, 16, 1), (4, 24, 2), (9, 16, 1),
        (9, 24, 2), (13, 4, 1), (13, 9, 1), (13, 16, 1), (13, 19, 1), (16, 4, 1), (16, 13, 1), (17, 4, 1),
        (17, 16, 1), (17, 19, 1), (17, 24, 2), (18, 9, 1), (18, 16, 1), (18, 18, 1), (18, 24, 2), (19, 9, 1),
        (19, 19, 1), (20, 18, 2), (25, 4, 2), (25, 9, 2), (25, 16, 2), (25, 18, 2), (26, 13, 2), (26, 24, 4),
        (33, 16, 2), (33, 18, 2), (33, 19, 2),
    ],
    "xilinx7": [
        (3, 13, 1), (3, 16, 1), (3, 24, 1), (4, 9, 1), (4, 13, 1), (4, 18, 1), (9, 9, 1), (9, 16, 1), (9, 19, 1),
        (9, 24, 1), (13, 4, 1), (13, 19, 1), (16, 4, 1), (16, 9, 1), (16, 19, 1), (17, 9, 1), (17, 13, 1),
        (17, 18, 1), (18, 13, 1), (18, 18, 1), (19, 4, 1), (19, 9, 1), (19, 13, 1), (19, 18, 1), (20, 4, 1),
        (20, 9, 1), (20, 19, 2), (20, 24, 2), (25, 4, 1), (25, 9, 1), (25, 16, 1), (26, 9, 2), (26, 18, 2),
        (26, 24, 4), (33, 19, 4), (33, 24, 4),
    ],
    "ice40": [
        (3, 9, 1), (3, 13, 1), (4, 9, 1), (4, 16, 1), (4, 18, 1), (9, 4, 1), (9, 13, 1), (9, 19, 2), (13, 9, 1),
        (13, 16, 1), (13, 19, 2), (16, 13, 1), (17, 18, 2), (17, 19, 2), (18, 9, 2), (18, 13, 2), (18, 18, 3),
        (18, 19, 3), (18, 24, 3), (19, 4, 1), (19, 13, 2), (19, 18, 3), (19, 24, 4), (20, 4, 1), (20, 9, 2),
        (20, 16, 2), (20, 18, 3), (25, 13, 2), (25, 18, 4), (25, 19, 4), (26, 9, 2), (26, 16, 2), (26, 18, 4),
        (33, 13, 2), (33, 18, 4), (33, 24, 4),
    ],
}


@pytest.mark.parametrize("family, width, depth, clocked, kind, units",
                         [(family, *row) for family, rows in MEMORIES.items() for row in rows])
def test_memory(family, width, depth, clocked, kind, units):
    mapped = map_memory(width, depth, family, clocked=clocked)
    assert (mapped.kind, mapped.units) == (kind, units)


@pytest.mark.parametrize("family, a, b, dsp", [(family, *row) for family, rows in PRODUCTS.items() for row in rows])
def test_product(family, a, b, dsp):
    assert blocks(a, b, family) == dsp
    assert blocks(b, a, family) == dsp


def test_cells_of_which_nothing_is_read_are_not_there():
    # Two blocks of 36 bits; the second is needed for bits 36 and up only.
    assert map_used(64, 512, "ecp5", ((0, 64),)).units == 2
    assert map_used(64, 512, "ecp5", ((0, 36),)).units == 1
    assert map_used(64, 512, "ecp5", ((36, 37),)).units == 1
    # LUT memory: four bits a cell, six LUTs each.
    assert map_used(49, 8, "ecp5", ((0, 18), (32, 37))).units == 6 * (5 + 2)


def test_unchecked_reads_save_what_decides_between_equal_mappings():
    assert map_memory(48, 64, "ecp5").kind == "lut"
    assert map_memory(48, 64, "ecp5", checked=False).kind == "block"
