# amaranth: UnusedElaboratable=no
"""The load unit: every packet, waiting for room, errors; against the list of what the stream says."""

from collections import deque
from dataclasses import dataclass, field
import random

from block_bench import simulate, stalls
import pytest

from hwgen.plan.cycles import FIRST_WORD
from hwgen.engine import ENGINE_VERSION, Engine
from hwgen.rtl.loader import PREFETCH, Loader

ENGINE = Engine(ki=4, px=2, sp2_rows=8, int4_rows=4, dsp_rows=4, drain_lanes=2, ring_depth=16, scratch_depth=64)
SLICES = {"sp2": 2, "dsp": 1, "high": 1}
"""Of ENGINE: 8 and 4 rows of 16 bits in words of 64."""
BANKS, LANES, RECORD = 3, 2, 3
START, INPUT, PARAMS, THRESHOLDS, WEIGHTS, COMMANDS, END = range(1, 8)


def start_word(version=ENGINE_VERSION, engine=ENGINE.id, packet=START):
    return packet | version << 4 | engine << 16


def checksum(words):
    state = 0
    for word in words:
        state = ((state << 1) | (state >> 31)) & 0xFFFFFFFF
        state ^= word & 0xFFFFFFFF ^ word >> 32
    return state


@dataclass
class Stream:
    """A program under construction with everything that it must cause."""

    rng: random.Random
    words: list[int] = field(default_factory=lambda: [start_word()])
    summed: list[int] = field(default_factory=list)
    scratch: list = field(default_factory=list)
    params: list = field(default_factory=list)
    thresholds: list = field(default_factory=list)
    ring: list = field(default_factory=list)
    commands: list = field(default_factory=list)
    releases: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Number of commands after which a tile may give back (ring words, parameter buffers)."""
    ring_at: int = 0
    n_params: int = 0

    def packet(self, kind, payload, extra=0, summed=True):
        header = kind | len(payload) << 4 | extra << 28
        self.words += [header, *payload]
        self.summed += [header] + (payload if summed else [])

    def random_words(self, count):
        return [self.rng.getrandbits(64) for _ in range(count)]

    def input(self, count):
        payload, address = self.random_words(count), self.rng.randrange(1000)
        self.packet(INPUT, payload, address, summed=False)
        self.scratch += [(i % BANKS, address + i // BANKS, word & 0xFFFF) for i, word in enumerate(payload)]

    def parameters(self, chunks, with_thresholds):
        parity = self.n_params % 2
        self.n_params += 1
        for kind, record, target in ((PARAMS, RECORD, self.params), (THRESHOLDS, 8, self.thresholds)):
            if kind == THRESHOLDS and not with_thresholds:
                continue
            payload = self.random_words(chunks * LANES * record)
            self.packet(kind, payload)
            target += [(i // record // LANES, i // record % LANES, i % record, parity, word)
                       for i, word in enumerate(payload)]

    def weights(self, words, sp2, int4, dsp, high):
        payload = self.random_words(words * (sp2 + int4 + dsp + high))
        self.packet(WEIGHTS, [sp2 | int4 << 18 | dsp << 27 | high << 36, *payload], words)
        slices = [*range(sp2), *(2 + i for i in range(int4)), *(3 + i for i in range(dsp)),
                  *(4 + i for i in range(high))]
        for i, word in enumerate(payload):
            self.ring.append((slices[i % len(slices)], (self.ring_at + i // len(slices)) % ENGINE.ring_depth, word))
        self.ring_at += words

    def command(self, count):
        payload = self.random_words(count)
        self.packet(COMMANDS, payload)
        self.commands += payload

    def tile(self, max_words=ENGINE.ring_depth):
        words = self.rng.choice((1, self.rng.randint(1, max_words)))
        kinds = self.rng.choice(((2, 0, 1, 1), (2, 1, 1, 0), (1, 0, 1, 0), (2, 0, 0, 0), (1, 1, 0, 0), (0, 0, 1, 0),
                                 (0, 1, 1, 1), (0, 1, 0, 0)))
        self.parameters(self.rng.randint(1, 6), self.rng.random() < 0.4)
        self.weights(words, *kinds)
        self.command(self.rng.choice((2, 3, 70)))
        self.releases[len(self.commands)] = (words, 1)

    def finish(self):
        self.words.append(END | checksum(self.summed) << 32)
        return self


def random_stream(seed, n_tiles=9):
    stream = Stream(random.Random(f"stream {seed}"))
    stream.input(stream.rng.randint(1, 40))
    for _ in range(n_tiles):
        if stream.rng.random() < 0.3:
            stream.command(stream.rng.randint(1, 30))
        stream.tile()
    return stream.finish()


@dataclass
class Memory:
    """Answers in order, at least ``latency`` cycles after the request, refused and delayed at random."""

    words: list[int]
    base: int
    seed: object
    chance: float = 0.0
    latency: int = 1
    fail_at: int = -1
    queue: deque = field(default_factory=deque)
    answered: int = 0

    def __post_init__(self):
        self.ready, self.speak = stalls((self.seed, "ready"), self.chance), stalls((self.seed, "speak"), self.chance)

    def before(self, ctx, dut, cycle):
        ctx.set(dut.request_ready, next(self.ready))
        answer = self.queue and self.queue[0][0] <= cycle and next(self.speak)
        ctx.set(dut.response_valid, bool(answer))
        ctx.set(dut.response_error, bool(answer) and self.answered == self.fail_at)
        ctx.set(dut.response_data, self.queue.popleft()[1] if answer else 0xDEAD)
        self.answered += bool(answer)

    def after(self, request, address, cycle):
        if request:
            assert self.base <= address < self.base + len(self.words)
            self.queue.append((cycle + self.latency, self.words[address - self.base]))


class Consumer:
    """Records every event, gives tiles back some time after their commands, and checks that no live word is hit."""

    EVENTS = ("scratch", "params", "thresholds", "ring", "commands")

    def __init__(self, stream, seed, chance, delay):
        self.stream, self.rng, self.delay = stream, random.Random(f"consumer {seed}"), delay
        self.ready, self.busy = stalls((seed, "commands"), chance), stalls((seed, "busy"), chance)
        self.log = {name: [] for name in self.EVENTS}
        self.pending: list[tuple[int, int, int]] = []
        self.given_words = self.given_params = 0

    def before(self, ctx, dut, cycle):
        ctx.set(dut.command_ready, next(self.ready))
        ctx.set(dut.scratch_busy, 1 - next(self.busy))
        # One tile per cycle at most, oldest first, as the engine does.
        due = self.pending and self.pending[0][0] <= cycle
        _, words, params = self.pending.pop(0) if due else (0, 0, 0)
        ctx.set(dut.ring_release, words)
        ctx.set(dut.params_release, params)
        self.given_words += words
        self.given_params += params

    def after(self, out, cycle):
        if out["scratch_write"]:
            assert not out["scratch_busy"]
            self.log["scratch"].append((cycle, (out["scratch_bank"], out["scratch_address"], out["scratch_data"])))
        place = out["param_chunk"], out["param_lane"], out["param_beat"], out["param_parity"], out["data"]
        for name in ("params", "thresholds"):
            if out[f"{name}_write"]:
                self.log[name].append((cycle, place))
        if out["ring_write"]:
            self.log["ring"].append((cycle, (out["ring_slice"], out["ring_address"], out["data"])))
        if out["command_valid"] and out["command_ready"]:
            self.log["commands"].append((cycle, out["command"]))
            release = self.stream.releases.get(len(self.log["commands"]))
            if release:
                self.pending.append((cycle + self.rng.randint(1, self.delay), *release))


WATCHED = ("scratch_write", "scratch_busy", "scratch_bank", "scratch_address", "scratch_data", "params_write",
           "thresholds_write", "param_chunk", "param_lane", "param_beat", "param_parity", "data", "ring_write",
           "ring_slice", "ring_address", "command_valid", "command_ready", "command", "request_valid",
           "request_ready", "request_address", "ended", "active", "moved", "error")


async def play(ctx, dut, stream, memory, consumer, cycles, until=lambda out: out["ended"] or out["error"]):
    """Start the loader, run to its end and ``cycles`` cycles more; returns the last outputs and every cycle's moves."""
    ctx.set(dut.base, memory.base)
    ctx.set(dut.length, len(stream.words))
    end, history = None, []
    for cycle in range(100_000):
        ctx.set(dut.start, cycle == 0)
        memory.before(ctx, dut, cycle)
        consumer.before(ctx, dut, cycle)
        sampled = (await ctx.tick().sample(*(getattr(dut, name) for name in WATCHED)))[2:]
        out = dict(zip(WATCHED, sampled, strict=True))
        memory.after(out["request_valid"] and out["request_ready"], out["request_address"], cycle)
        consumer.after(out, cycle)
        history.append((out["moved"], consumer.given_words, consumer.given_params))
        if end is None and cycle > 1 and until(out):
            end = cycle
        if end is not None and cycle >= end + cycles:
            return out, history
    raise AssertionError("the loader never ended")


