"""The drain: finished tiles through the requantizer lanes, pooling and residual included, to whole words."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..engine import TILES_IN_FLIGHT, Engine
from .bits import delay, select
from .requantize import RequantLane, ThresholdSearch
from .sequencer import settings_layout, tile_layout
from .walker import slot_layout


class Drain(wiring.Component):
    """Takes D rows of one pixel per step: chunk of rows outside, pixel inside.

    A chunk is one row for each of the D lanes; its parameters say which row slot each
    lane takes, so any order of rows is possible.  A word of the scratchpad is complete
    after ki/D chunks, or at the end of the tile.

    The caller gives the finished tile's slots and tile word with ``push`` and pulses
    ``go`` two cycles before its totals are readable.  A step lasts ``settings.step``
    cycles: 1, or 2 when the output has two planes, more in threshold mode.
    """

    def __init__(self, *, engine: Engine):
        self.engine = engine
        e = engine
        slots = data.ArrayLayout(slot_layout(e.point_bits), e.px)
        self._lanes = [self._make_lane() for _ in range(e.drain_lanes)]
        super().__init__({
            "settings": In(settings_layout()), "tile": In(tile_layout()), "active": In(slots), "final": In(1),
            "parity": In(1), "push": In(1), "go": In(1), "idle": Out(1), "params_release": Out(1),
            "totals": In(data.ArrayLayout(e.acc_bits, e.rows * e.px)), "sums": In(data.ArrayLayout(e.acc_bits, e.px)),
            "residual_valid": In(1), "residual": In(data.ArrayLayout(e.word_bits, e.px)),
            "params_write": In(1), "thresholds_write": In(1), "param_chunk": In(8), "param_lane": In(8),
            "param_beat": In(3), "param_parity": In(1), "param_data": In(e.mem_bits),
            "write": Out(1), "write_bank": Out(4), "write_address": Out(16), "write_data": Out(e.word_bits),
            "write_skipped": Out(1),
        })

    def _make_lane(self):
        e = self.engine
        return RequantLane(acc_bits=e.acc_bits, sum_bits=e.acc_bits, m_bits=e.m_bits, c_bits=e.c_bits,
                           residual=e.residual, rescale=e.rescale, pool=e.pool, thresholds=e.thresholds,
                           pool_depth=e.tile_chunks)

    def elaborate(self, platform):
        m = Module()
        e, s = self.engine, self.settings
        front, front_tile = self._queue(m, "front", ("alive", "inside", "first"), ("chunks", "wide"), self.go)
        wait = 2 + self._lanes[0].latency
        go_late = delay(m, self.go, wait, "go", reset_less=False)
        if e.thresholds:
            extra = ThresholdSearch.latency + 1
            # Masked at the entry: the next layer may set the mode while a pulse of this one is still on its way.
            go_later = delay(m, go_late & s.threshold_mode, extra, "go_late", reset_less=False)
            go_post = Mux(s.threshold_mode, go_later, go_late)
        else:
            go_post = go_late
        post, post_tile = self._queue(m, "post", ("out_q", "out_r", "alive", "last"),
                                      ("chunks", "out_address"), go_post)
        self._front(m, front, front_tile)
        self._post(m, post, post_tile, go_post)
        return m

    def _queue(self, m, name, slot_fields, tile_fields, pop):
        """What one half of the drain needs of a tile, kept from ``push`` until its own start."""
        slot = slot_layout(self.engine.point_bits)
        shape = {f"{f}_{p}": slot[f].shape for p in range(self.engine.px) for f in slot_fields}
        shape |= {f: tile_layout()[f].shape for f in tile_fields} | {"final": 1, "parity": 1}
        entry = Signal(data.StructLayout(shape), name=f"{name}_entry")
        current = Signal(data.StructLayout(shape), name=f"{name}_tile")
        m.submodules[f"{name}_queue"] = fifo = SyncFIFOBuffered(width=len(entry.as_value()), depth=TILES_IN_FLIGHT)
        m.d.comb += [getattr(entry, f"{f}_{p}").eq(getattr(self.active[p], f))
                     for p in range(self.engine.px) for f in slot_fields]
        m.d.comb += [getattr(entry, f).eq(getattr(self.tile, f)) for f in tile_fields]
        m.d.comb += [entry.final.eq(self.final), entry.parity.eq(self.parity), fifo.w_en.eq(self.push),
                     fifo.w_data.eq(entry), fifo.r_en.eq(pop)]
        with m.If(pop):
            m.d.sync += current.eq(fifo.r_data)
        return {f: [getattr(current, f"{f}_{p}") for p in range(self.engine.px)] for f in slot_fields}, current

    def _steps(self, m, name, start, chunks):
        """Counters of a half: chunk, pixel, and the cycle inside the step."""
        busy, chunk, pixel, sub = (Signal(n, name=f"{name}_{label}")
                                   for n, label in ((1, "busy"), (8, "chunk"), (3, "pixel"), (5, "sub")))
        end_step = sub == self.settings.step
        end_pixel = pixel == self.engine.px - 1
        end = busy & end_step & end_pixel & (chunk == chunks - 1)
        with m.If(busy):
            m.d.sync += sub.eq(sub + 1)
            with m.If(end_step):
                m.d.sync += [sub.eq(0), pixel.eq(pixel + 1)]
                with m.If(end_pixel):
                    m.d.sync += [pixel.eq(0), chunk.eq(chunk + 1)]
        with m.If(end):
            m.d.sync += busy.eq(0)
        with m.If(start):
            m.d.sync += [busy.eq(1), chunk.eq(0), pixel.eq(0), sub.eq(0)]
        return busy, chunk, pixel, sub, end

    def _front(self, m, slots, tile):
        e, s = self.engine, self.settings
        busy, chunk, pixel, sub, end = self._steps(m, "front", self.go, tile.chunks)
        m.d.comb += self.params_release.eq(end & tile.final)
        # Cycle 0 addresses the parameters, cycle 1 selects the operands, cycle 2 feeds the lanes.
        begin_1, begin_2 = Signal(), Signal()
        pixel_1, chunk_1, chunk_2, offset_1 = Signal(3), Signal(8), Signal(8), Signal(2)
        sum_2 = Signal(e.acc_bits)
        m.d.sync += [
            begin_1.eq(busy & (sub == 0)), begin_2.eq(begin_1), pixel_1.eq(pixel), chunk_1.eq(chunk),
            chunk_2.eq(chunk_1), offset_1.eq(Mux(tile.wide, 2, 1)),
            sum_2.eq(select([self.sums[p] for p in range(e.px)], pixel_1)),
        ]
        flags = {}
        for name in ("alive", "inside", "first"):
            first, flags[name] = Signal(name=f"{name}_1"), Signal(name=f"{name}_2")
            m.d.sync += [first.eq(select(slots[name], pixel)), flags[name].eq(first)]
        residual = self._residual(m, chunk, pixel_1, chunk_1, end) if e.residual else None

        self._codes = []
        for lane in range(e.drain_lanes):
            params = self._params(m, lane, chunk, tile.parity)
            rows = [k * e.drain_lanes + lane for k in range(e.chunks)]
            columns = [select([self.totals[row * e.px + p] for row in rows], params["slot"]) for p in range(e.px)]
            raw, offset = Signal(e.acc_bits, name=f"raw_{lane}"), Signal(2, name=f"offset_{lane}")
            held = {name: Signal(value.shape(), name=f"{name}_{lane}") for name, value in params.items()}
            m.d.sync += [raw.eq(select(columns, pixel_1)), *(held[name].eq(value) for name, value in params.items()),
                         offset.eq(Mux(params["slot"] < e.sp2_rows // e.drain_lanes, 0, offset_1))]
            m.submodules[f"requant_{lane}"] = unit = self._lanes[lane]
            valid = begin_2
            if e.thresholds:
                valid = self._search(m, lane, (raw, sum_2, offset, held["negate"]), begin_2, unit,
                                     Cat(chunk_2[:e.chunk_bits], tile.parity))
            m.d.comb += [
                unit.valid.eq(valid & flags["alive"]), unit.raw.eq(raw), unit.operand_sum.eq(sum_2),
                unit.offset.eq(offset), unit.m.eq(held["m"]), unit.c.eq(held["c"]), unit.shift.eq(held["shift"]),
                *(getattr(unit, name).eq(getattr(s, name)) for name in ("half_even", "zero", "low", "high")),
            ]
            if e.residual:
                m.d.comb += [unit.r.eq(held["r"]), unit.res.eq(residual[lane])]
            if e.rescale:
                m.d.comb += unit.rescale_on.eq(s.rescale)
                m.d.comb += [getattr(unit, name).eq(getattr(s, name))
                             for name in ("a", "b", "c2", "shift2", "half_even2", "zero2", "low2", "high2")]
            if e.pool:
                m.d.comb += [unit.pool_mode.eq(s.pool_mode), unit.pool_index.eq(chunk_2),
                             unit.pool_first.eq(flags["first"]), unit.pool_inside.eq(flags["inside"]),
                             unit.pool_pad.eq(s.pool_pad)]
            self._codes.append(unit.o)

    def _params(self, m, lane, chunk, parity):
        """Parameter memories of a lane: two buffers of one record per chunk, written beat by beat."""
        e = self.engine
        layouts = [{"m": signed(e.m_bits), "spare": 32 - e.m_bits, "shift": 5, "spare1": 3, "slot": 8, "negate": 1},
                   {"c": signed(e.c_bits)}]
        if e.residual:
            layouts.append({"r": signed(e.m_bits)})
        values = {}
        for beat, layout in enumerate(layouts):
            layout = data.StructLayout({k: v for k, v in layout.items() if v != 0})
            m.submodules[f"params_{lane}_{beat}"] = memory = Memory(
                shape=layout.size, depth=2 << e.chunk_bits, init=[])
            reader, writer = memory.read_port(), memory.write_port()
            m.d.comb += [
                reader.addr.eq(Cat(chunk[:e.chunk_bits], parity)), reader.en.eq(1),
                writer.addr.eq(Cat(self.param_chunk[:e.chunk_bits], self.param_parity)),
                writer.data.eq(self.param_data),
                writer.en.eq(self.params_write & (self.param_lane == lane) & (self.param_beat == beat)),
            ]
            view = data.View(layout, reader.data)
            values |= {name: Value.cast(view[name]) for name in layout.members if not name.startswith("spare")}
        bits = max(1, (e.chunks - 1).bit_length())
        values["slot"] = values["slot"][:bits]
        if not e.thresholds:
            del values["negate"]
        return values

    def _search(self, m, lane, operand, begin, unit, address):
        """Threshold mode: the code comes from a search, and the operand becomes valid when it is found."""
        e = self.engine
        raw, total, offset, negate = operand
        bits = e.acc_bits + 1
        m.submodules[f"thresholds_{lane}"] = memory = Memory(shape=2 * bits, depth=16 << e.chunk_bits, init=[])
        reader, writer = memory.read_port(), memory.write_port()
        m.submodules[f"search_{lane}"] = search = ThresholdSearch(acc_bits=e.acc_bits)
        acc, start, odd = Signal(signed(bits), name=f"acc_{lane}"), Signal(name=f"start_{lane}"), Signal()
        m.d.sync += [
            acc.eq(raw - Mux(offset == 0, 0, Mux(offset == 1, total << 3, total << 7))),
            start.eq(begin & self.settings.threshold_mode), odd.eq(search.address[0]),
        ]
        m.d.comb += [
            writer.addr.eq(Cat(self.param_beat, self.param_chunk[:e.chunk_bits], self.param_parity)),
            writer.data.eq(Cat(self.param_data[:bits], self.param_data[32:32 + bits])),
            writer.en.eq(self.thresholds_write & (self.param_lane == lane)),
            reader.addr.eq(Cat(search.address[1:], address)), reader.en.eq(1),
            search.start.eq(start), search.acc.eq(acc), search.negate.eq(negate), search.low.eq(self.settings.low),
            search.threshold.eq(Mux(odd, reader.data[bits:], reader.data[:bits]).as_signed()),
            unit.override.eq(self.settings.threshold_mode), unit.override_code.eq(search.code),
        ]
        return Mux(self.settings.threshold_mode, search.done, begin)

    def _residual(self, m, chunk, pixel_1, chunk_1, end):
        """The residual's words between reader and lanes; per lane the code of the current row and pixel."""
        e, s = self.engine, self.settings
        per_word = e.ki // e.drain_lanes
        piece = per_word.bit_length() - 1
        depth = e.residual_depth
        width, bits = e.px * e.word_bits, depth.bit_length() - 1
        written, read, low = Signal(bits), Signal(bits), Signal()
        is_low = low | ~s.res_two_planes
        with m.If(self.residual_valid):
            m.d.sync += low.eq(~is_low)
            with m.If(is_low):
                m.d.sync += written.eq(written + 1)
        with m.If(end & s.res_on):
            m.d.sync += read.eq(read + (chunk >> piece) + 1)
        words = []
        for name, enable in (("high", self.residual_valid & ~is_low), ("low", self.residual_valid & is_low)):
            m.submodules[f"residual_{name}"] = memory = Memory(shape=width, depth=depth, init=[])
            reader, writer = memory.read_port(), memory.write_port()
            m.d.comb += [writer.addr.eq(written), writer.data.eq(self.residual), writer.en.eq(enable),
                         reader.addr.eq(read + (chunk >> piece)), reader.en.eq(1)]
            words.append(select([reader.data[p * e.word_bits:(p + 1) * e.word_bits] for p in range(e.px)], pixel_1))
        codes = []
        for lane in range(e.drain_lanes):
            nibbles = [select([word[4 * (i * e.drain_lanes + lane):][:4] for i in range(per_word)], chunk_1)
                       if per_word > 1 else word[4 * lane:4 * lane + 4] for word in words]
            code = Signal(8, name=f"residual_{lane}")
            m.d.sync += code.eq(Cat(nibbles[1], Mux(s.res_two_planes, nibbles[0], 0)))
            codes.append(code)
        return codes

    def _post(self, m, slots, tile, start):
        e, s = self.engine, self.settings
        busy, chunk, pixel, sub, end = self._steps(m, "post", start, tile.chunks)
        in_flight = Signal(range(2 * TILES_IN_FLIGHT))
        m.d.sync += in_flight.eq(in_flight + self.push - end)
        m.d.comb += self.idle.eq(in_flight == 0)

        # Codes of a pixel gather until a word of ki channels is complete.
        per_word = e.ki // e.drain_lanes
        piece = chunk[:per_word.bit_length() - 1]
        gathered = [[Signal(e.word_bits, name=f"word_{plane}_{p}") for p in range(e.px)] for plane in ("high", "low")]
        merged = []
        for plane, shift in ((0, 4), (1, 0)):
            codes = Cat(code[shift:shift + 4] for code in self._codes)
            old = select(gathered[plane], pixel)
            size = len(codes)
            merged.append(Cat(Mux(piece == i, codes, old[i * size:(i + 1) * size]) if per_word > 1 else codes
                              for i in range(per_word)))
            for p in range(e.px):
                with m.If(busy & (sub == 0) & (pixel == p)):
                    m.d.sync += gathered[plane][p].eq(merged[plane])
        complete = (piece == per_word - 1) | (chunk == tile.chunks - 1) if per_word > 1 else Const(1)
        moment = busy & complete & ((sub == 0) | ((sub == 1) & s.out_two_planes))
        keep = select([slots["alive"][p] & slots["last"][p] for p in range(e.px)], pixel)
        offset = Signal(16)
        with m.If(start):
            m.d.sync += offset.eq(0)
        with m.Elif(busy & complete & (sub == s.step) & (pixel == e.px - 1)):
            m.d.sync += offset.eq(offset + Mux(s.out_two_planes, s.out_step << 1, s.out_step))
        second = Mux((sub == 1) & s.out_two_planes, s.out_step, 0)
        word = Mux(s.out_two_planes, Mux(sub == 0, merged[0], select(gathered[1], pixel)), merged[1])
        m.d.comb += [
            self.write.eq(moment & keep), self.write_skipped.eq(moment & ~keep), self.write_data.eq(word),
            self.write_bank.eq(select(slots["out_r"], pixel)),
            self.write_address.eq((tile.out_address + offset + second + select(slots["out_q"], pixel))[:e.point_bits]),
        ]
