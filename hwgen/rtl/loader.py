"""The load unit: takes the program stream apart and hands its packets, and fetched maps, to their places."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..engine import COMMAND_WORDS, ENGINE_VERSION, Engine
from ..isa import COMMANDS, END, FETCH, FETCH_WORD, HEADERS, OPCODES, PARAMS, START, THRESHOLDS, WEIGHTS
from .bits import fields, select
from .on_demand import OnDemand
from .prefetch import Prefetch
from .slices import Slices

THRESHOLD_PIECES = 8
"""64-bit pieces of a row's thresholds."""


class Loader(wiring.Component):
    """One linear stream of packets, read ahead as far as its consumers have room.

    A packet's header costs one cycle.  A payload word of PARAMS or WEIGHTS costs one more,
    commands and thresholds one cycle per 64 bits, a fetched map one cycle per aligned pair of scratchpad
    words (``fetch_words``) and per word that the drain writes in between.  A payload has at least one word.
    The payload of PARAMS waits for one of the two parameter buffers and the weights for room in the ring
    (seen a cycle before), so a TILE command, which follows its weights in the stream, never waits for anything else.

    ``finished`` is the number of layers that are drained and stored: FETCH waits for it.
    """

    def __init__(self, *, engine: Engine, address_bits: int = 32):
        self.engine = engine
        ports = engine.ports
        super().__init__({
            "start": In(1), "enable": In(1), "length": In(24), "finished": In(16), "quiet": Out(1),
            "request_valid": Out(1), "request_ready": In(1), "request_address": Out(address_bits),
            "request_count": Out(5), "request_tag": Out(1),
            "answer_valid": In(ports), "answer_tag": In(ports), "answer_error": In(ports),
            "answer_data": In(engine.mem_bits),
            "command": Out(64), "command_kind": Out(len(OPCODES)), "command_valid": Out(1), "command_ready": In(1),
            "scratch_write": Out(engine.fetch_words), "scratch_bank": Out(4), "scratch_address": Out(16),
            "scratch_data": Out(engine.fetch_words * engine.word_bits), "scratch_busy": In(1),
            "ring_write": Out(1), "ring_slice": Out(range(max(2, engine.ring_slices))),
            "ring_address": Out(range(engine.ring_depth)),
            "params_write": Out(1), "thresholds_write": Out(1), "param_chunk": Out(8), "param_lane": Out(8),
            "param_beat": Out(3), "param_parity": Out(1, init=1), "data": Out(engine.mem_bits), "piece": Out(64),
            "ring_release": In(12), "params_release": In(1),
            "ended": Out(1), "active": Out(1), "moved": Out(1), "error": Out(3),
        })

    def elaborate(self, platform):
        m = Module()
        engine = self.engine
        requests = OnDemand if engine.small else Prefetch
        m.submodules.prefetch = prefetch = requests(engine=engine, address_bits=len(self.request_address))
        # What a word is if it begins a command goes along: the sequencer decides much on it.
        kinds = 0 if engine.small else len(OPCODES)
        m.submodules.commands = commands = SyncFIFOBuffered(width=64 + kinds, depth=COMMAND_WORDS)
        running = Signal()
        word, have, take = prefetch.stream, prefetch.stream_have, Signal()
        m.d.comb += [
            self.active.eq(running), self.quiet.eq(prefetch.quiet),
            prefetch.start.eq(self.start), prefetch.enable.eq(running & self.enable), prefetch.length.eq(self.length),
            prefetch.finished.eq(self.finished), prefetch.request_ready.eq(self.request_ready),
            *(getattr(self, f"request_{name}").eq(getattr(prefetch, f"request_{name}"))
              for name in ("valid", "address", "count", "tag")),
            *(getattr(prefetch, f"answer_{name}").eq(getattr(self, f"answer_{name}"))
              for name in ("valid", "tag", "data")),
            prefetch.stream_take.eq(take & have), self.data.eq(word),
            self.moved.eq(prefetch.stream_take | self.scratch_write.any()),
        ]
        if engine.small:
            m.d.comb += [self.command.eq(commands.r_data), self.command_valid.eq(commands.r_rdy),
                         self.command_kind.eq(_kind(commands.r_data)), commands.r_en.eq(self.command_ready)]
        else:
            # The queue's memory may lie far from the sequencer: behind its output register a word to spare is kept, so
            # that what asks for the next one is a register.
            read, command, spare = (Signal(64 + kinds, name=name, reset_less=True)
                                    for name in ("command_read", "command", "spare"))
            have_read, spared, free = Signal(), Signal(), ~self.command_valid | self.command_ready
            m.d.comb += [self.command.eq(command), self.command_kind.eq(command[64:]),
                         commands.r_en.eq(~have_read | ~spared)]
            m.d.sync += spared.eq(~free & (spared | have_read))
            with m.If(commands.r_en):
                m.d.sync += [read.eq(commands.r_data), have_read.eq(commands.r_rdy)]
            with m.If(~spared):
                m.d.sync += spare.eq(read)
            with m.If(free):
                m.d.sync += [command.eq(Mux(spared, spare, read)), self.command_valid.eq(spared | have_read)]
        # Commands and thresholds: 64 bits of a memory word at a time.
        n_pieces, last_piece = engine.mem_bits // 64, Signal()
        piece, commands_left, last_command = Signal(range(max(2, n_pieces))), Signal(16), Signal()
        m.d.comb += [self.piece.eq(select([word[64 * i:64 * i + 64] for i in range(n_pieces)], piece)),
                     commands.w_data.eq(Cat(self.piece, _kind(self.piece))), last_piece.eq(piece == n_pieces - 1)]

        # Payload words left, and whether the next one is the last.
        left, last, end, summed = Signal(min(24, engine.address_bits)), Signal(), Signal(), Signal()
        sum_, folded = Signal(32), Signal(32)
        parts = [word[i:i + 32] for i in range(0, engine.mem_bits, 32)]
        total = parts[0]
        for part in parts[1:]:
            total = total ^ part
        m.d.comb += folded.eq(sum_.rotate_left(1) ^ total)

        # Room in the ring, in words; the parameter buffers are a pair.
        room, ring_at = Signal(range(engine.ring_depth + 1), init=engine.ring_depth), Signal(range(engine.ring_depth))
        words, claim, claimed = Signal(12), Signal(), Signal()
        # ``words`` stays for the packet, whose claim comes before its last payload word.
        m.d.sync += [claimed.eq(claim), room.eq(room - Mux(claimed, words, 0) + self.ring_release)]
        held, grab, granted, buffer = Signal(2), Signal(), Signal(), Signal()
        m.d.sync += held.eq(held + grab - self.params_release)
        m.d.comb += buffer.eq(held != 2)
        slices = Slices(m, engine, word)

        with m.If((self.answer_valid & self.answer_error).any()):
            m.d.sync += [self.error.eq(5), running.eq(0)]
        with m.FSM(name="loader") as fsm:
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [running.eq(1), sum_.eq(0), self.ended.eq(0)]
                    m.next = "START"
            with m.State("START"):
                header = fields(HEADERS[START], word)
                with m.If(have):
                    m.d.comb += take.eq(1)
                    wrong = ((header["packet"] != START) | (header["version"] != ENGINE_VERSION)
                             | (header["engine"] != engine.id))
                    with m.If(wrong):
                        m.d.sync += [self.error.eq(1), running.eq(0)]
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "HEADER"
            with m.State("HEADER"):
                packet = word[:4]
                m.d.comb += summed.eq(packet != END)
                m.d.comb += take.eq(1)
                m.d.sync += [piece.eq(0), self.param_chunk.eq(0), self.param_lane.eq(0), self.param_beat.eq(0),
                             granted.eq(0), words.eq(fields(HEADERS[WEIGHTS], word)["words"])]
                with m.If(have):
                    with m.Switch(packet):
                        with m.Case(FETCH):
                            if engine.small:
                                m.d.comb += prefetch.fetch_header.eq(1)
                            header = fields(HEADERS[FETCH], word)
                            m.d.sync += [self.scratch_address.eq(header["address"]),
                                         self.scratch_bank.eq(header["bank"])]
                            m.next = "FETCH"
                        with m.Case(PARAMS):
                            m.d.comb += grab.eq(buffer)
                            m.d.sync += [granted.eq(buffer), self.param_parity.eq(~self.param_parity)]
                            m.next = "PARAMS"
                        with m.Case(THRESHOLDS):
                            m.next = "THRESHOLDS"
                        with m.Case(WEIGHTS):
                            m.next = "SLICES"
                        with m.Case(COMMANDS):
                            count = fields(HEADERS[COMMANDS], word)["words"]
                            m.d.sync += [commands_left.eq(count), last_command.eq(count == 1)]
                            m.next = "COMMANDS"
                        with m.Case(END):
                            with m.If(fields(HEADERS[END], word)["checksum"] != sum_):
                                m.d.sync += self.error.eq(3)
                            m.d.sync += [self.ended.eq(1), running.eq(0)]
                            m.next = "IDLE"
                        with m.Default():
                            m.d.sync += [self.error.eq(2), running.eq(0)]
                            m.next = "IDLE"
            self._fetch(m, prefetch, word, have, take, summed)
            with m.State("PARAMS"):
                m.d.comb += [take.eq(granted), self.params_write.eq(have & granted), summed.eq(1)]
                with m.If(~granted):
                    m.d.comb += grab.eq(buffer)
                    m.d.sync += granted.eq(buffer)
                with m.If(have & granted):
                    self._next_record(m, engine.record_words, engine.drain_lanes // engine.records_per_word)
                with m.If(end):
                    m.next = "HEADER"
            with m.State("THRESHOLDS"):
                m.d.comb += [take.eq(last_piece), self.thresholds_write.eq(have), summed.eq(1)]
                with m.If(have):
                    m.d.sync += piece.eq(Mux(last_piece, 0, piece + 1))
                    self._next_record(m, THRESHOLD_PIECES, engine.drain_lanes)
                with m.If(end):
                    m.next = "HEADER"
            with m.State("SLICES"):
                m.d.comb += [take.eq(1), summed.eq(1)]
                self._claim(m, room, words, claim, granted)
                with m.If(have):
                    m.d.sync += slices.load()
                    m.next = "WEIGHTS"
            with m.State("WEIGHTS"):
                m.d.comb += [take.eq(granted), self.ring_write.eq(have & granted), summed.eq(1),
                             self.ring_address.eq(ring_at), self.ring_slice.eq(slices.index)]
                self._claim(m, room, words, claim, granted)
                with m.If(have & granted):
                    slices.advance(m)
                    with m.If(slices.last & slices.wrap):
                        m.d.sync += ring_at.eq(ring_at + 1)
                with m.If(end):
                    m.next = "HEADER"
            with m.State("COMMANDS"):
                m.d.comb += [commands.w_en.eq(have), summed.eq(1),
                             take.eq(commands.w_rdy & (last_piece | last_command))]
                with m.If(have & commands.w_rdy):
                    m.d.sync += [commands_left.eq(commands_left - 1), last_command.eq(commands_left == 2),
                                 piece.eq(Mux(last_piece, 0, piece + 1))]
                with m.If(end):
                    m.next = "HEADER"
        m.d.comb += end.eq(prefetch.stream_take & last)
        with m.If(prefetch.stream_take):
            with m.If(fsm.ongoing("HEADER")):
                m.d.sync += [left.eq(word[4:28]), last.eq(word[4:28] == 1)]
            with m.Else():
                m.d.sync += [left.eq(left - 1), last.eq(left == 2)]
            with m.If(summed):
                m.d.sync += sum_.eq(folded)
        return m

    def _claim(self, m, room, words, claim, granted):
        """Room in the ring for the packet's weights, once."""
        with m.If(~granted & (words <= room)):
            m.d.comb += claim.eq(1)
            m.d.sync += granted.eq(1)

    def _next_record(self, m, beats, lanes):
        """On to the next part of a record, the next lane, the next chunk."""
        m.d.sync += self.param_beat.eq(self.param_beat + 1)
        with m.If(self.param_beat == beats - 1):
            m.d.sync += [self.param_beat.eq(0), self.param_lane.eq(self.param_lane + 1)]
            with m.If(self.param_lane == lanes - 1):
                m.d.sync += [self.param_lane.eq(0), self.param_chunk.eq(self.param_chunk + 1)]

    def _fetch(self, m, prefetch, word, have, take, summed):
        """A map from memory into the scratchpad, in the order of its points: bank after bank, then the next address.

        A memory word is taken in units of one scratchpad word or an aligned pair.  ``left`` and the place count from
        the beginning of the first unit, of which ``skip`` leaves out the first word.
        """
        engine = self.engine
        unit = engine.fetch_words
        bits, count = engine.word_bits * unit, engine.scratch_words // unit
        where = fields(FETCH_WORD, word)
        left, last, position = Signal(21), Signal(), Signal(range(max(2, count)))
        skip, single = Signal(), Signal()
        odd = where["memory"][0] if unit == 2 else Const(0)
        first_unit = where["memory"][unit - 1:][:len(position)] if count > 1 else 0
        with m.State("FETCH"):
            m.d.comb += [take.eq(1), summed.eq(1)]
            m.d.sync += [left.eq(where["words"] + odd), last.eq(where["words"] <= Mux(odd, 1, unit)),
                         skip.eq(odd), single.eq((where["words"] == 1) & ~odd), position.eq(first_unit)]
            with m.If(have):
                if engine.small:
                    m.d.comb += prefetch.fetch_source.eq(1)
                with m.If(odd):
                    m.d.sync += self._step(-1)
                m.next = "MAP"
        with m.State("MAP"):
            go = prefetch.map_have & ~self.scratch_busy
            m.d.comb += self.scratch_write.eq(Mux(go, Cat(~skip, ~single)[:unit], 0))
            with m.If(go):
                m.d.comb += prefetch.map_take.eq((position == count - 1) | last)
                m.d.sync += [left.eq(left - unit), last.eq(left <= 2 * unit), single.eq(left == unit + 1), skip.eq(0),
                             position.eq(Mux(position == count - 1, 0, position + 1)), *self._step(unit)]
                with m.If(last):
                    m.next = "HEADER"
        words = [prefetch.map[i * bits:(i + 1) * bits] for i in range(count)]
        m.d.comb += self.scratch_data.eq(select(words, position))

    def _step(self, words):
        """``words`` (-1, 1 or 2) places on in the scratchpad."""
        banks, bank, address = self.engine.banks, self.scratch_bank, self.scratch_address
        if words < 0:
            around = bank == 0
            return [bank.eq(Mux(around, banks - 1, bank - 1)), address.eq(address - around)]
        around = bank >= banks - words
        return [bank.eq(Mux(around, bank - (banks - words), bank + words)), address.eq(address + around)]


def _kind(word: Value) -> Value:
    """Which of OPCODES a word has, one bit each."""
    return Cat(word[:4] == code for code in OPCODES)