def check_log(stream, consumer):
    for name in Consumer.EVENTS:
        assert [event for _, event in consumer.log[name]] == getattr(stream, name), name


def check_room(stream, consumer, history):
    """No ring word and no parameter buffer was overwritten before it was given back."""
    begun, parity = 0, None
    for cycle, (_, _, _, buffer, _) in consumer.log["params"]:
        begun += buffer != parity
        parity = buffer
        assert begun - history[cycle][2] <= 2
    written, before = 0, None
    for cycle, (_, address, _) in consumer.log["ring"]:
        written += address != before
        before = address
        assert written - history[cycle][1] <= ENGINE.ring_depth


@pytest.mark.parametrize("seed,chance,latency,delay", [
    (1, 0.0, 1, 5), (2, 0.3, 1, 20), (3, 0.5, 7, 60), (4, 0.2, 40, 10), (5, 0.7, 3, 3)])
def test_random_streams(seed, chance, latency, delay):
    """Two runs of a random program: every event in order, and room is never exceeded."""
    stream = random_stream(seed)
    dut = Loader(engine=ENGINE)

    async def bench(ctx):
        for run in range(2):
            base = 1000 * seed + run
            memory = Memory(stream.words, base, (seed, run), chance, latency)
            consumer = Consumer(stream, (seed, run), chance, delay)
            out, history = await play(ctx, dut, stream, memory, consumer, 300)
            assert (out["error"], out["ended"], out["active"]) == (0, 1, 0)
            if run == 0:
                check_log(stream, consumer)
                check_room(stream, consumer, history)
            else:
                # The ring and the parameter buffers go on where the first run left them.
                shift, parity = stream.ring_at % ENGINE.ring_depth, stream.n_params % 2
                moved = [(s, (a + shift) % ENGINE.ring_depth, w) for s, a, w in stream.ring]
                assert [event for _, event in consumer.log["ring"]] == moved
                assert [e for _, e in consumer.log["params"]] == [
                    (*p[:3], p[3] ^ parity, p[4]) for p in stream.params]
                assert [e for _, e in consumer.log["commands"]] == stream.commands

    simulate(dut, bench, cycles=100_000)


