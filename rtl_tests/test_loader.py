# amaranth: UnusedElaboratable=no
"""The load unit: every packet, waiting for room, errors; against the list of what the stream says."""

import random

from block_bench import simulate
from loader_bench import (
    COMMANDS, END, ENGINE, ENGINES, LANES, START, THRESHOLDS, Consumer, Memory, Stream, check_log, check_room, play,
    random_stream, start_word,
)
import pytest

from hwgen.engine import ENGINE_VERSION
from hwgen.plan.load import FIRST_WORD, Load
from hwgen.plan.load import Memory as Timing
from hwgen.rtl.loader import Loader

FIRST = {name: FIRST_WORD for name in ENGINES} | {"on demand": FIRST_WORD - 2}
"""An engine without requests ahead has no registers around its FIFO."""


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("seed,chance,latency,delay,queue", [
    (1, 0.0, 1, 5, 1), (2, 0.3, 1, 20, 1), (3, 0.5, 7, 60, 3), (4, 0.2, 40, 10, 8), (5, 0.7, 3, 3, 2)])
def test_random_streams(name, seed, chance, latency, delay, queue):
    """Two runs of a random program: every event in order, and room is never exceeded."""
    stream = random_stream(seed, name=name)
    dut = Loader(engine=stream.engine)

    async def bench(ctx):
        for run in range(2):
            memory = Memory(stream, (seed, run), chance, latency, queue)
            consumer = Consumer(stream, (seed, run), chance, delay)
            out, history = await play(ctx, dut, stream, memory, consumer, 300)
            assert (out["error"], out["ended"], out["active"], out["quiet"]) == (0, 1, 0, 1)
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


@pytest.mark.parametrize("name", ENGINES)
def test_one_word_per_cycle_with_the_on_chip_memory(name):
    """Words of the stream are taken one per cycle from the first on, commands and thresholds 64 bits at a time."""
    stream = Stream(random.Random(1), name)
    stream.command(5)
    stream.parameters(2, True)
    stream.weights(3, 1, 1, 1, 1)
    stream.command(2)
    stream.finish()
    dut = Loader(engine=stream.engine)

    async def bench(ctx):
        memory, consumer = Memory(stream, 0, queue=1), Consumer(stream, 0, 0.0, 1)
        _, history = await play(ctx, dut, stream, memory, consumer, 3)
        check_log(stream, consumer)
        taken = [cycle for cycle, (moved, _, _) in enumerate(history) if moved]
        cycle, expected = 1 + FIRST[name], []
        pieces = stream.bits // 64
        left = {COMMANDS: iter((5, 2)), THRESHOLDS: iter((2 * LANES * 8,))}
        position = 0
        while position < len(stream.words):
            # Header, then payload.
            kind, count = stream.words[position] & 15, stream.words[position] >> 4 & 0xFFFFFF
            expected.append(cycle)
            cycle, position = cycle + 1, position + 1
            if kind in (START, END):
                continue
            n_pieces = next(left[kind]) if kind in left else count
            for _ in range(count):
                cost = min(pieces, n_pieces) if kind in left else 1
                n_pieces -= cost
                cycle += cost
                expected.append(cycle - 1)
            position += count
        assert taken == expected

    simulate(dut, bench)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("latency,queue", [(1, 1), (1, 4), (8, 8), (30, 8), (44, 5)])
def test_latency_is_hidden(name, latency, queue):
    """A memory that takes requests ahead loses only its latency, once."""
    stream = Stream(random.Random(2), name)
    for _ in range(2):
        stream.parameters(120, False)
    stream.finish()
    dut = Loader(engine=stream.engine)

    async def bench(ctx):
        memory, consumer = Memory(stream, 0, latency=latency, queue=queue), Consumer(stream, 0, 0.0, 1)
        _, history = await play(ctx, dut, stream, memory, consumer, 3)
        taken = [cycle for cycle, (moved, _, _) in enumerate(history) if moved]
        assert taken == [FIRST[name] + latency + k for k in range(len(stream.words))]

    simulate(dut, bench)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("latency,queue", [(1, 1), (8, 8), (40, 6)])
