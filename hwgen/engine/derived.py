"""Every number and width of an engine that follows from its parameters."""

from dataclasses import asdict, dataclass
from functools import cached_property
import hashlib
import json

from .constants import (ENGINE_VERSION, GROUPS, KINDS, PREFETCH, RESIDUAL_CYCLES, SHIFT_BITS, STORE_WORDS,
                        block_rows)
from .parameters import Parameters


@dataclass(frozen=True, kw_only=True)
class Engine(Parameters):
    """One accelerator.  Dense multiply-accumulates per cycle are ``ki * px * rows``."""

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
        """Rows of the blocks that a lane group is made of: as equal as even sizes can be, none above ``block_rows``."""
        rows = self.rows_of(group)
        count, sizes = -(-rows // block_rows(self.family)), []
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
        return int(sum(len(self.blocks(group)) for group in GROUPS) > 1 and self.rows > block_rows(self.family))

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
        values = asdict(self)
        if not self.wrap:  # hardware and programs are what they were before there was such a thing
            del values["wrap"]
        text = json.dumps({"version": ENGINE_VERSION, **values}, sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
