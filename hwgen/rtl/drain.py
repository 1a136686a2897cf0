"""The drain: finished tiles through the requantizer lanes, pooling and residual included, to whole words."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..engine import TILES_IN_FLIGHT, Engine
from ..isa import POOL_RASTER
from ..plan.timing import RASTER_LATENCY, SELECT_LATENCY, lane_latency, search_latency
from .bits import delay, select
from .drain_words import gather, residual_codes
from .lanes.copy import copy
from .parameters import Parameters, record_values
from .requantize import RasterPool, ThresholdSearch, make_lane
from .reader import tile_layout
from .sequencer import settings_layout
from .walker import slot_layout

RASTER_FLAGS = ("inside", *(f"{axis}_{what}" for axis in "xy" for what in ("start", "begin", "end")))

COPY_ROWS = 8
"""Rows whose totals are chosen by one copy of the pixel's number: it has one load or two for every bit of a total."""

PLACE_LATENCY = 3
"""Cycles that the second half's counters are ahead of the codes."""


class Drain(wiring.Component):
    """Takes D rows of one pixel per step: chunk of rows outside, pixel inside.

    A chunk is one row for each of the D lanes; its parameters say which row slot each
    lane takes, so any order of rows is possible.  A word of the scratchpad is complete
    after ki/D chunks, or at the end of the tile.

    The caller gives the finished tile's slots and tile word with ``push`` and pulses
    ``go`` two cycles before its totals are readable.  A step lasts ``settings.step``
    cycles: 1, or 2 when the output has two planes, more in threshold mode.

    Two halves run with counters of their own.  The first chooses a pixel of every total, then a row
    for each lane; a step's operands reach the lanes ``SELECT_LATENCY`` cycles after it began.  The
    second finds the word's place while the codes come, and the finished word stands in registers.
    ``write_kept``: a word is written that goes to the scratchpad.
    """

    def __init__(self, *, engine: Engine, simulation: bool = False):
        self.engine = engine
        e = engine
        self.family = "" if simulation else e.family
        slots = data.ArrayLayout(slot_layout(e.point_bits), e.px)
        self._lanes = [make_lane(e) for _ in range(e.drain_lanes)]
        super().__init__({
            "settings": In(settings_layout(e.wrap)), "tile": In(tile_layout()), "active": In(slots), "final": In(1),
            "parity": In(1), "push": In(1), "go": In(1), "idle": Out(1), "params_release": Out(1),
            "totals": In(data.ArrayLayout(e.acc_bits, e.rows * e.px)), "sums": In(data.ArrayLayout(e.acc_bits, e.px)),
            "residual_valid": In(1), "residual": In(data.ArrayLayout(e.word_bits, e.px)),
            "params_write": In(1), "thresholds_write": In(1), "param_chunk": In(8), "param_lane": In(8),
            "param_beat": In(3), "param_parity": In(1), "param_data": In(e.mem_bits), "threshold_data": In(64),
            "write": Out(1), "write_bank": Out(4), "write_address": Out(e.out_bits), "write_data": Out(e.word_bits),
            "write_kept": Out(1), "write_skipped": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        e, s = self.engine, self.settings
        self._pushed = Signal(name="pushed")
        m.d.sync += self._pushed.eq(self.push)
        front, front_tile, front_next = self._queue(m, "front", ("alive", "inside", "first"), ("chunks", "wide"),
                                                    self.go)
        wait = SELECT_LATENCY + lane_latency(e) - PLACE_LATENCY
        go_late = delay(m, self.go, wait, "go", reset_less=False)
        if e.thresholds:
            extra = search_latency()
            # Masked at the entry: the next layer may set the mode while a pulse of this one is still on its way.
            go_later = delay(m, go_late & s.threshold_mode, extra, "go_late", reset_less=False)
            go_post = Mux(s.threshold_mode, go_later, go_late)
        else:
            go_post = go_late
        of_slots = ("out_q", "out_r", "alive", "last") + (RASTER_FLAGS if e.pool_columns else ())
        post, post_tile, post_next = self._queue(m, "post", of_slots, ("chunks", "out_address"), go_post)
        self._front(m, front, front_tile, self._steps(m, "front", self.go, front_next.chunks))
        self._post(m, post, post_tile, self._steps(m, "post", go_post, post_next.chunks), go_post)
        return m

    def _queue(self, m, name, slot_fields, tile_fields, pop):
        """What one half of the drain needs of a tile, kept from ``push`` until its own start."""
        slot = slot_layout(self.engine.point_bits)
        kept = {f: slot[f].shape for f in slot_fields}
        if "out_r" in kept:
            kept["out_r"] = (self.engine.banks - 1).bit_length()
        shape = {f"{f}_{p}": bits for p in range(self.engine.px) for f, bits in kept.items()}
        shape |= {f: self.engine.register_bits.get(f, tile_layout()[f].width) for f in tile_fields}
        shape |= {"final": 1, "parity": 1}
        entry = Signal(data.StructLayout(shape), name=f"{name}_entry", reset_less=True)
        current = Signal(data.StructLayout(shape), name=f"{name}_tile", reset_less=True)
        m.submodules[f"{name}_queue"] = fifo = SyncFIFOBuffered(width=len(entry.as_value()), depth=TILES_IN_FLIGHT)
        # What is pushed comes from the far end of the sequencer, and is not needed for many cycles: a register first.
        m.d.sync += [getattr(entry, f"{f}_{p}").eq(getattr(self.active[p], f))
                     for p in range(self.engine.px) for f in slot_fields]
        m.d.sync += [getattr(entry, f).eq(getattr(self.tile, f)) for f in tile_fields]
        coming = data.View(entry.shape(), fifo.r_data)
        m.d.sync += [entry.final.eq(self.final), entry.parity.eq(self.parity)]
        m.d.comb += [fifo.w_en.eq(self._pushed), fifo.w_data.eq(entry), fifo.r_en.eq(pop)]
        with m.If(pop):
            m.d.sync += current.eq(fifo.r_data)
        return {f: [getattr(current, f"{f}_{p}") for p in range(self.engine.px)] for f in slot_fields}, current, coming

    def _steps(self, m, name, start, chunks):
        """Counters of a half.  Whether the last chunk and the last cycle of a step are reached is known beforehand."""
        step = self.settings.step
        count = self.engine.register_bits["chunks"]
        # All but ``busy`` are set when a tile begins: without a reset, which would stand in their way.
        c = Signal(data.StructLayout({"chunk": count, "pixel": 3, "sub": 5, "left": count, "last": 1, "end_step": 1}),
                   name=f"{name}_at", reset_less=True)
        busy = Signal(name=f"{name}_busy")
        short, before = Signal(name=f"{name}_short"), Signal(5, name=f"{name}_before")
        m.d.sync += [short.eq(step == 0), before.eq(step - 1)]
        end_pixel = c.pixel == self.engine.px - 1
        with m.If(busy):
            m.d.sync += [c.sub.eq(c.sub + 1), c.end_step.eq(c.sub == before)]
            with m.If(c.end_step):
                m.d.sync += [c.sub.eq(0), c.end_step.eq(short), c.pixel.eq(c.pixel + 1)]
                with m.If(end_pixel):
                    m.d.sync += [c.pixel.eq(0), c.chunk.eq(c.chunk + 1), c.left.eq(c.left - 1), c.last.eq(c.left == 2),
                                 busy.eq(~c.last)]
        with m.If(start):
            m.d.sync += [busy.eq(1), c.chunk.eq(0), c.pixel.eq(0), c.sub.eq(0), c.end_step.eq(short),
                         c.left.eq(chunks), c.last.eq(chunks == 1)]
        return c, busy, busy & c.end_step & end_pixel & c.last

    def _front(self, m, slots, tile, steps):
        e, s = self.engine, self.settings
        at, busy, end = steps
        chunk, pixel = at.chunk, at.pixel
        m.d.comb += self.params_release.eq(end & tile.final)
        # Cycle 0 addresses the parameters, cycle 1 chooses the pixel, cycle 2 the row, cycle 3 feeds the lanes.
        begin = delay(m, busy & (at.sub == 0), SELECT_LATENCY, "begin", reset_less=False)
        pixel_1 = delay(m, pixel, 1, "pixel_early")
        pixel_2, wide_2 = delay(m, pixel_1, 1, "pixel_late"), delay(m, tile.wide, 2, "wide")
        chunk_2 = delay(m, chunk, 2, "chunk_early")
        chunk_3, parity_3 = delay(m, chunk_2, 1, "chunk_late"), delay(m, tile.parity, 3, "parity")
        sum_2, sum_3 = (Signal(e.acc_bits, name=name, reset_less=True) for name in ("sum_2", "sum_3"))
        m.d.sync += [sum_2.eq(select([self.sums[p] for p in range(e.px)], pixel_1)), sum_3.eq(sum_2)]
        chosen = []
        for row in range(e.rows):
            if row % COPY_ROWS == 0:
                near = copy(m, pixel, f"pixel_of_{row}", self.family)
            total = Signal(e.acc_bits, name=f"total_{row}", reset_less=True)
            m.d.sync += total.eq(select([self.totals[row * e.px + p] for p in range(e.px)], near))
            chosen.append(total)
        flags = {}
        for name in ("alive", "inside", "first"):
            flag = Signal(name=f"{name}_1")
            m.d.sync += flag.eq(select(slots[name], pixel))
            flags[name] = delay(m, flag, SELECT_LATENCY - 1, name)
        residual = residual_codes(m, self, at, busy, pixel_2, chunk_2) if e.residual else None

        self._codes = []
        m.submodules.params = memories = Parameters(engine=e)
        m.d.comb += [
            *(getattr(memories, name).eq(getattr(self, name)) for name in (
                "params_write", "thresholds_write", "param_chunk", "param_lane", "param_beat", "param_parity")),
            memories.data.eq(self.param_data), memories.piece.eq(self.threshold_data),
            memories.address.eq(Cat(chunk[:e.chunk_bits], tile.parity)),
        ]
        for lane in range(e.drain_lanes):
            params = record_values(memories.records[lane], e)
            raw = Signal(e.acc_bits, name=f"raw_{lane}", reset_less=True)
            offset = Signal(2, name=f"offset_{lane}", reset_less=True)
            early, held = ({name: Signal(value.shape(), name=f"{name}_{lane}_{cycle}", reset_less=True)
                            for name, value in params.items()} for cycle in (2, 3))
            # Multiplier rows are a lane's last.
            first_dsp = e.chunks - e.lane_rows("dsp", lane)
            m.d.sync += [
                *(early[name].eq(value) for name, value in params.items()),
                *(held[name].eq(value) for name, value in early.items()),
                raw.eq(select(chosen[lane::e.drain_lanes], early["slot"])),
                offset.eq(Mux(early["slot"] < first_dsp, 0, Mux(wide_2, 2, 1))),
            ]
            m.submodules[f"requant_{lane}"] = unit = self._lanes[lane]
            valid = begin
            if e.thresholds:
                valid = self._search(m, lane, (raw, sum_3, offset, held["negate"]), begin, unit, memories,
                                     Cat(chunk_3[:e.chunk_bits], parity_3))
            m.d.comb += [
                unit.valid.eq(valid & flags["alive"]), unit.raw.eq(raw), unit.operand_sum.eq(sum_3),
                unit.offset.eq(offset), unit.m.eq(held["m"]), unit.c.eq(held["c"]), unit.shift.eq(held["shift"]),
                *(getattr(unit, name).eq(getattr(s, name)) for name in ("half_even", "zero", "low", "high")),
            ]
            if e.swap:
                m.d.comb += unit.swapped.eq(s.swap)
            if e.wrap:
                m.d.comb += unit.wrap.eq(s.wrap)
            if e.residual:
                m.d.comb += unit.res.eq(residual[lane])
                if e.has_r:
                    m.d.comb += unit.r.eq(held["r"])
            if e.rescale:
                m.d.comb += unit.rescale_on.eq(s.rescale)
                m.d.comb += [getattr(unit, name).eq(getattr(s, name))
                             for name in ("a", "b", "c2", "shift2", "half_even2", "zero2", "low2", "high2")]
            if e.pool:
                m.d.comb += [unit.pool_mode.eq(s.pool_mode), unit.pool_index.eq(chunk_3),
                             unit.pool_first.eq(flags["first"]), unit.pool_inside.eq(flags["inside"]),
                             unit.pool_pad.eq(s.pool_pad)]
            self._codes.append(unit.o)

    def _search(self, m, lane, operand, begin, unit, memories, address):
        """Threshold mode: the code comes from a search, and the operand becomes valid when it is found."""
        e = self.engine
        raw, total, offset, negate = operand
        bits, pair = e.acc_bits + 1, memories.thresholds[lane]
        m.submodules[f"search_{lane}"] = search = ThresholdSearch(acc_bits=e.acc_bits)
        acc, start, odd = Signal(signed(bits), name=f"acc_{lane}"), Signal(name=f"start_{lane}"), Signal()
        threshold = Signal(signed(bits), name=f"threshold_{lane}", reset_less=True)
        m.d.sync += [
            acc.eq(raw - Mux(offset == 0, 0, Mux(offset == 1, total << 3, total << 7))),
            start.eq(begin & self.settings.threshold_mode), odd.eq(search.address[0]),
            threshold.eq(Mux(odd, pair.odd, pair.even)),
        ]
        m.d.comb += [
            memories.threshold_address[lane].eq(Cat(search.address[1:], address)),
            search.start.eq(start), search.acc.eq(acc), search.negate.eq(negate), search.low.eq(self.settings.low),
            search.threshold.eq(threshold),
            unit.override.eq(self.settings.threshold_mode), unit.override_code.eq(search.code),
        ]
        return Mux(self.settings.threshold_mode, search.done, begin)

    def _post(self, m, slots, tile, steps, start):
        e, s = self.engine, self.settings
        at, busy, end = steps
        chunk, pixel, sub, first = at.chunk, at.pixel, at.sub, at.sub == 0
        per_word = e.ki // e.drain_lanes
        piece = chunk[:per_word.bit_length() - 1]
        complete = (piece == per_word - 1) | at.last if per_word > 1 else Const(1)
        second = (sub == 1) & s.out_two_planes
        moment = busy & complete & (first | second)

        def behind(value, name, cycles=PLACE_LATENCY, reset_less=True):
            return delay(m, value, cycles, name, reset_less=reset_less)

        codes = self._raster(m, slots, at, busy) if e.pool_columns else self._codes

        # The place of the word: what counts on with the words, and what the pixel adds.
        offset, planes, base, pixel_place, place, second_plane, address = (
            Signal(e.out_bits, name=name, reset_less=True)
            for name in ("offset", "planes", "base", "pixel_place", "place", "second_plane", "address"))
        bank, keep = Signal(4, reset_less=True), Signal(reset_less=True)
        m.d.sync += [
            planes.eq(Mux(s.out_two_planes, s.out_step << 1, s.out_step)),
            base.eq(tile.out_address + offset),
            pixel_place.eq(select([q.as_unsigned() for q in slots["out_q"]], pixel)),
            second_plane.eq(Mux(second, s.out_step, 0)), place.eq(pixel_place + second_plane),
            address.eq(delay(m, base, 1, "base_of_place") + place), bank.eq(select(slots["out_r"], pixel)),
            keep.eq(select([slots["alive"][p] & slots["last"][p] for p in range(e.px)], pixel)),
        ]
        with m.If(start):
            m.d.sync += offset.eq(0)
        with m.Elif(busy & complete & at.end_step & (pixel == e.px - 1)):
            m.d.sync += offset.eq(offset + planes)

        # Whether there are none in flight is known with their number, because much waits for it.
        none, ended = Signal(init=1), behind(end, "end", PLACE_LATENCY + 1, reset_less=False)
        in_flight, moment_1 = Signal(range(2 * TILES_IN_FLIGHT)), behind(moment, "moment", 1, reset_less=False)
        write_soon = behind(moment_1 & keep, "write", PLACE_LATENCY - 1, reset_less=False)
        write = behind(write_soon, "written", 1, reset_less=False)
        m.d.sync += [self.write_kept.eq(write_soon & s.keep), in_flight.eq(in_flight + self._pushed - ended),
                     none.eq(Mux(self._pushed == ended, in_flight == 0, (in_flight == 1) & ended))]
        m.d.comb += [
            self.idle.eq(none & ~self._pushed),
            self.write.eq(write),
            self.write_skipped.eq(behind(moment_1 & ~keep, "skipped", reset_less=False)),
            self.write_bank.eq(behind(bank, "bank")),
            self.write_address.eq(behind(address, "address", PLACE_LATENCY - 2)),
        ]
        gather(m, self, codes, behind(busy & first, "gather"), behind(piece, "piece"), behind(pixel, "pixel"),
               behind(first, "first"))

    def _raster(self, m, slots, at, busy):
        """Overlapping maxima: codes of the windows that end."""
        e, s = self.engine, self.settings
        m.submodules.raster = unit = RasterPool(lanes=e.drain_lanes, chunks=e.tile_chunks, columns=e.pool_columns)
        pixel_end = at.pixel == e.px - 1

        def then(value, name):
            return delay(m, value, PLACE_LATENCY - RASTER_LATENCY, f"raster_{name}")

        m.d.comb += [
            unit.enable.eq(s.pool_mode == POOL_RASTER), unit.ahead_h.eq(s.ahead_h), unit.ahead_w.eq(s.ahead_w),
            unit.valid.eq(then(busy & (at.sub == 0), "valid")), unit.chunk.eq(then(at.chunk, "chunk")),
            unit.pixel_end.eq(then(pixel_end, "pixel_end")), unit.group_end.eq(then(pixel_end & at.last, "group_end")),
            *(getattr(unit, name).eq(then(select(slots[name], at.pixel), name)) for name in RASTER_FLAGS),
            *(unit.codes[lane].eq(code) for lane, code in enumerate(self._codes)),
        ]
        return [unit.o[lane] for lane in range(e.drain_lanes)]
