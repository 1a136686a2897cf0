"""The parameters of the generated hardware, and which of them go together."""

from dataclasses import dataclass
from functools import cached_property

from ..requantizer import dsp_bits, narrow_bits
from .constants import FAMILIES, GROUPS, MAX_COLUMNS, MAX_SHIFT_BASE


class EngineError(ValueError):
    """A parameter of the engine is out of its range."""


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What is chosen of an accelerator; everything else follows from it (:class:`hwgen.engine.Engine`)."""

    ki: int
    """Input channels per cycle; a power of two from 2 to 32."""
    px: int
    """Output pixels per cycle, 1 to 8."""
    sp2_rows: int = 0
    """Row slots on lanes that add two shifted operands."""
    pot_rows: int = 0
    """Row slots on lanes that shift by a power of two."""
    int4_rows: int = 0
    """Row slots on lanes of LUTs for any 4-bit integers."""
    dsp_rows: int = 0
    """Row slots on multiplier lanes: any 4-bit integers, with ``wide`` any 8-bit ones."""
    drain_lanes: int
    """Requantizer lanes D; divides ``ki`` and the row slots of all groups together."""
    ring_depth: int = 512
    """Words of the weight ring; a power of two."""
    scratch_depth: int = 512
    """Words per scratchpad bank."""
    acc_bits: int = 24
    """Width of raw lane sums, unsigned; the corrected accumulator fits as signed."""
    m_bits: int = 18
    """Width of the signed multipliers M, R, A and B."""
    c_extra: int = 0
    """Bits by which the constants are wider than accumulator and multipliers make them."""
    shift_base: int = 0
    """Added to the stored shift of a row, 0 to MAX_SHIFT_BASE: S is shift_base + 1 to shift_base + 32.  Sums of many
    8-bit products need more than 32; rows that need less multiply M and C (hwgen.plan.shifts)."""
    swap: bool = False
    """Operands of the multiplier of M change places in layers with a wide M, whose accumulators are narrow then; only
    where blocks have a wide and a narrow operand (7-series)."""
    upper_blocks: bool = False
    """The upper bits of an accumulator that a wide M leaves over take a multiplier block of their own, not LUTs."""
    mem_bits: int = 64
    """Width of a memory word: 64, 128, 256 or 512."""
    ports: int = 1
    """Memory ports (1, 2 or 4) over which a memory word is striped, 64 or 128 bits each."""
    wide: bool = True
    """The dsp lanes hold 8-bit weights (else 4-bit ones only)."""
    residual: bool = True
    """The drain can take a second operand."""
    fused: bool = True
    """It can join the first requantizer stage (R), before any rounding; else the second stage only."""
    wide_residual: bool = True
    """It may have 8 bits; else 4."""
    rescale: bool = True
    """The second requantizer stage: two-step residual and average pooling."""
    pool: bool = True
    """The drain can pool."""
    pool_columns: int = 0
    """Columns of the row buffer for maxima of overlapping windows, at most MAX_COLUMNS; 0 for none."""
    thresholds: bool = True
    """The drain has the binary search of threshold mode."""
    wrap: bool = False
    """Codes of the first stage can wrap around instead of being clamped: digits of results of more than 8 bits."""
    dsp_weights: str = "dsp"
    """Multipliers of the dsp lanes: "dsp" blocks with as many products as they hold, "lut" logic (parts with few
    blocks), or "single", one product per block as in published designs."""
    dsp_products: int = 0
    """Of "single" multipliers the products that take a block; the others are made of LUTs."""
    small: bool = False
    """For parts of a few thousand LUTs and a memory on the chip: maps are requested word by word, one tile is read at a
    time, and counters are narrower (``register_bits``)."""
    family: str = ""
    """Whose primitives the lanes are made of; "" is a portable description."""

    def __post_init__(self):
        def need(ok, what):
            if not ok:
                raise EngineError(what)

        need(self.ki in (2, 4, 8, 16, 32), f"ki must be a power of two from 2 to 32, not {self.ki!r}")
        need(1 <= self.px <= 8, f"px must be in 1..8, not {self.px!r}")
        need(self.drain_lanes >= 1 and self.ki % self.drain_lanes == 0,
             f"drain_lanes must divide ki={self.ki}, not {self.drain_lanes!r}")
        for group in GROUPS:
            value = self.rows_of(group)
            need(value >= 0, f"{group}_rows must be at least 0, not {value!r}")
        need(0 < self.rows <= 256, f"the rows of all lane groups together must be in 1..256, not {self.rows}")
        need(self.rows % self.drain_lanes == 0, "the rows of all lane groups together must be a multiple of "
             f"drain_lanes={self.drain_lanes}, not {self.rows}")
        need(self.rescale or self.fused or not self.residual, "a residual needs the first stage (fused) or the second "
             "(rescale)")
        wide = dsp_bits(self.family)
        need(not self.swap or narrow_bits(wide) < self.m_bits <= wide and self.acc_bits < wide,
             f"swap is for M of {narrow_bits(wide) + 1} to {wide} bits and accumulators of less, not "
             f"m_bits={self.m_bits} and acc_bits={self.acc_bits}")
        need(self.dsp_weights in ("dsp", "lut", "single"),
             f"dsp_weights must be 'dsp', 'lut' or 'single', not {self.dsp_weights!r}")
        most = self.dsp_rows * self.ki * self.px if self.dsp_weights == "single" else 0
        need(0 <= self.dsp_products <= most, f"dsp_products must be in 0..{most}, not {self.dsp_products!r}")
        need(self.dsp_weights != "single" or self.family in ("", "xilinx7"),
             f"single products are known for family 'xilinx7', not {self.family!r}")
        need(self.family in FAMILIES, f"family must be one of {FAMILIES}, not {self.family!r}")
        need(self.ring_depth & (self.ring_depth - 1) == 0 and self.ring_depth >= 16,
             f"ring_depth must be a power of two of at least 16, not {self.ring_depth!r}")
        need(self.scratch_depth >= 16, f"scratch_depth must be at least 16, not {self.scratch_depth!r}")
        need(12 <= self.acc_bits <= 32, f"acc_bits must be in 12..32, not {self.acc_bits!r}")
        need(self.acc_bits <= 31 or not self.thresholds,
             f"acc_bits must be at most 31 with thresholds, which are stored in 32 bits, not {self.acc_bits!r}")
        need(0 <= self.pool_columns <= (MAX_COLUMNS if self.pool else 0),
             f"pool_columns must be in 0..{MAX_COLUMNS}, and 0 without pool, not {self.pool_columns!r}")
        need(0 <= self.c_extra <= 16, f"c_extra must be in 0..16, not {self.c_extra!r}")
        need(8 <= self.m_bits <= 32, f"m_bits must be in 8..32, not {self.m_bits!r}")
        need(0 <= self.shift_base <= MAX_SHIFT_BASE,
             f"shift_base must be in 0..{MAX_SHIFT_BASE}, not {self.shift_base!r}")
        need(self.mem_bits in (64, 128, 256, 512), f"mem_bits must be 64, 128, 256 or 512, not {self.mem_bits!r}")
        need(self.ports in (1, 2, 4), f"ports must be 1, 2 or 4, not {self.ports!r}")
        need(self.port_bits in (64, 128) or self.ports == 1,
             f"a memory port must have 64 or 128 bits, not mem_bits={self.mem_bits} / ports={self.ports}")
        need(not self.small or self.ports == 1, f"a small engine has one memory port, not {self.ports}")
        need(4 * self.ki <= self.mem_bits, f"4*ki must not exceed mem_bits={self.mem_bits}")

    @cached_property
    def group_rows(self) -> tuple[int, ...]:
        """Row slots of every lane group, in the order of GROUPS."""
        return tuple(getattr(self, f"{group}_rows") for group in GROUPS)

    @cached_property
    def rows(self) -> int:
        """Row slots of a tile, group after group."""
        return sum(self.group_rows)

    def rows_of(self, group: str) -> int:
        """Row slots of a lane group; ``high`` nibbles belong to the dsp rows."""
        return getattr(self, "dsp_rows" if group == "high" else f"{group}_rows")

    @property
    def port_bits(self) -> int:
        """Bits of one memory port; port p carries bits ``p * port_bits`` upwards of a memory word."""
        return self.mem_bits // self.ports
