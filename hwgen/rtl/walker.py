"""Where the pixels of a layer lie: origins of the windows, in the order in which they are computed."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..isa import _MOVE, _STEP
from ..plan.timing import WALKER_LATENCY
from .bits import MixedStep, fields, radix_bits, register

POINT_BITS = 14
"""Quotient bits of a point; enough for 2**13 words per bank and for windows that begin before the map."""
RADIX_BITS = 4
PLACE_BITS = 13
POOL_COLUMN, POOL_ROW, COLUMN, ROW, ORIGIN = range(5)
"""Kinds of steps: next place in a pooling window's row, its next row, next pixel, next row of pixels, the beginning."""
POINTS = ("in_q", "in_r", "res_q", "res_r", "out_q", "out_r", "ix", "iy")


def slot_layout(point_bits: int = POINT_BITS) -> data.StructLayout:
    """One pixel slot: what the reader and the drain need to know about it.

    ``first`` marks the first evaluation of a window and ``last`` the one that gives the
    output.  Raster order, per axis: ``start`` is the first position of all, windows
    begin at ``begin`` and end at ``end``.

    Quotients are kept modulo 2**point_bits: a bank's address needs no more, since every
    word that is really read or written lies inside it.
    """
    return data.StructLayout({
        "in_q": signed(point_bits), "in_r": unsigned(RADIX_BITS),
        "res_q": signed(point_bits), "res_r": unsigned(RADIX_BITS),
        "out_q": signed(point_bits), "out_r": unsigned(RADIX_BITS),
        "ix": signed(PLACE_BITS), "iy": signed(PLACE_BITS),
        "alive": 1, "inside": 1, "first": 1, "last": 1,
        **{f"{axis}_{what}": 1 for axis in "xy" for what in ("start", "begin", "end")},
    })


