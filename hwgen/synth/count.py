"""From a netlist's cell counts to resources, by the rules of docs/architecture.md.

LUTs are LUT1 to LUT6, inverters that were not absorbed, and LUT sites used as memory or
shift register.  Carry blocks count where the part builds them from LUT sites.
"""

from dataclasses import dataclass, field
import re

from hwgen.device.parts import Part
from hwgen.device.resources import Number, Resources


@dataclass(frozen=True)
class Costs:
    """What one cell of a family takes; a cell in no table takes nothing (multiplexers, buffers)."""

    lut: dict[str, int]
    lutram: dict[str, int]
    """LUT sites of memories and shift registers; they count as LUTs too."""
    ff: re.Pattern[str]
    dsp: dict[str, Number]
    bram: dict[str, Number]
    carry: dict[str, int] = field(default_factory=dict)
    """Carry blocks, counted beside the LUTs."""
    spram: dict[str, int] = field(default_factory=dict)


COSTS = {
    # A CCU2C is a slice's two LUT4 in carry mode.  A TRELLIS_DPR16X4 is four LUT4 holding bits
    # plus the two of the slice that serves as its write port (Lattice FPGA-TN-02204).
    "ecp5": Costs(
        lut={"LUT4": 1, "LUT1": 1, "LUT2": 1, "LUT3": 1, "INV": 1, "CCU2C": 2}, lutram={"TRELLIS_DPR16X4": 6},
        ff=re.compile(r"TRELLIS_FF|FD1.*"),
        dsp={"MULT18X18D": 1, "MULT9X9D": 0.5}, bram={"DP16KD": 1, "PDPW16KD": 1}, carry={"CCU2C": 1}),
    # LUT sites of 7-series memories: Xilinx UG474, table 2-3; a 32-deep one gives two bits per site.
    "xilinx7": Costs(
        lut={**{f"LUT{n}": 1 for n in range(1, 7)}, "LUT6_2": 1, "INV": 1},
        lutram={"RAM32X1S": 1, "RAM32X1D": 2, "RAM32M": 4, "RAM64X1S": 1, "RAM64X1D": 2, "RAM64M": 4, "RAM128X1S": 2,
                "RAM128X1D": 4, "RAM256X1S": 4, "SRL16": 1, "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1},
        ff=re.compile(r"FD[RSCP]E(_1)?|LD[CP]E"),
        dsp={"DSP48E1": 1}, bram={"RAMB36E1": 1, "RAMB18E1": 0.5}, carry={"CARRY4": 1}),
    # A SB_CARRY sits in the logic cell of the LUT that makes its sum.
    "ice40": Costs(
        lut={"SB_LUT4": 1}, lutram={}, ff=re.compile(r"SB_DFF.*"), dsp={"SB_MAC16": 1},
        bram={"SB_RAM40_4K": 1, "SB_RAM40_4KNR": 1, "SB_RAM40_4KNW": 1, "SB_RAM40_4KNRNW": 1}, carry={"SB_CARRY": 1},
        spram={"SB_SPRAM256KA": 1}),
}


@dataclass(frozen=True)
class Counted:
    """Resources, and what does not fit their four fields."""

    resources: Resources
    lutram: int
    """LUT sites, part of ``resources.lut``, that are memory or shift registers."""
    carry: int
    spram: int


def count_cells(cells: dict[str, int], part: Part) -> Counted:
    """Resources of a netlist given as ``{cell type: number}``.

    Raises ValueError for a cell that synthesis has left unmapped (its type begins with ``$``).
    """
    unmapped = sorted(name for name in cells if name.startswith("$") and name != "$scopeinfo")
    if unmapped:
        raise ValueError(f"synthesis left cells unmapped: {', '.join(unmapped)}")
    costs = COSTS[part.family]

    def total(table: dict) -> Number:
        return sum(table[name] * n for name, n in cells.items() if name in table)

    lutram = int(total(costs.lutram))
    return Counted(
        resources=Resources(lut=int(total(costs.lut)) + lutram,
                            ff=sum(n for name, n in cells.items() if costs.ff.fullmatch(name)),
                            dsp=total(costs.dsp), bram=total(costs.bram)),
        lutram=lutram, carry=int(total(costs.carry)), spram=int(total(costs.spram)))
