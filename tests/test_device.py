"""Parts, boards and resource amounts."""

from dataclasses import replace
import importlib

import pytest

from hwgen.device import PARTS, Part, Resources, get_board, get_part, list_boards, list_parts
from hwgen.device.boards import load_board
from hwgen.errors import HwgenError

DATA_SHEETS = [  # name, LUT, FF, DSP, block RAM, bits of one
    ("LFE5U-85F", 83640, 83640, 156, 208, 18432),
    ("LFE5U-45F", 43848, 43848, 72, 108, 18432),
    ("LFE5U-25F", 24288, 24288, 28, 56, 18432),
    ("iCE40UP5K", 5280, 5280, 8, 30, 4096),
    ("XC7Z020", 53200, 106400, 220, 140, 36864),
    ("XC7Z045", 218600, 437200, 900, 545, 36864),
]


@pytest.mark.parametrize("name, lut, ff, dsp, bram, bits", DATA_SHEETS)
def test_part_budget(name, lut, ff, dsp, bram, bits):
    part = get_part(name)
    assert part.available == Resources(lut=lut, ff=ff, dsp=dsp, bram=bram)
    assert part.bram_bits == bits
    assert max(part.bram_widths) <= 72


def test_every_part_is_listed():
    assert sorted(list_parts()) == sorted(row[0] for row in DATA_SHEETS)
    assert all(PARTS[name].name == name for name in list_parts())


@pytest.mark.parametrize("name", ["lfe5u-85f", "LFE5U-85F", " Lfe5U-85f "])
def test_part_names_ignore_case(name):
    assert get_part(name).name == "LFE5U-85F"


def test_unknown_part_names_the_known_ones():
    with pytest.raises(HwgenError, match="unknown part 'XC9'; known parts: LFE5U-25F.*XC7Z045"):
        get_part("XC9")


def test_part_family_is_checked():
    fields = {f: getattr(get_part("XC7Z020"), f) for f in Part.__dataclass_fields__}
    with pytest.raises(ValueError, match="family must be one of ecp5, xilinx7, ice40, not 'spartan'"):
        Part(**{**fields, "family": "spartan"})


@pytest.mark.parametrize("name, ports, protocol", [
    ("XC7Z020", 4, "axi3"), ("XC7Z045", 4, "axi3"), ("LFE5U-85F", 0, None), ("iCE40UP5K", 0, None)])
def test_ports_to_external_memory(name, ports, protocol):
    part = get_part(name)
    alone = part.without_ports()
    assert (part.ports, part.protocol, alone.ports, alone.protocol) == (ports, protocol, 0, None)
    assert alone.available == part.available


@pytest.mark.parametrize("name, protocol", [("XC7Z020", None), ("XC7Z020", "axi5"), ("LFE5U-85F", "axi3")])
def test_a_protocol_is_that_of_ports(name, protocol):
    with pytest.raises(ValueError, match="protocol must be one of axi3, axi4 with ports and None without, not"):
        replace(get_part(name), protocol=protocol)


def test_up5k_has_single_port_ram():
    assert get_part("iCE40UP5K").memory_bits == 30 * 4096 + 4 * 262144


def test_resources_add_scale_and_compare():
    a, b = Resources(lut=10, ff=20, dsp=1, bram=0.5), Resources(lut=1, ff=2, dsp=3, bram=1)
    assert a + b == Resources(lut=11, ff=22, dsp=4, bram=1.5)
    assert 2 * a == a * 2 == Resources(lut=20, ff=40, dsp=2, bram=1)
    assert a.exceeded(b) == {"lut": (10, 1), "ff": (20, 2)}
    assert a.fits(a) and not a.fits(b)


@pytest.mark.parametrize("bram, expected", [(0.0, 0), (0.2, 0.5), (0.5, 0.5), (0.6, 1), (3.0, 3)])
def test_resources_round_block_ram_up_to_halves(bram, expected):
    assert Resources(lut=1.4, ff=2.6, dsp=2.0, bram=bram).rounded() == Resources(1, 3, 2, expected)


def test_resources_json_round_trip():
    a = Resources(lut=10.0, ff=20, dsp=1, bram=2.5)
    assert a.to_json() == {"lut": 10, "ff": 20, "dsp": 1, "bram": 2.5}
    assert Resources.from_json({**a.to_json(), "fmax_mhz": 80.0}) == a


@pytest.mark.parametrize("name", list_boards())
def test_board_agrees_with_amaranth_boards(name):
    board = get_board(name)
    module, cls = board.platform.split(":")
    platform = getattr(importlib.import_module(module), cls)
    assert platform.device.lower() == board.part.name.lower()
    assert platform.default_clk == board.oscillator
    resource = next(r for r in platform.resources if r.name == board.oscillator)
    assert resource.clock.frequency == board.oscillator_mhz * 1e6


def test_ulx3s():
    board = get_board("ULX3S_85F")
    assert (board.part.name, board.oscillator_mhz, board.clock_mhz) == ("LFE5U-85F", 25.0, 50.0)
    assert board.pll.vco_mhz(25.0) == 600.0
    assert board.clock_text == "50 MHz = 25 MHz * 24 / 12 (EHXPLLL)"
    assert get_board("icebreaker").clock_text == "12 MHz, the oscillator clk12"


def test_unknown_board_names_the_known_ones():
    with pytest.raises(HwgenError, match="unknown board 'nexys'; known boards: .*ulx3s_85f"):
        get_board("nexys")


GOOD = """title = "t"
part = "LFE5U-85F"
platform = "a:b"
[clock]
oscillator = "clk"
oscillator_mhz = 25
engine_mhz = 50
[clock.pll]
primitive = "EHXPLLL"
input_divider = 1
vco_multiplier = 24
output_divider = 12
vco_range_mhz = [400, 800]
"""


@pytest.mark.parametrize("old, new, message", [
    ('part = "LFE5U-85F"', 'part = "LFE5U-95F"', "unknown part"),
    ('part = "LFE5U-85F"\n', "", "key 'part' is missing"),
    ("engine_mhz = 50", "engine_mhz = 60", "clock.engine_mhz is 60, but by the PLL's factors it is 50"),
    ("vco_multiplier = 24", "vco_multiplier = 48", "VCO would run at 1200 MHz, outside 400 to 800"),
    ("input_divider = 1", "divider = 1", "divider"),
    ("[clock]", "[clock", "board.toml"),
    (GOOD[GOOD.index("[clock.pll]"):], "", "without a PLL it is 25"),
])
def test_bad_board_file(tmp_path, old, new, message):
    path = tmp_path / "b" / "board.toml"
    path.parent.mkdir()
    path.write_text(GOOD)
    assert load_board(path).name == "b"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(HwgenError) as error:
        load_board(path)
    assert message in str(error.value)
