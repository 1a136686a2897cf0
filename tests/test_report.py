"""The report: keys that scripts rely on, numbers by hand, and the two ways it is shown."""

from html.parser import HTMLParser
import io

import pytest
from rich.console import Console

from hwgen.report import make_report, print_report, render_html
from hwgen.report.data import error_percent
from hwgen.report.text import count, percent, signed_percent

BYTES = {"weights": 4567, "parameters": 100, "commands": 50, "maps_in": 0, "maps_out": 0}
FACTS = {
    "hwgen": "1.2.3", "model": "net", "board": "ulx3s_85f", "part": "LFE5U-85F",
    "engine": {"ki": 8, "px": 2, "rows": {"sp2": 16, "dsp": 8}, "drain_lanes": 4, "macs_per_cycle": 384,
               "clock_mhz": 50.0, "id": "00000001"},
    "network": {"macs": 96000, "params": 1200, "rows": {"sp2": 20, "fixed4": 12}, "weight_bits": 4800},
    "cycles": 1000,
    "layers": [{"name": "a", "planned": 750, "macs": 90000, "utilization": 0.3125, "bytes": BYTES,
                "split": {"busy": 600, "weights": 75, "activations": 50, "drain": 25, "memory": 0}},
               {"name": "<b>", "planned": 250, "macs": 6000, "utilization": 0.0625, "bytes": BYTES,
                "split": {"busy": 30, "weights": 200, "activations": 10, "drain": 7, "memory": 3}}],
    "unit_cycles": {"array": {"busy": 630, "weights": 275}, "load": {"busy": 900, "room": 60}},
    "explanation": ["bound by <LUT>"],
    "available": {"lut": 83640, "ff": 83640, "dsp": 156, "bram": 208},
    "units": {"lut": "LUT4", "ff": "flip-flops", "dsp": "MULT18X18D", "bram": "DP16KD"},
    "estimated": {"lut": 9000, "ff": 4000, "dsp": 64, "bram": 0},
    "clock": "engine clock 50 MHz", "wanted_fps": 2000.0, "memory_bits": 32768,
    "verification": {"golden_accuracy": 0.9, "golden_images": 500, "float_accuracy": 0.91, "requantizers_proven": 31,
                     "requantizers": 32},
}
SIM = {"images": 100, "mismatches": 0, "cycles": 1250, "layers": {"a": 1000, "<b>": 250}, "accuracy": 0.89,
       "first_difference": None}
SYNTH = {"resources": {"lut": 10000, "ff": 4000, "dsp": 64, "bram": 0}, "carry": 900, "levels": 9,
         "deepest": {"from": "walker.remainder", "to": "walker.quotient"}}
PNR = {"resources": {"lut": 10500, "ff": 4100, "dsp": 64, "bram": 12}, "fmax_mhz": 61.5, "target_mhz": 50.0, "seed": 7,
       "critical": {"from": "reader.point", "to": "ring.slice_0", "logic_ns": 6.06, "routing_ns": 10.2}}


def test_keys_before_any_step():
    report = make_report(FACTS)
    assert {"model", "board", "part", "engine", "network", "cycles", "performance", "resources",
            "verification"} <= set(report)
    assert {"ki", "px", "rows", "drain_lanes", "macs_per_cycle", "clock_mhz"} <= set(report["engine"])
    assert set(report["network"]) == {"macs", "params", "rows", "weight_bits"}
    assert set(report["cycles"]) == {"planned", "simulated", "layers", "units"}
    for layer in report["cycles"]["layers"]:
        assert set(layer) == {"name", "planned", "simulated", "macs", "utilization", "split", "bytes"}
    assert {"latency_ms", "fps", "gops", "mac_utilization"} <= set(report["performance"])
    assert {"available", "estimated", "synthesized", "placed"} <= set(report["resources"])
    assert {"images", "mismatches", "accuracy", "golden_accuracy", "float_accuracy", "requantizers_proven",
            "requantizers"} <= set(report["verification"])
    assert report["resources"]["synthesized"] is report["resources"]["placed"] is None
    assert report["verification"]["images"] is report["verification"]["accuracy"] is None
    assert report["cycles"]["simulated"] is report["cycles"]["layers"][0]["simulated"] is None


def test_performance_by_hand():
    # 1000 cycles at 50 MHz: 20 us, 50000 a second; 2 * 96000 * 50000 = 9.6e9; 96000 of 384000 MAC slots
    speed = make_report(FACTS)["performance"]
    assert (speed["latency_ms"], speed["fps"], speed["gops"], speed["mac_utilization"]) == (0.02, 50000.0, 9.6, 0.25)
    assert speed["clock_confirmed"] is None
    # simulated cycles replace planned ones
    assert make_report(FACTS, SIM)["performance"]["fps"] == 40000.0


def test_steps_fill_their_places():
    report = make_report(FACTS, SIM, SYNTH, PNR)
    assert report["cycles"]["simulated"] == 1250
    assert [layer["simulated"] for layer in report["cycles"]["layers"]] == [1000, 250]
    assert report["resources"]["synthesized"] == SYNTH["resources"]
    assert report["resources"]["placed"] == {"lut": 10500, "ff": 4100, "dsp": 64, "bram": 12, "fmax_mhz": 61.5}
    assert (report["resources"]["levels"], report["resources"]["deepest"]) == (9, SYNTH["deepest"])
    assert (report["resources"]["critical"], report["resources"]["seed"]) == (PNR["critical"], 7)
    assert report["resources"]["error_percent"] == {"lut": -10.0, "ff": 0.0, "dsp": 0.0, "bram": 0.0}
    assert report["performance"]["clock_confirmed"] is True
    assert make_report(FACTS, pnr={**PNR, "fmax_mhz": 49.9})["performance"]["clock_confirmed"] is False
    assert report["verification"]["accuracy"] == 0.89


