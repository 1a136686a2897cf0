"""The sequencer: takes commands, keeps a layer's constants, and steps through the words of its tiles."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..isa import FINISH, LAYER, LAYER_WORDS, STEPS, TILE, TILE_WORDS
from .bits import add_mixed, fields
from .reader import word_layout
from .walker import POINT_BITS, RADIX_BITS, slot_layout

SETTINGS = LAYER_WORDS[:len(LAYER_WORDS) - 2 * len(STEPS)]
"""The words of a layer that live in registers; the walker keeps the others."""


def settings_layout() -> data.StructLayout:
    return data.StructLayout({f.name: signed(f.bits) if f.signed else f.bits
                              for word in SETTINGS for f in word.fields if f.name != "command"})


def tile_layout() -> data.StructLayout:
    return data.StructLayout({f.name: f.bits for word in TILE_WORDS for f in word.fields if f.name != "command"})


class Sequencer(wiring.Component):
    """LAYER loads constants once everything before it is drained, TILE runs one row tile over all pixel groups.

    The words of a tile: first the residual's, if there is one; then per activation
    plane (high first), kernel row, kernel column and channel block.  A word leaves in
    every cycle in which the reader takes one; between groups nothing is lost, between
    tiles three cycles.

    ``layers_done`` counts the layers of which everything has been drained and stored, one
    cycle after that; a layer's last TILE has its ``end`` set.

    ``group_push`` marks the cycle in which the last word of a group leaves: the slots
    and the tile then on ``active`` and ``tile`` are what the drain needs.
    """

    def __init__(self, *, px: int, banks: int, ring_depth: int, point_bits: int = POINT_BITS):
        self.px, self.banks, self.ring_depth = px, banks, ring_depth
        self.ring_bits = (ring_depth - 1).bit_length()
        slots = data.ArrayLayout(slot_layout(point_bits), px)
        super().__init__({
            "command": In(64), "command_valid": In(1), "command_ready": Out(1),
            "idle": In(1), "clear": In(1), "finish": Out(1), "finished": In(1), "illegal": Out(1), "layers": Out(16),
            "layers_done": Out(16),
            "step_write": Out(1), "move_write": Out(1), "config_index": Out(3), "restart": Out(1),
            "slots": In(slots), "slots_valid": In(1), "slots_final": In(1), "slots_take": Out(1),
            "settings": Out(settings_layout()), "tile": Out(tile_layout()), "active": Out(slots),
            "word": Out(word_layout(self.ring_bits)), "word_valid": Out(1), "word_ready": In(1),
            "group_push": Out(1), "final": Out(1), "parity": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        tile = self.tile
        opcode, index = self.command[:4], Signal(range(len(LAYER_WORDS)))
        start_tile, run_done = Signal(), Signal()
        ring_base, ending = Signal(self.ring_bits), Signal()

        with m.If(ending & self.idle):
            m.d.sync += [ending.eq(0), self.layers_done.eq(self.layers_done + 1)]
        with m.FSM(name="sequencer"):
            with m.State("POP"):
                with m.If(self.command_valid):
                    with m.If((opcode == LAYER) & self.idle):
                        m.d.comb += self.command_ready.eq(1)
                        m.d.sync += [self._load(0), index.eq(1), self.layers.eq(self.layers + 1)]
                        m.next = "LAYER"
                    with m.Elif(opcode == TILE):
                        m.d.comb += self.command_ready.eq(1)
                        m.d.sync += self._load_tile(0)
                        m.next = "TILE"
                    with m.Elif(opcode == FINISH):
                        m.next = "FINISH"
                    with m.Elif(opcode != LAYER):
                        m.next = "ILLEGAL"
            with m.State("LAYER"):
                m.d.comb += self.command_ready.eq(self.command_valid)
                with m.If(self.command_valid):
                    m.d.sync += index.eq(index + 1)
                    with m.Switch(index):
                        for i in range(1, len(SETTINGS)):
                            with m.Case(i):
                                m.d.sync += self._load(i)
                    step, move = len(SETTINGS), len(SETTINGS) + len(STEPS)
                    with m.If(index >= move):
                        m.d.comb += [self.move_write.eq(1), self.config_index.eq(index - move)]
                    with m.Elif(index >= step):
                        m.d.comb += [self.step_write.eq(1), self.config_index.eq(index - step)]
                    with m.If(index == len(LAYER_WORDS) - 1):
                        m.d.sync += [index.eq(0), self.restart.eq(1)]
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
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += self.word_valid.eq(1)
                with m.If(self.word_ready & run_done):
                    m.d.comb += self.group_push.eq(1)
                    with m.If(self.final):
                        m.d.sync += [ring_base.eq(ring_base + tile.words), self.parity.eq(~self.parity),
                                     ending.eq(tile.end)]
                        m.next = "POP"
                    with m.Elif(self.slots_valid):
                        m.d.comb += start_tile.eq(1)
                    with m.Else():
                        m.next = "GROUP"
            with m.State("FINISH"):
                m.d.comb += [self.finish.eq(self.idle), self.command_ready.eq(self.finished)]
                with m.If(self.finished):
                    m.next = "POP"
            with m.State("ILLEGAL"):
                m.d.comb += self.illegal.eq(1)

        with m.If(self.clear):
            m.d.sync += [self.layers.eq(0), self.layers_done.eq(0)]
        m.d.comb += self.slots_take.eq(start_tile)
        with m.If(start_tile):
            m.d.sync += [self.active.eq(self.slots), self.final.eq(self.slots_final)]
        self._loops(m, start_tile, run_done, ring_base)
        return m

    def _loops(self, m, start, done, ring_base):
        settings, tile, word = self.settings, self.tile, self.word
        residual, low_plane = Signal(), Signal()
        res_left, res_address = Signal(8), Signal(16)
        ky, kx, block = Signal(6), Signal(6), Signal(10)
        tap_q, tap_r = Signal(signed(14)), Signal(RADIX_BITS)
        plane_base, block_base, index = Signal(16), Signal(16), Signal(12)
        end_block, end_kx = block == settings.blocks, kx == settings.kernel_w
        # A tile may leave out words at its end that are zero in every row.
        end_plane = index == tile.words - 1
        m.d.comb += [
            done.eq(~residual & end_plane & low_plane),
            word.residual.eq(residual), word.high.eq(~low_plane & ~residual), word.last.eq(done),
            word.release.eq(done & self.final), word.wide.eq(tile.wide),
            word.dy.eq(ky), word.dx.eq(kx), word.interval.eq(tile.interval), word.words.eq(tile.words),
            word.store_words.eq(tile.store_words),
            word.ring.eq(ring_base + index), word.tap_r.eq(Mux(residual, 0, tap_r)),
            word.base.eq(Mux(residual, res_address, block_base + tap_q)),
        ]
        column_q, column_r = add_mixed(tap_q, tap_r, 0 if self.banks > 1 else 1, 1 if self.banks > 1 else 0, self.banks)
        row_q, row_r = add_mixed(tap_q, tap_r, settings.row_q, settings.row_r, self.banks)
        with m.If(start):
            m.d.sync += [
                residual.eq(tile.res_words != 0), res_left.eq(tile.res_words), res_address.eq(tile.res_address),
                low_plane.eq(~settings.two_planes), plane_base.eq(settings.base), block_base.eq(settings.base),
                tap_q.eq(0), tap_r.eq(0), ky.eq(0), kx.eq(0), block.eq(0), index.eq(0),
            ]
        with m.Elif(self.word_valid & self.word_ready):
            with m.If(residual):
                m.d.sync += [res_left.eq(res_left - 1), res_address.eq(res_address + settings.res_step)]
                m.d.sync += residual.eq(res_left != 1)
            with m.Else():
                m.d.sync += [index.eq(index + 1), block.eq(block + 1),
                             block_base.eq(block_base + settings.block_step)]
                with m.If(end_block):
                    m.d.sync += [block.eq(0), block_base.eq(plane_base), kx.eq(kx + 1),
                                 tap_q.eq(column_q), tap_r.eq(column_r)]
                    with m.If(end_kx):
                        m.d.sync += [kx.eq(0), ky.eq(ky + 1), tap_q.eq(row_q), tap_r.eq(row_r)]
                with m.If(end_plane):
                    m.d.sync += [
                        block.eq(0), kx.eq(0), ky.eq(0), tap_q.eq(0), tap_r.eq(0), index.eq(0), low_plane.eq(1),
                        plane_base.eq(plane_base + settings.plane_step),
                        block_base.eq(plane_base + settings.plane_step),
                    ]

    def _load(self, i):
        values = fields(SETTINGS[i], self.command)
        return [getattr(self.settings, name).eq(value) for name, value in values.items() if name != "command"]

    def _load_tile(self, i):
        values = fields(TILE_WORDS[i], self.command)
        return [getattr(self.tile, name).eq(value) for name, value in values.items() if name != "command"]
