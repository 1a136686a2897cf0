"""Maxima of overlapping windows in raster order: running maxima along a row, a row buffer across rows."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

CODE_BITS = 8


class RasterPool(wiring.Component):
    """Largest code of every window of a map that passes row by row, ``lanes`` channels at a time.

    At most two windows of an axis are open between two positions: ``a``, the next to end, and
    ``b``, the one after it.  A position where a window begins loads the state of the window that ends
    ``ahead`` ends later (0: a, 1: b, 2: the place that b leaves), every other open window takes the maximum;
    at an end, a is the result and b moves up.  Along a row the
    state is a pair of codes per lane and chunk; across rows a pair per lane, chunk
    and column in the row buffer, which sees only the codes of positions where a window of the row ends.

    The caller steps through the chunks of a group of ``px`` pixels, pixels inside: ``valid`` with
    ``chunk``, the flags of the pixel (``walker.slot_layout``) and ``codes``; ``pixel_end`` marks the last pixel
    of a chunk and ``group_end`` the last of the group.  A position that is not ``inside`` counts as 0.
    Without ``enable`` codes pass unchanged.  Latency: 2 cycles.  Positions of one column come
    at least two cycles apart.
    """

    latency = 2

    def __init__(self, *, lanes: int, chunks: int, columns: int):
        self.lanes, self.chunks, self.columns = lanes, chunks, columns
        self.chunk_bits = max(1, (chunks - 1).bit_length())
        flags = {f"{axis}_{what}": In(1) for axis in "xy" for what in ("start", "begin", "end")}
        super().__init__({
            "enable": In(1), "ahead_h": In(2), "ahead_w": In(2),
            "valid": In(1), "chunk": In(self.chunk_bits), "inside": In(1), **flags,
            "pixel_end": In(1), "group_end": In(1),
            "codes": In(data.ArrayLayout(CODE_BITS, lanes)), "o": Out(data.ArrayLayout(CODE_BITS, lanes)),
        })

    def elaborate(self, platform):
        m = Module()
        pair = data.StructLayout({"a": CODE_BITS, "b": CODE_BITS})
        state = data.ArrayLayout(pair, self.lanes)
        m.submodules.row = row = memory.Memory(shape=unsigned(state.size), depth=1 << self.chunk_bits, init=[])
        m.submodules.buffer = buffer = memory.Memory(shape=unsigned(state.size),
                                                     depth=self.columns << self.chunk_bits, init=[])
        row_write, row_read = row.write_port(), row.read_port(domain="comb")
        buffer_write, buffer_read = buffer.write_port(), buffer.read_port()
        rows, columns = data.View(state, row_read.data), data.View(state, buffer_read.data)

        # The column: the same ones again for every chunk of a group.
        column, first, here, after = (Signal(range(self.columns + 1), name=name)
                                      for name in ("column", "first", "here", "after"))
        m.d.comb += [here.eq(Mux(self.x_start, 0, column)), after.eq(here + self.x_end)]
        with m.If(self.valid):
            m.d.sync += column.eq(after)
            with m.If(self.pixel_end & ~self.group_end):
                m.d.sync += column.eq(first)
            with m.If(self.pixel_end & self.group_end):
                m.d.sync += first.eq(after)

        flags = {name: Signal(name=f"{name}_1") for name in ("enable", "y_start", "y_begin", "y_end")}
        write_1, address_1 = Signal(), Signal(len(buffer_read.addr))
        m.d.sync += [register.eq(getattr(self, name)) for name, register in flags.items()]
        m.d.sync += [write_1.eq(self.valid & self.enable & self.x_end), address_1.eq(buffer_read.addr)]
        m.d.comb += [
            row_read.addr.eq(self.chunk), row_write.addr.eq(self.chunk), row_write.en.eq(self.valid & self.enable),
            buffer_read.addr.eq(Cat(self.chunk, here)), buffer_read.en.eq(1),
            buffer_write.addr.eq(address_1), buffer_write.en.eq(write_1),
        ]
        for lane in range(self.lanes):
            x, y = Signal(CODE_BITS, name=f"x_{lane}"), Signal(CODE_BITS, name=f"y_{lane}")
            m.d.comb += x.eq(Mux(self.inside, self.codes[lane], 0))
            top, moved = _step(rows[lane], x, self.x_start, self.x_begin, self.x_end, self.ahead_w)
            m.d.comb += row_write.data[lane * pair.size:(lane + 1) * pair.size].eq(moved)
            m.d.sync += y.eq(Mux(self.enable, top, self.codes[lane]))
            top, moved = _step(columns[lane], y, flags["y_start"], flags["y_begin"], flags["y_end"], self.ahead_h)
            m.d.comb += buffer_write.data[lane * pair.size:(lane + 1) * pair.size].eq(moved)
            m.d.sync += self.o[lane].eq(Mux(flags["enable"], top, y))
        return m


def _step(old, x, start, begin, end, ahead):
    """(result of the window next to end, the state after this position)."""
    def taken(value, own):
        return Mux(start | (begin & own) | (x > value), x, value)

    a, b = taken(old.a, ahead == 0), taken(old.b, ahead == 1)
    return a, Mux(end, Cat(b, x), Cat(a, b))
