"""Read requests where block RAM is short: the program stream ahead, maps a word at a time once they are needed."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..engine import PREFETCH, Engine
from ..isa import FETCH, FETCH_WORD, HEADERS
from .bits import fields
from .source import Source, share_port


class OnDemand(wiring.Component):
    """Does what ``Prefetch`` does for a small engine, beside a memory that answers soon.

    One FIFO only, of the stream, and no register before or behind it.  The load unit says when the stream's word is the
    header (``fetch_header``) or the source (``fetch_source``) of a FETCH.  From then on, and once ``finished`` has
    reached the header's ``wait``, the map's words are asked for one by one, each when the one before has been taken:
    a map's word costs the cycles from request to answer and two more.
    """

    def __init__(self, *, engine: Engine, address_bits: int = 32):
        self.engine = engine
        super().__init__({
            "start": In(1), "enable": In(1), "length": In(24), "finished": In(16),
            "request_valid": Out(1), "request_ready": In(1), "request_address": Out(address_bits),
            "request_count": Out(5), "request_tag": Out(1),
            "answer_valid": In(1), "answer_tag": In(1), "answer_data": In(engine.mem_bits),
            "stream": Out(engine.mem_bits), "stream_have": Out(1), "stream_take": In(1),
            "map": Out(engine.mem_bits), "map_have": Out(1), "map_take": In(1),
            "fetch_header": In(1), "fetch_source": In(1),
            "quiet": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        e = self.engine
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=e.mem_bits, depth=PREFETCH)
        m.d.comb += [
            fifo.w_en.eq(self.answer_valid & ~self.answer_tag), fifo.w_data.eq(self.answer_data),
            self.stream.eq(fifo.r_data), self.stream_have.eq(fifo.r_rdy), fifo.r_en.eq(self.stream_take),
        ]
        with m.If(self.map_take):
            m.d.sync += self.map_have.eq(0)
        with m.If(self.answer_valid & self.answer_tag):
            m.d.sync += [self.map.eq(self.answer_data), self.map_have.eq(1)]

        bits = e.address_bits
        stream, map_ = Source(m, "stream", PREFETCH, bits), Source(m, "map", 1, bits, run=1)
        m.d.comb += stream.go.eq(1)
        share_port(m, self, stream, map_, self.answer_valid, PREFETCH + 1)
        with m.If(self.start):
            m.d.sync += stream.load(0, self.length)

        held, ready, active = Signal(e.step_bits), Signal(), Signal()
        source, piece = fields(FETCH_WORD, self.stream), e.scratch_words.bit_length() - 1
        m.d.sync += ready.eq(self.finished[:e.step_bits] >= held)
        m.d.comb += map_.go.eq(active & ready)
        with m.If(self.fetch_header):
            m.d.sync += held.eq(fields(HEADERS[FETCH], self.stream)["wait"])
        with m.If(map_.sent & map_.final):
            m.d.sync += active.eq(0)
        with m.If(self.fetch_source):
            words = source["words"] + source["memory"][:piece] + (e.scratch_words - 1)
            m.d.sync += [active.eq(1), *map_.load(source["memory"][piece:], words[piece:])]
        return m
