"""The banked activation memory and the weight ring."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Scratchpad(wiring.Component):
    """``banks`` memories of ``depth`` words of one 4-bit plane of ``ki`` channels.

    Every bank reads one word per cycle (``data[b]`` one cycle after ``address[b]``).  ``writes`` words, 1 or 2, are
    written per cycle, a cycle after they came: the first to ``write_bank`` at ``write_address``, the second to the
    bank behind it, that is behind the last one bank 0 at the next address.  The schedule never reads a word that is
    being written.
    """

    def __init__(self, *, banks: int, depth: int, word_bits: int, writes: int = 1):
        if writes > min(2, banks):
            raise ValueError(f"{writes} words cannot be written to {banks} banks at once")
        self.banks, self.depth, self.word_bits, self.writes = banks, depth, word_bits, writes
        super().__init__({
            "address": In(data.ArrayLayout(16, banks)), "data": Out(data.ArrayLayout(word_bits, banks)),
            "write": In(writes), "write_bank": In(4), "write_address": In(16), "write_data": In(writes * word_bits),
        })

    def elaborate(self, platform):
        m = Module()
        address, data_ = Signal(16, reset_less=True), Signal(len(self.write_data), reset_less=True)
        following = Signal(16, reset_less=True)
        writes = Signal(self.banks)
        m.d.sync += [address.eq(self.write_address), following.eq(self.write_address + 1), data_.eq(self.write_data)]
        first, second = data_[:self.word_bits], data_[self.word_bits:]
        for bank in range(self.banks):
            here, where, what = self.write[0] & (self.write_bank == bank), address, first
            if self.writes == 2:
                before = (bank - 1) % self.banks
                behind = Signal(name=f"behind_{bank}")
                m.d.sync += behind.eq(self.write_bank == before)
                here |= self.write[1] & (self.write_bank == before)
                what = Mux(behind, second, first)
                where = Mux(behind, following, address) if bank == 0 else address
            m.d.sync += writes[bank].eq(here)
            m.submodules[f"bank_{bank}"] = memory = Memory(shape=self.word_bits, depth=self.depth, init=[])
            reader, writer = memory.read_port(), memory.write_port()
            m.d.comb += [
                reader.addr.eq(self.address[bank]), reader.en.eq(Const(1)), self.data[bank].eq(reader.data),
                writer.addr.eq(where), writer.data.eq(what), writer.en.eq(writes[bank]),
            ]
        return m


class Ring(wiring.Component):
    """Weight memory: ``slices`` memories of ``mem_bits``, read together, written one by one, a cycle late."""

    def __init__(self, *, slices: int, depth: int, mem_bits: int):
        self.slices, self.depth, self.mem_bits = slices, depth, mem_bits
        super().__init__({
            "address": In(range(depth)), "data": Out(slices * mem_bits),
            "write": In(1), "write_slice": In(range(max(slices, 2))), "write_address": In(range(depth)),
            "write_data": In(mem_bits),
        })

    def elaborate(self, platform):
        m = Module()
        address, data_ = Signal(len(self.write_address), reset_less=True), Signal(self.mem_bits, reset_less=True)
        writes = Signal(self.slices)
        m.d.sync += [address.eq(self.write_address), data_.eq(self.write_data),
                     *(writes[index].eq(self.write & (self.write_slice == index)) for index in range(self.slices))]
        for index in range(self.slices):
            m.submodules[f"slice_{index}"] = memory = Memory(shape=self.mem_bits, depth=self.depth, init=[])
            reader, writer = memory.read_port(), memory.write_port()
            m.d.comb += [
                reader.addr.eq(self.address), reader.en.eq(Const(1)),
                self.data[index * self.mem_bits:(index + 1) * self.mem_bits].eq(reader.data),
                writer.addr.eq(address), writer.data.eq(data_), writer.en.eq(writes[index]),
            ]
        return m
