"""Sources of read requests that share the memory port."""

from amaranth.hdl import Cat, Mux, Signal

from ..isa import RUN


class Source:
    """Registers of one source: the next request and what is left behind it.

    A request is for ``run`` words at most and does not cross a multiple of ``run``, a power of two;
    it is made once ``depth`` words less those on their way or not yet taken leave room for ``run``.
    What decides about a request (is there one, is there room, is it the last) is known a cycle before.
    """

    def __init__(self, m, name: str, depth: int, address_bits: int, run: int = RUN):
        self.run = run
        self.address = Signal(address_bits, name=f"{name}_address")
        self.left = Signal(min(24, address_bits), name=f"{name}_left")
        """Words behind the next request."""
        self.count = Signal(range(run + 1), name=f"{name}_count")
        self.final = Signal(name=f"{name}_final", init=1)
        """Nothing is left behind it."""
        self._some, roomy = Signal(name=f"{name}_some"), Signal(name=f"{name}_roomy", init=1)
        room = Signal(range(depth + 1), name=f"{name}_room", init=depth)
        self.go, self.ready, self.sent, self.taken = (Signal(name=f"{name}_{what}")
                                                      for what in ("go", "ready", "sent", "taken"))
        m.d.comb += self.ready.eq(self.go & self._some & roomy)
        m.d.sync += [
            room.eq(room - Mux(self.sent, self.count, 0) + self.taken),
            roomy.eq(Mux(self.sent, Mux(self.taken, room + 1 >= self.count + run, room >= self.count + run),
                         Mux(self.taken, room >= run - 1, room >= run))),
        ]
        with m.If(self.sent):
            m.d.sync += [self.address.eq(self.address + self.count), *self._next(self.left, run)]

    def _next(self, words, most):
        few = words < most
        return [self.count.eq(Mux(few, words, most)), self.left.eq(Mux(few, 0, words - most)),
                self._some.eq(words != 0), self.final.eq(words <= most)]

    def load(self, address, words):
        """Assignments that begin a new run of ``words`` at ``address``."""
        inside = 0 if isinstance(address, int) else address[:self.run.bit_length() - 1]
        return [self.address.eq(address), *self._next(words, self.run - inside)]


def share_port(m, unit, stream: Source, map_: Source, arrived: Signal, most: int) -> None:
    """Let two sources of ``unit`` share its port, the map first.

    ``arrived``: per port of memory, whether a part of a word came; ``most`` words can be on their way in all.
    """
    sent = unit.request_valid & unit.request_ready & unit.enable
    m.d.comb += [
        unit.request_valid.eq(unit.enable & (stream.ready | map_.ready)), unit.request_tag.eq(map_.ready),
        unit.request_address.eq(Mux(map_.ready, map_.address, stream.address)),
        unit.request_count.eq(Mux(map_.ready, map_.count, stream.count)),
        map_.sent.eq(sent & map_.ready), stream.sent.eq(sent & ~map_.ready),
        stream.taken.eq(unit.stream_take), map_.taken.eq(unit.map_take),
    ]
    outstanding = [Signal(range(most + 1), name=f"outstanding_{p}") for p in range(unit.engine.ports)]
    for port, count in enumerate(outstanding):
        m.d.sync += count.eq(count + Mux(sent, unit.request_count, 0) - arrived[port])
    m.d.comb += unit.quiet.eq(~Cat(count.any() for count in outstanding).any())
