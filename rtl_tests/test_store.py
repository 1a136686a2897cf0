# amaranth: UnusedElaboratable=no
"""The store queue and the engine's control, through the whole engine in Amaranth's simulator with tiny networks."""

from collections import deque
from dataclasses import replace
import random

from block_bench import simulate, stalls
import numpy as np
import pytest

from hwgen.golden import run
from hwgen.graph.ir import Conv, Graph, Requant, Tensor
from hwgen.plan.cycles import count_cycles
from hwgen.engine import Engine
from hwgen.plan.layout import lay_out
from hwgen.plan.load import FIRST_WORD
from hwgen.program.assemble import assemble_layout, input_words
from hwgen.rtl import engine as engine_module
from hwgen.rtl import store as store_module
from hwgen.rtl.engine import HwgenEngine
from hwgen.rtl.store import Store

ENGINE = Engine(ki=2, px=2, sp2_rows=2, dsp_rows=1, drain_lanes=1, ring_depth=32, scratch_depth=64, acc_bits=18,
                residual=False, rescale=False, pool=False, thresholds=False)
SMALL = replace(ENGINE, small=True)
WORD = ENGINE.mem_bits // 8
PER_WORD = 8
"""Scratchpad words of 8 bits in a memory word of 64."""


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
    """Program and results; one request after the other, answered from the next cycle on; random stalls."""

    def __init__(self, words, seed, read_chance=0.0, write_chance=0.0, fail_at=None, silent_after=None):
        self.words, self.queue, self.answers = dict(enumerate(words)), deque(), 0
        self.written: dict[int, int] = {}
        """Scratchpad words by their place in memory."""
        self.n_writes, self.late = 0, deque()
        self.fail_at, self.silent_after = fail_at, silent_after
        self.read, self.speak = stalls((seed, "read"), read_chance), stalls((seed, "speak"), read_chance)
        self.write, self.confirm = stalls((seed, "write"), write_chance), stalls((seed, "confirm"), write_chance)

    def before(self, ctx, dut):
        # One request at a time; the next is taken with the last word of the one before.
        ctx.set(dut.write_ready, next(self.write))
        silent = self.silent_after is not None and self.answers >= self.silent_after
        answer = bool(self.queue) and not silent and next(self.speak)
        ctx.set(dut.answer_valid, answer)
        ctx.set(dut.answer_error, answer and self.answers == self.fail_at)
        word, tag = self.queue.popleft() if answer else (0, 0)
        ctx.set(dut.answer_data, word)
        ctx.set(dut.answer_tag, tag)
        ctx.set(dut.read_ready, len(self.queue) == 0 and next(self.read))
        if self.late and next(self.confirm):
            self.late.popleft()
        ctx.set(dut.write_idle, not self.late)
        self.answers += answer

    def after(self, read, address, count, tag, write, write_address, write_data, write_mask):
        if read:
            assert 1 <= count <= 16 and address // 16 == (address + count - 1) // 16
            self.queue += [(self.words.get(address + i, 0), tag) for i in range(count)]
        if write:
            self.n_writes += 1
            self.late.append(write_address)
            assert write_mask
            for k in range(PER_WORD):
                if write_mask >> k & 1:
                    place = write_address * PER_WORD + k
                    assert place not in self.written
                    self.written[place] = write_data >> 8 * k & 255


async def infer(ctx, dut, program, memory, limit=8000):
    """One inference; returns (cycles of the engine's counter, error)."""
    ctx.set(dut.length, program.words)
    for cycle in range(limit):
        ctx.set(dut.start, cycle == 0)
        memory.before(ctx, dut)
        (read, read_ready, address, count, tag, write, write_ready, write_address, data, mask, done, cycles, error) = (
            await ctx.tick().sample(dut.read_valid, dut.read_ready, dut.read_address, dut.read_count, dut.read_tag,
                                    dut.write_valid, dut.write_ready, dut.write_address, dut.write_data,
                                    dut.write_mask, dut.done, dut.cycles, dut.error))[2:]
        memory.after(read and read_ready, address, count, tag, write and write_ready, write_address, data, mask)
        if done and cycle > 1:
            return cycles, error
    raise AssertionError("the engine never ended")


