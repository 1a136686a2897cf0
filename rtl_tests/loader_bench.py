# amaranth: UnusedElaboratable=no
"""Programs for the load unit alone with all that they must cause, and a memory and consumers around it."""

from collections import deque
from dataclasses import dataclass, field
import random

from block_bench import stalls

from hwgen.engine import ENGINE_VERSION, Engine

COMMON = {"ki": 4, "px": 2, "sp2_rows": 8, "int4_rows": 4, "dsp_rows": 4, "drain_lanes": 2, "ring_depth": 16,
          "scratch_depth": 64}
ENGINES = {"one port": Engine(**COMMON), "two ports": Engine(mem_bits=128, ports=2, **COMMON),
           "four ports": Engine(mem_bits=256, ports=4, **COMMON), "on demand": Engine(small=True, **COMMON)}
ENGINE = ENGINES["one port"]
BANKS, LANES = 3, 2
SLICES = {"one port": {"sp2": 2, "int4": 1, "dsp": 1, "high": 1},
          "two ports": {"sp2": 1, "int4": 1, "dsp": 1, "high": 1},
          "four ports": {"sp2": 1, "int4": 1, "dsp": 1, "high": 1}}
SLICES["on demand"] = SLICES["one port"]
"""8, 4 and 4 rows of 16 bits in memory words."""
RECORD = {"one port": (2, 1), "two ports": (1, 1), "four ports": (1, 2), "on demand": (2, 1)}
"""Memory words of a record of 18 + 44 + 14 + 18 bits, and lanes that share one."""
START, FETCH, PARAMS, THRESHOLDS, WEIGHTS, COMMANDS, END = range(1, 8)


def start_word(version=ENGINE_VERSION, engine=ENGINE.id, packet=START):
    return packet | version << 4 | engine << 16


def checksum(words, bits):
    state = 0
    for word in words:
        state = ((state << 1) | (state >> 31)) & 0xFFFFFFFF
        for shift in range(0, bits, 32):
            state ^= word >> shift & 0xFFFFFFFF
    return state


