"""Simulation of the emitted Verilog under cocotb, with Verilator or Icarus."""

from .simulate import SimResult as SimResult
from .simulate import simulate as simulate