@pytest.mark.parametrize("seed", range(2))
def test_fetches_take_the_cycles_of_the_model(name, latency, queue, seed):
    """Fetches of every length and alignment, between packets: the load unit ends when the planner says."""
    rng = random.Random(f"fetches {seed}")
    stream = Stream(rng, name)
    plan = []
    for _ in range(8):
        if rng.random() < 0.3:
            plan.append(("command", rng.choice((1, 2, 18))))
        else:
            count = rng.choice((1, 2, 7, rng.randint(1, 300)))
            plan.append(("fetch", count, rng.randrange(len(stream.maps) - count)))
    for kind, *values in plan:
        getattr(stream, kind)(*values)
    stream.finish()
    dut = Loader(engine=stream.engine)

    async def bench(ctx):
        memory, consumer = Memory(stream, 0, latency=latency, queue=queue), Consumer(stream, 0, 0.0, 0)
        _, history = await play(ctx, dut, stream, memory, consumer, 3)
        check_log(stream, consumer)
        model = Load(stream.engine, len(stream.words), Timing(latency, queue=queue))
        model.take(1)
        for kind, *values in plan:
            if kind == "command":
                model.commands(*values)
            else:
                count, first = values
                model.fetch(Stream.MAPS * stream.bits // 16 + first, count, 0, lambda cycle: ())
        end = model.packet(0)
        # The engine's cycle counter shows 0 in the cycle after the start.
        assert max(cycle for cycle, (moved, _, _) in enumerate(history) if moved) == 1 + end

    simulate(dut, bench)


@pytest.mark.parametrize("name,counts", [("one port", [3]), ("on demand", [1, 1, 1])])
def test_a_fetch_waits_for_its_layer_and_lets_the_stream_go_on(name, counts):
    """Requests of a FETCH that waits come later; those of the program behind it are not held up."""
    stream = Stream(random.Random(5), name)
    stream.fetch(10, 0, wait=3)
    stream.command(60)
    stream.finish()
    dut = Loader(engine=stream.engine)

    async def bench(ctx):
        memory, consumer = Memory(stream, 0), Consumer(stream, 0, 0.0, 0)
        requests = []
        after = memory.after

        def record(request, address, count, tag, cycle):
            if request:
                requests.append((cycle, tag, count))
            after(request, address, count, tag, cycle)

        memory.after = record
        before = consumer.before

        def waiting(ctx, dut, cycle):
            before(ctx, dut, cycle)
            ctx.set(dut.finished, 2 if cycle < 200 else 3)

        consumer.before = waiting
        await play(ctx, dut, stream, memory, consumer, 3)
        check_log(stream, consumer)
        # Four runs of the program fill the FIFO; the counter shows 3 in cycle 200, the request follows.
        assert [tag for _, tag, _ in requests[:5]] == [0, 0, 0, 0, 1] and requests[3][0] < 60
        assert requests[4] == (201, 1, counts[0])
        assert [count for _, tag, count in requests if tag] == counts

    simulate(dut, bench)


@pytest.mark.parametrize("what", ["ring", "params"])
def test_waits_until_room_is_given_back(what):
    """The payload that finds no room is taken two cycles after the release, not before."""
    stream = Stream(random.Random(3))
    # Two tiles fill the ring to its last word; one more word has to wait.
    for words in (8, 8, 1) if what == "ring" else (1, 1, 1):
        stream.parameters(1, False)
        stream.weights(words, 1, 0, 0, 0)
        stream.command(1)
    stream.finish()
    dut = Loader(engine=ENGINE)

    async def bench(ctx):
        memory, consumer = Memory(stream, 0), Consumer(stream, 0, 0.0, 1)
        if what == "ring":
            consumer.pending = [(150, 0, 1), (200, 8, 0)]
            waiting, release = "ring", 200
        else:
            consumer.pending = [(200, 0, 1)]
            waiting, release = "params", 200
        _, _ = await play(ctx, dut, stream, memory, consumer, 3, lambda out: out["ended"])
        cycles = [cycle for cycle, _ in consumer.log[waiting]]
        third = 16 if what == "ring" else len(cycles) * 2 // 3
        assert cycles[third - 1] < 80
        # Released in cycle 200: room from 201, granted in 202.
        assert cycles[third] == release + 2
        check_log(stream, consumer)

    simulate(dut, bench)


def bad(words, position, value):
    return words[:position] + [value] + words[position + 1:]


GOOD = random_stream(9, n_tiles=2)


@pytest.mark.parametrize("words,error", [
    (bad(GOOD.words, 0, start_word(engine=ENGINE.id ^ 1)), 1),
    (bad(GOOD.words, 0, start_word(version=ENGINE_VERSION + 1)), 1),
    (bad(GOOD.words, 0, start_word(packet=COMMANDS)), 1),
    (bad(GOOD.words, 3, GOOD.words[3] & ~15), 2),
    (bad(GOOD.words, 3, GOOD.words[3] & ~15 | START), 2),
    (bad(GOOD.words, 3, GOOD.words[3] & ~15 | 8), 2),
    (bad(GOOD.words, 3, GOOD.words[3] | 15), 2),
    (bad(GOOD.words, -1 % len(GOOD.words), GOOD.words[-1] ^ 1 << 40), 3),
    (bad(GOOD.words, len(GOOD.words) - 2, GOOD.words[-2] ^ 1 << 63), 3),
    # Where a map goes, and where it comes from.
    (bad(GOOD.words, 1, GOOD.words[1] ^ 1 << 30), 3),
    (bad(GOOD.words, 2, GOOD.words[2] ^ 1), 3),
], ids=["engine", "version", "no start", "packet 0", "start again", "packet 8", "packet 15", "checksum", "command bit",
        "header bit", "source bit"])
def test_bad_programs_stop_with_their_error(words, error):
    dut = Loader(engine=ENGINE)

    async def bench(ctx):
        stream = random_stream(9, n_tiles=2)
        stream.words = words
        out, _ = await play(ctx, dut, stream, Memory(stream, 0), Consumer(stream, 0, 0.2, 5), 20,
                            lambda out: out["error"])
        assert (out["error"], out["active"]) == (error, 0)

    simulate(dut, bench, cycles=20_000)


@pytest.mark.parametrize("name", ["one port", "on demand"])
@pytest.mark.parametrize("fail_at", [0, 1, 30, 100])
def test_memory_error_is_reported(fail_at, name):
    """In the program or in a map; then nothing more is asked for, and the last answers are waited for."""
    good = random_stream(9, n_tiles=2, name=name)
    dut = Loader(engine=good.engine)

    async def bench(ctx):
        memory = Memory(good, 0, fail_at=fail_at, latency=20)
        out, _ = await play(ctx, dut, good, memory, Consumer(good, 0, 0.0, 5), 0, lambda out: out["error"])
        assert (out["error"], out["active"]) == (5, 0)
        assert out["quiet"] == (not any(memory.queues))
        for cycle in range(10_000, 10_200):
            memory.before(ctx, dut, cycle)
            request, quiet = (await ctx.tick().sample(dut.request_valid, dut.quiet))[2:]
            assert not request
        assert quiet and not any(memory.queues)

    simulate(dut, bench, cycles=20_000)
