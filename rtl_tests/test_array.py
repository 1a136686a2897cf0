# amaranth: UnusedElaboratable=no
"""The dense array against numpy: random tiles back to back, planes, both lane groups, 4- and 8-bit weights."""

from block_bench import pack_array, simulate, split
import numpy as np
import pytest

from hwgen.engine import Engine
from hwgen.plan.timing import tile_latency
from hwgen.rtl.array import Array
from hwgen.rtl.reader import Reader

ENGINES = {
    "both": Engine(ki=4, px=2, sp2_rows=2, dsp_rows=2, drain_lanes=2, ring_depth=16, acc_bits=24),
    "shift and add": Engine(ki=4, px=1, sp2_rows=3, dsp_rows=0, drain_lanes=1, ring_depth=16, acc_bits=24),
    "multipliers": Engine(ki=8, px=2, sp2_rows=0, dsp_rows=2, drain_lanes=1, ring_depth=16, acc_bits=20, wide=False),
    "narrow beside": Engine(ki=2, px=3, sp2_rows=2, dsp_rows=2, drain_lanes=1, ring_depth=16, acc_bits=24, wide=False,
                            dsp_weights="lut"),
    "wide port": Engine(ki=32, px=1, sp2_rows=1, dsp_rows=1, drain_lanes=1, ring_depth=16, mem_bits=128, acc_bits=26,
                        dsp_weights="lut"),
}
SP2 = {0: 0, 1: 1, 2: 2, 3: 8, 4: 4, 5: 5, 6: 6}


class Tile:
    """Random words of a tile and what the accumulators must hold after them."""

    def __init__(self, rng, engine):
        e = engine
        self.wide = bool(e.wide and rng.random() < 0.5)
        planes, words = int(rng.integers(1, 3)), int(rng.integers(1, 6))
        self.high = [1] * words + [0] * words if planes == 2 else [0] * words
        n = len(self.high)
        self.acts = rng.integers(0, 16, (n, e.px, e.ki))
        self.codes = rng.choice([sign | code for sign in (0, 8) for code in SP2], (n, e.sp2_rows, e.ki))
        self.operands = rng.integers(0, 256 if self.wide else 16, (n, e.dsp_rows, e.ki))
        self.noise = rng.integers(0, 16, (n, e.dsp_rows, e.ki))
        weight = np.where(np.array(self.high)[:, None, None] == 1, 16, 1)
        magnitude = np.vectorize(lambda code: SP2[code & 7], otypes=[int])(self.codes)
        # A negative weight's lane delivers 155 - |w|*a.
        a = self.acts[:, None]
        products = np.where(self.codes[:, :, None] & 8, 155 - magnitude[:, :, None] * a, magnitude[:, :, None] * a)
        rows = np.concatenate([products.sum(axis=3), (self.operands[:, :, None] * a).sum(axis=3)], axis=1)
        modulus = 1 << e.acc_bits
        self.totals = ((rows * weight).sum(axis=0) % modulus).ravel().tolist()
        self.sums = ((self.acts.sum(axis=2) * weight[:, 0]).sum(axis=0) % modulus).tolist()

    def weights(self, engine, index):
        """The ring's data for word ``index``: slices of every lane group, row 0 lowest."""
        word, at = 0, 0
        for kind, nibbles in (("sp2", self.codes[index]), ("dsp", self.operands[index] & 15),
                              ("high", self.operands[index] >> 4 if self.wide else self.noise[index])):
            if engine.slices(kind):
                word |= pack_array(nibbles.ravel().tolist(), 4) << at
            at += engine.slices(kind) * engine.mem_bits
        return word

    def acts_of(self, index):
        return pack_array(self.acts[index].ravel().tolist(), 4)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("gaps", [0.0, 0.4])
def test_random_tiles(name, gaps):
    """Totals appear ``latency`` cycles after the last word's operands and stay until those of the next tile."""
    engine = ENGINES[name]
    rng = np.random.default_rng([len(name), int(gaps * 10)])
    dut = Array(engine=engine)
    tiles = [Tile(rng, engine) for _ in range(12)]
    # One entry per cycle: a word of a tile, or a gap.
    schedule = []
    for tile in tiles:
        for index in range(len(tile.high)):
            schedule += [None] * int(rng.integers(1, 4) if rng.random() < gaps else 0)
            schedule.append((tile, index))
    ends = {cycle: entry[0] for cycle, entry in enumerate(schedule)
            if entry and entry[1] == len(entry[0].high) - 1}

    async def bench(ctx):
        current = None
        for cycle in range(len(schedule) + dut.latency + 4):
            ahead = schedule[cycle + 1] if cycle + 1 < len(schedule) else None
            now = schedule[cycle] if cycle < len(schedule) else None
            # Weights come one cycle before their operands.
            ctx.set(dut.weights, ahead[0].weights(engine, ahead[1]) if ahead else int(rng.integers(1 << 60)))
            ctx.set(dut.wide, ahead[0].wide if ahead else int(rng.integers(2)))
            ctx.set(dut.valid, now is not None)
            ctx.set(dut.operands.as_value(), now[0].acts_of(now[1]) if now else int(rng.integers(1 << 60)))
            ctx.set(dut.high, now[0].high[now[1]] if now else int(rng.integers(2)))
            ctx.set(dut.last, now[1] == len(now[0].high) - 1 if now else int(rng.integers(2)))
            totals, sums = (await ctx.tick().sample(dut.totals.as_value(), dut.sums.as_value()))[2:]
            current = ends.get(cycle - dut.latency, current)
            if current is not None:
                assert split(totals, engine.acc_bits, engine.rows * engine.px) == current.totals
                assert split(sums, engine.acc_bits, engine.px) == current.sums
        assert current is tiles[-1]

    # The first word's weights need a cycle before it.
    schedule.insert(0, None)
    ends = {cycle + 1: tile for cycle, tile in ends.items()}
    simulate(dut, bench)
    assert Reader.OPERAND_LATENCY + dut.latency == tile_latency(engine)
