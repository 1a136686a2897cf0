"""The window reader: words of a tile from the scratchpad to the lanes, one per cycle unless banks collide."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .bits import select
from .walker import POINT_BITS, RADIX_BITS, slot_layout


def word_layout(ring_bits: int) -> data.StructLayout:
    """One step of a tile, shared by all pixel slots."""
    return data.StructLayout({
        "base": signed(18), "tap_r": RADIX_BITS, "dy": 6, "dx": 6,
        "residual": 1, "high": 1, "last": 1, "release": 1, "wide": 1,
        "ring": ring_bits, "interval": 14, "words": 12, "store_words": 12,
    })


class Reader(wiring.Component):
    """Reads ``px`` words per step, one per slot, and presents them with the step's flags.

    A step ends in the cycle in which every slot has been served: each bank serves the
    first slot that wants it, so a step takes as many cycles as its fullest bank.  Slots
    outside the map get the padding code without a read.  The last step of a tile also
    waits until ``interval`` cycles have passed since the last step of the tile before,
    the time that the drain needs.

    Timing: with the step complete in cycle t (``complete``), ``ring_address`` is valid in
    t, ``wide`` in t+1, when the ring answers, and ``operands`` with ``valid`` in t+2
    (``OPERAND_LATENCY``).
    """

    OPERAND_LATENCY = 2

    def __init__(self, *, px: int, banks: int, word_bits: int, ring_depth: int,
                 point_bits: int = POINT_BITS):
        self.px, self.banks, self.word_bits = px, banks, word_bits
        self.point_bits = point_bits
        self.ring_bits = (ring_depth - 1).bit_length()
        super().__init__({
            "word": In(word_layout(self.ring_bits)), "word_valid": In(1), "word_ready": Out(1),
            "slots": In(data.ArrayLayout(slot_layout(point_bits), px)),
            "height": In(12), "width": In(12), "pad": In(8), "hold": In(1),
            "address": Out(data.ArrayLayout(16, banks)), "data": In(data.ArrayLayout(word_bits, banks)),
            "ring_address": Out(self.ring_bits),
            "complete": Out(1), "complete_last": Out(1), "release": Out(12), "busy": Out(1),
            "operands": Out(data.ArrayLayout(word_bits, px)), "valid": Out(1), "high": Out(1), "last": Out(1),
            "wide": Out(1), "residual": Out(1), "store_words": Out(12),
        })

    def elaborate(self, platform):
        m = Module()
        word, full = Signal(self.word.shape()), Signal()
        place = data.StructLayout({"bank": RADIX_BITS, "address": self.point_bits, "need": 1})
        places = Signal(data.ArrayLayout(place, self.px))
        served = Signal(self.px)
        accept = self.word_valid & self.word_ready
        m.d.comb += [self.word_ready.eq(~full | self.complete), self.busy.eq(full)]

        with m.If(self.complete):
            m.d.sync += full.eq(0)
        with m.If(accept):
            m.d.sync += [full.eq(1), word.eq(self.word)]
        for p in range(self.px):
            slot, target = self.slots[p], places[p]
            with m.If(accept):
                m.d.sync += self._locate(slot, target)

        # Each bank serves the first slot that still waits for it.
        waiting, granted = Signal(self.px), Signal(self.px)
        for p in range(self.px):
            want = places[p].need & ~served[p]
            m.d.comb += waiting[p].eq(want)
            earlier = [waiting[e] & (places[e].bank == places[p].bank) for e in range(p)]
            m.d.comb += granted[p].eq(want & ~Cat(earlier).any() if earlier else want)
        timer = Signal(14)
        free = ~word.last | word.residual | (~timer[1:].any() & ~self.hold)
        m.d.comb += [
            self.complete.eq(full & ~(waiting & ~granted).any() & free),
            self.complete_last.eq(self.complete & word.last),
            self.release.eq(Mux(self.complete & word.release, word.words, 0)),
            self.ring_address.eq(word.ring), self.store_words.eq(word.store_words),
        ]
        with m.If(self.complete):
            m.d.sync += served.eq(0)
        with m.Elif(full):
            m.d.sync += served.eq(served | granted)
        with m.If(self.complete_last):
            m.d.sync += timer.eq(word.interval)
        with m.Elif(timer.any()):
            m.d.sync += timer.eq(timer - 1)
        for bank in range(self.banks):
            wanted = [granted[p] & (places[p].bank == bank) for p in range(self.px)]
            address = 0
            for p in range(self.px):
                address = address | Mux(wanted[p], places[p].address, 0)
            m.d.comb += self.address[bank].eq(address)

        # One cycle later the banks answer; one more and the operands stand in registers.
        granted_1, complete_1, high_1 = Signal(self.px), Signal(), Signal()
        last_1, wide_1, residual_1 = Signal(), Signal(), Signal()
        m.d.sync += [
            granted_1.eq(Mux(full, granted, 0)), complete_1.eq(self.complete), high_1.eq(word.high),
            last_1.eq(word.last), wide_1.eq(word.wide), residual_1.eq(word.residual),
            self.valid.eq(complete_1 & ~residual_1), self.residual.eq(complete_1 & residual_1),
            self.high.eq(high_1), self.last.eq(last_1 & complete_1),
        ]
        m.d.comb += self.wide.eq(wide_1)
        pad = Mux(high_1, self.pad[4:8], self.pad[0:4])
        for p in range(self.px):
            bank_1, need_1 = Signal(RADIX_BITS, name=f"bank_{p}"), Signal(name=f"need_{p}")
            m.d.sync += [bank_1.eq(places[p].bank), need_1.eq(places[p].need)]
            with m.If(granted_1[p]):
                m.d.sync += self.operands[p].eq(select([self.data[b] for b in range(self.banks)], bank_1))
            with m.Elif(complete_1 & ~need_1):
                m.d.sync += self.operands[p].eq(pad.replicate(self.word_bits // 4))
        return m

    def _locate(self, slot, target):
        """Bank and address of one slot's word, and whether there is one to read."""
        word = self.word
        origin_q = Mux(word.residual, slot.res_q, slot.in_q)
        origin_r = Mux(word.residual, slot.res_r, slot.in_r)
        total = origin_r + word.tap_r
        carry = total >= self.banks if self.banks > 1 else 0
        y, x = slot.iy + word.dy, slot.ix + word.dx
        in_map = (y.as_unsigned() < self.height) & (x.as_unsigned() < self.width)
        return [
            target.bank.eq(Mux(carry, total - self.banks, total) if self.banks > 1 else 0),
            target.address.eq(word.base[:self.point_bits] + origin_q + carry),
            target.need.eq(slot.alive & Mux(word.residual, slot.inside, in_map)),
        ]
