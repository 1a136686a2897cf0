# amaranth: UnusedElaboratable=no
"""The store queue and the engine's control, through the whole engine in Amaranth's simulator with tiny networks."""

from collections import deque
import random

from block_bench import simulate, stalls
import numpy as np
import pytest

from hwgen.golden import run
from hwgen.graph.ir import Conv, Graph, Requant, Tensor
from hwgen.plan.cycles import FIRST_WORD, count_cycles
from hwgen.engine import Engine
from hwgen.plan.layout import lay_out
from hwgen.program.assemble import assemble_layout, input_words
from hwgen.rtl import engine as engine_module
from hwgen.rtl.engine import HwgenEngine

ENGINE = Engine(ki=2, px=2, sp2_rows=2, dsp_rows=1, drain_lanes=1, ring_depth=32, scratch_depth=64, acc_bits=18,
                residual=False, rescale=False, pool=False, thresholds=False)
WORD = ENGINE.mem_bits // 8


def network(seed, bits=4, rows=5):
    """One layer whose output leaves the engine, behind one that stays inside; nine pixels leave a slot empty."""
    rng = np.random.default_rng(seed)
    tensors = {"x": Tensor("x", (2, 3, 4), 4, 1.0, 3), "y": Tensor("y", (3, 3, 4), 4, 1.0, 1),
               "z": Tensor("z", (rows, 3, 3), bits, 1.0, 0)}

    def rule(weight, codes):
        """Codes that use their range: the accumulator's middle in the middle."""
        flat = weight.reshape(len(weight), -1)
        m = rng.choice([-3, 3], len(weight)) * (codes << 10) // (16 * np.abs(flat).sum(axis=1) + 1)
        c = (codes << 9) - m * flat.sum(axis=1) * 15 // 2
        return Requant(m, c, np.full(len(m), 10), "half_even", 0, 0, codes - 1)

    sp2 = np.array([0, 1, -1, 2, -2, 4, -4, 5, -5, 6, -6, 8, -8])
    weight = rng.choice(sp2, (3, 2, 1, 1))
    first = Conv("first", "x", "y", weight, ("sp2",) * 3, np.ones(3), rule(weight, 16))
    schemes = tuple(("sp2", "fixed8")[i % 2] for i in range(rows))
    grids = {"sp2": sp2, "fixed8": np.arange(-128, 128)}
    weight = np.stack([rng.choice(grids[scheme], (3, 1, 2)) for scheme in schemes])
    second = Conv("second", "y", "z", weight, schemes, np.ones(rows),
                  rule(weight, 2**bits))
    return Graph("tiny", tensors, (first, second), "x", ("z",)), rng.integers(0, 16, (1, 2, 3, 4)).astype(np.uint8)


class Memory:
    """Program and results; reads answered in the next cycle or later, reads and writes refused at random."""

    def __init__(self, words, seed, read_chance=0.0, write_chance=0.0, fail_at=None, silent_after=None):
        self.words, self.queue, self.answers = dict(enumerate(words)), deque(), 0
        self.written: dict[int, int] = {}
        self.fail_at, self.silent_after = fail_at, silent_after
        self.read, self.speak = stalls((seed, "read"), read_chance), stalls((seed, "speak"), read_chance)
        self.write = stalls((seed, "write"), write_chance)

    def before(self, ctx, dut):
        ctx.set(dut.read_ready, next(self.read))
        ctx.set(dut.write_ready, next(self.write))
        silent = self.silent_after is not None and self.answers >= self.silent_after
        answer = bool(self.queue) and not silent and next(self.speak)
        ctx.set(dut.answer_valid, answer)
        ctx.set(dut.answer_error, answer and self.answers == self.fail_at)
        ctx.set(dut.answer_data, self.queue.popleft() if answer else 0)
        self.answers += answer

    def after(self, read, read_address, write, write_address, write_data):
        if read:
            self.queue.append(self.words.get(read_address, 0))
        if write:
            assert write_address not in self.written
            self.written[write_address] = write_data


async def infer(ctx, dut, program, memory, limit=8000):
    """One inference; returns (cycles of the engine's counter, error)."""
    ctx.set(dut.length, program.words)
    for cycle in range(limit):
        ctx.set(dut.start, cycle == 0)
        memory.before(ctx, dut)
        (read, read_ready, read_address, write, write_ready, write_address, data, done, cycles, error) = (
            await ctx.tick().sample(dut.read_valid, dut.read_ready, dut.read_address, dut.write_valid,
                                    dut.write_ready, dut.write_address, dut.write_data, dut.done, dut.cycles,
                                    dut.error))[2:]
        memory.after(read and read_ready, read_address, write and write_ready, write_address, data)
        if done and cycle > 1:
            return cycles, error
    raise AssertionError("the engine never ended")


