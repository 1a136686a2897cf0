"""What an engine is: the parameters of the generated hardware and every width derived from them."""

from dataclasses import asdict, dataclass
from functools import cached_property
import hashlib
import json

from .requantizer import dsp_bits, narrow_bits

ENGINE_VERSION = 3
"""Rises whenever a program for one engine would not run on the other."""

TOP = "hwgen_engine"
"""Top module of an engine with its own memory port."""
AXI_TOP = "hwgen_axi_engine"
"""Top module of an engine with AXI ports, which holds an engine and a master per port."""
GROUPS = ("sp2", "pot", "int4", "dsp")
"""Lane groups in the order of their row slots (hwgen.lanes)."""
KINDS = (*GROUPS, "high")
"""What a ring word holds, in this order: codes of each group, and the high nibbles of 8-bit weights on dsp lanes."""
FAMILIES = ("", "xilinx7", "ecp5", "ice40")
BLOCK_ROWS = 16
"""Rows that share one copy of the operands, so that no operand bit drives more."""
PREFETCH = 64
"""Memory words of the program that may be on their way: hides a latency of 44 cycles."""
DESCRIPTORS = PREFETCH // 2 + 1
"""FETCH packets between arrival and the load unit: they are two words long, so no more can be."""
COMMAND_WORDS = 64
"""Depth of the queue of commands."""
TILES_IN_FLIGHT = 32
"""Never more tiles are in the pipeline, because ``plan.timing.MIN_INTERVAL`` keeps their ends apart and the reader
takes few words ahead."""
RESIDUAL_CYCLES = 64
"""From the end of a tile's steps to the beginning of its drain at most."""
STORE_WORDS = 256
"""Words of the store queue; a tile of a stored layer must fit."""
UNCHECKED = 48
"""Words from which a memory's reads are not checked for a write to the same word at the same time, which never
matters: such memories belong into block RAM.  Smaller ones are better made of LUTs, where the check costs nothing."""


def unchecked_words(family: str) -> int:
    """The same for a family: where LUTs hold no memory, smaller ones go into block RAM too."""
    return 2 if family == "ice40" else UNCHECKED


WORDS_IN_FLIGHT = 8
"""Words between the sequencer and the ends of their steps: more than ``plan.timing``'s ISSUE_LATENCY and
CREDIT_LATENCY together, so that they never wait for each other; a power of two."""
MAX_COLUMNS = 1024
"""Of the row buffer."""
SHIFT_BITS = 5
"""Of a row's stored shift."""
MAX_SHIFT_BASE = 16
"""Of what an engine adds to it."""