AXI = {**FACTS, "part": "XC7Z020", "board": None,
       "engine": {**FACTS["engine"], "top": "hwgen_axi_engine", "protocol": "axi3", "ports": 4}}
BEHIND = {**SIM, "memory": {"latency": 30, "bytes_per_cycle": 32.0, "queue": 8},
          "planned": {"cycles": 1225, "unit_cycles": {"array": {"busy": 1225}},
                      "layers": [{**FACTS["layers"][0], "planned": 990}, {**FACTS["layers"][1], "planned": 235}]}}


def test_planned_and_simulated_are_for_the_same_memory():
    before, after = make_report(AXI)["cycles"], make_report(AXI, BEHIND)["cycles"]
    assert (before["planned"], before["memory"], before["error_percent"]) == (1000, None, None)
    assert (after["planned"], after["simulated"], after["planned_ideal"]) == (1225, 1250, 1000)
    assert after["memory"]["latency"] == 30 and after["error_percent"] == -2.0
    assert [(layer["planned"], layer["simulated"]) for layer in after["layers"]] == [(990, 1000), (235, 250)]
    assert after["units"] == {"array": {"busy": 1225}}
    text, page = shown(make_report(AXI, BEHIND)), render_html(make_report(AXI, BEHIND))
    for part in ("1,225 planned, 1,250 simulated (-2.00 %)",
                 "4 AXI3 ports; first word after 30 cycles, 32 bytes per cycle"):
        assert part in text and part in page
    assert "resources of XC7Z020 (engine with its AXI3 ports)" in text and "its program lies in external memory" in page
    assert "4 AXI3 ports; planned with an ideal memory, not simulated yet" in shown(make_report(AXI))


@pytest.mark.parametrize("estimated, synthesized, expected", [
    (11, 10, 10.0), (0, 0, 0.0), (1, 0, None), (9, 12, -25.0)])
def test_error_percent(estimated, synthesized, expected):
    assert error_percent(estimated, synthesized) == expected


def test_numbers_as_text():
    assert [count(None), count(0), count(1234567), count(2.5), count(3.0)] == ["-", "0", "1,234,567", "2.5", "3"]
    assert [percent(None), percent(0.9), percent(0.12345, 2)] == ["-", "90.0 %", "12.35 %"]
    assert [signed_percent(None), signed_percent(3.21), signed_percent(-0.5)] == ["-", "+3.2 %", "-0.5 %"]


def shown(report) -> str:
    console = Console(file=io.StringIO(), width=140, color_system=None)
    print_report(report, console)
    return console.file.getvalue()


def test_terminal_without_colour():
    text = shown(make_report(FACTS, SIM, SYNTH, PNR))
    assert "\x1b" not in text and text.isascii()
    for part in ("89.0 % of 100 simulated images", "0 in 100 images", "31 of 32 proven",
                 "1,000 planned, 1,250 simulated",
                 "40,000 fps at 50 MHz (confirmed by place and route: 61.5 MHz)", "-10.0 %", "83,640", "10,500",
                 "golden model 90.0 % of 500", "float network 91.0 %",
                 "9 levels after synthesis, from walker.remainder to walker.quotient",
                 "reader.point to ring.slice_0: 6.1 ns of logic, 10.2 ns of routing (target 50 MHz, seed 7)",
                 "600 |      75 |          50 |    25 |      0 | 4.7"):
        assert part in text


def test_terminal_before_any_step():
    text = shown(make_report(FACTS))
    assert "not simulated yet" in text and "planned; not placed and routed yet" in text


def test_terminal_shows_the_first_difference():
    text = shown(make_report(FACTS, {**SIM, "mismatches": 3, "first_difference": "layer a, row 1: expected 2, got 3",
                                     "accuracy": None}))
    assert "3 in 100 images" in text and "layer a, row 1: expected 2, got 3" in text and "inputs without labels" in text


class Checker(HTMLParser):
    """Every tag closed, nothing loaded from elsewhere; collects text and the widths of the bars."""

    VOID = {"meta", "rect"}

    def __init__(self):
        super().__init__()
        self.open, self.text, self.bars = [], [], []

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "link", "img", "iframe")
        if tag == "rect":
            self.bars.append(float(dict(attrs)["width"]))
        elif tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_html_is_well_formed_and_escaped():
    page = render_html(make_report(FACTS, SIM, SYNTH, PNR))
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    text = "".join(checker.text)
    assert "<b>" in text and "bound by <LUT>" in text and "<b>" not in page
    assert "1,250" in text and "61.5 MHz" in text
    # two layers of 750 and 250 cycles in five parts; then four resources with three bars each
    assert checker.bars[:10] == [336.0, 42.0, 28.0, 14.0, 0.0, 16.8, 112.0, 5.6, 3.9, 1.7]
    assert len(checker.bars) == 10 + 12 and checker.bars[10] == round(420 * 9000 / 83640, 1)
    assert "4,567" in text and "900 busy, 60 room" in text
    assert "http" not in page


def test_html_before_any_step_and_overfull_part():
    facts = {**FACTS, "estimated": {"lut": 200000, "ff": 1, "dsp": 1, "bram": 1}}
    checker = Checker()
    checker.feed(render_html(make_report(facts)))
    assert len(checker.bars) == 10 + 4 and checker.bars[10] == 420.0


def test_same_report_same_page():
    assert render_html(make_report(FACTS, SIM)) == render_html(make_report(FACTS, SIM))