class Walker(wiring.Component):
    """Walks over the evaluations of a layer and hands them out in groups of ``px`` slots.

    An evaluation is one position of one pooling window: pooled pixels in raster order,
    and inside each the positions of its window.  Without pooling the window is 1x1.
    With ``raster`` the map before pooling is walked row by row: windows are then as large as
    their strides, the first ``lead`` rows and columns of them give no output, and the
    first ones of all begin at ``start``.
    After the last evaluation the group is filled with dead slots and the walk begins
    again, so that the next row tile of the same layer finds its first group ready.

    A pipeline of one evaluation per cycle that stands still while a complete group waits: counters, event,
    constants of the event, points, slot.  The first group is there ``LATENCY + px`` cycles after ``restart``,
    every other one ``px + 1`` cycles after the one before was taken.  With ``ahead`` a complete group moves to
    registers of its own, a cycle later, and the next one is begun while it waits: groups can be taken every ``px``
    cycles.

    Ports: ``config_*`` write the layer's constants, ``restart`` begins a walk, ``slots``
    with ``valid`` is a complete group (``final`` marks the last one of a walk) and
    ``take`` accepts it.  Constants are stable from two cycles before ``restart`` on.
    """

    LATENCY = WALKER_LATENCY

    def __init__(self, *, px: int, banks: int, point_bits: int = POINT_BITS, size_bits: int = PLACE_BITS - 1,
                 raster: bool = True, ahead: bool = False):
        self.px, self.banks, self.can_raster, self.size_bits, self.ahead = px, banks, raster, size_bits, ahead
        self._slot = slot = slot_layout(point_bits)
        self._flags = data.StructLayout({name: 1 for name, _ in slot if name not in POINTS + ("inside",)})
        super().__init__({
            "step_write": In(1), "move_write": In(1), "config_index": In(3), "config_data": In(64),
            "pool_h": In(6), "pool_w": In(6), "out_h": In(12), "out_w": In(12), "conv_h": In(12), "conv_w": In(12),
            "raster": In(1), "begin_h": In(6), "begin_w": In(6), "lead_h": In(2), "lead_w": In(2),
            "start_h": In(6), "start_w": In(6),
            "restart": In(1),
            "slots": Out(data.ArrayLayout(slot, px)), "valid": Out(1), "final": Out(1), "take": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        full, taken, run = Signal(), Signal(), Signal()
        if self.ahead:
            # The group moves on when its place was empty: nothing here hangs on ``take`` itself.
            m.d.comb += [taken.eq(full & ~self.valid), run.eq(~full | taken)]
        else:
            m.d.sync += taken.eq(self.take)
            # The group is left alone for one more cycle after it was taken.
            m.d.comb += [run.eq(~full | taken), self.valid.eq(full & ~taken)]

        event, flags, group_end, final = self._positions(m, run)
        travelling = Cat(flags, group_end, final)
        late, valid = travelling, Const(1)
        for stage in range(3):
            kept, there = Signal(len(late), name=f"flags_{stage + 1}"), Signal(name=f"valid_{stage + 1}")
            with m.If(run):
                m.d.sync += [kept.eq(late), there.eq(valid)]
            with m.If(self.restart):
                m.d.sync += there.eq(0)
            late, valid = kept, there
        state = self._points(m, run, event)

        # The group under construction is a shift register; slot 0 enters first.
        group, current = Signal(data.ArrayLayout(self._slot, self.px), reset_less=True), Signal(self._slot)
        last_group = Signal()
        place_x, place_y = state["cx"].as_unsigned(), state["cy"].as_unsigned()
        passed = data.View(self._flags, late[:self._flags.size])
        m.d.comb += [
            *(getattr(current, name).eq(state[name]) for name in POINTS),
            *(getattr(current, name).eq(getattr(passed, name)) for name, _ in self._flags),
            current.inside.eq((place_x < self.conv_w) & (place_y < self.conv_h)),
        ]
        if self.ahead:
            slots = register(m, self.slots, "ready")
            with m.If(taken):
                m.d.sync += [slots.eq(group), self.final.eq(last_group), self.valid.eq(1)]
            with m.If(self.take | self.restart):
                m.d.sync += self.valid.eq(0)
        else:
            m.d.comb += [self.slots.eq(group), self.final.eq(last_group)]
        with m.If(run & valid):
            m.d.sync += [group.eq(Cat(group.as_value()[len(current.as_value()):], current.as_value())),
                         last_group.eq(late[-1])]
        with m.If(run):
            m.d.sync += full.eq(valid & late[-2])
        with m.If(self.restart):
            m.d.sync += full.eq(0)
        return m

    def _positions(self, m, run):
        """The counters: event that leads to the current evaluation, its flags, ends of group and walk.

        Whether a counter is at its end is known beforehand, one comparison per step.
        """
        raster = self.raster if self.can_raster else Const(0)
        start_h, start_w = (Mux(raster, start, 0) if self.can_raster else Const(0, 6)
                            for start in (self.start_h, self.start_w))
        pj, pi, count = Signal(6), Signal(6), Signal(range(max(2, self.px)))
        left_x, left_y = Signal(self.size_bits), Signal(self.size_bits)
        end_pj, end_pi, end_ox, end_oy = (Signal(name=f"end_{name}") for name in ("pj", "pi", "ox", "oy"))
        # Of the output's column and row only the first few are told apart.
        near_x, near_y = Signal(2), Signal(2)
        dead, origin, event, reached = Signal(), Signal(), Signal(3), Signal(3, init=ORIGIN)

        # What depends on the layer alone, in registers.
        before_w, before_h = Signal(6), Signal(6)
        one_pj, one_pi, one_ox, one_oy, left_pj, top_pi = (
            Signal(name=name) for name in ("one_pj", "one_pi", "one_ox", "one_oy", "left_pj", "top_pi"))
        m.d.sync += [
            before_w.eq(self.pool_w - 1), before_h.eq(self.pool_h - 1),
            one_pj.eq(self.pool_w == 0), one_pi.eq(self.pool_h == 0), one_ox.eq(self.out_w == 0),
            one_oy.eq(self.out_h == 0), left_pj.eq(start_w == self.pool_w), top_pi.eq(start_h == self.pool_h),
        ]

        group_end, finished = count == self.px - 1, end_pj & end_pi & end_ox & end_oy
        m.d.comb += origin.eq((finished | dead) & group_end)
        with m.If(~end_pj):
            m.d.comb += event.eq(POOL_COLUMN)
        with m.Elif(raster & ~end_ox):
            m.d.comb += event.eq(COLUMN)
        with m.Elif(~end_pi):
            m.d.comb += event.eq(POOL_ROW)
        with m.Elif(~end_ox):
            m.d.comb += event.eq(COLUMN)
        with m.Else():
            m.d.comb += event.eq(ROW)

        first_row = [left_y.eq(self.out_h), end_oy.eq(one_oy), near_y.eq(0)]
        first_column = [left_x.eq(self.out_w), end_ox.eq(one_ox), near_x.eq(0)]
        first_place = [pj.eq(start_w), end_pj.eq(left_pj)]
        begin = [*first_row, *first_column, *first_place, pi.eq(start_h), end_pi.eq(top_pi), dead.eq(0),
                 reached.eq(ORIGIN)]
        with m.If(run):
            m.d.sync += [count.eq(Mux(group_end, 0, count + 1)), reached.eq(event)]
            with m.If(origin):
                m.d.sync += begin
            with m.Elif(finished | dead):
                m.d.sync += dead.eq(1)
            with m.Else():
                with m.Switch(event):
                    with m.Case(POOL_COLUMN):
                        m.d.sync += [pj.eq(pj + 1), end_pj.eq(pj == before_w)]
                    with m.Case(POOL_ROW):
                        m.d.sync += [*first_place, pi.eq(pi + 1), end_pi.eq(pi == before_h)]
                        with m.If(raster):
                            m.d.sync += first_column
                    with m.Case(COLUMN):
                        m.d.sync += [pj.eq(0), end_pj.eq(one_pj), left_x.eq(left_x - 1), end_ox.eq(left_x == 1),
                                     near_x.eq(_count_on(near_x))]
                        with m.If(~raster):
                            m.d.sync += [pi.eq(0), end_pi.eq(one_pi)]
                    with m.Default():
                        m.d.sync += [*first_place, pi.eq(0), end_pi.eq(one_pi), *first_column,
                                     left_y.eq(left_y - 1), end_oy.eq(left_y == 1), near_y.eq(_count_on(near_y))]
        with m.If(self.restart):
            m.d.sync += [*begin, count.eq(0)]

        flags = Signal(self._flags)
        m.d.comb += [
            flags.alive.eq(~dead), flags.first.eq((pj == 0) & (pi == 0)),
            flags.last.eq(end_pj & end_pi & (~raster | (near_x >= self.lead_w) & (near_y >= self.lead_h))),
        ]
        if self.can_raster:
            m.d.comb += [
                flags.x_start.eq((pj == self.start_w) & (near_x == 0)),
                flags.y_start.eq((pi == self.start_h) & (near_y == 0)),
                flags.x_begin.eq(pj == self.begin_w), flags.y_begin.eq(pi == self.begin_h),
                flags.x_end.eq(end_pj), flags.y_end.eq(end_pi),
            ]
        return reached, flags.as_value(), group_end, finished | dead

    def _points(self, m, run, event):
        """Points and places of the evaluation, three cycles after the ``event`` that leads to it."""
        event_1, origin = Signal(3), Signal()
        step = self._table(m, "steps", _STEP, self.step_write, event_1)
        move = self._table(m, "moves", _MOVE, self.move_write, event_1)
        with m.If(run):
            m.d.sync += [event_1.eq(event), origin.eq(event_1 == ORIGIN)]

        state = {}
        for name in ("in", "res", "out"):
            q, r = (Signal(self._slot[f"{name}_{what}"].shape, name=f"{name}_{what}", reset_less=True) for what in "qr")
            delta = MixedStep(m, len(q), self.banks, name)
            next_q, next_r = delta.add(q, r)
            with m.If(run):
                m.d.sync += delta.load(step[f"{name}_q"], step[f"{name}_r"])
                m.d.sync += [q.eq(Mux(origin, delta.q, next_q)), r.eq(Mux(origin, delta.r, next_r))]
            state |= {f"{name}_q": q, f"{name}_r": r}
        for name in ("ix", "iy", "cx", "cy"):
            place, delta = (Signal(signed(self.size_bits + 1), name=n, reset_less=True) for n in (name, f"{name}_step"))
            with m.If(run):
                m.d.sync += [delta.eq(move[name]), place.eq(Mux(origin, delta, place + delta))]
            state[name] = place
        return state


    def _table(self, m, name, word, write, index):
        """The fields of ``word`` at ``index``, of each the bits that are used: of a point its place in a bank."""
        used = {"q": self._slot["in_q"].width, "r": radix_bits(self.banks) if self.banks > 1 else 0}
        bits = {field.name: min(field.bits, used.get(field.name.split("_")[-1], self.size_bits + 1))
                for field in word.fields}
        layout = data.StructLayout({f.name: signed(bits[f.name]) if f.signed else bits[f.name] for f in word.fields})
        m.submodules[name] = memory = Memory(shape=layout.size, depth=8, init=[])
        port, reader = memory.write_port(), memory.read_port(domain="comb")
        given = fields(word, self.config_data)
        m.d.comb += [
            port.addr.eq(self.config_index), port.en.eq(write), reader.addr.eq(index),
            port.data.eq(Cat(given[f.name][:bits[f.name]] for f in word.fields)),
        ]
        view = data.View(layout, reader.data)
        return {f.name: view[f.name] for f in word.fields}


def _count_on(value):
    """One more, up to the largest number."""
    return Mux(value.all(), value, value + 1)
