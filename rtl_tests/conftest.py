"""Engines compiled once per session; a simulator that is missing skips here and fails in CI."""

import os
import shutil

import pytest

from engines import ICARUS, VERILATOR
from hwgen.rtl import emit_verilog
from hwgen.sim.run import compile_engine, find_verilator

MEMORY_WORDS = 1 << 16
"""Of every testbench; programs that need more are left out."""


def need_simulator(name: str) -> None:
    """Skip the test, or fail it when CI=true, if the simulator is not installed."""
    found = find_verilator() if name == "verilator" else shutil.which("iverilog")
    if found is None:
        message = f"{name} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="session")
def simulator_for(tmp_path_factory):
    """``simulator_for(engine, simulator, memory_words)``: the compiled testbench, made on first use."""
    made = {}

    def get(engine, simulator, memory_words=MEMORY_WORDS):
        need_simulator(simulator)
        key = engine, simulator, memory_words
        if key not in made:
            folder = tmp_path_factory.mktemp(f"{simulator}_{engine.id:08x}")
            made[key] = compile_engine(emit_verilog(engine), engine, memory_words, folder, simulator)
        return made[key]

    return get


@pytest.fixture(scope="session")
def simulator_of(simulator_for):
    """``simulator_of(name)``: the same for an engine of engines.py."""
    return lambda name: (simulator_for(VERILATOR[name], "verilator") if name in VERILATOR
                         else simulator_for(ICARUS[name], "icarus"))
