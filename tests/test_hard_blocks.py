"""Sites for block RAMs and multipliers, on placements made by hand."""

import json
import subprocess

import pytest

from hwgen.device import get_part
from hwgen.synth import hard_blocks, pnr

SITES = {"DP16KD": [f"X{x}/Y10/EBR0" for x in (2, 20, 40)], "MULT18X18D": ["X5/Y30/MULT18_0", "X25/Y30/MULT18_0"]}


def placed(tmp_path, cells: dict[str, tuple[str, str | None, list[int]]]):
    """nextpnr's JSON of {name: (type, site, nets)}."""
    path = tmp_path / "placed.json"
    path.write_text(json.dumps({"modules": {"top": {"cells": {
        name: {"type": kind, "attributes": {"NEXTPNR_BEL": site} if site else {},
               "connections": {f"P{i}": [bit] for i, bit in enumerate(bits)} | {"OPEN": [], "LOW": ["0"]}}
        for name, (kind, site, bits) in cells.items()}}}}))
    return path


def test_blocks_go_to_their_logic(tmp_path):
    """Two memories far from their logic change places, the multiplier follows the one that it is joined to."""
    path = placed(tmp_path, {
        "left": ("TRELLIS_FF", "X3/Y12/SLICEA.FF0", [1, 4]), "right": ("TRELLIS_FF", "X39/Y12/SLICEA.FF0", [2]),
        "a": ("DP16KD", "X40/Y10/EBR0", [1, 3, 4]), "b": ("DP16KD", "X2/Y10/EBR0", [2]),
        "m": ("MULT18X18D", "X25/Y30/MULT18_0", [3]), "vcc": ("VCC", None, [1, 2, 3])})
    assert hard_blocks.best_sites(path, SITES) == {
        "a": "X2/Y10/EBR0", "b": "X40/Y10/EBR0", "m": "X5/Y30/MULT18_0"}


def test_clocks_do_not_count(tmp_path):
    """A net of a clock buffer draws nothing."""
    path = placed(tmp_path, {
        "buffer": ("DCCA", "X0/Y0/DCC", [7]), "ff": ("TRELLIS_FF", "X30/Y12/SLICEA.FF0", [1, 7]),
        "a": ("DP16KD", "X2/Y10/EBR0", [1, 7])})
    assert hard_blocks.best_sites(path, SITES)["a"] in ("X20/Y10/EBR0", "X40/Y10/EBR0")


def test_a_good_placement_stays(tmp_path):
    """Blocks move only where that saves wire."""
    path = placed(tmp_path, {"ff": ("TRELLIS_FF", "X20/Y12/SLICEA.FF0", [1]), "a": ("DP16KD", "X20/Y10/EBR0", [1]),
                             "free": ("DP16KD", "X40/Y10/EBR0", [])})
    assert hard_blocks.best_sites(path, SITES) == {"a": "X20/Y10/EBR0", "free": "X40/Y10/EBR0"}


def test_no_blocks(tmp_path):
    path = placed(tmp_path, {"ff": ("TRELLIS_FF", "X20/Y12/SLICEA.FF0", [1])})
    assert hard_blocks.best_sites(path, SITES) == {}


def test_sites_become_orders(tmp_path):
    netlist, result = tmp_path / "netlist.json", tmp_path / "result.json"
    cells = {name: {"type": "DP16KD", "attributes": {"src": "x"}} for name in "ab"}
    netlist.write_text(json.dumps({"creator": "Yosys", "modules": {"box": {"cells": {}}, "top": {"cells": cells}}}))
    hard_blocks.fix_sites(netlist, {"a": "X2/Y10/EBR0"}, result)
    found = json.loads(result.read_text())["modules"]["top"]["cells"]
    assert found == {"a": {"type": "DP16KD", "attributes": {"src": "x", "BEL": "X2/Y10/EBR0"}}, "b": cells["b"]}


@pytest.mark.parametrize("name", ["LFE5U-25F", "LFE5U-45F", "LFE5U-85F"])
def test_nextpnr_tells_the_sites_of_a_part(name, tmp_path):
    """As many as the data sheet says, each once."""
    part = get_part(name)
    hard_blocks.write_all_blocks(tmp_path / "sites.json", part.available)
    _, command = pnr._nextpnr(part)
    subprocess.run([*command, *pnr._options(part), "--placer", "sa", "--json", "sites.json", "--no-route",
                    "--write", "placed.json"], cwd=tmp_path, check=True, capture_output=True, timeout=100)
    sites = hard_blocks.read_sites(tmp_path / "placed.json")
    assert {kind: len(set(found)) for kind, found in sites.items()} == {
        "DP16KD": part.available.bram, "MULT18X18D": part.available.dsp}
