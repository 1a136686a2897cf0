"""Families of parts for which lanes have descriptions of their own."""

from types import ModuleType

from . import portable
from .xilinx7 import logic

CELLS: dict[str, ModuleType] = {"": portable, "xilinx7": logic}
"""The operations of lanes, by family; "" is the description for every part."""


def cells_of(family: str) -> ModuleType:
    """The operations of ``family``.  ValueError if it has none of its own."""
    if family not in CELLS:
        raise ValueError(f"family must be one of {tuple(CELLS)}, not {family!r}")
    return CELLS[family]
