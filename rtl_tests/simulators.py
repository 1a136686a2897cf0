"""What the tests need of the simulators: which are there, and how much memory a testbench has."""

import os
import shutil

import pytest

from hwgen.sim.run import find_verilator

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