def test_one_word_per_cycle_with_the_on_chip_memory():
    """Word k of the stream is taken in cycle FIRST_WORD + k after the start, header or payload, without waiting."""
    stream = Stream(random.Random(1))
    stream.input(10)
    stream.command(5)
    stream.parameters(2, True)
    stream.weights(3, 2, 1, 1, 1)
    stream.command(2)
    stream.finish()
    dut = Loader(engine=ENGINE)

    async def bench(ctx):
        memory, consumer = Memory(stream.words, 0, 0), Consumer(stream, 0, 0.0, 1)
        _, history = await play(ctx, dut, stream, memory, consumer, 3)
        check_log(stream, consumer)
        taken = [cycle for cycle, (moved, _, _) in enumerate(history) if moved]
        # The engine's cycle counter shows 0 in the cycle after the start.
        assert taken == [1 + FIRST_WORD + k for k in range(len(stream.words))]
        # INPUT header is word 1, its payload words 2 to 11.
        assert [cycle for cycle, _ in consumer.log["scratch"]] == [1 + FIRST_WORD + 2 + k for k in range(10)]

    simulate(dut, bench)


@pytest.mark.parametrize("latency", [2, 8, PREFETCH - 4])
def test_latency_is_hidden(latency):
    """A memory that takes requests in every cycle loses only its latency, once."""
    stream = Stream(random.Random(2))
    stream.input(200)
    stream.finish()
    dut = Loader(engine=ENGINE)

    async def bench(ctx):
        memory, consumer = Memory(stream.words, 0, 0, latency=latency), Consumer(stream, 0, 0.0, 1)
        _, history = await play(ctx, dut, stream, memory, consumer, 3)
        taken = [cycle for cycle, (moved, _, _) in enumerate(history) if moved]
        assert taken == [FIRST_WORD + latency + k for k in range(len(stream.words))]

    simulate(dut, bench)


