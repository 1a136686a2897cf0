"""The window reader: words of a tile from the scratchpad to the lanes, one per cycle unless banks collide."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..engine import WORDS_IN_FLIGHT
from ..isa import TILE_WORDS
from ..plan.timing import ISSUE_LATENCY, OPERAND_LATENCY
from .bits import delay, radix_bits, register, select
from .walker import POINT_BITS, RADIX_BITS, slot_layout

OF_TILE = ("interval", "words", "store_words")
"""What is the same for all steps of a tile."""
STEP_FIELDS = ("residual", "high", "last", "release", "wide", "ring")
"""What a step keeps of its word."""
ROOM_BITS = 12


def tile_layout() -> data.StructLayout:
    """The fields of a TILE command."""
    return data.StructLayout({f.name: f.bits for word in TILE_WORDS for f in word.fields if f.name != "command"})


def word_layout(ring_bits: int, bits: dict[str, int] | None = None, one_tile: bool = False) -> data.StructLayout:
    """One step of a tile, shared by all pixel slots.

    ``bits``: of the fields of LAYER and TILE those that the engine uses.  ``one_tile``: without what stands in the
    tile, because no other tile is under way.
    """
    bits = bits or {}
    of_tile = {} if one_tile else {name: bits.get(name, tile_layout()[name].width) for name in OF_TILE}
    return data.StructLayout({
        "base": signed(bits.get("base", 18)), "tap_q": signed(bits.get("row_q", 14)), "tap_r": RADIX_BITS,
        "dy": 6, "dx": 6, "residual": 1, "high": 1, "last": 1, "release": 1, "wide": 1, "ring": ring_bits, **of_tile,
    })


class Reader(wiring.Component):
    """Reads ``px`` words per step, one per slot, and presents them with the step's flags.

    A word passes three stages without a stop: sums of its points, bank and map borders, places in the order
    of its banks.  Then it waits in a queue for its step.  ``word_ready`` promises a place there: at most
    ``WORDS_IN_FLIGHT`` words are between ``word`` and the end of their steps.

    A step ends in the cycle in which every slot has been served: each bank serves one slot
    per cycle, so a step takes as many cycles as its fullest bank.  Slots
    outside the map get the padding code without a read.  The last step of a tile also
    waits until ``interval`` cycles (at least 4) have passed since the last step of the tile before,
    the time that the drain needs, and with ``storing`` until ``room`` has its ``store_words``.

    With ``one_tile`` the words of a single ``tile`` are under way at a time, and ``idle`` says that none is, in the
    cycle after the last step.  Words then wait in the stages, no queue behind them.

    Timing: a word of cycle t begins its step in t + ``ISSUE_LATENCY``, if no other is before it.  With the
    step complete in cycle t (``complete``), ``release`` comes in t+1, bank addresses in t+1, their data are
    taken in t+2, ``ring_address`` is valid in t+2, ``wide`` in t+3, when the ring answers, and
    ``operands`` with ``valid`` in t+4 (``OPERAND_LATENCY``).
    """

    ISSUE_LATENCY = ISSUE_LATENCY
    OPERAND_LATENCY = OPERAND_LATENCY

    def __init__(self, *, px: int, banks: int, word_bits: int, ring_depth: int,
                 point_bits: int = POINT_BITS, bits: dict[str, int] | None = None, one_tile: bool = False):
        self.px, self.banks, self.word_bits, self.one_tile = px, banks, word_bits, one_tile
        self._interval_bits = (bits or {}).get("interval", tile_layout()["interval"].width)
        self._step_fields = STEP_FIELDS if one_tile else (*STEP_FIELDS, *OF_TILE)
        self.point_bits, self.bank_bits = point_bits, radix_bits(banks)
        self.ring_bits = (ring_depth - 1).bit_length()
        self._turn_bits = max(1, (px - 1).bit_length())
        super().__init__({
            "word": In(word_layout(self.ring_bits, bits, one_tile)), "word_valid": In(1), "word_ready": Out(1, init=1),
            "slots": In(data.ArrayLayout(slot_layout(point_bits), px)),
            "height": In(12), "width": In(12), "pad": In(8), "storing": In(1), "room": In(ROOM_BITS),
            "address": Out(data.ArrayLayout(16, banks)), "data": In(data.ArrayLayout(word_bits, banks)),
            "ring_address": Out(self.ring_bits),
            "complete": Out(1), "complete_last": Out(1), "release": Out(12),
            "operands": Out(data.ArrayLayout(word_bits, px)), "valid": Out(1), "high": Out(1), "last": Out(1),
            "wide": Out(1), "residual": Out(1), "store_words": Out(12),
            **({"tile": In(tile_layout()), "idle": Out(1)} if one_tile else {}),
        })

    def elaborate(self, platform):
        m = Module()
        accept = self.word_valid & self.word_ready
        if self.one_tile:
            step, full = self._line(m, accept)
        else:
            # Room for words: what is complete counts one cycle later.  Whether there will be room stands in a register,
            # because many things in the sequencer follow from it.
            room, completed = Signal(range(WORDS_IN_FLIGHT + 1), init=WORDS_IN_FLIGHT), Signal()
            m.d.sync += [completed.eq(self.complete), room.eq(room - accept + completed),
                         self.word_ready.eq(completed | (room > 1) | ((room == 1) & ~accept))]
            valid = delay(m, accept, 3, "located", reset_less=False)
            step, full = self._queue(m, self._locate(m, [Const(1)] * 3), valid)
        left = self._steps(m, step, full)
        self._read(m, step, full, left)
        return m

    def _layouts(self):
        """What is known of a slot, and of a step with all its slots."""
        word = self.word.shape()
        slot = data.StructLayout({"bank": self.bank_bits, "address": self.point_bits, "need": 1,
                                  "turn": self._turn_bits})
        kept = {name: word[name].shape for name in self._step_fields}
        return slot, data.StructLayout({**kept, "most": self._turn_bits, "slots": data.ArrayLayout(slot, self.px)})

    def _line(self, m, accept):
        """Words in three stages and the step before them; each stage takes the next word as soon as it is free."""
        go = [Signal(name=f"go_{stage}") for stage in range(3)]
        valid = [Signal(name=f"valid_{stage}") for stage in range(3)]
        located = self._locate(m, go)
        step, full, self._go_on = Signal(located.shape(), name="step"), Signal(), Signal(name="go_on")
        self._head = located
        m.d.comb += [
            self._go_on.eq(~full | self.complete), self.word_ready.eq(go[0]),
            *(go[i].eq(~valid[i] | following) for i, following in enumerate((go[1], go[2], self._go_on))),
            self.idle.eq(~Cat(*valid, full).any()),
        ]
        for move, there, before in zip(go, valid, (accept, *valid[:2]), strict=True):
            with m.If(move):
                m.d.sync += there.eq(before)
        with m.If(self._go_on):
            m.d.sync += [step.as_value().eq(located.as_value()), full.eq(valid[2])]
        return step, full

    def _locate(self, m, go):
        """A step with the places of its slots, three stages after its word; ``go``: whether each stage moves."""
        word, bits = self.word, self.point_bits
        _, step_layout = self._layouts()
        words, moves = [word], [[], [], []]
        for stage in range(2):
            words.append(Signal(word.shape(), name=f"word_{stage + 1}"))
            moves[stage].append(words[-1].eq(words[-2]))
        step = Signal(step_layout)
        moves[2] += [getattr(step, name).eq(getattr(words[2], name)) for name in self._step_fields]
        banks, needs, counts = [], [], []
        for p in range(self.px):
            slot, place = self.slots[p], step.slots[p]
            # First stage: the sums.
            point = Signal(bits, name=f"point_{p}", reset_less=True)
            total = Signal(self.bank_bits + 1, name=f"total_{p}", reset_less=True)
            y, x = (Signal(signed(len(slot.iy) + 1), name=f"{name}_{p}", reset_less=True) for name in "yx")
            alive, inside = Signal(name=f"alive_{p}"), Signal(name=f"inside_{p}")
            residual = words[1].residual
            moves[0] += [
                point.eq(Mux(word.residual, slot.res_q, slot.in_q) + word.tap_q),
                total.eq(Mux(word.residual, slot.res_r, slot.in_r)[:self.bank_bits] + word.tap_r[:self.bank_bits]),
                y.eq(slot.iy + word.dy), x.eq(slot.ix + word.dx), alive.eq(slot.alive), inside.eq(slot.inside),
            ]
            # Second stage: the bank, and whether there is something to read.
            bank = Signal(self.bank_bits, name=f"bank_{p}", reset_less=True)
            address = Signal(bits, name=f"address_{p}", reset_less=True)
            carry, need = Signal(name=f"carry_{p}"), Signal(name=f"need_{p}")
            over = total >= self.banks if self.banks > 1 else Const(0)
            here = Mux(over, total - self.banks, total)[:self.bank_bits] if self.banks > 1 else Const(0, 1)
            in_map = (y.as_unsigned() < self.height) & (x.as_unsigned() < self.width)
            moves[1] += [
                bank.eq(here), carry.eq(over), address.eq(point + words[1].base),
                need.eq(alive & Mux(residual, inside, in_map)),
            ]
            same = Signal(max(1, p), name=f"same_{p}", reset_less=True)
            moves[1].append(same.eq(Cat(here == other for other, _ in banks)))
            # Third stage: the turn is the number of slots before that one in its bank.
            before = [same[e] & needs[e] for e in range(p)]
            turn = sum(before, Const(0, 1))
            moves[2] += [place.bank.eq(bank), place.address.eq(address + carry), place.need.eq(need),
                         place.turn.eq(turn)]
            banks.append((here, bank))
            needs.append(need)
            counts.append([need & (turn == number) for number in range(p + 1)])
        most = Const(0, self._turn_bits)
        for number in range(1, self.px):
            most = Mux(Cat(counts[p][number] for p in range(number, self.px)).any(), number, most)
        moves[2].append(step.most.eq(most))
        for move, assignments in zip(go, moves, strict=True):
            with m.If(move):
                m.d.sync += assignments
        return step

    def _queue(self, m, located, valid):
        """Steps in their order; the first stands in a register."""
        size = located.shape().size
        m.submodules.queue = queue = Memory(shape=size, depth=WORDS_IN_FLIGHT, init=[])
        writer, reader = queue.write_port(), queue.read_port(domain="comb")
        written, read = (Signal(WORDS_IN_FLIGHT.bit_length(), name=name) for name in ("written", "read"))
        step, full, there = Signal(located.shape(), name="step", reset_less=True), Signal(), Signal()
        self._head, self._go_on = data.View(located.shape(), reader.data), Signal(name="go_on")
        m.d.comb += [
            writer.addr.eq(written), writer.data.eq(located.as_value()), writer.en.eq(valid), reader.addr.eq(read),
            there.eq(written != read), self._go_on.eq(~full | self.complete),
        ]
        with m.If(valid):
            m.d.sync += written.eq(written + 1)
        with m.If(self._go_on):
            m.d.sync += [step.as_value().eq(reader.data), full.eq(there), read.eq(read + there)]
        return step, full

    def _steps(self, m, step, full):
        """The cycles of a step; returns the turn that is served."""
        left, expired, held = Signal(self._turn_bits), Signal(init=1), Signal()
        tile, next_tile = (self.tile, self.tile) if self.one_tile else (step, self._head)
        timer = Signal(self._interval_bits)
        m.d.comb += [
            self.complete.eq(full & (left == 0) & (~step.last | (expired & ~held))),
            self.complete_last.eq(self.complete & step.last), self.store_words.eq(tile.store_words),
        ]
        m.d.sync += self.release.eq(Mux(self.complete & step.release, tile.words, 0))
        with m.If(self._go_on):
            m.d.sync += left.eq(self._head.most)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        # Both are known one cycle ahead; room is claimed too seldom to be told late.
        m.d.sync += held.eq(self.storing & Mux(self._go_on, self.room < next_tile.store_words,
                                               self.room < tile.store_words))
        m.d.sync += expired.eq(timer <= 2)
        with m.If(timer.any()):
            m.d.sync += timer.eq(timer - 1)
        with m.If(self.complete_last):
            m.d.sync += [timer.eq(tile.interval), expired.eq(0)]
        return left

    def _read(self, m, step, full, left):
        """Addresses to the banks, and their answers to the operands."""
        granted = [full & slot.need & (slot.turn == left) for slot in step.slots]
        addresses, operands = register(m, self.address, "bank_address"), register(m, self.operands, "operand")
        for bank in range(self.banks):
            address = 0
            for grant, slot in zip(granted, step.slots, strict=True):
                address = address | Mux(grant & (slot.bank == bank), slot.address, 0)
            m.d.sync += addresses[bank].eq(address)

        # Address, the bank's answer, a register behind it, operands.
        answers = [Signal(self.word_bits, name=f"answer_{b}", reset_less=True) for b in range(self.banks)]
        m.d.sync += [answer.eq(self.data[b]) for b, answer in enumerate(answers)]
        complete = delay(m, self.complete, 3, "complete", reset_less=False)
        high, residual, last = (delay(m, getattr(step, name), 3, name) for name in ("high", "residual", "last"))
        m.d.sync += [
            self.valid.eq(complete & ~residual), self.residual.eq(complete & residual),
            self.high.eq(high), self.last.eq(last & complete),
        ]
        m.d.comb += [self.wide.eq(delay(m, step.wide, 3, "wide")), self.ring_address.eq(delay(m, step.ring, 2, "ring"))]
        pad = Mux(high, self.pad[4:8], self.pad[0:4])
        for p, slot in enumerate(step.slots):
            bank, need = delay(m, slot.bank, 3, f"bank_{p}"), delay(m, slot.need, 3, f"need_{p}")
            with m.If(delay(m, granted[p], 3, f"granted_{p}", reset_less=False)):
                m.d.sync += operands[p].eq(select(answers, bank))
            with m.Elif(complete & ~need):
                m.d.sync += operands[p].eq(pad.replicate(self.word_bits // 4))
