# amaranth: UnusedElaboratable=no
"""The walker against an enumeration of evaluations in plain Python."""

from dataclasses import dataclass
import random

from block_bench import simulate, split, stalls, unpack_fields
import pytest

from hwgen.plan.timing import WALKER_LATENCY
from hwgen.rtl.walker import Walker, slot_layout

SLOT_BITS = slot_layout().size
STEP_BITS = (("in_q", 16), ("in_r", 4), ("res_q", 16), ("res_r", 4), ("out_q", 16), ("out_r", 4))
MOVE_BITS = (("ix", 13), ("iy", 13), ("cx", 13), ("cy", 13))
FLAGS = tuple(f"{axis}_{what}" for axis in "xy" for what in ("start", "begin", "end"))
EVENTS = ("pool_column", "pool_row", "column", "row", "origin")


@dataclass(frozen=True)
class Map:
    """The geometry of one layer, vertical before horizontal."""

    out: tuple[int, int]
    pool: tuple[int, int]
    pool_strides: tuple[int, int]
    pool_pads: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int]
    conv: tuple[int, int]
    pitches: tuple[int, int, int]
    """Of input, residual and output."""
    raster: bool = False
    lead: tuple[int, int] = (0, 0)
    begin: tuple[int, int] = (0, 0)
    start: tuple[int, int] = (0, 0)

    def evaluations(self):
        """Every evaluation in order: linear points, places, flags."""
        if self.raster:
            for y in range(self.out[0] * self.pool[0]):
                for x in range(self.out[1] * self.pool[1]):
                    (oy, pi), (ox, pj) = divmod(y, self.pool[0]), divmod(x, self.pool[1])
                    if y >= self.start[0] and x >= self.start[1]:
                        yield self.evaluation(oy, ox, pi, pj)
            return
        for oy in range(self.out[0]):
            for ox in range(self.out[1]):
                for pi in range(self.pool[0]):
                    for pj in range(self.pool[1]):
                        yield self.evaluation(oy, ox, pi, pj)

    def evaluation(self, oy, ox, pi, pj):
        cy, cx = oy * self.pool_strides[0] - self.pool_pads[0] + pi, ox * self.pool_strides[1] - self.pool_pads[1] + pj
        iy, ix = cy * self.strides[0] - self.pads[0], cx * self.strides[1] - self.pads[1]
        in_pitch, res_pitch, out_pitch = self.pitches
        return {
            "in": iy * in_pitch + ix, "res": cy * res_pitch + cx, "out": oy * out_pitch + ox,
            "ix": ix, "iy": iy, "cx": cx, "cy": cy,
            "inside": int(0 <= cy < self.conv[0] and 0 <= cx < self.conv[1]),
            "first": int(pi == pj == 0),
            "last": int((pi, pj) == (self.pool[0] - 1, self.pool[1] - 1) and oy >= self.lead[0] and ox >= self.lead[1]),
            "x_start": int((ox, pj) == (0, self.start[1])), "y_start": int((oy, pi) == (0, self.start[0])),
            "x_begin": int(pj == self.begin[1]), "y_begin": int(pi == self.begin[0]),
            "x_end": int(pj == self.pool[1] - 1), "y_end": int(pi == self.pool[0] - 1),
        }

    def settings(self):
        return {"pool_h": self.pool[0] - 1, "pool_w": self.pool[1] - 1, "out_h": self.out[0] - 1,
                "out_w": self.out[1] - 1, "conv_h": self.conv[0], "conv_w": self.conv[1],
                "raster": int(self.raster), "begin_h": self.begin[0], "begin_w": self.begin[1],
                "lead_h": self.lead[0], "lead_w": self.lead[1],
                "start_h": self.start[0], "start_w": self.start[1]}

    def config(self, banks):
        """The step and the move of every event, as the difference of any two evaluations that it leads between."""
        ph, pw = self.pool
        ends = {
            "pool_column": ((0, 0, 0, 0), (0, 0, 0, 1)),
            "pool_row": ((0, 0, 0, pw - 1), (0, 0, 1, 0)),
            "column": ((0, 0, ph - 1, pw - 1), (0, 1, 0, 0)),
            "row": ((0, self.out[1] - 1, ph - 1, pw - 1), (1, 0, 0, 0)),
            "origin": (None, (0, 0, 0, 0)),
        }
        if self.raster:
            left = self.start[1]
            ends["pool_row"] = ((0, self.out[1] - 1, 0, pw - 1), (0, 0, 1, left))
            ends["row"] = (ends["row"][0], (1, 0, 0, left))
            ends["origin"] = (None, (0, 0, *self.start))
            ends["column"] = ((0, 0, 0, pw - 1), (0, 1, 0, 0))
        for event in EVENTS:
            before, after = ends[event]
            delta = dict(self.evaluation(*after))
            if before is not None:
                delta = {name: value - self.evaluation(*before)[name] for name, value in delta.items()}
            step = {}
            for name in ("in", "res", "out"):
                step[f"{name}_q"], step[f"{name}_r"] = divmod(delta[name], banks)
            yield _bits(step, STEP_BITS), _bits(delta, MOVE_BITS)