@pytest.mark.parametrize("what", ["ring", "params"])
def test_waits_until_room_is_given_back(what):
    """The packet that finds no room is taken in the cycle after the release, not before."""
    stream = Stream(random.Random(3))
    # Two tiles fill the ring to its last word; one more word has to wait.
    for words in (8, 8, 1) if what == "ring" else (1, 1, 1):
        stream.parameters(1, False)
        stream.weights(words, 1, 0, 0, 0)
        stream.command(1)
    stream.finish()
    dut = Loader(engine=ENGINE)

    async def bench(ctx):
        memory, consumer = Memory(stream.words, 0, 0), Consumer(stream, 0, 0.0, 1)
        if what == "ring":
            consumer.pending = [(150, 0, 1), (200, 8, 0)]
            waiting, release = "ring", 200
        else:
            consumer.pending = [(200, 0, 1)]
            waiting, release = "params", 200
        _, _ = await play(ctx, dut, stream, memory, consumer, 3, lambda out: out["ended"])
        cycles = [cycle for cycle, _ in consumer.log[waiting]]
        third = 16 if what == "ring" else len(cycles) * 2 // 3
        assert cycles[third - 1] < 60
        # Released in cycle 200: room from 201, in which the header is taken; its payload follows, and before
        # the weights the word with the numbers of slices.
        assert cycles[third] == release + (3 if what == "ring" else 2)
        check_log(stream, consumer)

    simulate(dut, bench)


def bad(words, position, value):
    return words[:position] + [value] + words[position + 1:]


GOOD = random_stream(9, n_tiles=2)


@pytest.mark.parametrize("words,error", [
    (bad(GOOD.words, 0, start_word(engine=ENGINE.id ^ 1)), 1),
    (bad(GOOD.words, 0, start_word(version=ENGINE_VERSION + 1)), 1),
    (bad(GOOD.words, 0, start_word(packet=COMMANDS)), 1),
    (bad(GOOD.words, 1, GOOD.words[1] & ~15), 2),
    (bad(GOOD.words, 1, GOOD.words[1] & ~15 | START), 2),
    (bad(GOOD.words, 1, GOOD.words[1] & ~15 | 8), 2),
    (bad(GOOD.words, 1, GOOD.words[1] | 15), 2),
    (bad(GOOD.words, -1 % len(GOOD.words), GOOD.words[-1] ^ 1 << 40), 3),
    (bad(GOOD.words, len(GOOD.words) - 2, GOOD.words[-2] ^ 1 << 63), 3),
    # The input's address is summed though its data are not.
    (bad(GOOD.words, 1, GOOD.words[1] ^ 1 << 30), 3),
], ids=["engine", "version", "no start", "packet 0", "start again", "packet 8", "packet 15", "checksum", "command bit",
        "header bit"])
def test_bad_programs_stop_with_their_error(words, error):
    dut = Loader(engine=ENGINE)

    async def bench(ctx):
        stream = random_stream(9, n_tiles=2)
        stream.words = words
        out, _ = await play(ctx, dut, stream, Memory(words, 0, 0), Consumer(stream, 0, 0.2, 5), 20,
                            lambda out: out["error"])
        assert (out["error"], out["active"]) == (error, 0)

    simulate(dut, bench, cycles=20_000)


def test_input_data_is_not_part_of_the_checksum():
    """The host writes another image into the same program."""
    dut = Loader(engine=ENGINE)

    async def bench(ctx):
        stream = random_stream(9, n_tiles=2)
        stream.words = bad(stream.words, 2, stream.words[2] ^ 0xFF)
        out, _ = await play(ctx, dut, stream, Memory(stream.words, 0, 0), Consumer(stream, 0, 0.0, 5), 5)
        assert (out["error"], out["ended"]) == (0, 1)

    simulate(dut, bench, cycles=20_000)


@pytest.mark.parametrize("fail_at", [0, 1, 30])
def test_memory_error_is_reported(fail_at):
    dut = Loader(engine=ENGINE)

    async def bench(ctx):
        memory = Memory(GOOD.words, 0, 0, fail_at=fail_at)
        out, _ = await play(ctx, dut, GOOD, memory, Consumer(GOOD, 0, 0.0, 5), 5, lambda out: out["error"])
        assert (out["error"], out["active"]) == (5, 0)

    simulate(dut, bench, cycles=20_000)
