"""The engine: load unit, scratchpad, weight ring, reader, array, drain and sequencer behind one memory port."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..engine import Engine
from ..isa import POOL_RASTER
from .array import Array
from .bits import delay
from .drain import Drain
from .lanes.copy import copy
from .loader import Loader
from .reader import Reader
from .scratchpad import Ring, Scratchpad
from .sequencer import Sequencer
from .store import Store
from .walker import Walker

WATCHDOG_BITS = 20
"""An engine in which nothing has moved for 2**20 cycles stops with an error."""

CLEAR_CYCLES = 64
"""Longer than any pipeline of the engine."""


class HwgenEngine(wiring.Component):
    """One accelerator; runs the program at address 0 once for every pulse of ``start``.

    Memory port: words of ``mem_bits``.  A read asks for ``read_count`` (1 to 16) words that do not
    cross a multiple of 16 and carries a tag; it may change until it is accepted.  Answers
    return the tag; those of one tag come in order, after any latency, and are never refused.
    An engine with several ``ports`` takes each port's part of an answer on its own.  Writes are
    ready/valid with a bit of ``write_mask`` for each scratchpad word; ``write_idle``: every
    word taken is in memory.  Addresses count words.

    ``done`` rises when the program has ended and every result is written, or with
    ``error`` not 0 (``hwgen.isa.ERRORS``); ``cycles`` counts from ``start`` to ``done``.
    After an error the engine begins anew once all answers that were still on their way have come.
    ``simulation`` replaces primitives by portable twins that behave alike, cycle by cycle.
    ``trace_*`` shows every word that the drain writes and ``layers`` how
    many layers have begun, so that a test can compare each layer.
    """

    def __init__(self, *, engine: Engine, address_bits: int = 32, simulation: bool = False):
        self.engine, self.simulation = engine, simulation
        ports = engine.ports
        super().__init__({
            "start": In(1), "length": In(24),
            "busy": Out(1), "done": Out(1), "error": Out(3), "cycles": Out(40), "engine_id": Out(32),
            "read_valid": Out(1), "read_ready": In(1), "read_address": Out(address_bits), "read_count": Out(5),
            "read_tag": Out(1),
            "answer_valid": In(ports), "answer_tag": In(ports), "answer_error": In(ports),
            "answer_data": In(engine.mem_bits),
            "write_valid": Out(1), "write_ready": In(1), "write_address": Out(address_bits),
            "write_data": Out(engine.mem_bits), "write_mask": Out(engine.scratch_words),
            "write_idle": In(1), "write_error": In(1),
            "layers": Out(16), "trace_valid": Out(1), "trace_bank": Out(4), "trace_address": Out(24),
            "trace_data": Out(engine.word_bits),
        })

    def elaborate(self, platform):
        m = Module()
        e = self.engine
        loader = Loader(engine=e, address_bits=len(self.read_address))
        m.submodules.scratchpad = scratch = Scratchpad(banks=e.banks, depth=e.scratch_depth, word_bits=e.word_bits,
                                                       writes=e.fetch_words)
        m.submodules.ring = ring = Ring(slices=e.ring_slices, depth=e.ring_depth, mem_bits=e.mem_bits)
        walker = Walker(px=e.px, banks=e.banks, point_bits=e.point_bits, size_bits=e.size_bits, ahead=e.walks_ahead,
                        raster=e.pool_columns > 0)
        seq = Sequencer(px=e.px, banks=e.banks, ring_depth=e.ring_depth, point_bits=e.point_bits, bits=e.register_bits,
                        one_tile=e.small, wrap=e.wrap)
        reader = Reader(px=e.px, banks=e.banks, word_bits=e.word_bits, ring_depth=e.ring_depth, point_bits=e.point_bits,
                        bits=e.register_bits, one_tile=e.small)
        array, drain = Array(engine=e, simulation=self.simulation), Drain(engine=e, simulation=self.simulation)
        store = Store(engine=e, address_bits=len(self.write_address))
        # Whatever a program that ended with an error has left in them goes with ``clear``.
        # Each part has a register of its own for that: it resets many, and the parts lie far apart.
        clear, family = Signal(), "" if self.simulation else e.family
        for name, part in (("loader", loader), ("walker", walker), ("sequencer", seq), ("reader", reader),
                           ("drain", drain), ("store", store)):
            m.submodules[name] = ResetInserter(copy(m, clear, f"clear_{name}", family))(part)
        # The array has registers that no reset reaches; ends of tiles flush it.
        m.submodules.array = array
        s = seq.settings

        # Load unit.
        keep = drain.write_kept
        m.d.comb += [
            loader.enable.eq(self.busy), loader.length.eq(self.length), loader.finished.eq(seq.layers_done),
            self.read_valid.eq(loader.request_valid), loader.request_ready.eq(self.read_ready),
            self.read_address.eq(loader.request_address), self.read_count.eq(loader.request_count),
            self.read_tag.eq(loader.request_tag),
            *(getattr(loader, name).eq(getattr(self, name))
              for name in ("answer_valid", "answer_tag", "answer_error", "answer_data")),
            loader.ring_release.eq(reader.release), loader.params_release.eq(drain.params_release),
            loader.scratch_busy.eq(keep),
            ring.write.eq(loader.ring_write), ring.write_slice.eq(loader.ring_slice),
            ring.write_address.eq(loader.ring_address), ring.write_data.eq(loader.data),
            scratch.write.eq(Mux(keep, 1, loader.scratch_write)),
            scratch.write_bank.eq(Mux(keep, drain.write_bank, loader.scratch_bank)),
            scratch.write_address.eq(Mux(keep, drain.write_address[:16], loader.scratch_address)),
            scratch.write_data.eq(Mux(keep, drain.write_data, loader.scratch_data)),
        ]
        # Sequencer and walker.
        m.d.comb += [
            seq.command.eq(loader.command), seq.command_kind.eq(loader.command_kind),
            seq.command_valid.eq(loader.command_valid),
            loader.command_ready.eq(seq.command_ready),
            walker.step_write.eq(seq.step_write), walker.move_write.eq(seq.move_write),
            walker.config_index.eq(seq.config_index), walker.config_data.eq(seq.command),
            walker.restart.eq(seq.restart),
            seq.slots.eq(walker.slots), seq.slots_valid.eq(walker.valid), seq.slots_final.eq(walker.final),
            walker.take.eq(seq.slots_take), self.layers.eq(seq.layers),
        ]
        m.d.comb += [getattr(walker, name).eq(getattr(s, name))
                     for name in ("pool_h", "pool_w", "out_h", "out_w", "conv_h", "conv_w", "begin_h", "begin_w",
                                  "lead_h", "lead_w", "start_h", "start_w")]
        m.d.comb += walker.raster.eq(s.pool_mode == POOL_RASTER)
        # Reader.
        m.d.comb += [
            reader.word.eq(seq.word), reader.word_valid.eq(seq.word_valid), seq.word_ready.eq(reader.word_ready),
            *([reader.tile.eq(seq.tile), seq.reader_idle.eq(reader.idle)] if e.small else []),
            reader.slots.eq(seq.active), reader.height.eq(s.height), reader.width.eq(s.width), reader.pad.eq(s.pad),
            scratch.address.eq(reader.address), reader.data.eq(scratch.data),
            ring.address.eq(reader.ring_address),
        ]
        # Array.
        m.d.comb += [
            array.operands.eq(reader.operands), array.valid.eq(reader.valid | clear), array.high.eq(reader.high),
            array.last.eq(reader.last | clear), array.weights.eq(ring.data), array.wide.eq(reader.wide),
        ]
        # Drain: a tile's totals are readable this long after its last step.
        ready, on_its_way = Reader.OPERAND_LATENCY + array.latency, Module()
        go = delay(on_its_way, reader.complete_last, ready - 2, "go", reset_less=False)
        m.submodules.on_its_way = ResetInserter(clear)(on_its_way)
        m.d.comb += [
            drain.settings.eq(s), drain.tile.eq(seq.tile), drain.active.eq(seq.active), drain.final.eq(seq.final),
            drain.parity.eq(seq.parity), drain.push.eq(seq.group_push),
            drain.go.eq(go),
            drain.totals.eq(array.totals), drain.sums.eq(array.sums),
            drain.residual_valid.eq(reader.residual), drain.residual.eq(reader.operands),
            drain.params_write.eq(loader.params_write), drain.thresholds_write.eq(loader.thresholds_write),
            drain.param_chunk.eq(loader.param_chunk), drain.param_lane.eq(loader.param_lane),
            drain.param_beat.eq(loader.param_beat), drain.param_parity.eq(loader.param_parity),
            drain.param_data.eq(loader.data), drain.threshold_data.eq(loader.piece),
            self.trace_valid.eq(drain.write), self.trace_bank.eq(drain.write_bank),
            self.trace_address.eq(drain.write_address), self.trace_data.eq(drain.write_data),
        ]
        # Store queue.
        m.d.comb += [
            store.enable.eq(s.store), store.base.eq(s.store_base), store.flush.eq(drain.idle),
            store.claim.eq(reader.complete_last), store.claim_words.eq(reader.store_words),
            reader.storing.eq(s.store), reader.room.eq(store.room),
            store.write.eq(drain.write), store.skipped.eq(drain.write_skipped),
            store.bank.eq(drain.write_bank), store.address.eq(drain.write_address), store.data.eq(drain.write_data),
            self.write_valid.eq(store.write_valid & self.busy), store.write_ready.eq(self.write_ready & self.busy),
            self.write_address.eq(store.write_address), self.write_data.eq(store.write_data),
            self.write_mask.eq(store.write_mask),
            seq.idle.eq(drain.idle & store.idle & self.write_idle),
        ]
        self._control(m, loader, seq, reader, clear)
        return m

    def _control(self, m, loader, seq, reader, clear):
        m.d.comb += self.engine_id.eq(self.engine.id)
        watchdog, finished = Signal(WATCHDOG_BITS + 1), Signal()
        failed, waiting, begin = Signal(), Signal(), Signal()
        moved, clearing = Signal(), Signal()
        m.d.sync += clearing.eq(clear)
        ready = ~self.busy & ~failed & ~clear & ~clearing
        m.d.comb += [begin.eq((self.start | waiting) & ready), loader.start.eq(begin),
                     finished.eq(seq.finish & loader.ended), seq.finished.eq(finished)]
        # Both go to many places or come from many: a register in between.
        m.d.sync += [seq.clear.eq(begin),
                     moved.eq(loader.moved | reader.complete | (self.write_valid & self.write_ready)),
                     clear.eq(failed & ~self.busy & loader.quiet & self.write_idle)]
        # Until everything that was in a pipeline has left it.
        cleared = Signal(range(CLEAR_CYCLES))
        with m.If(clear):
            m.d.sync += cleared.eq(cleared + 1)

        def stop(error):
            return [self.error.eq(error), failed.eq(1), self.busy.eq(0), self.done.eq(1)]

        with m.If(self.busy):
            m.d.sync += [self.cycles.eq(self.cycles + 1), watchdog.eq(Mux(moved, 0, watchdog + 1))]
            with m.If(loader.error != 0):
                m.d.sync += stop(loader.error)
            with m.Elif(self.write_error):
                m.d.sync += stop(5)
            with m.Elif(seq.illegal):
                m.d.sync += stop(2)
            with m.Elif(watchdog[WATCHDOG_BITS]):
                m.d.sync += stop(4)
            with m.Elif(finished):
                m.d.sync += [self.busy.eq(0), self.done.eq(1)]
        with m.If(clear & (cleared == CLEAR_CYCLES - 1)):
            m.d.sync += [failed.eq(0), cleared.eq(0)]
        with m.If(begin):
            m.d.sync += [self.busy.eq(1), self.done.eq(0), self.error.eq(0), self.cycles.eq(0), watchdog.eq(0),
                         waiting.eq(0)]
        with m.Elif(self.start & ~self.busy):
            # Begins when the answers to a program that failed have all come.
            m.d.sync += [waiting.eq(1), self.done.eq(0), self.error.eq(0)]
