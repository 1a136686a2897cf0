"""Registers that move into block RAMs and multipliers, and those that must not."""

import copy
import json

import pytest

from hwgen.synth.output_registers import take_output_registers
from hwgen.synth.rewrite import rewrite_netlist

CLOCK, OTHER, ENABLE, DATA, HELD = 2, 3, 4, 10, 100


def flip_flop(d, q, **changes):
    return {"type": "TRELLIS_FF",
            "parameters": {"CEMUX": "1 ", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"} | changes,
            "port_directions": {"CLK": "input", "DI": "input", "LSR": "input", "CE": "input", "Q": "output"},
            "connections": {"CLK": [CLOCK], "DI": [d], "LSR": ["0"], "CE": [ENABLE], "Q": [q]}}


def design(n=3):
    """A block with ``n`` bits of output, each into a flip-flop."""
    block = {"type": "DP16KD", "parameters": {"REGMODE_A": "NOREG", "REGMODE_B": "NOREG", "CLKAMUX": "CLKA",
                                              "CLKBMUX": "CLKB"},
             "port_directions": {"CLKA": "input", "CLKB": "input", "OCEA": "input", "OCEB": "input"}
             | {f"DOB{i}": "output" for i in range(18)},
             "connections": {"CLKA": [CLOCK], "CLKB": [CLOCK], "OCEA": ["0"], "OCEB": ["1"]}
             | {f"DOB{i}": [DATA + i] for i in range(18)}}
    return {"ports": {"q": {"direction": "output", "bits": [HELD + i for i in range(n)]}},
            "cells": {"ram": block} | {f"ff_{i}": flip_flop(DATA + i, HELD + i) for i in range(n)},
            "netnames": {"data": {"bits": [DATA + i for i in range(n)]}}}


def test_registers_move_into_the_block():
    module = design()
    assert take_output_registers(module) == 3
    block = module["cells"]["ram"]
    assert list(module["cells"]) == ["ram"]
    assert [block["connections"][f"DOB{i}"] for i in range(3)] == [[HELD], [HELD + 1], [HELD + 2]]
    assert (block["parameters"]["REGMODE_A"], block["parameters"]["REGMODE_B"]) == ("OUTREG", "OUTREG")
    assert (block["connections"]["OCEA"], block["connections"]["OCEB"]) == (["1"], ["1"])
    assert module["netnames"]["data"]["bits"] == ["x", "x", "x"]


def test_their_enable_goes_along():
    module = design()
    for i in range(3):
        module["cells"][f"ff_{i}"]["parameters"]["CEMUX"] = "CE"
    assert take_output_registers(module) == 3
    assert module["cells"]["ram"]["connections"]["OCEB"] == [ENABLE]


def product(n=3):
    """A multiplier with ``n`` bits of output, each into a flip-flop."""
    module = design(n)
    del module["cells"]["ram"]
    module["cells"]["product"] = {
        "type": "MULT18X18D", "parameters": {},
        "port_directions": {"A0": "input"} | {f"P{i}": "output" for i in range(36)},
        "connections": {"A0": [OTHER]} | {f"P{i}": [DATA + i] for i in range(36)}}
    return module


def test_registers_move_into_a_multiplier():
    module = product()
    assert take_output_registers(module) == 3
    assert list(module["cells"]) == ["product"]
    block = module["cells"]["product"]
    assert [block["connections"][f"P{i}"] for i in range(3)] == [[HELD], [HELD + 1], [HELD + 2]]
    assert [block["connections"][pin] for pin in ("CLK0", "CE0", "RST0")] == [[CLOCK], ["1"], ["0"]]
    assert {name: block["parameters"][f"REG_OUTPUT_{name}"] for name in ("CLK", "CE", "RST")} == {
        "CLK": "CLK0", "CE": "CE0", "RST": "RST0"}


def test_a_multiplier_with_registers_or_an_enable_stays():
    module = product()
    module["cells"]["product"]["connections"]["CLK0"] = [CLOCK]
    assert take_output_registers(module) == 0
    module = product()
    for i in range(3):
        module["cells"][f"ff_{i}"]["parameters"]["CEMUX"] = "CE"
    assert take_output_registers(module) == 0


def second_load(cells):
    cells["lut"] = {"type": "LUT4", "parameters": {}, "port_directions": {"A": "input"}, "connections": {"A": [DATA]}}


def other_clock(cells):
    cells["ff_1"]["connections"]["CLK"] = [OTHER]


def reset(cells):
    cells["ff_1"]["connections"]["LSR"] = [OTHER]


def set_at_start(cells):
    cells["ff_1"]["parameters"]["REGSET"] = "SET"


def inverted_enable(cells):
    for i in range(3):
        cells[f"ff_{i}"]["parameters"]["CEMUX"] = "INV"


def two_enables(cells):
    cells["ff_1"]["parameters"]["CEMUX"] = "CE"


def two_clocks(cells):
    cells["ram"]["connections"]["CLKA"] = [OTHER]


def falling_edge(cells):
    cells["ram"]["parameters"]["CLKBMUX"] = "INV"


def only_part(cells):
    cells["ff_1"] = {"type": "LUT4", "parameters": {}, "port_directions": {"A": "input"},
                     "connections": {"A": [DATA + 1]}}


@pytest.mark.parametrize("change", [second_load, other_clock, reset, set_at_start, inverted_enable, two_enables,
                                    two_clocks, falling_edge, only_part])
def test_what_a_block_cannot_do_stays(change):
    module = design()
    change(module["cells"])
    before = copy.deepcopy(module)
    assert take_output_registers(module) == 0
    assert module == before


def test_a_pin_of_the_design_is_a_load():
    module = design()
    module["ports"]["data"] = {"direction": "output", "bits": [DATA]}
    assert take_output_registers(module) == 0


def test_a_netlist_without_any_stays_the_same(tmp_path):
    path = tmp_path / "netlist.json"
    path.write_text(json.dumps({"modules": {"top": {"ports": {}, "cells": {}, "netnames": {}}}}))
    before = path.read_bytes()
    assert rewrite_netlist(path, "top") == (0, 0)
    assert path.read_bytes() == before