@dataclass
class Stream:
    """A program under construction with everything that it must cause."""

    rng: random.Random
    name: str = "one port"
    words: list[int] = field(default_factory=list)
    maps: list[int] = field(default_factory=list)
    """Scratchpad words in memory, from memory word ``MAPS`` on."""
    scratch: list = field(default_factory=list)
    params: list = field(default_factory=list)
    thresholds: list = field(default_factory=list)
    ring: list = field(default_factory=list)
    commands: list = field(default_factory=list)
    releases: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Number of commands after which a tile may give back (ring words, parameter buffers)."""
    ring_at: int = 0
    n_params: int = 0
    waits: list[int] = field(default_factory=list)
    """Of every FETCH, the layers that it waits for."""

    MAPS = 0x1000

    def __post_init__(self):
        self.engine = ENGINES[self.name]
        self.bits = self.engine.mem_bits
        self.words.append(start_word(engine=self.engine.id))
        self.maps = [self.rng.getrandbits(16) for _ in range(2000)]

    def packet(self, kind, payload, extra=0):
        self.words += [kind | len(payload) << 4 | extra << 28, *payload]

    def random_words(self, count):
        return [self.rng.getrandbits(self.bits) for _ in range(count)]

    def pieces(self, words):
        return [word >> shift & (1 << 64) - 1 for word in words for shift in range(0, self.bits, 64)]

    def fetch(self, count, first=None, wait=0):
        """Scratchpad words from anywhere in the maps to anywhere in the scratchpad."""
        first = self.rng.randrange(len(self.maps) - count) if first is None else first
        address, bank = self.rng.randrange(1000), self.rng.randrange(BANKS)
        place = self.MAPS * self.bits // 16 + first
        self.packet(FETCH, [place | count << 32], address | bank << 16 | wait << 20)
        self.waits.append(wait)
        self.scratch += [((bank + i) % BANKS, address + (bank + i) // BANKS, word)
                         for i, word in enumerate(self.maps[first:first + count])]

    def parameters(self, chunks, with_thresholds):
        parity = self.n_params % 2
        self.n_params += 1
        beats, together = RECORD[self.name]
        payload = self.random_words(chunks * LANES // together * beats)
        self.packet(PARAMS, payload)
        groups = LANES // together
        self.params += [(i // beats // groups, i // beats % groups, i % beats, parity, word)
                        for i, word in enumerate(payload)]
        if with_thresholds:
            payload = self.random_words(chunks * LANES * 512 // self.bits)
            self.packet(THRESHOLDS, payload)
            self.thresholds += [(i // 8 // LANES, i // 8 % LANES, i % 8, parity, piece)
                                for i, piece in enumerate(self.pieces(payload))]

    def weights(self, words, sp2, int4, dsp, high):
        payload = self.random_words(words * (sp2 + int4 + dsp + high))
        self.packet(WEIGHTS, [sp2 | int4 << 18 | dsp << 27 | high << 36, *payload], words)
        first = SLICES[self.name]["sp2"]
        slices = [*range(sp2), *(first + i for i in range(int4)), *(first + 1 + i for i in range(dsp)),
                  *(first + 2 + i for i in range(high))]
        for i, word in enumerate(payload):
            self.ring.append((slices[i % len(slices)], (self.ring_at + i // len(slices)) % ENGINE.ring_depth, word))
        self.ring_at += words

    def command(self, count):
        payload = self.random_words(-(-count * 64 // self.bits))
        self.packet(COMMANDS, payload, count)
        self.commands += self.pieces(payload)[:count]

    def tile(self, max_words=ENGINE.ring_depth):
        words = self.rng.choice((1, self.rng.randint(1, max_words)))
        most = SLICES[self.name]["sp2"]
        kinds = self.rng.choice(((most, 0, 1, 1), (most, 1, 1, 0), (1, 0, 1, 0), (most, 0, 0, 0), (1, 1, 0, 0),
                                 (0, 0, 1, 0), (0, 1, 1, 1), (0, 1, 0, 0)))
        self.parameters(self.rng.randint(1, 6), self.rng.random() < 0.4)
        self.weights(words, *kinds)
        self.command(self.rng.choice((2, 3, 70)))
        self.releases[len(self.commands)] = (words, 1)

    def finish(self):
        self.words.append(END | checksum(self.words[1:], self.bits) << 32)
        return self

    def memory_words(self):
        """Memory word by address: program and maps."""
        per_word = self.bits // 16
        result = dict(enumerate(self.words))
        for i in range(0, len(self.maps), per_word):
            result[self.MAPS + i // per_word] = sum(w << 16 * k for k, w in enumerate(self.maps[i:i + per_word]))
        return result


def random_stream(seed, n_tiles=9, name="one port"):
    stream = Stream(random.Random(f"stream {seed}"), name)
    stream.fetch(stream.rng.randint(1, 200))
    for number in range(n_tiles):
        if stream.rng.random() < 0.3:
            stream.command(stream.rng.randint(1, 30))
        for _ in range(stream.rng.choice((0, 0, 1, 3))):
            stream.fetch(stream.rng.choice((1, 5, stream.rng.randint(1, 150))), wait=stream.rng.choice((0, number)))
        stream.tile()
    return stream.finish()


@dataclass
class Memory:
    """Requests answered in order, at least ``latency`` cycles after them, each port on its own; stalls at random.

    Holds ``queue`` requests; with one the next is taken with the last word of the one before.
    """

    stream: Stream
    seed: object
    chance: float = 0.0
    latency: int = 1
    queue: int = 8
    fail_at: int = -1

    def __post_init__(self):
        self.words, ports = self.stream.memory_words(), self.stream.engine.ports
        self.queues = [deque() for _ in range(ports)]
        self.ready = stalls((self.seed, "ready"), self.chance)
        self.speak = [stalls((self.seed, "speak", port), self.chance) for port in range(ports)]
        self.asked, self.answered = 0, [0] * ports

    def before(self, ctx, dut, cycle):
        bits, valid, tags, errors, data = self.stream.engine.port_bits, 0, 0, 0, 0
        for port, queue in enumerate(self.queues):
            if queue and queue[0][0] <= cycle and next(self.speak[port]):
                _, word, tag, _ = queue.popleft()
                valid, tags = valid | 1 << port, tags | tag << port
                errors |= (port == 0 and self.answered[0] == self.fail_at) << port
                data |= (word >> port * bits & (1 << bits) - 1) << port * bits
                self.answered[port] += 1
            else:
                data |= 0xDEAD << port * bits
        ctx.set(dut.request_ready, all(sum(last for *_, last in q) < self.queue for q in self.queues)
                and next(self.ready))
        ctx.set(dut.answer_valid, valid)
        ctx.set(dut.answer_tag, tags)
        ctx.set(dut.answer_error, errors)
        ctx.set(dut.answer_data, data)

    def after(self, request, address, count, tag, cycle):
        if request:
            assert 1 <= count <= 16 and address // 16 == (address + count - 1) // 16
            for queue in self.queues:
                queue += [(cycle + self.latency, self.words[address + i], tag, i == count - 1) for i in range(count)]
            assert sum(map(len, self.queues)) <= 128 * len(self.queues)


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
        # A layer is finished now and then; with delay 0 they all are.
        ctx.set(dut.finished, min(cycle // 40, 1000) if self.delay else 1000)

    def after(self, out, cycle):
        if out["scratch_write"]:
            assert not out["scratch_busy"]
            for i in range(self.stream.engine.fetch_words):
                further, bank = divmod(out["scratch_bank"] + i, BANKS)
                if out["scratch_write"] >> i & 1:
                    self.log["scratch"].append((cycle, (bank, (out["scratch_address"] + further) % 2**16,
                                                        out["scratch_data"] >> 16 * i & 0xFFFF)))
        place = out["param_chunk"], out["param_lane"], out["param_beat"], out["param_parity"]
        for name, data in (("params", "data"), ("thresholds", "piece")):
            if out[f"{name}_write"]:
                self.log[name].append((cycle, (*place, out[data])))
        if out["ring_write"]:
            self.log["ring"].append((cycle, (out["ring_slice"], out["ring_address"], out["data"])))
        if out["command_valid"] and out["command_ready"]:
            self.log["commands"].append((cycle, out["command"]))
            release = self.stream.releases.get(len(self.log["commands"]))
            if release:
                self.pending.append((cycle + self.rng.randint(1, self.delay), *release))


WATCHED = ("scratch_write", "scratch_busy", "scratch_bank", "scratch_address", "scratch_data", "params_write",
           "thresholds_write", "param_chunk", "param_lane", "param_beat", "param_parity", "data", "piece", "ring_write",
           "ring_slice", "ring_address", "command_valid", "command_ready", "command", "request_valid",
           "request_ready", "request_address", "request_count", "request_tag", "ended", "active", "moved", "error",
           "quiet")


async def play(ctx, dut, stream, memory, consumer, cycles, until=lambda out: out["ended"] or out["error"]):
    """Start the loader, run to its end and ``cycles`` cycles more; returns the last outputs and every cycle's moves."""
    ctx.set(dut.enable, 1)
    ctx.set(dut.length, len(stream.words))
    end, history = None, []
    for cycle in range(100_000):
        ctx.set(dut.start, cycle == 0)
        memory.before(ctx, dut, cycle)
        consumer.before(ctx, dut, cycle)
        sampled = (await ctx.tick().sample(*(getattr(dut, name) for name in WATCHED)))[2:]
        out = dict(zip(WATCHED, sampled, strict=True))
        memory.after(out["request_valid"] and out["request_ready"], out["request_address"], out["request_count"],
                     out["request_tag"], cycle)
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
