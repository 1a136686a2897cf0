"""A network built for a part with ports to external memory, simulated by `hwgen simulate` through its AXI3 ports."""

import json
import re

import pytest

from hwgen.build import load_build
from hwgen.cli.main import main
from simulators import need_simulator

MEMORIES = ((), ("--memory-latency", "3"), ("--memory-latency", "70", "--bytes-per-cycle", "4"))
"""The default; near; far and a quarter as fast as the ports."""


def test_planned_and_simulated_through_axi3(tmp_path, capsys):
    need_simulator("verilator")
    engine = "ki=4,px=1,sp2=2,dsp=2,drain=1,mem=128,ports=2"
    assert main(["build", "digits_mlp", "--part", "XC7Z020", "--engine", engine, "-o", str(tmp_path / "a")]) == 0
    made = load_build(tmp_path / "a")
    assert (made.top, made.protocol) == ("hwgen_axi_engine", "axi3")
    text = made.verilog.read_text()
    assert {"hwgen_axi_engine", "hwgen_axi_engine_core"} <= set(re.findall(r"^module (\w+)", text, re.M))
    assert "m1_axi_wid" in text and "m2_axi_wid" not in text
    capsys.readouterr()
    cycles = []
    for words in MEMORIES:
        assert main(["simulate", str(made.path), "--images", "3", "--json", *words]) == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["verification"]["images"], report["verification"]["mismatches"]) == (3, 0)
        found = report["cycles"]
        assert found["planned"] == pytest.approx(found["simulated"], rel=0.02)
        for layer in found["layers"]:
            assert layer["planned"] == pytest.approx(layer["simulated"], rel=0.02, abs=5)
        cycles.append(found["simulated"])
    default, near, far = cycles
    assert near < default < far
