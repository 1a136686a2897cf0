"""What is changed in a netlist for ECP5 between Yosys and nextpnr, because neither of them does it."""

import json
from pathlib import Path

from .carry_chains import repack_chains
from .output_registers import take_output_registers


def rewrite_netlist(path: Path, top: str) -> tuple[int, int]:
    """Change the netlist in a file, as Yosys' write_json leaves it.

    Returns how many registers moved into block RAMs and multipliers, and how many CCU2C less the carry chains will take
    when placed.
    """
    design = json.loads(path.read_bytes())
    module = design["modules"][top]
    moved, saved = take_output_registers(module), repack_chains(module)
    path.write_text(json.dumps(design), encoding="utf-8")
    return moved, saved
