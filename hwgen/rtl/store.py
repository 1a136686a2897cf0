"""The store queue: words of a stored layer on their way to memory, side by side where they share a memory word."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..engine import OUT_BITS, STORE_WORDS, Engine

BANK_BITS = 4
PLACE_BITS = 32


class Store(wiring.Component):
    """Takes the drain's words as they come and writes them to linear memory.

    The word of bank b at address a lies ``base + a * banks + b`` scratchpad words from the
    beginning of memory; ``write_mask`` says which scratchpad words of a memory word are
    written.  Words that follow each other in memory are gathered: a memory word goes out when a
    word for another one comes, or when none can come any more (``flush``).

    ``room`` counts places not yet promised: a tile's last step waits until all its words
    have one, so the drain itself never has to wait.  A ``claim`` shows two cycles later.
    From ``write`` to the memory port it takes six cycles.
    """

    def __init__(self, *, engine: Engine, address_bits: int = 32):
        self.engine = engine
        e = engine
        super().__init__({
            "enable": In(1), "base": In(32), "flush": In(1), "claim": In(1), "claim_words": In(12),
            "room": Out(range(STORE_WORDS + 1), init=STORE_WORDS),
            "write": In(1), "skipped": In(1), "bank": In(BANK_BITS), "address": In(OUT_BITS),
            "data": In(e.word_bits),
            "write_valid": Out(1), "write_ready": In(1), "write_address": Out(address_bits),
            "write_data": Out(e.mem_bits), "write_mask": Out(e.scratch_words), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        e = self.engine
        offset_bits = OUT_BITS + BANK_BITS
        piece = e.scratch_words.bit_length() - 1
        entry = data.StructLayout({"place": PLACE_BITS, "word": e.word_bits, "same": 1})
        m.submodules.queue = fifo = SyncFIFOBuffered(width=entry.size, depth=STORE_WORDS)
        # The place of the word, and whether it shares a memory word with the one before.
        arrived, located = Signal(), Signal()
        row, first, come = Signal(offset_bits), Signal(PLACE_BITS), Signal(e.word_bits)
        new, before = Signal(entry), Signal(PLACE_BITS - piece)
        m.d.sync += [
            arrived.eq(self.write & self.enable), row.eq(_times(self.address, e.banks)),
            first.eq(self.base + self.bank), come.eq(self.data), located.eq(arrived), new.place.eq(first + row),
            new.word.eq(come),
        ]
        with m.If(located):
            m.d.sync += before.eq(new.place[piece:])
        m.d.comb += [fifo.w_en.eq(located), fifo.w_data.eq(Cat(new.place, new.word, before == new.place[piece:]))]

        # The next word, then the memory word that gathers.
        valid, next_ = Signal(), Signal(entry)
        held, address, mask = Signal(), Signal(PLACE_BITS - piece), Signal(e.scratch_words)
        sent, move, empty = Signal(), Signal(), Signal()
        place, word, same = next_.place, next_.word, next_.same
        m.d.comb += [
            fifo.r_en.eq(~valid | move),
            move.eq(valid & (~held | same | sent)), sent.eq(self.write_valid & self.write_ready),
            self.write_valid.eq(held & Mux(valid, ~same, self.flush & empty)),
            self.write_address.eq(address), self.write_mask.eq(mask),
        ]
        # Nothing is on its way to ``valid``, seen a cycle before.
        m.d.sync += empty.eq((fifo.level == 0) & ~located & ~arrived & ~self.write)
        with m.If(fifo.r_en):
            m.d.sync += [valid.eq(fifo.r_rdy), next_.as_value().eq(fifo.r_data)]
        with m.If(sent):
            m.d.sync += held.eq(0)
        with m.If(move):
            which = Cat(place[:piece] == i for i in range(e.scratch_words)) if piece else 1
            m.d.sync += [held.eq(1), address.eq(place[piece:]), mask.eq(Mux(held & ~sent, mask, 0) | which)]
            for i in range(e.scratch_words):
                with m.If(place[:piece] == i if piece else 1):
                    m.d.sync += self.write_data[i * e.word_bits:(i + 1) * e.word_bits].eq(word)

        claimed, words = Signal(), Signal(12)
        m.d.sync += [
            claimed.eq(self.claim & self.enable), words.eq(self.claim_words),
            self.room.eq(self.room - Mux(claimed, words, 0)
                         + ((fifo.r_en & fifo.r_rdy) + (self.skipped & self.enable))),
        ]
        m.d.comb += self.idle.eq((self.room == STORE_WORDS) & ~valid & ~held)
        return m


def _times(value: Value, factor: int) -> Value:
    """``value * factor`` from shifts and adders: synthesis would take a multiplier block."""
    total, shift = Value.cast(Const(0, 1)), 0
    while factor:
        if factor & 1:
            # A run of ones is one subtraction.
            digit = -1 if factor & 3 == 3 and factor > 3 else 1
            term = value << shift
            total = total + term if digit == 1 else total - term
            factor -= digit
        factor, shift = factor >> 1, shift + 1
    return total
