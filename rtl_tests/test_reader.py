# amaranth: UnusedElaboratable=no
"""The window reader against a model of bank conflicts, cycle by cycle."""

from collections import Counter, deque
import random

from block_bench import pack_array, pack_fields, simulate, split, stalls
import pytest

from hwgen.engine import WORDS_IN_FLIGHT
from hwgen.plan.timing import (
    CREDIT_LATENCY, ISSUE_LATENCY, OPERAND_LATENCY, SMALL_CREDIT, SMALL_IN_FLIGHT, SMALL_ISSUE,
)
from hwgen.rtl.reader import OF_TILE, Reader, tile_layout, word_layout
from hwgen.rtl.walker import slot_layout

WORD_BITS, RING_DEPTH, RING_BITS = 16, 64, 6
OUTPUTS = ("word_ready", "ring_address", "complete", "complete_last", "release", "store_words", "valid", "high",
           "last", "wide", "residual")


def random_word(rng, last_chance=0.2):
    residual = int(rng.random() < 0.2)
    last = 0 if residual else int(rng.random() < last_chance)
    return {"base": rng.randrange(100, 3000), "tap_q": 0, "tap_r": 0, "dy": rng.randrange(4), "dx": rng.randrange(4),
            "residual": residual, "high": int(not residual and rng.random() < 0.3), "last": last,
            "release": int(last and rng.random() < 0.3), "wide": rng.randrange(2), "ring": rng.randrange(RING_DEPTH),
            "interval": rng.choice((4, 4, 5, 9, 20)), "words": rng.randrange(1, 100), "store_words": rng.randrange(500)}


def random_slot(rng, banks):
    return {"in_q": rng.randrange(-90, 90), "in_r": rng.randrange(banks), "res_q": rng.randrange(-90, 90),
            "res_r": rng.randrange(banks), "ix": rng.randrange(-4, 10), "iy": rng.randrange(-4, 10),
            "alive": int(rng.random() < 0.9), "inside": int(rng.random() < 0.9)}


