"""Place and route of netlists that fill much of an ECP5."""

import json

import pytest

from hwgen.device import get_part
from hwgen.synth import large, place_and_route
from hwgen.synth.process import GaveUp
from test_place import WITH_MEMORY
from verilog_samples import write


@pytest.mark.parametrize("luts,chain,is_large", [(30_000, 1_000, False), (30_000, 3_000, True)])
def test_large_netlists_are_placed_and_routed_in_another_way(luts, chain, is_large):
    cells = {f"lut_{i}": {"type": "LUT4"} for i in range(luts)} | {f"add_{i}": {"type": "CCU2C"} for i in range(chain)}
    cells["scope"] = {"type": "$scopeinfo"}
    assert large.is_large(get_part("LFE5U-85F"), cells) == is_large
    assert not large.is_large(get_part("iCE40UP5K"), cells)


@pytest.mark.parametrize("clock_mhz", [20, 500])
def test_a_large_netlist_gets_sites_for_its_blocks(clock_mhz, tmp_path, monkeypatch):
    """Placed with them and routed, on a part where that fails from other clock pins; no files of the way are left.

    router2 would try for 500 MHz for ever.
    """
    monkeypatch.setattr(large, "LARGE", 0)
    steps = []
    result = place_and_route(write(tmp_path, WITH_MEMORY), "top", get_part("LFE5U-25F"), tmp_path / "out",
                             clock_mhz=clock_mhz, memory_words=1024, progress=steps.append)
    (cells,) = [module["cells"] for module in
                json.loads((tmp_path / "out" / "netlist_with_sites.json").read_text())["modules"].values()
                if "BEL" in str(module)]
    sites = [cell["attributes"]["BEL"] for cell in cells.values() if cell["type"] in ("DP16KD", "MULT18X18D")]
    assert sites and len(set(sites)) == len(sites)
    assert "Router2 time" in (tmp_path / "out" / "nextpnr.log").read_text()
    assert not {"placed.json", "sites.json"} & {path.name for path in (tmp_path / "out").iterdir()}
    assert (f"{clock_mhz}.0 MHz not met in 100 rounds" in steps) == (clock_mhz == 500)
    assert len([step for step in steps if step.startswith("routing for")]) == (1 if clock_mhz == 20 else 4)
    assert 20 < result.fmax_mhz < 500 and result.target_mhz == clock_mhz
    assert result.resources.bram == 4


@pytest.mark.parametrize("met,estimate,asked", [
    (80, 70, [80]), (75, 70, [80, 75]), (70, 70, [80, 75, 70]), (65, 70, [80, 75, 70, 63]),
    (60, 70, [80, 75, 70, 63, None]),
    (60, 81, [80, 72.9, None]), (60, 90, [80, None])])
def test_a_clock_that_is_not_met_is_asked_for_less(met, estimate, asked, tmp_path):
    placed, tried = tmp_path / "placed.json", []
    placed.write_text('{"settings": {"target_freq": "80000000.000000", "seed": "1"}}')

    def run(netlist, *options, hopeless=None):
        clock_mhz = float(json.loads((tmp_path / netlist).read_text())["settings"]["target_freq"]) / 1e6
        assert ("--tmg-ripup" in options) == (hopeless is not None)
        assert options[-2:] == ("--report", "report.json")
        tried.append(clock_mhz if hopeless else None)
        if hopeless and clock_mhz > met:
            raise GaveUp
        return ""

    large._route(placed, run, 80, estimate, "report.json", lambda text: None)
    assert tried == asked


def test_rounds_of_the_router_are_counted():
    """Not those of the placer."""
    line = "Info:     iter={} wires=1120393 overused=0 overuse=0 tmgfail=2 archfail=NA\n"
    other = "Info: iter=900 steplen=1.8 a=89.1 penalty=[0.00, 0.00]\n"
    log = "".join(line.format(number) + other for number in range(1, 101))
    assert not large._hopeless(log) and large._hopeless(log + line.format(101))