def _bits(values, widths):
    word = position = 0
    for name, width in widths:
        word |= (values[name] & (1 << width) - 1) << position
        position += width
    return word


def random_map(rng) -> Map:
    pool = rng.choice([(1, 1), (1, 1), (2, 2), (3, 3), (rng.randint(1, 4), rng.randint(1, 4))])

    def pick(low, high):
        return rng.randint(low, high), rng.randint(low, high)

    pads = pick(0, 2) if pool != (1, 1) else (0, 0)
    out = pick(1, 6)
    strides = pick(1, 3) if pool != (1, 1) else (1, 1)
    conv = tuple(max(1, (o - 1) * s + k - p - rng.randint(0, 1))
                 for o, s, k, p in zip(out, strides, pool, pads, strict=True))

    def within():
        return rng.randrange(pool[0]), rng.randrange(pool[1])

    raster = rng.random() < 0.5
    if raster:
        # The flags follow the counters, whatever the windows are.
        strides = pool
    return Map(out, pool, strides, pads, pick(1, 4), pick(0, 5), conv,
               (rng.randint(1, 40), rng.randint(1, 30), rng.randint(1, 30)), raster,
               pick(0, 2) if raster else (0, 0), *([within(), within()] if raster else []))


def groups_of(map_: Map, px: int, banks: int):
    """Expected groups of one walk: lists of px slots, dead ones as {"alive": 0}."""
    slots = []
    for evaluation in map_.evaluations():
        slot = {name: evaluation[name] for name in ("ix", "iy", "inside", "first", "last", *FLAGS)} | {"alive": 1}
        for name in ("in", "res", "out"):
            slot[f"{name}_q"], slot[f"{name}_r"] = divmod(evaluation[name], banks)
        slots.append(slot)
    slots += [{"alive": 0}] * (-len(slots) % px)
    return [slots[i:i + px] for i in range(0, len(slots), px)]


async def configure(ctx, dut, map_: Map, gap=lambda: 0):
    for name, value in map_.settings().items():
        ctx.set(getattr(dut, name), value)
    words = list(map_.config(dut.banks))
    for write, column in ((dut.step_write, 0), (dut.move_write, 1)):
        for index, pair in enumerate(words):
            ctx.set(write, 1)
            ctx.set(dut.config_index, index)
            ctx.set(dut.config_data, pair[column] | 0xF << 60)
            await ctx.tick()
            ctx.set(write, 0)
            ctx.set(dut.config_data, 0)
            await ctx.tick().repeat(1 + gap())
    ctx.set(dut.restart, 1)
    await ctx.tick()
    ctx.set(dut.restart, 0)


def check_group(found: int, expected) -> None:
    for word, want in zip(split(found, SLOT_BITS, len(expected)), expected, strict=True):
        got = unpack_fields(slot_layout(), word)
        assert {name: got[name] for name in want} == want


