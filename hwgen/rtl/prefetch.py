"""Read requests ahead of the load unit: the program stream, and the maps that its FETCH packets name."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..engine import DESCRIPTORS, PREFETCH, Engine
from ..isa import END, FETCH, FETCH_WORD, HEADERS, START
from .bits import fields
from .source import Source, share_port


class Prefetch(wiring.Component):
    """Two sources of requests on one memory port, each with a FIFO for its answers.

    A request asks for ``count`` (1 to ``RUN``) memory words from ``address`` on and never
    crosses a multiple of ``RUN``; it may change until it is accepted.  Answers carry the
    request's ``tag`` and come in order per tag; with several memory ports each port's
    part of a word comes on its own, in the same order.  Every answer has a place, so none is
    ever refused.  Answers come into registers first, and leave through registers: a memory's
    clock-to-output time stands alone.

    The stream (tag 0) is read from address 0 on.  A FETCH packet is recognised when it
    arrives, usually well before the load unit gets to it: its words (tag 1) are requested as
    soon as ``finished`` has reached its ``wait``, before any further word of the stream,
    because the load unit needs them first.  FETCHes are served in their order.

    ``quiet``: no answer is outstanding.  Requests are made only while ``enable``.
    """

    def __init__(self, *, engine: Engine, address_bits: int = 32):
        self.engine = engine
        ports = engine.ports
        super().__init__({
            "start": In(1), "enable": In(1), "length": In(24), "finished": In(16),
            "request_valid": Out(1), "request_ready": In(1), "request_address": Out(address_bits),
            "request_count": Out(5), "request_tag": Out(1),
            "answer_valid": In(ports), "answer_tag": In(ports), "answer_data": In(engine.mem_bits),
            "stream": Out(engine.mem_bits), "stream_have": Out(1), "stream_take": In(1),
            "map": Out(engine.mem_bits), "map_have": Out(1), "map_take": In(1),
            "quiet": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        ahead = self.engine.fetch_ahead
        self._valid, self._tag = Signal.like(self.answer_valid), Signal.like(self.answer_tag)
        self._data = Signal.like(self.answer_data, reset_less=True)
        m.d.sync += [self._valid.eq(self.answer_valid), self._tag.eq(self.answer_tag), self._data.eq(self.answer_data)]
        self._answers(m, 0, PREFETCH, self.stream, self.stream_have, self.stream_take)
        self._answers(m, 1, ahead, self.map, self.map_have, self.map_take)
        bits = self.engine.address_bits
        stream, map_ = Source(m, "stream", PREFETCH, bits), Source(m, "map", ahead, bits)
        m.d.comb += stream.go.eq(1)
        share_port(m, self, stream, map_, self._valid, PREFETCH + ahead)
        with m.If(self.start):
            m.d.sync += stream.load(0, self.length)
        self._descriptors(m, map_)
        return m

    def _answers(self, m, tag, depth, word, have, take):
        """The FIFO of a tag, one slice per memory port: ports may run apart."""
        bits, readable, following = self.engine.port_bits, [], Signal()
        # Without a reset, which a block RAM's own output register has not.
        held = Signal(self.engine.mem_bits, name=f"word_{tag}", reset_less=True)
        m.d.comb += word.eq(held)
        for port in range(self.engine.ports):
            m.submodules[f"fifo_{tag}_{port}"] = fifo = SyncFIFOBuffered(width=bits, depth=depth)
            part = slice(port * bits, (port + 1) * bits)
            m.d.comb += [
                fifo.w_en.eq(self._valid[port] & (self._tag[port] == tag)),
                fifo.w_data.eq(self._data[part]), fifo.r_en.eq(following),
            ]
            with m.If(following):
                m.d.sync += held[part].eq(fifo.r_data)
            readable.append(fifo.r_rdy)
        m.d.comb += following.eq(Cat(readable).all() & (~have | take))
        with m.If(following):
            m.d.sync += have.eq(1)
        with m.Elif(take):
            m.d.sync += have.eq(0)

    def _descriptors(self, m, source):
        """FETCH packets from their arrival to their first request."""
        bits = self.engine.port_bits
        arrived, word = self._valid[0] & ~self._tag[0], self._data[:min(bits, 64)]
        kind, left, more, is_fetch, wait = word[:4], Signal(24), Signal(), Signal(), Signal(16)
        header = fields(HEADERS[FETCH], word)
        with m.If(arrived):
            with m.If(~more):
                alone = (kind == START) | (kind == END)
                m.d.sync += [
                    left.eq(Mux(alone, 0, header["count"])), more.eq(~alone & (header["count"] != 0)),
                    is_fetch.eq(kind == FETCH), wait.eq(header["wait"]),
                ]
            with m.Else():
                m.d.sync += [left.eq(left - 1), more.eq(left != 1), is_fetch.eq(0)]
        where, piece = fields(FETCH_WORD, word), self.engine.scratch_words.bit_length() - 1
        entry = data.StructLayout({"offset": piece, "address": 32 - piece, "words": 20, "wait": 16})
        m.submodules.descriptors = fifo = SyncFIFOBuffered(width=entry.size, depth=DESCRIPTORS)
        came = data.View(entry, fifo.r_data)
        # The next one in memory words, then its first request.
        next_ = Signal(data.StructLayout({"address": 32 - piece, "words": 20, "wait": 16}), name="next_fetch",
                       reset_less=True)
        prepared, active, ready = Signal(), Signal(), Signal()
        # It is there in the cycle after the last request of the one before.
        done = source.sent & source.final
        load = prepared & (~active | done)
        m.d.comb += [
            fifo.w_en.eq(arrived & is_fetch & more),
            fifo.w_data.eq(Cat(where["memory"], where["words"], wait)), fifo.r_en.eq(~prepared | load),
            source.go.eq(active & ready),
        ]
        with m.If(fifo.r_en):
            words = came.words + came.offset + (self.engine.scratch_words - 1)
            m.d.sync += [prepared.eq(fifo.r_rdy), next_.address.eq(came.address), next_.words.eq(words[piece:]),
                         next_.wait.eq(came.wait)]
        held = Signal(16)
        m.d.sync += ready.eq(self.finished >= held)
        with m.If(done):
            m.d.sync += active.eq(0)
        with m.If(load):
            m.d.sync += [active.eq(1), held.eq(next_.wait), ready.eq(self.finished >= next_.wait),
                         *source.load(next_.address, next_.words)]
