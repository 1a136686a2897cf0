"""The hardware: an engine from its parameters, as Verilog."""

from .emit import emit_verilog as emit_verilog