@pytest.mark.parametrize("px,banks", [(1, 1), (2, 3), (3, 3), (4, 5), (5, 5), (8, 9)])
@pytest.mark.parametrize("seed,ahead", [(1, False), (2, False), (3, True), (4, True)])
def test_random_maps_with_stalls(px, banks, seed, ahead):
    """Three layers one after the other, each for two walks and a part of the next, its consumer stalling."""
    rng = random.Random(f"walker {px} {seed}")
    dut = Walker(px=px, banks=banks, ahead=ahead)

    async def bench(ctx):
        for number in range(3):
            map_ = random_map(rng)
            print("map", map_)
            await configure(ctx, dut, map_, lambda: rng.choice((0, 0, 2)))
            walk = groups_of(map_, px, banks)
            ready = stalls(f"{px} {seed} {number}", rng.choice((0, 0.5, 0.9)))
            index, count = 0, 2 * len(walk) + rng.randrange(len(walk))
            while index < count:
                take = next(ready) & ctx.get(dut.valid)
                ctx.set(dut.take, take)
                slots, final = (await ctx.tick().sample(dut.slots.as_value(), dut.final))[2:]
                if take:
                    check_group(slots, walk[index % len(walk)])
                    assert final == (index % len(walk) == len(walk) - 1)
                    index += 1
            ctx.set(dut.take, 0)
            await ctx.tick().repeat(rng.choice((1, px, 3 * px)))

    simulate(dut, bench, cycles=60_000)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("px,banks", [(1, 1), (2, 3), (4, 5)])
def test_cycles(px, banks, ahead):
    """px cycles per group, and one for taking it unless it waits elsewhere, when every group is taken at once."""
    map_ = Map((3, 5), (1, 1), (1, 1), (0, 0), (1, 1), (1, 1), (3, 5), (5, 5, 5))
    n_groups = -(-15 // px)
    dut = Walker(px=px, banks=banks, ahead=ahead)

    async def bench(ctx):
        await configure(ctx, dut, map_)
        taken, cycle = [], 0
        while len(taken) < 3 * n_groups:
            cycle += 1
            take = ctx.get(dut.valid)
            ctx.set(dut.take, take)
            if take:
                taken.append(cycle)
            await ctx.tick()
        # Cycle 1 is the one after the restart.
        period = max(2, px) if ahead else px + 1
        expected = [WALKER_LATENCY + px + ahead + group * period for group in range(3 * n_groups)]
        assert taken == expected

    simulate(dut, bench)


@pytest.mark.parametrize("ahead", [False, True])
def test_restart_drops_the_group_of_the_layer_before(ahead):
    """A restart in every phase of a group gives the same groups as after power up."""
    first = Map((2, 3), (2, 2), (2, 2), (1, 1), (2, 1), (1, 0), (3, 5), (7, 5, 3))
    second = Map((4, 2), (1, 1), (1, 1), (0, 0), (1, 1), (0, 0), (4, 2), (2, 2, 2))
    dut = Walker(px=3, banks=3, ahead=ahead)

    async def bench(ctx):
        for phase in range(12):
            await configure(ctx, dut, first)
            await ctx.tick().repeat(1 + phase)
            await configure(ctx, dut, second)
            for group in groups_of(second, 3, 3):
                while not ctx.get(dut.valid):
                    await ctx.tick()
                check_group(ctx.get(dut.slots.as_value()), group)
                ctx.set(dut.take, 1)
                await ctx.tick()
                ctx.set(dut.take, 0)

    simulate(dut, bench)


def test_quotients_are_kept_modulo_the_scratchpad():
    """As many bits as a bank's address has; remainders and places stay exact."""
    map_ = Map((9, 8), (2, 1), (1, 1), (1, 0), (2, 3), (1, 2), (9, 8), (29, 11, 9))
    dut = Walker(px=2, banks=3, point_bits=5)
    layout = slot_layout(5)

    async def bench(ctx):
        await configure(ctx, dut, map_)
        ctx.set(dut.take, 0)
        for group in groups_of(map_, 2, 3):
            while not ctx.get(dut.valid):
                await ctx.tick()
            for word, want in zip(split(ctx.get(dut.slots.as_value()), layout.size, 2), group, strict=True):
                got = unpack_fields(layout, word)
                assert {name: got[name] % 32 if name.endswith("_q") else got[name] for name in want} == {
                    name: value % 32 if name.endswith("_q") else value for name, value in want.items()}
            ctx.set(dut.take, 1)
            await ctx.tick()
            ctx.set(dut.take, 0)

    simulate(dut, bench)