def words_of(program, layout, codes):
    image = bytearray(program.memory_words * WORD)
    image[:len(program.image)] = program.image
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
                    word = written[(base + ENGINE.banks * address + point % ENGINE.banks) % 2**32]
                    code = code << 4 | word >> 4 * channel & 15
                if row >= 0:
                    codes[row, y, x] = code
    return codes


def prepare(seed, bits=4, engine=ENGINE):
    graph, images = network(seed, bits)
    layout = lay_out(graph, engine)
    program = assemble_layout(layout)
    return layout, program, words_of(program, layout, images[0]), run(graph, images)["z"][0]


@pytest.mark.parametrize("engine", [ENGINE, SMALL], ids=["engine", "small"])
@pytest.mark.parametrize("bits", [4, 8])
def test_cycles_are_those_planned_and_the_engine_runs_again(bits, engine):
    """With the on-chip memory: planned cycles, golden codes, twice; no word beyond those of the output."""
    layout, program, words, golden = prepare(5, bits, engine)
    dut = HwgenEngine(engine=engine)

    async def bench(ctx):
        for _ in range(2):
            memory = Memory(words, 0)
            assert await infer(ctx, dut, program, memory) == (count_cycles(layout).total, 0)
            assert results(layout, program, "z", memory.written).tolist() == golden.tolist()
            n_planes = 2 if bits == 8 else 1
            # Two tiles of at most three rows: two words each of two channels, one plane or two.
            n_words = sum(layout.out_words(tile) for tile in layout.tiles(layout.layers[-1]))
            assert len(memory.written) == golden[0].size * n_words * n_planes
            places = [place // PER_WORD for place in memory.written]
            assert min(places) >= program.words and max(places) < program.memory_words
            if engine.small:
                assert memory.n_writes == len(memory.written)
            elif bits == 4:
                # Pixels of a group lie side by side, in memory too: two at a time.
                assert memory.n_writes < len(memory.written)

    assert len(set(golden.ravel().tolist())) > 5
    simulate(dut, bench)


@pytest.mark.parametrize("engine", [ENGINE, SMALL], ids=["engine", "small"])
@pytest.mark.parametrize("depth,bits,read_chance,write_chance", [
    (8, 4, 0.0, 0.9), (8, 8, 0.3, 0.95), (9, 4, 0.5, 0.6), (64, 4, 0.8, 0.0)])
def test_write_stalls_stop_the_reader_and_lose_nothing(monkeypatch, depth, bits, read_chance, write_chance, engine):
    """A queue that just holds one group's words: every result arrives once, whatever the memory does."""
    layout, program, words, golden = prepare(6, bits, engine)
    monkeypatch.setattr(store_module, "STORE_WORDS", depth)
    most = max(layout.out_words(tile) for tile in layout.tiles(layout.layers[-1]))
    assert most * (2 if bits == 8 else 1) * ENGINE.px <= depth
    dut = HwgenEngine(engine=engine)

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
    # The third word is not answered: 128 cycles after word 1 was taken the watchdog ends it.
    one(words, (FIRST_WORD + 1 + 2**7 + 3, 4), silent_after=2)


def bad(words, position, value):
    return words[:position] + [value] + words[position + 1:]


@pytest.mark.parametrize("fault", ["engine", "packet", "command", "checksum", "memory", "silence", "write"])
@pytest.mark.parametrize("chance", [0.0, 0.5])
def test_runs_again_after_an_error(monkeypatch, fault, chance):
    """Answers to the bad program still come while the next one is started: it gives the right result, in its time."""
    monkeypatch.setattr(engine_module, "WATCHDOG_BITS", 7)
    layout, program, words, golden = prepare(7)
    commands = next(i for i, word in enumerate(words) if word & 15 == 6)
    broken = {"engine": bad(words, 0, words[0] ^ 1 << 20), "packet": bad(words, commands, words[commands] | 9),
              "command": bad(words, commands + 1, words[commands + 1] | 15),
              "checksum": bad(words, program.words - 1, words[program.words - 1] ^ 1 << 63)}.get(fault, words)
    faults = {"memory": {"fail_at": 40}, "silence": {"silent_after": 60}}.get(fault, {})
    expected = {"engine": 1, "packet": 2, "command": 2, "checksum": 3, "silence": 4}.get(fault, 5)
    dut = HwgenEngine(engine=ENGINE)

    async def bench(ctx):
        memory = Memory(broken, fault, chance, chance, **faults)
        if fault == "write":
            async def fail(ctx):
                while not memory.written:
                    await ctx.tick()
                ctx.set(dut.write_error, 1)
                await ctx.tick()
                ctx.set(dut.write_error, 0)
            watch.append(fail)
        _, error = await infer(ctx, dut, program, memory)
        assert error == expected
        again = Memory(words, (fault, 2), 0.0, 0.0)
        again.queue, again.late = memory.queue, memory.late
        assert await infer(ctx, dut, program, again) == (count_cycles(layout).total, 0)
        assert results(layout, program, "z", again.written).tolist() == golden.tolist()

    watch: list = []

    async def watcher(ctx):
        while not watch:
            await ctx.tick()
            if fault != "write":
                return
        await watch[0](ctx)

    simulate(dut, bench, watcher, cycles=10_000)


@pytest.mark.parametrize("mem_bits,ports", [(64, 1), (128, 1), (256, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_store_gathers_words_of_a_memory_word(mem_bits, ports, seed):
    """Every word at its place, neighbours together, nothing lost or late, whatever the memory does."""
    engine = Engine(ki=4, px=2, sp2_rows=2, dsp_rows=2, drain_lanes=2, scratch_depth=64, mem_bits=mem_bits, ports=ports)
    rng, per_word = random.Random(f"{mem_bits} {seed}"), mem_bits // 16
    base, banks = rng.getrandbits(32), 3
    ready = stalls(seed, (0.0, 0.4, 0.9)[seed])
    runs = []
    for _ in range(30):
        first = rng.randrange(0, 64 * banks - 6)
        runs += list(range(first, first + rng.randint(1, 6)))
    dut, expected, taken = Store(engine=engine), [], []

    async def bench(ctx):
        ctx.set(dut.enable, 1)
        ctx.set(dut.base, base)
        left, claimed = list(runs), 0
        for cycle in range(3000):
            # Two places are asked for at a time; one word of them is skipped now and then.
            ctx.set(dut.claim_words, 2)
            claim = not claimed and bool(left) and ctx.get(dut.room) >= 2
            write, skip = bool(claimed) and rng.random() < 0.6, False
            if claimed and not write and claimed == 1 and rng.random() < 0.3:
                skip = True
            if write and not left:
                write, skip = False, True
            ctx.set(dut.claim, claim)
            ctx.set(dut.write, write)
            ctx.set(dut.skipped, skip)
            claimed += 2 * claim - write - skip
            if write:
                point, word = left.pop(0), rng.getrandbits(16)
                expected.append(((base + point) % 2**32, word))
                ctx.set(dut.address, point // banks)
                ctx.set(dut.bank, point % banks)
                ctx.set(dut.data, word)
            ctx.set(dut.flush, not left and not claimed)
            ctx.set(dut.write_ready, next(ready))
            valid, is_ready, address, data, mask, idle = (await ctx.tick().sample(
                dut.write_valid, dut.write_ready, dut.write_address, dut.write_data, dut.write_mask, dut.idle))[2:]
            if valid and is_ready:
                taken.append([((address * per_word + k) % 2**32, data >> 16 * k & 0xFFFF) for k in range(per_word)
                              if mask >> k & 1])
            if not left and not claimed and idle and cycle > 10 and sum(map(len, taken)) >= len(expected):
                break
        assert idle

    simulate(dut, bench)
    assert len(expected) == len(runs)
    # A memory word goes out when a word of another one comes: exactly the runs of equal addresses.
    grouped = []
    for place, word in expected:
        if not grouped or place // per_word != grouped[-1][0][0] // per_word:
            grouped.append([])
        grouped[-1].append((place, word))
    assert taken == [sorted(dict(group).items()) for group in grouped]
