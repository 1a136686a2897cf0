"""Memories of the requantizer lanes: parameter records and thresholds, two buffers of each."""

from amaranth.hdl import Cat, Module, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..engine import Engine
from .bits import delay


def record_layout(engine: Engine) -> data.StructLayout:
    """The parameters of one row; m, c and r are signed."""
    return data.StructLayout({name: signed(bits) if name in "mcr" else bits
                              for name, bits in engine.record_fields.items()})


def threshold_layout(engine: Engine) -> data.StructLayout:
    """Two thresholds side by side: those of an even and of the next odd number."""
    return data.StructLayout({"even": signed(engine.acc_bits + 1), "odd": signed(engine.acc_bits + 1)})


class Parameters(wiring.Component):
    """For each of the D lanes a record of every chunk, and 16 thresholds of every chunk in engines that have them.

    ``data`` (a memory word) and ``piece`` (64 bits of it) are written where ``params_write`` and
    ``thresholds_write`` say.  ``records`` and ``thresholds`` are those at the addresses one cycle before:
    (chunk, parity), and (pair, chunk, parity) for each lane.
    """

    def __init__(self, *, engine: Engine):
        self.engine = e = engine
        lanes, place = e.drain_lanes, e.chunk_bits + 1
        super().__init__({
            "params_write": In(1), "thresholds_write": In(1), "param_chunk": In(8), "param_lane": In(8),
            "param_beat": In(3), "param_parity": In(1), "data": In(e.mem_bits), "piece": In(64),
            "address": In(place), "records": Out(data.ArrayLayout(record_layout(e), lanes)),
            **({"threshold_address": In(data.ArrayLayout(3 + place, lanes)),
                "thresholds": Out(data.ArrayLayout(threshold_layout(e), lanes))} if e.thresholds else {}),
        })

    def elaborate(self, platform):
        m = Module()
        e = self.engine
        address = self._late(m, Cat(self.param_chunk[:e.chunk_bits], self.param_parity), "address")
        word = self._late(m, self.data, "data")
        for lane in range(e.drain_lanes):
            group, place = divmod(lane, e.records_per_word)
            value = Value.cast(self.records[lane])
            for beat in range(e.record_words):
                enable = self.params_write & (self.param_lane == group) & (self.param_beat == beat)
                part = value[beat * e.mem_bits:(beat + 1) * e.mem_bits]
                self._memory(m, f"params_{lane}_{beat}", part, self.address,
                             self._late(m, enable, f"write_{lane}_{beat}"), address,
                             word[place * e.mem_bits // e.records_per_word:][:len(part)])
        if e.thresholds:
            beat, piece = self._late(m, self.param_beat, "beat"), self._late(m, self.piece, "piece")
            bits = e.acc_bits + 1
            for lane in range(e.drain_lanes):
                enable = self.thresholds_write & (self.param_lane == lane)
                self._memory(m, f"thresholds_{lane}", Value.cast(self.thresholds[lane]), self.threshold_address[lane],
                             self._late(m, enable, f"thresholds_write_{lane}"),
                             Cat(beat, address), Cat(piece[:bits], piece[32:32 + bits]))
        return m

    def _late(self, m, value, name):
        """What is written comes a cycle later: the memories are many, and the load unit is far away.

        A small engine has no cells for that.  A tile needs its parameters many cycles after the last of them came.
        """
        return delay(m, value, 0 if self.engine.small else 1, name, reset_less=len(value) > 1)

    def _memory(self, m, name, read, read_address, write, write_address, written):
        """A memory of which ``read`` is the word at ``read_address``."""
        m.submodules[name] = memory = Memory(shape=len(read), depth=1 << len(read_address), init=[])
        reader, writer = memory.read_port(), memory.write_port()
        m.d.comb += [
            reader.addr.eq(read_address), reader.en.eq(1), read.eq(reader.data),
            writer.addr.eq(write_address), writer.data.eq(written), writer.en.eq(write),
        ]


def record_values(record: data.View, engine: Engine) -> dict[str, Value]:
    """The fields of a record that this engine uses, as wide as it uses them."""
    values = {name: Value.cast(record[name]) for name in engine.record_fields}
    values["slot"] = values["slot"][:max(1, (engine.chunks - 1).bit_length())]
    if not engine.thresholds:
        del values["negate"]
    return values
