# amaranth: UnusedElaboratable=no
"""The dense array against numpy: random tiles back to back, planes, all lane groups, 4- and 8-bit weights."""

from block_bench import pack_array, simulate, split
import numpy as np
import pytest

from hwgen.engine import Engine
from hwgen.lanes import KINDS
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
    "all groups": Engine(ki=4, px=2, sp2_rows=1, pot_rows=2, int4_rows=3, dsp_rows=2, drain_lanes=1, ring_depth=16,
                         acc_bits=24),
    "blocks": Engine(ki=2, px=2, sp2_rows=17, int4_rows=2, dsp_rows=2, drain_lanes=1, ring_depth=16, acc_bits=20),
    "another family": Engine(ki=4, px=2, sp2_rows=17, pot_rows=1, int4_rows=2, dsp_rows=2, drain_lanes=1,
                             ring_depth=16, acc_bits=20, family="xilinx7"),
}
WEIGHTS = {"sp2": [sign * w for sign in (1, -1) for w in (0, 1, 2, 4, 5, 6, 8)], "int4": range(-8, 8),
           "pot": [0, *(1 << e for e in range(7)), *(-(1 << e) for e in range(7))]}


def lane(group, weights, acts):
    """What a lane delivers for the weights of a row and the operands of a pixel; numpy on integers."""
    excess = 0 if group == "dsp" else int(KINDS[group].correction(np.array([weights]))[0])
    return sum(w * a for w, a in zip(weights, acts, strict=True)) + excess


class Tile:
    """Random words of a tile and what the accumulators must hold after them."""

    def __init__(self, rng, engine):
        e = engine
        self.wide = bool(e.wide and rng.random() < 0.5)
        planes, words = int(rng.integers(1, 3)), int(rng.integers(1, 6))
        self.high = [1] * words + [0] * words if planes == 2 else [0] * words
        n = len(self.high)
        self.acts = rng.integers(0, 16, (n, e.px, e.ki))
        self.rows = {group: rng.choice(np.array(WEIGHTS[group]), (n, getattr(e, f"{group}_rows"), e.ki))
                     for group in ("sp2", "pot", "int4")}
        self.codes = {group: KINDS[group].encode(weights.reshape(-1, e.ki)).reshape(weights.shape)
                      for group, weights in self.rows.items()}
        # Multiplier lanes take weights with an offset, which is theirs to multiply.
        self.codes["dsp"] = self.rows["dsp"] = rng.integers(0, 256 if self.wide else 16, (n, e.dsp_rows, e.ki))
        self.noise = rng.integers(0, 16, (n, e.dsp_rows, e.ki))
        modulus, weight = 1 << e.acc_bits, [16 if high else 1 for high in self.high]
        acts = self.acts.tolist()
        self.totals = [sum(weight[i] * lane(group, weights[i, row].tolist(), acts[i][p]) for i in range(n)) % modulus
                       for group, weights in self.rows.items() for row in range(weights.shape[1])
                       for p in range(e.px)]
        self.sums = [sum(weight[i] * sum(acts[i][p]) for i in range(n)) % modulus for p in range(e.px)]

    def weights(self, engine, index):
        """The ring's data for word ``index``: slices of every lane group, row 0 lowest."""
        word, at = 0, 0
        parts = {group: codes[index] & 15 for group, codes in self.codes.items()}
        if engine.wide:
            parts["high"] = self.codes["dsp"][index] >> 4 if self.wide else self.noise[index]
        for nibbles in parts.values():
            word |= pack_array(nibbles.ravel().tolist(), 4) << at
            at += -(-nibbles.size * 4 // engine.mem_bits) * engine.mem_bits
        return word

    def acts_of(self, index):
        return pack_array(self.acts[index].ravel().tolist(), 4)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("gaps", [0.0, 0.4])
def test_random_tiles(name, gaps):
    """Totals appear ``latency`` cycles after the last word's operands and stay until those of the next tile."""
    engine = ENGINES[name]
    rng = np.random.default_rng([len(name), int(gaps * 10)])
    dut = Array(engine=engine, simulation=True)
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
