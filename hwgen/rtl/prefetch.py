"""Read requests ahead of the load unit: the program stream, and the maps that its FETCH packets name."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..engine import DESCRIPTORS, PREFETCH, Engine
from ..isa import END, FETCH, FETCH_WORD, HEADERS, RUN, START
from .bits import fields


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
        self._valid, self._tag, self._data = (Signal.like(port) for port in (
            self.answer_valid, self.answer_tag, self.answer_data))
        m.d.sync += [self._valid.eq(self.answer_valid), self._tag.eq(self.answer_tag), self._data.eq(self.answer_data)]
        self._answers(m, 0, PREFETCH, self.stream, self.stream_have, self.stream_take)
        self._answers(m, 1, ahead, self.map, self.map_have, self.map_take)
        bits = len(self.request_address)
        stream, map_ = _Source(m, "stream", PREFETCH, bits), _Source(m, "map", ahead, bits)
        sent = self.request_valid & self.request_ready & self.enable
        m.d.comb += [
            self.request_valid.eq(self.enable & (stream.ready | map_.ready)), self.request_tag.eq(map_.ready),
            self.request_address.eq(Mux(map_.ready, map_.address, stream.address)),
            self.request_count.eq(Mux(map_.ready, map_.count, stream.count)),
            map_.sent.eq(sent & map_.ready), stream.sent.eq(sent & ~map_.ready),
            stream.taken.eq(self.stream_take), map_.taken.eq(self.map_take),
            stream.go.eq(1),
        ]
        with m.If(self.start):
            m.d.sync += stream.load(0, self.length)
        self._descriptors(m, map_)
        outstanding = [Signal(range(PREFETCH + ahead + 1), name=f"outstanding_{p}")
                       for p in range(self.engine.ports)]
        for port, count in enumerate(outstanding):
            m.d.sync += count.eq(count + Mux(sent, self.request_count, 0) - self._valid[port])
        m.d.comb += self.quiet.eq(~Cat(count.any() for count in outstanding).any())
        return m

    def _answers(self, m, tag, depth, word, have, take):
        """The FIFO of a tag, one slice per memory port: ports may run apart."""
        bits, readable, following = self.engine.port_bits, [], Signal()
        for port in range(self.engine.ports):
            m.submodules[f"fifo_{tag}_{port}"] = fifo = SyncFIFOBuffered(width=bits, depth=depth)
            part = slice(port * bits, (port + 1) * bits)
            m.d.comb += [
                fifo.w_en.eq(self._valid[port] & (self._tag[port] == tag)),
                fifo.w_data.eq(self._data[part]), fifo.r_en.eq(following),
            ]
            with m.If(following):
                m.d.sync += word[part].eq(fifo.r_data)
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
        next_ = Signal(data.StructLayout({"address": 32 - piece, "words": 20, "wait": 16}), name="next_fetch")
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


class _Source:
    """Registers of one source: the next request and what is left behind it.

    What decides about a request (is there one, is there room, is it the last) is known a cycle before.
    """

    def __init__(self, m, name, depth, address_bits):
        self.address = Signal(address_bits, name=f"{name}_address")
        self.left = Signal(24, name=f"{name}_left")
        """Words behind the next request."""
        self.count = Signal(5, name=f"{name}_count")
        self.final = Signal(name=f"{name}_final", init=1)
        """Nothing is left behind it."""
        self._some, roomy = Signal(name=f"{name}_some"), Signal(name=f"{name}_roomy", init=1)
        room = Signal(range(depth + 1), name=f"{name}_room", init=depth)
        self.go, self.ready, self.sent, self.taken = (Signal(name=f"{name}_{what}")
                                                      for what in ("go", "ready", "sent", "taken"))
        m.d.comb += self.ready.eq(self.go & self._some & roomy)
        m.d.sync += [
            room.eq(room - Mux(self.sent, self.count, 0) + self.taken),
            roomy.eq(Mux(self.sent, Mux(self.taken, room + 1 >= self.count + RUN, room >= self.count + RUN),
                         Mux(self.taken, room >= RUN - 1, room >= RUN))),
        ]
        with m.If(self.sent):
            m.d.sync += [self.address.eq(self.address + self.count), *self._next(self.left, RUN)]

    def _next(self, words, most):
        few = words < most
        return [self.count.eq(Mux(few, words, most)), self.left.eq(Mux(few, 0, words - most)),
                self._some.eq(words != 0), self.final.eq(words <= most)]

    def load(self, address, words):
        """Assignments that begin a new run of ``words`` at ``address``."""
        if isinstance(address, int):
            return [self.address.eq(address), *self._next(words, RUN)]
        return [self.address.eq(address), *self._next(words, RUN - address[:4])]
