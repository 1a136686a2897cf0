"""Where the pixels of a layer lie: origins of the windows, in the order in which they are computed."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..isa import _MOVE, _STEP
from .bits import add_mixed, fields

POINT_BITS = 14
"""Quotient bits of a point; enough for 2**13 words per bank and for windows that begin before the map."""
RADIX_BITS = 4
PLACE_BITS = 13


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

    A group takes ``px`` cycles, the beginning of a walk one more.

    Ports: ``config_*`` write the layer's constants, ``restart`` begins a walk, ``slots``
    with ``valid`` is a complete group (``final`` marks the last one of a walk) and
    ``take`` accepts it.
    """

    def __init__(self, *, px: int, banks: int, point_bits: int = POINT_BITS, raster: bool = True):
        self.px, self.banks, self.can_raster = px, banks, raster
        self._slot = slot = slot_layout(point_bits)
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
        m.submodules.steps = steps = Memory(shape=60, depth=8, init=[])
        m.submodules.moves = moves = Memory(shape=52, depth=8, init=[])
        for memory, write in ((steps, self.step_write), (moves, self.move_write)):
            port = memory.write_port()
            m.d.comb += [port.addr.eq(self.config_index), port.data.eq(self.config_data), port.en.eq(write)]
        step_port, move_port = steps.read_port(domain="comb"), moves.read_port(domain="comb")

        pj, pi = Signal(6), Signal(6)
        ox, oy = Signal(12), Signal(12)
        begin, dead = Signal(init=1), Signal()
        event, raster = Signal(3), self.raster if self.can_raster else Const(0)
        top, left = (Mux(raster, start, 0) if self.can_raster else 0 for start in (self.start_h, self.start_w))
        end_pj, end_pi = pj == self.pool_w, pi == self.pool_h
        end_ox, end_oy = ox == self.out_w, oy == self.out_h
        m.d.comb += event.eq(4)
        with m.If(~begin):
            with m.If(~end_pj):
                m.d.comb += event.eq(0)
            with m.Elif(raster & ~end_ox):
                m.d.comb += event.eq(2)
            with m.Elif(~end_pi):
                m.d.comb += event.eq(1)
            with m.Elif(~end_ox):
                m.d.comb += event.eq(2)
            with m.Else():
                m.d.comb += event.eq(3)
        m.d.comb += [step_port.addr.eq(event), move_port.addr.eq(event)]
        step, move = fields(_STEP, step_port.data), fields(_MOVE, move_port.data)

        state = Signal(self._slot)
        cx, cy = Signal(signed(PLACE_BITS)), Signal(signed(PLACE_BITS))
        finished = end_pj & end_pi & end_ox & end_oy

        # The group under construction is a shift register; slot 0 enters first.
        group, count, full, last_group = Signal(data.ArrayLayout(self._slot, self.px)), Signal(4), Signal(), Signal()
        room = ~full | self.take
        current = Signal(self._slot)
        m.d.comb += [
            current.eq(state), current.alive.eq(~dead),
            current.inside.eq((cx.as_unsigned() < self.conv_w) & (cy.as_unsigned() < self.conv_h)),
            current.first.eq((pj == 0) & (pi == 0)),
            current.last.eq(end_pj & end_pi & (~raster | (ox >= self.lead_w) & (oy >= self.lead_h))),
            self.slots.eq(group), self.valid.eq(full), self.final.eq(last_group),
        ]
        if self.can_raster:
            m.d.comb += [
                current.x_start.eq((pj == self.start_w) & (ox == 0)),
                current.y_start.eq((pi == self.start_h) & (oy == 0)),
                current.x_begin.eq(pj == self.begin_w), current.y_begin.eq(pi == self.begin_h),
                current.x_end.eq(end_pj), current.y_end.eq(end_pi),
            ]
        with m.If(self.take):
            m.d.sync += full.eq(0)
        advance = Signal()
        with m.If(begin):
            m.d.comb += advance.eq(1)
            m.d.sync += begin.eq(0)
        with m.Elif(room):
            m.d.sync += group.eq(Cat(group.as_value()[len(current.as_value()):], current.as_value()))
            m.d.sync += count.eq(count + 1)
            with m.If(finished | dead):
                m.d.sync += dead.eq(1)
            with m.Else():
                m.d.comb += advance.eq(1)
            with m.If(count == self.px - 1):
                m.d.sync += [count.eq(0), full.eq(1), last_group.eq(finished | dead)]
                with m.If(finished | dead):
                    m.d.sync += [begin.eq(1), dead.eq(0)]
        with m.If(advance):
            for name in ("in", "res", "out"):
                q, r = getattr(state, f"{name}_q"), getattr(state, f"{name}_r")
                next_q, next_r = add_mixed(q, r, step[f"{name}_q"], step[f"{name}_r"], self.banks)
                with m.If(begin):
                    m.d.sync += [q.eq(step[f"{name}_q"]), r.eq(step[f"{name}_r"])]
                with m.Else():
                    m.d.sync += [q.eq(next_q), r.eq(next_r)]
            for register, name in ((state.ix, "ix"), (state.iy, "iy"), (cx, "cx"), (cy, "cy")):
                with m.If(begin):
                    m.d.sync += register.eq(move[name])
                with m.Else():
                    m.d.sync += register.eq(register + move[name])
            with m.Switch(event):
                with m.Case(0):
                    m.d.sync += pj.eq(pj + 1)
                with m.Case(1):
                    m.d.sync += [pj.eq(left), pi.eq(pi + 1)]
                    with m.If(raster):
                        m.d.sync += ox.eq(0)
                with m.Case(2):
                    m.d.sync += [pj.eq(0), ox.eq(ox + 1)]
                    with m.If(~raster):
                        m.d.sync += pi.eq(0)
                with m.Case(3):
                    m.d.sync += [pj.eq(left), pi.eq(0), ox.eq(0), oy.eq(oy + 1)]
                with m.Default():
                    m.d.sync += [pj.eq(left), pi.eq(top), ox.eq(0), oy.eq(0)]
        with m.If(self.restart):
            m.d.sync += [begin.eq(1), dead.eq(0), full.eq(0), count.eq(0)]
        return m