class EngineError(ValueError):
    """A parameter of the engine is out of its range."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One accelerator.  Dense multiply-accumulates per cycle are ``ki * px * rows``."""

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

    def first_slot(self, group: str) -> int:
        """Row slots before those of a lane group."""
        return sum(self.group_rows[:GROUPS.index(group)])

    def lane_rows(self, group: str, lane: int) -> int:
        """Row slots of a lane group that drain lane ``lane`` serves: those that are ``lane`` modulo D."""
        first = self.first_slot(group)
        return len(range(first + (lane - first) % self.drain_lanes, first + self.rows_of(group), self.drain_lanes))

    @cached_property
    def lane_caps(self) -> tuple[tuple[int, ...], ...]:
        """Per drain lane the row slots of every lane group that it serves."""
        return tuple(tuple(self.lane_rows(group, lane) for group in GROUPS) for lane in range(self.drain_lanes))

    def group_of(self, slot: int) -> str:
        """The lane group of a row slot."""
        return next(group for group in reversed(GROUPS) if self.rows_of(group) and slot >= self.first_slot(group))

    def blocks(self, group: str) -> list[int]:
        """Rows of the blocks that a lane group is made of: as equal as even sizes can be, none above BLOCK_ROWS."""
        rows = self.rows_of(group)
        count, sizes = -(-rows // BLOCK_ROWS), []
        while rows:
            # An even number of rows, because multipliers take rows in pairs.
            size = min(rows, -(-rows // (2 * count)) * 2)
            sizes.append(size)
            rows, count = rows - size, count - 1
        return sizes

    def single_products(self, block: int) -> int:
        """Of ``dsp_products`` those of a block of dsp rows: the first blocks take them."""
        sizes = [rows * self.ki * self.px for rows in self.blocks("dsp")]
        return min(sizes[block], max(0, self.dsp_products - sum(sizes[:block])))

    @property
    def broadcast_latency(self) -> int:
        """Cycles that operands need to reach the lanes: one when there are several blocks, each with a copy."""
        return int(sum(len(self.blocks(group)) for group in GROUPS) > 1 and self.rows > BLOCK_ROWS)

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
    def port_bits(self) -> int:
        """Bits of one memory port; port p carries bits ``p * port_bits`` upwards of a memory word."""
        return self.mem_bits // self.ports

    @property
    def scratch_words(self) -> int:
        """Scratchpad words in a memory word; a power of two."""
        return self.mem_bits // self.word_bits

    @property
    def macs_per_cycle(self) -> int:
        return self.ki * self.px * self.rows

    @property
    def chunks(self) -> int:
        """Row slots per drain lane."""
        return self.rows // self.drain_lanes

    @property
    def walks_ahead(self) -> bool:
        """Groups of pixels are prepared while others wait: where a group drains in ``px`` cycles."""
        return self.chunks == 1 and not self.small

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
        """Groups of residual words that wait for their tiles: a power of two.

        From the last step of a tile until its residual has been used it is RESIDUAL_CYCLES and its drain, in which
        tiles follow that take as long each to drain; one more is being read.
        """
        most = 0
        for words in range(1, -(-self.rows // self.ki) + 1):
            drain = max(4, min(self.chunks, -(-words * self.ki // self.drain_lanes)) * self.px)
            most = max(most, words * (3 + -(-RESIDUAL_CYCLES // drain)))
        return max(32, 1 << (most - 1).bit_length())

    @property
    def fetch_words(self) -> int:
        """Scratchpad words of a fetched map that are written per cycle: an aligned pair, into neighbouring banks."""
        return 2 if self.scratch_words > 1 and self.banks > 1 else 1

    @property
    def address_bits(self) -> int:
        """Of a memory word that is read or written: a memory on the chip has few."""
        return 16 if self.small else 32

    @property
    def place_bits(self) -> int:
        """Of a scratchpad word in memory; programs carry 32."""
        return self.address_bits + self.scratch_words.bit_length() - 1 if self.small else 32

    @property
    def out_bits(self) -> int:
        """Address of a word of the output: a map in memory may be larger than the scratchpad."""
        return 16 if self.small else 24

    @property
    def size_bits(self) -> int:
        """Of rows and columns of a map."""
        return 9 if self.small else 12

    @property
    def step_bits(self) -> int:
        """Of the number of layers, strips counted, that are finished."""
        return 8 if self.small else 16

    @cached_property
    def register_bits(self) -> dict[str, int]:
        """Bits that the hardware keeps of the fields of LAYER and TILE where these are wider than any value it can use.

        Places in a bank count modulo its words.
        """
        point, size = self.point_bits, self.size_bits
        places = dict.fromkeys(("base", "block_step", "plane_step", "row_q", "res_step", "res_address"), point)
        sizes = dict.fromkeys(("height", "width", "conv_h", "conv_w", "out_h", "out_w"), size)
        return places | sizes | {
            "words": self.ring_depth.bit_length(), "blocks": min(10, self.ring_depth.bit_length()),
            "chunks": min(8, (self.tile_chunks).bit_length()), "store_words": STORE_WORDS.bit_length(),
            "interval": 11 if self.small else 14, "out_step": self.out_bits, "out_address": self.out_bits,
            "store_base": self.place_bits,
        }

    @property
    def fetch_ahead(self) -> int:
        """Memory words of a map that may be on their way; each is unpacked in one cycle or several."""
        if self.small:
            return 1
        return PREFETCH if self.scratch_words <= 2 else PREFETCH // 2

    @property
    def c_bits(self) -> int:
        """Width of C: acc*M with one bit for the offset-binary correction and one to spare."""
        return self.acc_bits + self.m_bits + 2 + self.c_extra

    @property
    def c2_bits(self) -> int:
        """Width of the second stage's constant."""
        return self.m_bits + 20 + self.c_extra

    @property
    def has_r(self) -> bool:
        """Rows have an R: a residual can join the first stage."""
        return self.residual and self.fused

    @property
    def record_fields(self) -> dict[str, int]:
        """Widths of a row's requantizer parameters as they lie in memory, lowest bits first."""
        fields = {"m": self.m_bits, "c": self.c_bits, "shift": SHIFT_BITS, "slot": 8, "negate": 1}
        return fields | ({"r": self.m_bits} if self.has_r else {})

    @property
    def records_per_word(self) -> int:
        """Parameter records side by side in one memory word: a power of two, at most ``drain_lanes``."""
        bits = sum(self.record_fields.values())
        return max(1, min(self.drain_lanes, self.mem_bits >> (bits - 1).bit_length()))

    @property
    def record_words(self) -> int:
        """Memory words of one group of ``records_per_word`` parameter records."""
        return -(-sum(self.record_fields.values()) // self.mem_bits)

    def slices(self, kind: str, rows: int | None = None) -> int:
        """Memory words that a ring word's part of a ``kind`` takes when its first ``rows`` (or all) are there."""
        if kind == "high" and not self.wide:
            return 0
        return -(-(self.rows_of(kind) if rows is None else rows) * self.word_bits // self.mem_bits)

    @property
    def ring_slices(self) -> int:
        """Memory words of a whole ring word."""
        return sum(self.slices(kind) for kind in KINDS)

    @cached_property
    def id(self) -> int:
        """32 bits that differ between engines whose programs differ; carried by the hardware and every program."""
        text = json.dumps({"version": ENGINE_VERSION, **asdict(self)}, sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
