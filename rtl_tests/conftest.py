"""Engines compiled once per run; a simulator that is missing skips here and fails in CI."""

from dataclasses import replace
import fcntl
import os
import shutil

import pytest

from engines import ICARUS, VERILATOR
from hwgen.rtl import emit_verilog
from hwgen.sim.run import compile_engine
from simulators import MEMORY_WORDS, need_simulator

COMPILER_FILES = shutil.ignore_patterns("*.cpp", "*.h", "*.o", "*.a", "*.d", "*.gch")
"""What a compiled simulation no longer needs: nearly all of its 200 MB."""


@pytest.fixture(scope="session")
def simulator_for(tmp_path_factory):
    """``simulator_for(engine, simulator, memory_words)``: the compiled testbench, made on first use.

    The processes of pytest-xdist compile an engine once, one waiting for the other, and run
    it each in a copy of its own.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made = {}

    def get(engine, simulator, memory_words=MEMORY_WORDS):
        need_simulator(simulator)
        name = f"{simulator}_{engine.id:08x}_{memory_words}"
        if name not in made:
            with open(shared / f"{name}.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                common = compile_engine(emit_verilog(engine, simulation=True), engine, memory_words, shared / name,
                                        simulator)
                made[name] = common
                if shared != base:
                    made[name] = replace(common, folder=base / name)
                    shutil.copytree(common.folder, base / name, ignore=COMPILER_FILES)
        return made[name]

    return get


@pytest.fixture(scope="session")
def simulator_of(simulator_for):
    """``simulator_of(name)``: the same for an engine of engines.py."""
    return lambda name: (simulator_for(VERILATOR[name], "verilator") if name in VERILATOR
                         else simulator_for(ICARUS[name], "icarus"))
