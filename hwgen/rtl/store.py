"""The store queue: words of a stored layer on their way to memory, side by side where they share a memory word."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..engine import STORE_WORDS, Engine
from .bits import register

BANK_BITS = 4


class Store(wiring.Component):
    """Takes the drain's words as they come and writes them to linear memory.

    The word of bank b at address a lies ``base + a * banks + b`` scratchpad words from the
    beginning of memory; ``write_mask`` says which scratchpad words of a memory word are
    written.  Words that follow each other in memory are gathered: a memory word goes out when a
    word for another one comes, or when none can come any more (``flush``).

    ``room`` counts places not yet promised: a tile's last step waits until all its words
    have one, so the drain itself never has to wait.  A ``claim`` shows two cycles later.
    From ``write`` to the memory port it takes seven cycles.  A small engine gathers nothing: each word goes on its own,
    two cycles earlier.
    """

    def __init__(self, *, engine: Engine, address_bits: int = 32):
        self.engine = engine
        e = engine
        super().__init__({
            "enable": In(1), "base": In(32), "flush": In(1), "claim": In(1), "claim_words": In(12),
            "room": Out(range(STORE_WORDS + 1), init=STORE_WORDS),
            "write": In(1), "skipped": In(1), "bank": In(BANK_BITS), "address": In(e.out_bits),
            "data": In(e.word_bits),
            "write_valid": Out(1), "write_ready": In(1), "write_address": Out(address_bits),
            "write_data": Out(e.mem_bits), "write_mask": Out(e.scratch_words), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        e = self.engine
        offset_bits = e.out_bits + BANK_BITS
        piece, place_bits = e.scratch_words.bit_length() - 1, e.place_bits
        entry = data.StructLayout({"place": place_bits, "word": e.word_bits, **({} if e.small else {"same": 1})})
        m.submodules.queue = fifo = SyncFIFOBuffered(width=entry.size, depth=STORE_WORDS)
        # The place of the word.
        arrived, located = Signal(), Signal()
        row, first, come = (Signal(bits, name=name, reset_less=True) for name, bits in (
            ("row", offset_bits), ("first", place_bits), ("come", e.word_bits)))
        new = Signal(data.StructLayout({"place": place_bits, "word": e.word_bits}), reset_less=True)
        m.d.sync += [
            arrived.eq(self.write & self.enable), row.eq(_times(self.address, e.banks)),
            first.eq(self.base + self.bank), come.eq(self.data), located.eq(arrived), new.place.eq(first + row),
            new.word.eq(come),
        ]
        if e.small:
            m.d.comb += [fifo.w_en.eq(located), fifo.w_data.eq(new)]
        else:
            # Whether it shares a memory word with the one before.
            compared, ready = Signal(), Signal(entry, reset_less=True)
            m.d.sync += [compared.eq(located), ready.place.eq(new.place), ready.word.eq(new.word)]
            with m.If(located):
                before = Signal(place_bits - piece, reset_less=True)
                m.d.sync += [before.eq(new.place[piece:]), ready.same.eq(before == new.place[piece:])]
            m.d.comb += [fifo.w_en.eq(compared), fifo.w_data.eq(ready)]

        valid, next_ = Signal(), Signal(entry, reset_less=True)
        sent, move, idle = Signal(), Signal(), Signal()
        m.d.comb += [fifo.r_en.eq(~valid | move), sent.eq(self.write_valid & self.write_ready)]
        with m.If(fifo.r_en):
            m.d.sync += [valid.eq(fifo.r_rdy), next_.as_value().eq(fifo.r_data)]
        which = Cat(next_.place[:piece] == i for i in range(e.scratch_words)) if piece else Const(1)
        if e.small:
            m.d.comb += [
                self.write_valid.eq(valid), move.eq(sent), self.write_address.eq(next_.place[piece:]),
                self.write_mask.eq(which), self.write_data.eq(next_.word.replicate(e.scratch_words)), idle.eq(~valid),
            ]
        else:
            # Nothing is on its way to ``valid``, and none can come: seen a cycle before.
            flush = Signal()
            m.d.sync += flush.eq(self.flush & (fifo.level == 0) & ~compared & ~located & ~arrived & ~self.write)
            held = self._gather(m, next_, valid, which, sent, move, flush)
            m.d.comb += idle.eq(~valid & ~held)

        claimed, words = Signal(), Signal(12)
        m.d.sync += [
            claimed.eq(self.claim & self.enable), words.eq(self.claim_words),
            self.room.eq(self.room - Mux(claimed, words, 0)
                         + ((fifo.r_en & fifo.r_rdy) + (self.skipped & self.enable))),
        ]
        m.d.comb += self.idle.eq((self.room == STORE_WORDS) & idle)
        return m

    def _gather(self, m, next_, valid, which, sent, move, last):
        """The memory word that gathers, behind the next word; returns whether there is one."""
        e = self.engine
        piece = e.scratch_words.bit_length() - 1
        held, address = Signal(), Signal(e.place_bits - piece, reset_less=True)
        mask, word = Signal(e.scratch_words), register(m, self.write_data, "gathered")
        m.d.comb += [
            move.eq(valid & (~held | next_.same | sent)),
            self.write_valid.eq(held & Mux(valid, ~next_.same, last)),
            self.write_address.eq(address), self.write_mask.eq(mask),
        ]
        with m.If(sent):
            m.d.sync += held.eq(0)
        with m.If(move):
            m.d.sync += [held.eq(1), address.eq(next_.place[piece:]), mask.eq(Mux(held & ~sent, mask, 0) | which)]
            for i in range(e.scratch_words):
                with m.If(which[i]):
                    m.d.sync += word[i * e.word_bits:(i + 1) * e.word_bits].eq(next_.word)
        return held


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
