"""Families of parts for which LUT lanes are described with the family's own cells."""

from types import ModuleType

from .ecp5 import logic as ecp5
from .ecp5 import pot as ecp5_pot
from .xilinx7 import logic as xilinx7
from .xilinx7 import pot as xilinx7_pot

CELLS: dict[str, ModuleType] = {"xilinx7": xilinx7, "ecp5": ecp5}
POT_CELLS: dict[str, ModuleType] = {"xilinx7": xilinx7_pot, "ecp5": ecp5_pot}


def cells_of(family: str) -> ModuleType | None:
    """The operations of lanes in ``family``'s cells; None for "", the portable description.

    ValueError for a family without cells here.
    """
    if family and family not in CELLS:
        raise ValueError(f"family must be one of {('', *CELLS)}, not {family!r}")
    return CELLS.get(family)
