"""The engine: load unit, scratchpad, weight ring, reader, array, drain and sequencer behind one memory port."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..engine import STORE_WORDS, Engine
from .array import Array
from .bits import delay
from .drain import Drain
from .loader import Loader
from .reader import Reader
from .scratchpad import Ring, Scratchpad
from .sequencer import Sequencer
from .walker import Walker

WATCHDOG_BITS = 20
"""An engine in which nothing has moved for 2**20 cycles stops with an error."""


class HwgenEngine(wiring.Component):
    """One accelerator; runs the program at ``base`` once for every pulse of ``start``.

    Memory port: words of ``mem_bits``.  Reads are requests with ready/valid and answers in
    order after any latency, never refused; writes are ready/valid.  Addresses count words.

    ``done`` rises when the program has ended and every result is written, or with
    ``error`` not 0 (``hwgen.isa.ERRORS``); ``cycles`` counts from ``start`` to ``done``.
    After an error only a reset makes the engine run again: words of the bad program may still be on their way.
    ``trace_*`` shows every word that the drain writes to the scratchpad and ``layers`` how
    many layers have begun, so that a test can compare each layer.
    """

    def __init__(self, *, engine: Engine, address_bits: int = 32):
        self.engine = engine
        super().__init__({
            "start": In(1), "base": In(address_bits), "length": In(24),
            "busy": Out(1), "done": Out(1), "error": Out(3), "cycles": Out(40), "engine_id": Out(32),
            "read_valid": Out(1), "read_ready": In(1), "read_address": Out(address_bits),
            "answer_valid": In(1), "answer_data": In(engine.mem_bits), "answer_error": In(1),
            "write_valid": Out(1), "write_ready": In(1), "write_address": Out(address_bits),
            "write_data": Out(engine.mem_bits),
            "layers": Out(16), "trace_valid": Out(1), "trace_bank": Out(4), "trace_address": Out(16),
            "trace_data": Out(engine.word_bits),
        })

    def elaborate(self, platform):
        m = Module()
        e = self.engine
        m.submodules.loader = loader = Loader(engine=e, address_bits=len(self.base))
        m.submodules.scratchpad = scratch = Scratchpad(banks=e.banks, depth=e.scratch_depth, word_bits=e.word_bits)
        slices = sum(e.slices(kind) for kind in ("sp2", "dsp", "high"))
        m.submodules.ring = ring = Ring(slices=slices, depth=e.ring_depth, mem_bits=e.mem_bits)
        m.submodules.walker = walker = Walker(px=e.px, banks=e.banks, point_bits=e.point_bits)
        m.submodules.sequencer = seq = Sequencer(px=e.px, banks=e.banks, ring_depth=e.ring_depth,
                                                 point_bits=e.point_bits)
        m.submodules.reader = reader = Reader(px=e.px, banks=e.banks, word_bits=e.word_bits, ring_depth=e.ring_depth,
                                             point_bits=e.point_bits)
        m.submodules.array = array = Array(engine=e)
        m.submodules.drain = drain = Drain(engine=e)
        s = seq.settings

        # Load unit.
        m.d.comb += [
            loader.base.eq(self.base), loader.length.eq(self.length),
            self.read_valid.eq(loader.request_valid), loader.request_ready.eq(self.read_ready),
            self.read_address.eq(loader.request_address), loader.response_valid.eq(self.answer_valid),
            loader.response_data.eq(self.answer_data), loader.response_error.eq(self.answer_error),
            loader.ring_release.eq(reader.release), loader.params_release.eq(drain.params_release),
            loader.scratch_busy.eq(drain.write),
            ring.write.eq(loader.ring_write), ring.write_slice.eq(loader.ring_slice),
            ring.write_address.eq(loader.ring_address), ring.write_data.eq(loader.data),
            scratch.write.eq(drain.write | loader.scratch_write),
            scratch.write_bank.eq(Mux(drain.write, drain.write_bank, loader.scratch_bank)),
            scratch.write_address.eq(Mux(drain.write, drain.write_address, loader.scratch_address)),
            scratch.write_data.eq(Mux(drain.write, drain.write_data, loader.scratch_data)),
        ]
        # Sequencer and walker.
        m.d.comb += [
            seq.command.eq(loader.command), seq.command_valid.eq(loader.command_valid),
            loader.command_ready.eq(seq.command_ready),
            walker.step_write.eq(seq.step_write), walker.move_write.eq(seq.move_write),
            walker.config_index.eq(seq.config_index), walker.config_data.eq(seq.command),
            walker.restart.eq(seq.restart),
            seq.slots.eq(walker.slots), seq.slots_valid.eq(walker.valid), seq.slots_final.eq(walker.final),
            walker.take.eq(seq.slots_take), self.layers.eq(seq.layers),
        ]
        m.d.comb += [getattr(walker, name).eq(getattr(s, name))
                     for name in ("pool_h", "pool_w", "out_h", "out_w", "conv_h", "conv_w")]
        # Reader.
        m.d.comb += [
            reader.word.eq(seq.word), reader.word_valid.eq(seq.word_valid), seq.word_ready.eq(reader.word_ready),
            reader.slots.eq(seq.active), reader.height.eq(s.height), reader.width.eq(s.width), reader.pad.eq(s.pad),
            scratch.address.eq(reader.address), reader.data.eq(scratch.data),
            ring.address.eq(reader.ring_address),
        ]
        # Array.
        m.d.comb += [
            array.operands.eq(reader.operands), array.valid.eq(reader.valid), array.high.eq(reader.high),
            array.last.eq(reader.last), array.weights.eq(ring.data), array.wide.eq(reader.wide),
        ]
        # Drain: a tile's totals are readable this long after its last step.
        ready = Reader.OPERAND_LATENCY + array.latency
        m.d.comb += [
            drain.settings.eq(s), drain.tile.eq(seq.tile), drain.active.eq(seq.active), drain.final.eq(seq.final),
            drain.parity.eq(seq.parity), drain.push.eq(seq.group_push),
            drain.go.eq(delay(m, reader.complete_last, ready - 2, "go", reset_less=False)),
            drain.totals.eq(array.totals), drain.sums.eq(array.sums),
            drain.residual_valid.eq(reader.residual), drain.residual.eq(reader.operands),
            drain.params_write.eq(loader.params_write), drain.thresholds_write.eq(loader.thresholds_write),
            drain.param_chunk.eq(loader.param_chunk), drain.param_lane.eq(loader.param_lane),
            drain.param_beat.eq(loader.param_beat), drain.param_parity.eq(loader.param_parity),
            drain.param_data.eq(loader.data),
            self.trace_valid.eq(drain.write), self.trace_bank.eq(drain.write_bank),
            self.trace_address.eq(drain.write_address), self.trace_data.eq(drain.write_data),
        ]
        stored = self._store(m, seq, reader, drain)
        m.d.comb += seq.idle.eq(drain.idle & ~reader.busy & stored)
        self._control(m, loader, seq, reader)
        return m

    def _store(self, m, seq, reader, drain):
        """Words of a stored layer go to memory as the drain writes them.

        ``room`` counts places not yet promised: a tile's last step waits until all its
        words have one, so the drain itself never has to wait.
        """
        s, bank_bits = seq.settings, 4
        m.submodules.store = fifo = SyncFIFOBuffered(width=self.engine.word_bits + 16 + bank_bits, depth=STORE_WORDS)
        room, claim = Signal(range(STORE_WORDS + 1), init=STORE_WORDS), Signal(12)
        address, bank, word = Signal(16), Signal(bank_bits), Signal(self.engine.word_bits)
        store, sent = s.store, self.write_valid & self.write_ready
        m.d.comb += [
            fifo.w_en.eq(drain.write & store),
            fifo.w_data.eq(Cat(drain.write_bank, drain.write_address, drain.write_data)),
            Cat(bank, address, word).eq(fifo.r_data), fifo.r_en.eq(sent),
            self.write_valid.eq(fifo.r_rdy), self.write_data.eq(word),
            self.write_address.eq(s.store_base + Cat(bank, address)),
            reader.hold.eq(store & (room < reader.store_words)),
            claim.eq(Mux(reader.complete_last & store, reader.store_words, 0)),
        ]
        m.d.sync += room.eq(room - claim + sent + (drain.write_skipped & store))
        return room == STORE_WORDS

    def _control(self, m, loader, seq, reader):
        m.d.comb += self.engine_id.eq(self.engine.id)
        watchdog, finished = Signal(WATCHDOG_BITS + 1), Signal()
        moved = loader.moved | reader.complete | (self.write_valid & self.write_ready)
        m.d.comb += [loader.start.eq(self.start & ~self.busy), finished.eq(seq.finish & loader.ended),
                     seq.finished.eq(finished), seq.clear.eq(loader.start)]
        with m.If(self.busy):
            m.d.sync += [self.cycles.eq(self.cycles + 1), watchdog.eq(Mux(moved, 0, watchdog + 1))]
            with m.If(loader.error != 0):
                m.d.sync += [self.error.eq(loader.error), self.busy.eq(0), self.done.eq(1)]
            with m.Elif(seq.illegal):
                m.d.sync += [self.error.eq(2), self.busy.eq(0), self.done.eq(1)]
            with m.Elif(watchdog[WATCHDOG_BITS]):
                m.d.sync += [self.error.eq(4), self.busy.eq(0), self.done.eq(1)]
            with m.Elif(finished):
                m.d.sync += [self.busy.eq(0), self.done.eq(1)]
        with m.Elif(self.start):
            m.d.sync += [self.busy.eq(1), self.done.eq(0), self.cycles.eq(0), watchdog.eq(0)]
