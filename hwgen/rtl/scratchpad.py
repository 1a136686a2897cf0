"""The banked activation memory and the weight ring."""

from amaranth.hdl import Const, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Scratchpad(wiring.Component):
    """``banks`` memories of ``depth`` words of one 4-bit plane of ``ki`` channels.

    Every bank reads one word per cycle (``data[b]`` one cycle after ``address[b]``); one
    word per cycle is written, a cycle after it came.  The schedule never reads a word that is being written.
    """

    def __init__(self, *, banks: int, depth: int, word_bits: int):
        self.banks, self.depth, self.word_bits = banks, depth, word_bits
        super().__init__({
            "address": In(data.ArrayLayout(16, banks)), "data": Out(data.ArrayLayout(word_bits, banks)),
            "write": In(1), "write_bank": In(4), "write_address": In(16), "write_data": In(word_bits),
        })

    def elaborate(self, platform):
        m = Module()
        address, data_ = Signal(16, reset_less=True), Signal(self.word_bits, reset_less=True)
        writes = Signal(self.banks)
        m.d.sync += [address.eq(self.write_address), data_.eq(self.write_data),
                     *(writes[bank].eq(self.write & (self.write_bank == bank)) for bank in range(self.banks))]
        for bank in range(self.banks):
            m.submodules[f"bank_{bank}"] = memory = Memory(shape=self.word_bits, depth=self.depth, init=[])
            reader, writer = memory.read_port(), memory.write_port()
            m.d.comb += [
                reader.addr.eq(self.address[bank]), reader.en.eq(Const(1)), self.data[bank].eq(reader.data),
                writer.addr.eq(address), writer.data.eq(data_), writer.en.eq(writes[bank]),
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