def words_of(program, layout, codes):
    image = bytearray(program.image)
    data = input_words(layout, codes)
    begin = program.input_address * WORD
    image[begin:begin + len(data)] = data
    return [int.from_bytes(image[i:i + WORD], "little") for i in range(0, len(image), WORD)]


def results(layout, program, name, written):
    """The map of a stored tensor out of the words that were written, pixel by pixel."""
    region, base = layout.regions[name], program.output_base[name]
    layer = next(layer for layer in layout.layers if layer.output == name)
    order = np.concatenate([tile.rows for tile in layout.tiles(layer)])
    codes = np.zeros(layout.tensor(name).shape, int)
    for position, row in enumerate(order):
        block, channel = divmod(position, ENGINE.ki)
        for y in range(region.height):
            for x in range(region.width):
                point = y * region.pitch + x
                code = 0
                for plane in range(region.planes):
                    address = region.base + (block * region.planes + plane) * region.plane_step + point // ENGINE.banks
                    word = written[(base + 16 * address + point % ENGINE.banks) % 2**32]
                    code = code << 4 | word >> 4 * channel & 15
                if row >= 0:
                    codes[row, y, x] = code
    return codes


def prepare(seed, bits=4):
    graph, images = network(seed, bits)
    layout = lay_out(graph, ENGINE)
    program = assemble_layout(layout)
    return layout, program, words_of(program, layout, images[0]), run(graph, images)["z"][0]


@pytest.mark.parametrize("bits", [4, 8])
def test_cycles_are_those_planned_and_the_engine_runs_again(bits):
    """With the on-chip memory: planned cycles, golden codes, twice; no word beyond those of the output."""
    layout, program, words, golden = prepare(5, bits)
    dut = HwgenEngine(engine=ENGINE)

    async def bench(ctx):
        for _ in range(2):
            memory = Memory(words, 0)
            assert await infer(ctx, dut, program, memory) == (count_cycles(layout).total, 0)
            assert results(layout, program, "z", memory.written).tolist() == golden.tolist()
            n_planes = 2 if bits == 8 else 1
            # Two tiles of at most three rows: two words each of two channels, one plane or two.
            n_words = sum(layout.out_words(tile) for tile in layout.tiles(layout.layers[-1]))
            assert len(memory.written) == golden[0].size * n_words * n_planes
            assert min(memory.written) >= program.words and max(memory.written) < program.memory_words

    assert len(set(golden.ravel().tolist())) > 5
    simulate(dut, bench)


@pytest.mark.parametrize("depth,bits,read_chance,write_chance", [
    (8, 4, 0.0, 0.9), (8, 8, 0.3, 0.95), (9, 4, 0.5, 0.6), (64, 4, 0.8, 0.0)])
def test_write_stalls_stop_the_reader_and_lose_nothing(monkeypatch, depth, bits, read_chance, write_chance):
    """A queue that just holds one group's words: every result arrives once, whatever the memory does."""
    layout, program, words, golden = prepare(6, bits)
    monkeypatch.setattr(engine_module, "STORE_WORDS", depth)
    most = max(layout.out_words(tile) for tile in layout.tiles(layout.layers[-1]))
    assert most * (2 if bits == 8 else 1) * ENGINE.px <= depth
    dut = HwgenEngine(engine=ENGINE)

    async def bench(ctx):
        memory = Memory(words, (depth, bits), read_chance, write_chance)
        cycles, error = await infer(ctx, dut, program, memory)
        assert error == 0
        assert cycles > count_cycles(layout).total
        assert results(layout, program, "z", memory.written).tolist() == golden.tolist()

    simulate(dut, bench, cycles=10_000)


def test_errors_stop_the_engine(monkeypatch):
    """A program for another engine, a memory error, a memory that falls silent: done, with the code, at once."""
    monkeypatch.setattr(engine_module, "WATCHDOG_BITS", 7)
    layout, program, words, _ = prepare(7)
    rng = random.Random(7)

    def one(words, expected, **faults):
        dut = HwgenEngine(engine=ENGINE)

        async def bench(ctx):
            memory = Memory(words, rng.random(), **faults)
            assert await infer(ctx, dut, program, memory) == expected
            assert (ctx.get(dut.busy), ctx.get(dut.done), ctx.get(dut.engine_id)) == (0, 1, ENGINE.id)

        simulate(dut, bench, cycles=3000)

    # The first word is looked at in cycle FIRST_WORD; the error shows two registers later.
    one([words[0] ^ 1 << 20, *words[1:]], (FIRST_WORD + 2, 1))
    # Word k is answered in cycle k + 1.
    one(words, (20 + 1 + 2, 5), fail_at=20)
    # The 31st word is not answered: 128 cycles after word 30 was taken the watchdog ends it.
    one(words, (FIRST_WORD + 29 + 2**7 + 2, 4), silent_after=30)
