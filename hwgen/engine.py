"""What an engine is: the parameters of the generated hardware and every width derived from them."""

from dataclasses import asdict, dataclass
from functools import cached_property
import hashlib
import json

ENGINE_VERSION = 1
"""Rises whenever a program for one engine would not run on the other."""

GROUPS = ("sp2", "dsp")

PREFETCH = 32
"""Words of the program that may be on their way; hides memory latencies up to this many cycles."""
COMMAND_WORDS = 64
"""Depth of the queue of commands."""
TILES_IN_FLIGHT = 16
"""Never more tiles are in the pipeline, because ``plan.timing.MIN_INTERVAL`` keeps their ends apart."""
STORE_WORDS = 256
"""Words of the store queue; a tile of a stored layer must fit."""


class EngineError(ValueError):
    """A parameter of the engine is out of its range."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One accelerator.  Dense multiply-accumulates per cycle are ``ki * px * rows``."""

    ki: int
    """Input channels per cycle; a power of two from 2 to 32."""
    px: int
    """Output pixels per cycle, 1 to 8."""
    sp2_rows: int
    """Row slots on shift-add lanes; 0 or a multiple of ``drain_lanes``."""
    dsp_rows: int
    """Row slots on multiplier lanes (they run every scheme); a multiple of ``drain_lanes``."""
    drain_lanes: int
    """Requantizer lanes D; divides ``ki``."""
    ring_depth: int = 512
    """Words of the weight ring; a power of two."""
    scratch_depth: int = 512
    """Words per scratchpad bank."""
    acc_bits: int = 24
    """Width of raw lane sums, unsigned; the corrected accumulator fits as signed."""
    m_bits: int = 18
    """Width of the signed multipliers M, R, A and B."""
    mem_bits: int = 64
    """Width of the memory port: 64 or 128."""
    wide: bool = True
    """The dsp lanes hold 8-bit weights (else 4-bit ones only)."""
    residual: bool = True
    """The drain can take a second operand."""
    rescale: bool = True
    """The second requantizer stage: two-step residual and average pooling."""
    pool: bool = True
    """The drain can pool."""
    thresholds: bool = True
    """The drain has the binary search of threshold mode."""
    dsp_weights: str = "dsp"
    """Multipliers of the dsp lanes: "dsp" blocks or "lut" logic (parts with few blocks)."""

    def __post_init__(self):
        def need(ok, what):
            if not ok:
                raise EngineError(what)

        need(self.ki in (2, 4, 8, 16, 32), f"ki must be a power of two from 2 to 32, not {self.ki!r}")
        need(1 <= self.px <= 8, f"px must be in 1..8, not {self.px!r}")
        need(self.drain_lanes >= 1 and self.ki % self.drain_lanes == 0,
             f"drain_lanes must divide ki={self.ki}, not {self.drain_lanes!r}")
        for name in ("sp2_rows", "dsp_rows"):
            value = getattr(self, name)
            need(value >= 0 and value % self.drain_lanes == 0,
                 f"{name} must be a multiple of drain_lanes={self.drain_lanes}, not {value!r}")
        need(0 < self.rows <= 256, f"sp2_rows + dsp_rows must be in 1..256, not {self.rows}")
        need(self.ring_depth & (self.ring_depth - 1) == 0 and self.ring_depth >= 16,
             f"ring_depth must be a power of two of at least 16, not {self.ring_depth!r}")
        need(self.scratch_depth >= 16, f"scratch_depth must be at least 16, not {self.scratch_depth!r}")
        need(12 <= self.acc_bits <= 32, f"acc_bits must be in 12..32, not {self.acc_bits!r}")
        need(self.acc_bits <= 31 or not self.thresholds,
             f"acc_bits must be at most 31 with thresholds, which are stored in 32 bits, not {self.acc_bits!r}")
        need(8 <= self.m_bits <= 32, f"m_bits must be in 8..32, not {self.m_bits!r}")
        need(self.mem_bits in (64, 128), f"mem_bits must be 64 or 128, not {self.mem_bits!r}")
        need(4 * self.ki <= self.mem_bits, f"4*ki must not exceed mem_bits={self.mem_bits}")

    @property
    def rows(self) -> int:
        """Row slots of a tile; sp2 slots come first."""
        return self.sp2_rows + self.dsp_rows

    @property
    def banks(self) -> int:
        """Scratchpad banks: odd, at least ``px``, so that strides 1 and 2 do not collide."""
        return self.px | 1 if self.px > 1 else 1

    @property
    def point_bits(self) -> int:
        """Address bits of a scratchpad bank."""
        return (self.scratch_depth - 1).bit_length()

    @property
    def word_bits(self) -> int:
        """A scratchpad word: one 4-bit plane of ``ki`` channels of one pixel."""
        return 4 * self.ki

    @property
    def macs_per_cycle(self) -> int:
        return self.ki * self.px * self.rows

    @property
    def chunks(self) -> int:
        """Row slots per drain lane."""
        return self.rows // self.drain_lanes

    @property
    def tile_chunks(self) -> int:
        """Chunks of the largest tile: all row slots, or a whole word where an engine has fewer rows than channels."""
        return max(self.rows, self.ki) // self.drain_lanes

    @property
    def chunk_bits(self) -> int:
        """Address bits of a chunk."""
        return max(1, (self.tile_chunks - 1).bit_length())

    @property
    def residual_depth(self) -> int:
        """Groups of residual words that wait for their tiles.

        Three tiles are on their way at most, or as many of one word as the pipeline is long.
        """
        return max(64, 1 << (4 * -(-self.rows // self.ki) - 1).bit_length())

    @property
    def c_bits(self) -> int:
        """Width of C: acc*M with one bit for the offset-binary correction and one to spare."""
        return self.acc_bits + self.m_bits + 2

    @property
    def c2_bits(self) -> int:
        """Width of the second stage's constant."""
        return self.m_bits + 20

    def slices(self, kind: str) -> int:
        """Memory words that one ring word of ``kind`` (sp2, dsp or high) takes when all rows are there."""
        rows = self.sp2_rows if kind == "sp2" else self.dsp_rows
        if kind == "high" and not self.wide:
            return 0
        return -(-rows * self.word_bits // self.mem_bits)

    @cached_property
    def id(self) -> int:
        """32 bits that differ between engines whose programs differ; carried by the hardware and every program."""
        text = json.dumps({"version": ENGINE_VERSION, **asdict(self)}, sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
