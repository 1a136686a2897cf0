"""The load unit: reads the program stream through the memory port and hands its packets out."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..engine import COMMAND_WORDS, ENGINE_VERSION, PREFETCH, Engine
from ..isa import COMMANDS, END, HEADERS, INPUT, PARAMS, START, THRESHOLDS, WEIGHTS
from .bits import fields


class Loader(wiring.Component):
    """One linear stream of packets, read ahead as far as its consumers have room.

    A packet's header costs one cycle, each payload word one more; a payload has at least one
    word.  PARAMS waits for one of the two parameter buffers and WEIGHTS for room in the ring,
    so a TILE command, which follows its weights in the stream, never waits for anything else.
    """

    def __init__(self, *, engine: Engine, address_bits: int = 32):
        self.engine = engine
        super().__init__({
            "start": In(1), "base": In(address_bits), "length": In(24),
            "request_valid": Out(1), "request_ready": In(1), "request_address": Out(address_bits),
            "response_valid": In(1), "response_data": In(engine.mem_bits), "response_error": In(1),
            "command": Out(64), "command_valid": Out(1), "command_ready": In(1),
            "scratch_write": Out(1), "scratch_bank": Out(4), "scratch_address": Out(16),
            "scratch_data": Out(engine.word_bits), "scratch_busy": In(1),
            "ring_write": Out(1), "ring_slice": Out(8), "ring_address": Out(range(engine.ring_depth)),
            "params_write": Out(1), "thresholds_write": Out(1), "param_chunk": Out(8), "param_lane": Out(8),
            "param_beat": Out(3), "param_parity": Out(1, init=1), "data": Out(engine.mem_bits),
            "ring_release": In(12), "params_release": In(1),
            "ended": Out(1), "active": Out(1), "moved": Out(1), "error": Out(3),
        })

    def elaborate(self, platform):
        m = Module()
        engine = self.engine
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=engine.mem_bits, depth=PREFETCH)
        m.submodules.commands = commands = SyncFIFOBuffered(width=64, depth=COMMAND_WORDS)
        running = Signal()
        m.d.comb += self.active.eq(running)

        # Requests run ahead while every answer has a place in the FIFO.
        room, address = Signal(range(PREFETCH + 1), init=PREFETCH), Signal(self.request_address.shape())
        unread = Signal(24)
        taken, sent = Signal(), Signal()
        m.d.comb += [
            self.request_address.eq(address), self.request_valid.eq((unread != 0) & (room != 0)),
            sent.eq(self.request_valid & self.request_ready),
            fifo.w_en.eq(self.response_valid), fifo.w_data.eq(self.response_data),
            taken.eq(fifo.r_en & fifo.r_rdy),
        ]
        m.d.sync += room.eq(room - sent + taken)
        with m.If(sent):
            m.d.sync += [address.eq(address + 1), unread.eq(unread - 1)]
        m.d.comb += [
            self.data.eq(fifo.r_data), commands.w_data.eq(fifo.r_data[:64]), self.command.eq(commands.r_data),
            self.command_valid.eq(commands.r_rdy), commands.r_en.eq(self.command_ready),
            self.scratch_data.eq(fifo.r_data[:engine.word_bits]),
        ]

        word, have, take = fifo.r_data, fifo.r_rdy, Signal()
        m.d.comb += [fifo.r_en.eq(take), self.moved.eq(taken)]
        left, end, summed = Signal(24), Signal(), Signal()
        sum_, folded = Signal(32), Signal(32)
        parts = [word[i:i + 32] for i in range(0, engine.mem_bits, 32)]
        total = parts[0]
        for part in parts[1:]:
            total = total ^ part
        m.d.comb += folded.eq(sum_.rotate_left(1) ^ total)

        # Room in the ring, in words; the parameter buffers are a pair.
        used, ring_at = Signal(range(engine.ring_depth + 1)), Signal(range(engine.ring_depth))
        claim = Signal(12)
        m.d.sync += used.eq(used + claim - self.ring_release)
        held, grab = Signal(2), Signal()
        m.d.sync += held.eq(held + grab - self.params_release)
        counts = fields(HEADERS[WEIGHTS], word)
        sp2, dsp = engine.slices("sp2"), engine.slices("dsp")
        slices = [Signal(8, name=f"slices_{kind}") for kind in ("sp2", "dsp", "high")]
        slice_group, slice_index = Signal(2), Signal(8)
        record = 3 if engine.residual else 2

        with m.If(self.response_valid & self.response_error):
            m.d.sync += [self.error.eq(5), running.eq(0)]
        with m.FSM(name="loader") as fsm:
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [running.eq(1), address.eq(self.base), unread.eq(self.length), sum_.eq(0),
                                 self.ended.eq(0)]
                    m.next = "START"
            with m.State("START"):
                header = fields(HEADERS[START], word)
                with m.If(have):
                    m.d.comb += take.eq(1)
                    wrong = ((header["packet"] != START) | (header["version"] != ENGINE_VERSION)
                             | (header["engine"] != engine.id))
                    with m.If(wrong):
                        m.d.sync += [self.error.eq(1), running.eq(0)]
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "HEADER"
            with m.State("HEADER"):
                packet = word[:4]
                m.d.comb += summed.eq(packet != END)
                with m.If(have):
                    with m.Switch(packet):
                        with m.Case(INPUT):
                            m.d.comb += take.eq(1)
                            m.d.sync += [self.scratch_address.eq(fields(HEADERS[INPUT], word)["address"]),
                                         self.scratch_bank.eq(0)]
                            m.next = "INPUT"
                        with m.Case(PARAMS):
                            with m.If(held != 2):
                                m.d.comb += [take.eq(1), grab.eq(1)]
                                m.d.sync += [self.param_parity.eq(~self.param_parity), self.param_chunk.eq(0),
                                             self.param_lane.eq(0), self.param_beat.eq(0)]
                                m.next = "PARAMS"
                        with m.Case(THRESHOLDS):
                            m.d.comb += take.eq(1)
                            m.d.sync += [self.param_chunk.eq(0), self.param_lane.eq(0), self.param_beat.eq(0)]
                            m.next = "THRESHOLDS"
                        with m.Case(WEIGHTS):
                            with m.If(used + counts["words"] <= engine.ring_depth):
                                m.d.comb += [take.eq(1), claim.eq(counts["words"])]
                                m.d.sync += [slices[i].eq(counts[k]) for i, k in enumerate(("sp2", "dsp", "high"))]
                                m.d.sync += [slice_index.eq(0), slice_group.eq(Mux(counts["sp2"] != 0, 0, 1))]
                                m.next = "WEIGHTS"
                        with m.Case(COMMANDS):
                            m.d.comb += take.eq(1)
                            m.next = "COMMANDS"
                        with m.Case(END):
                            m.d.comb += take.eq(1)
                            with m.If(fields(HEADERS[END], word)["checksum"] != sum_):
                                m.d.sync += self.error.eq(3)
                            m.d.sync += [self.ended.eq(1), running.eq(0)]
                            m.next = "IDLE"
                        with m.Default():
                            m.d.comb += take.eq(1)
                            m.d.sync += [self.error.eq(2), running.eq(0)]
                            m.next = "IDLE"
            with m.State("INPUT"):
                with m.If(have & ~self.scratch_busy):
                    m.d.comb += [take.eq(1), self.scratch_write.eq(1)]
                    with m.If(self.scratch_bank == engine.banks - 1):
                        m.d.sync += [self.scratch_bank.eq(0), self.scratch_address.eq(self.scratch_address + 1)]
                    with m.Else():
                        m.d.sync += self.scratch_bank.eq(self.scratch_bank + 1)
                with m.If(end):
                    m.next = "HEADER"
            for name, write, beats in (("PARAMS", self.params_write, record),
                                       ("THRESHOLDS", self.thresholds_write, 8)):
                with m.State(name):
                    m.d.comb += [take.eq(1), write.eq(have), summed.eq(1)]
                    with m.If(have):
                        m.d.sync += self.param_beat.eq(self.param_beat + 1)
                        with m.If(self.param_beat == beats - 1):
                            m.d.sync += [self.param_beat.eq(0), self.param_lane.eq(self.param_lane + 1)]
                            with m.If(self.param_lane == engine.drain_lanes - 1):
                                m.d.sync += [self.param_lane.eq(0), self.param_chunk.eq(self.param_chunk + 1)]
                    with m.If(end):
                        m.next = "HEADER"
            with m.State("WEIGHTS"):
                m.d.comb += [take.eq(1), self.ring_write.eq(have), summed.eq(1), self.ring_address.eq(ring_at)]
                base = Mux(slice_group == 0, 0, Mux(slice_group == 1, sp2, sp2 + dsp))
                limit = Mux(slice_group == 0, slices[0], Mux(slice_group == 1, slices[1], slices[2]))
                last = ((slice_group == 2) | ((slice_group == 1) & (slices[2] == 0))
                        | ((slice_group == 0) & (slices[1] == 0)))
                m.d.comb += self.ring_slice.eq(slice_index + base)
                with m.If(have):
                    m.d.sync += slice_index.eq(slice_index + 1)
                    with m.If(slice_index == limit - 1):
                        m.d.sync += [slice_index.eq(0), slice_group.eq(slice_group + 1)]
                        with m.If(last):
                            m.d.sync += [slice_group.eq(Mux(slices[0] != 0, 0, 1)), ring_at.eq(ring_at + 1)]
                with m.If(end):
                    m.next = "HEADER"
            with m.State("COMMANDS"):
                m.d.comb += [commands.w_en.eq(have), take.eq(commands.w_rdy), summed.eq(1)]
                with m.If(end):
                    m.next = "HEADER"
        m.d.comb += end.eq(taken & (left == 1))
        with m.If(taken):
            m.d.sync += left.eq(Mux(fsm.ongoing("HEADER"), word[4:28], left - 1))
            with m.If(summed):
                m.d.sync += sum_.eq(folded)
        return m
