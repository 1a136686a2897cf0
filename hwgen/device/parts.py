"""FPGA parts and what they offer."""

from dataclasses import dataclass, replace

from hwgen.device.resources import Resources
from hwgen.errors import HwgenError

FAMILIES = ("ecp5", "xilinx7", "ice40")
PROTOCOLS = ("axi3", "axi4")
"""Of ports to external memory."""
PORT_BITS = 64
"""Width of such a port."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One FPGA.  Counts are those of the vendor's data sheet, in the part's own units."""

    name: str
    family: str
    """One of FAMILIES."""
    lut: int
    lut_inputs: int
    """4 or 6."""
    ff: int
    dsp: int
    dsp_name: str
    """Primitive behind one unit of ``dsp``."""
    dsp_bits: tuple[int, int]
    """Signed operand widths of one multiplier."""
    bram: int
    """Block RAMs, in units of ``bram_name``."""
    bram_bits: int
    """Bits of one unit, parity bits included."""
    bram_name: str
    bram_widths: tuple[int, ...]
    """Word widths of one unit with one read and one write port; depth = data bits / width."""
    lutram: bool
    """LUTs can be small memories."""
    spram: int = 0
    """Large single-port RAMs beside the block RAMs."""
    spram_bits: int = 0
    ports: int = 0
    """Ports of PORT_BITS to external memory, where programs then lie; 0: they lie in on-chip memory."""
    protocol: str | None = None
    """One of PROTOCOLS where there are such ports: engines for the part are their masters."""
    clock_mhz: float
    """Engine clock that is planned with when neither a board nor the user names one."""
    package: str = ""
    """For place and route."""
    speed: str = ""
    pnr: str | None = None
    """nextpnr's name for the device; None where no open tool places the part."""
    clock_pin: str = ""
    """A pin of the package that has a way of its own to the clock network."""

    def __post_init__(self):
        if self.family not in FAMILIES:
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}, not {self.family!r}")
        if self.protocol not in (PROTOCOLS if self.ports else (None,)):
            raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)} with ports and None without, "
                             f"not {self.protocol!r}")

    @property
    def available(self) -> Resources:
        return Resources(lut=self.lut, ff=self.ff, dsp=self.dsp, bram=self.bram)

    @property
    def small(self) -> bool:
        """Whether engines are of the small kind: LUTs hold no memory, so that every queue costs block RAM or registers,
        and programs lie on the chip."""
        return not self.lutram and not self.ports

    def without_ports(self) -> "Part":
        """The same part for an engine alone, whose memory is on the chip."""
        return replace(self, ports=0, protocol=None)

    @property
    def memory_bits(self) -> int:
        """All bits in block RAM and single-port RAM."""
        return self.bram * self.bram_bits + self.spram * self.spram_bits


def _ecp5(name: str, lut: int, bram: int, dsp: int, pnr: str) -> Part:
    # Lattice FPGA-DS-02012: one flip-flop per LUT4; a DP16KD holds 18 Kb; a sysDSP slice has two
    # MULT18X18D.  Widest port of a DP16KD in simple dual-port mode: 36 bits (512 words).
    return Part(name=name, family="ecp5", lut=lut, lut_inputs=4, ff=lut, dsp=dsp, dsp_name="MULT18X18D",
                dsp_bits=(18, 18), bram=bram, bram_bits=18432, bram_name="DP16KD", bram_widths=(1, 2, 4, 9, 18, 36),
                lutram=True, clock_mhz=50.0, package="CABGA381", speed="6", pnr=pnr, clock_pin="G2")


def _zynq(name: str, lut: int, bram: int, dsp: int) -> Part:
    # Xilinx DS190: two flip-flops per LUT6; a RAMB36E1 is 36 Kb, up to 72 bits wide in simple dual-port mode.
    # Xilinx UG585: four HP ports of 64 bits, AXI3.
    return Part(name=name, family="xilinx7", lut=lut, lut_inputs=6, ff=2 * lut, dsp=dsp, dsp_name="DSP48E1",
                dsp_bits=(25, 18), bram=bram, bram_bits=36864, bram_name="RAMB36E1",
                bram_widths=(1, 2, 4, 9, 18, 36, 72), lutram=True, ports=4,
                protocol="axi3", clock_mhz=100.0)


PARTS: dict[str, Part] = {part.name: part for part in (
    _ecp5("LFE5U-25F", 24288, 56, 28, "25k"),
    _ecp5("LFE5U-45F", 43848, 108, 72, "45k"),
    _ecp5("LFE5U-85F", 83640, 208, 156, "85k"),
    # Lattice FPGA-DS-02008: 30 blocks of 4 Kb (at most 16 bits wide), four SPRAMs of 16K x 16, eight SB_MAC16.
    Part(name="iCE40UP5K", family="ice40", lut=5280, lut_inputs=4, ff=5280, dsp=8, dsp_name="SB_MAC16",
         dsp_bits=(16, 16), bram=30, bram_bits=4096, bram_name="SB_RAM40_4K", bram_widths=(2, 4, 8, 16),
         lutram=False, spram=4, spram_bits=262144, clock_mhz=12.0, package="sg48", pnr="up5k"),
    _zynq("XC7Z020", 53200, 140, 220),
    _zynq("XC7Z045", 218600, 545, 900),
)}


def get_part(name: str) -> Part:
    """The part of that name, in any case.  Raises HwgenError with the list when there is none."""
    for part in PARTS.values():
        if part.name.lower() == name.strip().lower():
            return part
    raise HwgenError(f"unknown part {name!r}; known parts: {', '.join(PARTS)}")


def list_parts() -> list[str]:
    return list(PARTS)
