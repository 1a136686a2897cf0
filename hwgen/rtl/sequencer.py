"""The sequencer: takes commands, keeps a layer's constants, and steps through the words of its tiles."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..isa import LAYER_WORDS, OPCODES, STEPS, TILE_WORDS
from .bits import MixedStep, delay, fields, next_point, register
from .reader import OF_TILE, tile_layout, word_layout
from .walker import POINT_BITS, RADIX_BITS, slot_layout

SETTINGS = LAYER_WORDS[:len(LAYER_WORDS) - 2 * len(STEPS)]
"""The words of a layer that live in registers; the walker keeps the others."""


FULL = {f.name: f.bits for word in (*SETTINGS, *TILE_WORDS) for f in word.fields if f.name != "command"}
"""Bits of every field of a layer and of a tile."""


def settings_layout(wrap: bool = True) -> data.StructLayout:
    """A layer's constants; an engine without ``wrap`` has no register for it."""
    return data.StructLayout({f.name: signed(f.bits) if f.signed else f.bits for word in SETTINGS for f in word.fields
                              if f.name != "command" and (wrap or f.name != "wrap")})


class Sequencer(wiring.Component):
    """LAYER loads constants once everything before it is drained, TILE runs one row tile over all pixel groups.

    The words of a tile: first the residual's, if there is one; then per activation
    plane (high first), kernel row, kernel column and channel block.  A word leaves in
    every cycle in which the reader has room; between groups nothing is lost, between
    tiles three cycles.

    With ``one_tile`` a TILE waits until the reader has finished the one before (``reader_idle``).

    Everything that a word needs stands in registers, and whether a loop is at its end is known one
    word ahead.  ``idle`` counts one cycle after it was seen.

    ``command_kind``: which of OPCODES the command has, one bit each, if a command begins with it.

    ``layers_done`` counts the layers of which everything has been drained and stored, one
    cycle after that; a layer's last TILE has its ``end`` set.

    ``group_push`` marks the cycle in which the last word of a group leaves: the slots
    and the tile then on ``active`` and ``tile`` are what the drain needs.
    """

    def __init__(self, *, px: int, banks: int, ring_depth: int, point_bits: int = POINT_BITS,
                 bits: dict[str, int] | None = None, one_tile: bool = False, wrap: bool = True):
        self.px, self.banks, self.ring_depth, self.one_tile = px, banks, ring_depth, one_tile
        self._bits = FULL | (bits or {})
        self.ring_bits = (ring_depth - 1).bit_length()
        slots = data.ArrayLayout(slot_layout(point_bits), px)
        super().__init__({
            "command": In(64), "command_kind": In(len(OPCODES)), "command_valid": In(1), "command_ready": Out(1),
            "idle": In(1), "clear": In(1), "finish": Out(1), "finished": In(1), "illegal": Out(1), "layers": Out(16),
            "layers_done": Out(16),
            "step_write": Out(1), "move_write": Out(1), "config_index": Out(3), "restart": Out(1),
            "slots": In(slots), "slots_valid": In(1), "slots_final": In(1), "slots_take": Out(1),
            "settings": Out(settings_layout(wrap)), "tile": Out(tile_layout()), "active": Out(slots),
            "word": Out(word_layout(self.ring_bits, bits, one_tile)), "word_valid": Out(1), "word_ready": In(1),
            "group_push": Out(1), "final": Out(1), "parity": Out(1),
            **({"reader_idle": In(1)} if one_tile else {}),
        })

    def elaborate(self, platform):
        m = Module()
        tile = self.tile
        index = Signal(range(len(LAYER_WORDS)))
        is_layer, is_tile, is_finish = self.command_kind
        start_tile, run_done = Signal(), Signal()
        ring_base, ending = Signal(self.ring_bits), Signal()
        # Beside the states: words leave, and where the next word of a LAYER goes.
        running, is_step, is_move, place = Signal(), Signal(), Signal(), Signal.like(self.config_index)
        step, move = len(SETTINGS), len(SETTINGS) + len(STEPS)
        load = Signal(len(SETTINGS))
        m.d.comb += [self.word_valid.eq(running), self.config_index.eq(place)]
        # What has just left is not seen by those who drain it before the next cycle.
        quiet = Signal(init=1)
        m.d.sync += quiet.eq(self.idle & ~self.group_push)

        with m.If(ending & quiet):
            m.d.sync += [ending.eq(0), self.layers_done.eq(self.layers_done + 1)]
        with m.FSM(name="sequencer"):
            with m.State("POP"):
                with m.If(self.command_valid):
                    with m.If(is_layer & quiet):
                        m.d.comb += [self.command_ready.eq(1), load[0].eq(1)]
                        m.d.sync += index.eq(1)
                        m.next = "LAYER"
                    with m.Elif(is_tile & (self.reader_idle if self.one_tile else 1)):
                        m.d.comb += self.command_ready.eq(1)
                        m.d.sync += self._load_tile(0)
                        m.next = "TILE"
                    with m.Elif(is_finish):
                        m.next = "FINISH"
                    with m.Elif(~is_layer & ~is_tile):
                        m.next = "ILLEGAL"
            with m.State("LAYER"):
                m.d.comb += self.command_ready.eq(self.command_valid)
                with m.If(self.command_valid):
                    m.d.sync += index.eq(index + 1)
                    m.d.comb += load[1:].eq(Cat(index == i for i in range(1, len(SETTINGS))))
                    m.d.comb += [self.move_write.eq(is_move), self.step_write.eq(is_step)]
                    first = (index == step - 1) | (index == move - 1)
                    m.d.sync += [is_step.eq((index >= step - 1) & (index < move - 1)), is_move.eq(index >= move - 1),
                                 place.eq(Mux(first, 0, place + 1))]
                    with m.If(index == len(LAYER_WORDS) - 1):
                        m.d.sync += [index.eq(0), is_move.eq(0), self.restart.eq(1)]
                        m.next = "RESTART"
            with m.State("RESTART"):
                m.d.sync += self.restart.eq(0)
                m.next = "POP"
            with m.State("TILE"):
                with m.If(self.command_valid):
                    m.d.comb += self.command_ready.eq(1)
                    m.d.sync += self._load_tile(1)
                    m.next = "GROUP"
            with m.State("GROUP"):
                with m.If(self.slots_valid):
                    m.d.comb += start_tile.eq(1)
                    m.d.sync += running.eq(1)
                    m.next = "RUN"
            with m.State("RUN"):
                with m.If(self.word_ready & run_done):
                    m.d.comb += self.group_push.eq(1)
                    with m.If(self.final):
                        m.d.sync += [ring_base.eq(ring_base + tile.words), self.parity.eq(~self.parity),
                                     ending.eq(tile.end), running.eq(0)]
                        m.next = "POP"
                    with m.Elif(self.slots_valid):
                        m.d.comb += start_tile.eq(1)
                    with m.Else():
                        m.d.sync += running.eq(0)
                        m.next = "GROUP"
            with m.State("FINISH"):
                m.d.comb += [self.finish.eq(quiet), self.command_ready.eq(self.finished)]
                with m.If(self.finished):
                    m.next = "POP"
            with m.State("ILLEGAL"):
                m.d.comb += self.illegal.eq(1)

        self._load(m, load)
        with m.If(self.clear):
            m.d.sync += [self.layers.eq(0), self.layers_done.eq(0)]
        m.d.comb += self.slots_take.eq(start_tile)
        # What a group begins with is loaded before it is known that there is one: the last time counts.
        begin = ~running | (self.word_ready & run_done)
        active = register(m, self.active, "of_group")
        with m.If(begin):
            m.d.sync += [active.eq(self.slots), self.final.eq(self.slots_final)]
        self._loops(m, begin, run_done, ring_base)
        return m

    def _loops(self, m, begin, done, ring_base):
        settings, tile, word = self.settings, self.tile, self.word
        bits = self._bits
        residual, low_plane = Signal(), Signal()
        res_left, res_address = Signal(8), Signal(bits["res_address"])
        ky, kx, blocks_left, words_left = Signal(6), Signal(6), Signal(bits["blocks"]), Signal(bits["words"])
        end_block, end_kx, end_plane = Signal(), Signal(), Signal()
        tap_q, tap_r = Signal(word.tap_q.shape()), Signal(RADIX_BITS)
        plane_base, block_base, ring = Signal(bits["base"]), Signal(bits["base"]), Signal(self.ring_bits)

        # What depends on the layer or on the tile alone, in registers.
        second_plane, before_kx = Signal(bits["base"]), Signal(6)
        one_block, one_kx, one_word = Signal(), Signal(), Signal()
        row = MixedStep(m, len(tap_q), self.banks, "row")
        m.d.sync += [
            second_plane.eq(tile.base + settings.plane_step), before_kx.eq(settings.kernel_w - 1),
            one_block.eq(tile.blocks == 0), one_kx.eq(settings.kernel_w == 0), one_word.eq(tile.words == 1),
            *row.load(settings.row_q, settings.row_r),
        ]
        m.d.comb += [
            word.residual.eq(residual), word.high.eq(~low_plane & ~residual), word.last.eq(done),
            word.release.eq(done & self.final), word.wide.eq(tile.wide),
            word.dy.eq(ky), word.dx.eq(kx), word.ring.eq(ring),
            *([] if self.one_tile else [getattr(word, name).eq(getattr(tile, name)) for name in OF_TILE]),
            word.tap_q.eq(Mux(residual, 0, tap_q)), word.tap_r.eq(Mux(residual, 0, tap_r)),
            word.base.eq(Mux(residual, res_address, block_base)),
        ]
        column_q, column_r = next_point(tap_q, tap_r, self.banks)
        row_q, row_r = row.add(tap_q, tap_r)
        # A tile may leave out words at its end that are zero in every row: the words are counted, not the rows.
        first_block = [blocks_left.eq(tile.blocks), end_block.eq(one_block)]
        first_kx = [kx.eq(0), end_kx.eq(one_kx)]
        first_word = [*first_block, *first_kx, ky.eq(0), tap_q.eq(0), tap_r.eq(0),
                      words_left.eq(tile.words), end_plane.eq(one_word), ring.eq(ring_base)]
        with m.If(begin):
            m.d.sync += [
                residual.eq(tile.res_words != 0), res_left.eq(tile.res_words), res_address.eq(tile.res_address),
                done.eq((tile.res_words == 0) & one_word & ~settings.two_planes),
                low_plane.eq(~settings.two_planes), plane_base.eq(tile.base), block_base.eq(tile.base),
                *first_word,
            ]
        with m.Elif(self.word_ready):
            with m.If(residual):
                m.d.sync += [res_left.eq(res_left - 1), res_address.eq(res_address + settings.res_step)]
                m.d.sync += [residual.eq(res_left != 1), done.eq((res_left == 1) & end_plane & low_plane)]
            with m.Elif(end_plane):
                m.d.sync += [*first_word, low_plane.eq(1), done.eq(one_word), plane_base.eq(second_plane),
                             block_base.eq(second_plane)]
            with m.Else():
                m.d.sync += [ring.eq(ring + 1), words_left.eq(words_left - 1), end_plane.eq(words_left == 2),
                             done.eq((words_left == 2) & low_plane)]
                with m.If(end_block):
                    m.d.sync += [*first_block, block_base.eq(plane_base)]
                    with m.If(end_kx):
                        m.d.sync += [*first_kx, ky.eq(ky + 1), tap_q.eq(row_q), tap_r.eq(row_r)]
                    with m.Else():
                        m.d.sync += [kx.eq(kx + 1), end_kx.eq(kx == before_kx), tap_q.eq(column_q), tap_r.eq(column_r)]
                with m.Else():
                    m.d.sync += [blocks_left.eq(blocks_left - 1), end_block.eq(blocks_left == 1),
                                 block_base.eq(block_base + settings.block_step)]

    def _load(self, m, load):
        """The words of a LAYER into ``settings``: there are many registers, and the walker's words come behind.  So
        there is time for a register before them, except in small parts, which have no cells for it."""
        late = 0 if self.one_tile else 1
        word = delay(m, self.command, late, "setting")
        settings = register(m, self.settings, "of_layer")
        loads = delay(m, load, late, "load", reset_less=False)
        with m.If(loads[0]):
            m.d.sync += self.layers.eq(self.layers + 1)
        for i, now in enumerate(loads):
            with m.If(now):
                m.d.sync += self._kept(settings, fields(SETTINGS[i], word))

    def _load_tile(self, i):
        return self._kept(self.tile, fields(TILE_WORDS[i], self.command))

    def _kept(self, target, values):
        """Assignments of fields, of each the bits that are used: what is always 0 or a copy of the sign takes no
        register."""
        known = target.shape().members
        kept = {name: value[:self._bits[name]] for name, value in values.items() if name in known}
        return [getattr(target, name).eq(value.as_signed() if values[name].shape().signed else value)
                for name, value in kept.items()]
