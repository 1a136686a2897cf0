"""The store queue: words of a stored layer on their way to memory, side by side where they share a memory word."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..engine import Engine
from ..plan.layout import STORE_WORDS
from .drain import ADDRESS_BITS

BANK_BITS = 4


class Store(wiring.Component):
    """Takes the drain's words as they come and writes them to linear memory.

    The word of bank b at address a lies ``base + a * banks + b`` scratchpad words from the
    beginning of memory; ``write_mask`` says which scratchpad words of a memory word are
    written.  Words that follow each other in memory are gathered: a memory word goes out when a
    word for another one comes, or when none can come any more (``flush``).

    ``room`` counts places not yet promised: a tile's last step waits until all its words
    have one (``hold``), so the drain itself never has to wait.  From ``write`` to the
    memory port it takes five cycles.
    """

    def __init__(self, *, engine: Engine, address_bits: int = 32):
        self.engine = engine
        e = engine
        super().__init__({
            "enable": In(1), "base": In(32), "flush": In(1), "claim": In(1), "claim_words": In(12), "hold": Out(1),
            "write": In(1), "skipped": In(1), "bank": In(BANK_BITS), "address": In(ADDRESS_BITS),
            "data": In(e.word_bits),
            "write_valid": Out(1), "write_ready": In(1), "write_address": Out(address_bits),
            "write_data": Out(e.mem_bits), "write_mask": Out(e.scratch_words), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        e = self.engine
        offset_bits = ADDRESS_BITS + BANK_BITS
        m.submodules.queue = fifo = SyncFIFOBuffered(width=e.word_bits + offset_bits, depth=STORE_WORDS)
        entry, arrived = Signal(fifo.width), Signal()
        offset = Signal(offset_bits)
        m.d.comb += offset.eq(self.address * e.banks + self.bank)
        m.d.sync += [arrived.eq(self.write & self.enable), entry.eq(Cat(offset, self.data))]
        m.d.comb += [fifo.w_en.eq(arrived), fifo.w_data.eq(entry)]

        # The word with its place in memory, then the memory word that gathers.
        piece = e.scratch_words.bit_length() - 1
        valid, place, word = Signal(), Signal(32), Signal(e.word_bits)
        held, address, mask = Signal(), Signal(32 - piece), Signal(e.scratch_words)
        same, sent, move = Signal(), Signal(), Signal()
        m.d.comb += [
            fifo.r_en.eq(~valid | move), same.eq(address == place[piece:]),
            move.eq(valid & (~held | same | sent)), sent.eq(self.write_valid & self.write_ready),
            self.write_valid.eq(held & Mux(valid, ~same, self.flush & (fifo.level == 0) & ~arrived)),
            self.write_address.eq(address), self.write_mask.eq(mask),
        ]
        with m.If(fifo.r_en):
            m.d.sync += [valid.eq(fifo.r_rdy), place.eq(self.base + fifo.r_data[:offset_bits]),
                         word.eq(fifo.r_data[offset_bits:])]
        with m.If(sent):
            m.d.sync += held.eq(0)
        with m.If(move):
            which = Cat(place[:piece] == i for i in range(e.scratch_words)) if piece else 1
            m.d.sync += [held.eq(1), address.eq(place[piece:]), mask.eq(Mux(held & ~sent, mask, 0) | which)]
            for i in range(e.scratch_words):
                with m.If(place[:piece] == i if piece else 1):
                    m.d.sync += self.write_data[i * e.word_bits:(i + 1) * e.word_bits].eq(word)

        room = Signal(range(STORE_WORDS + 1), init=STORE_WORDS)
        m.d.sync += room.eq(room - Mux(self.claim & self.enable, self.claim_words, 0) + (fifo.r_en & fifo.r_rdy)
                            + (self.skipped & self.enable))
        m.d.comb += [self.hold.eq(self.enable & (room < self.claim_words)),
                     self.idle.eq((room == STORE_WORDS) & ~valid & ~held)]
        return m