class Step:
    """What one step must read and deliver."""

    def __init__(self, word, slots, size, dut):
        banks, self.word, height, width = dut.banks, word, *size
        self.places = []
        for slot in slots:
            name = "res" if word["residual"] else "in"
            point = (slot[f"{name}_q"] + word["tap_q"]) * banks + slot[f"{name}_r"] + word["tap_r"]
            y, x = slot["iy"] + word["dy"], slot["ix"] + word["dx"]
            inside = slot["inside"] if word["residual"] else 0 <= y < height and 0 <= x < width
            address = (word["base"] + point // banks) % (1 << dut.point_bits)
            self.places.append((point % banks, address) if inside and slot["alive"] else None)
        counts = Counter(place[0] for place in self.places if place)
        self.cycles = max(counts.values(), default=1)

    def operands(self, memory, pad):
        nibble = pad >> 4 if self.word["high"] else pad & 15
        return [memory(*place) if place else nibble * 0x1111 for place in self.places]


class Model:
    """When each step completes: a step takes its fullest bank's cycles, a tile's last one waits for the drain."""

    def __init__(self, one_tile=False):
        self.issue, self.credit, self.in_flight = (
            (SMALL_ISSUE, SMALL_CREDIT, SMALL_IN_FLIGHT) if one_tile
            else (ISSUE_LATENCY, CREDIT_LATENCY, WORDS_IN_FLIGHT))
        self.queue, self.step, self.age, self.earliest_last = deque(), None, 0, 0
        self.completed = []
        self.accepted = 0

    @property
    def ready(self):
        """Whether there is room for a word in this cycle: ends of steps count ``credit`` cycles later."""
        return self.accepted - sum(cycle <= self.cycle - self.credit for cycle in self.completed) < self.in_flight

    def begin(self, cycle):
        self.cycle = cycle
        if self.step is None and self.queue and self.queue[0][0] <= cycle:
            self.step, self.age = self.queue.popleft()[1], 0

    def accept(self, step):
        self.queue.append((self.cycle + self.issue, step))
        self.accepted += 1

    def complete(self, room):
        """``room``: of the store queue, as it was a cycle ago."""
        if self.step is None:
            return False
        self.age += 1
        word = self.step.word
        held = room is not None and room < word["store_words"]
        done = self.age >= self.step.cycles and not (word["last"] and (held or self.cycle < self.earliest_last))
        if done:
            self.completed.append(self.cycle)
            if word["last"]:
                self.earliest_last = self.cycle + word["interval"]
        return done


def memory_of(seed):
    return lambda bank, address: random.Random(f"{seed} {bank} {address}").getrandbits(WORD_BITS)


async def run(ctx, dut, rng, *, n_cycles, supply, holds, make_word=random_word, size=(7, 6), pad=0xA5):
    """Feed random steps and compare every output of every cycle with the model; returns the completed steps."""
    banks, px = dut.banks, dut.px
    memory, model = memory_of(rng.random()), Model(dut.one_tile)
    if dut.one_tile:
        of_tile = {name: make_word(rng)[name] for name in OF_TILE}
        ctx.set(dut.tile.as_value(), pack_fields(tile_layout(), of_tile | {
            name: 0 for name in tile_layout().members if name not in OF_TILE}))
        make_any, layout = make_word, word_layout(RING_BITS, one_tile=True)

        def make_word(rng):
            return make_any(rng) | of_tile
    else:
        layout = word_layout(RING_BITS)
    ctx.set(dut.height, size[0])
    ctx.set(dut.width, size[1])
    ctx.set(dut.pad, pad)
    ahead, seen = None, None
    completed, released = {}, 0
    for cycle in range(n_cycles):
        if ahead is None:
            word, slots = make_word(rng), [random_slot(rng, banks) for _ in range(px)]
            if not word["residual"]:
                word |= {"tap_q": rng.randrange(-90, 90), "tap_r": rng.randrange(banks)}
            ahead = Step(word, slots, size, dut)
            kept = {name: value for name, value in word.items() if name in layout.members}
            ctx.set(dut.word.as_value(), pack_fields(layout, kept))
            of_slot = slot_layout(dut.point_bits)
            ctx.set(dut.slots.as_value(), pack_array([pack_fields(of_slot, slot) for slot in slots], of_slot.size))
        word_valid, storing = next(supply), 1 - next(holds)
        room = rng.randrange(500)
        ctx.set(dut.word_valid, word_valid)
        ctx.set(dut.storing, storing)
        ctx.set(dut.room, room)
        if dut.one_tile:
            idle = ctx.get(dut.idle)
        sampled = (await ctx.tick().sample(*(getattr(dut, name) for name in OUTPUTS), dut.operands.as_value(),
                                           dut.address.as_value()))[2:]
        out = dict(zip(OUTPUTS, sampled, strict=False))
        if dut.one_tile:
            assert idle == (model.accepted == len(model.completed))
        model.begin(cycle)
        current, done = model.step, model.complete(seen)
        seen = room if storing else None
        assert out["complete"] == done
        assert out["complete_last"] == (done and current.word["last"])
        assert out["release"] == released
        released = current.word["words"] if done and current.word["release"] else 0
        if done:
            completed[cycle] = current
        if current is not None:
            assert out["store_words"] == current.word["store_words"]
        if cycle - 2 in completed:
            assert out["ring_address"] == completed[cycle - 2].word["ring"]
        if cycle - 3 in completed:
            assert out["wide"] == completed[cycle - 3].word["wide"]
        step = completed.get(cycle - OPERAND_LATENCY)
        flags = step.word if step else {"residual": 0, "last": 0}
        assert out["valid"] == (step is not None and not flags["residual"])
        assert out["residual"] == (step is not None and flags["residual"])
        assert out["last"] == flags["last"]
        if step is not None:
            assert out["high"] == flags["high"]
            assert split(sampled[-2], WORD_BITS, px) == step.operands(memory, pad)
        # The scratchpad answers in the next cycle.
        ctx.set(dut.data.as_value(), pack_array([memory(bank, address) for bank, address in
                                                 enumerate(split(sampled[-1], 16, banks))], WORD_BITS))
        assert out["word_ready"] == model.ready
        if done:
            model.step = None
        if word_valid and out["word_ready"]:
            model.accept(ahead)
            ahead = None
    return completed


@pytest.mark.parametrize("px,banks,point_bits", [(1, 1, 12), (2, 3, 14), (3, 3, 9), (4, 5, 14), (8, 9, 9)])
@pytest.mark.parametrize("one_tile", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_random_steps(px, banks, point_bits, seed, one_tile):
    """Operands, flags and every cycle of a step, with stalls of the source and of the store queue."""
    rng = random.Random(f"reader {px} {seed}")
    dut = Reader(px=px, banks=banks, word_bits=WORD_BITS, ring_depth=RING_DEPTH, point_bits=point_bits,
                 one_tile=one_tile)

    async def bench(ctx):
        completed = await run(ctx, dut, rng, n_cycles=700, supply=stalls(("supply", seed), 0.3),
                              holds=stalls(("hold", seed), 0.2))
        assert len(completed) > 50
        if px > 2:
            assert {step.cycles for step in completed.values()} > {1, 2}

    simulate(dut, bench)


@pytest.mark.parametrize("one_tile,first", [(False, ISSUE_LATENCY), (True, SMALL_ISSUE)])
def test_one_step_per_cycle_without_collisions(one_tile, first):
    """Back to back steps: one completes in every cycle once the first has come through."""
    dut = Reader(px=1, banks=1, word_bits=WORD_BITS, ring_depth=RING_DEPTH, one_tile=one_tile)

    async def bench(ctx):
        completed = await run(ctx, dut, random.Random(3), n_cycles=100, supply=iter([1] * 100), holds=iter([1] * 100),
                              make_word=lambda rng: random_word(rng, last_chance=0))
        assert sorted(completed) == list(range(first, 100))

    simulate(dut, bench)


@pytest.mark.parametrize("interval", [4, 7, 30])
def test_interval_between_last_steps(interval):
    """One-step tiles complete exactly ``interval`` cycles apart, the first one at once."""
    dut = Reader(px=2, banks=3, word_bits=WORD_BITS, ring_depth=RING_DEPTH)

    def last_word(rng):
        return random_word(rng) | {"last": 1, "residual": 0, "interval": interval}

    async def bench(ctx):
        completed = await run(ctx, dut, random.Random(interval), n_cycles=200, supply=iter([1] * 200),
                              holds=iter([1] * 200), make_word=last_word)
        cycles = sorted(completed)
        assert cycles[0] == ISSUE_LATENCY - 1 + completed[cycles[0]].cycles
        assert {b - a for a, b in zip(cycles, cycles[1:], strict=False)} == {interval}

    simulate(dut, bench)


def test_padding_code_by_plane():
    """A slot outside the map gets the high nibble in the high plane, else the low one."""
    dut = Reader(px=1, banks=1, word_bits=WORD_BITS, ring_depth=RING_DEPTH)

    def outside(rng):
        return random_word(rng) | {"residual": 0, "dy": 63}

    async def bench(ctx):
        completed = await run(ctx, dut, random.Random(5), n_cycles=80, supply=iter([1] * 80), holds=iter([1] * 80),
                              make_word=outside, pad=0x3C)
        assert all(step.places == [None] for step in completed.values())
        assert {(step.word["high"], step.operands(None, 0x3C)[0]) for step in completed.values()} == {
            (0, 0xCCCC), (1, 0x3333)}

    simulate(dut, bench)
