# amaranth: UnusedElaboratable=no
"""The dense array against numpy: random tiles back to back, planes, all lane groups, 4- and 8-bit weights."""

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
    "all groups": Engine(ki=4, px=2, sp2_rows=1, pot_rows=2, int4_rows=3, dsp_rows=2, drain_lanes=1, ring_depth=16,
                         acc_bits=24),
    "blocks": Engine(ki=2, px=2, sp2_rows=17, int4_rows=2, dsp_rows=2, drain_lanes=1, ring_depth=16, acc_bits=20),
    "another family": Engine(ki=4, px=2, sp2_rows=17, pot_rows=1, int4_rows=2, dsp_rows=2, drain_lanes=1,
                             ring_depth=16, acc_bits=20, family="xilinx7"),
}
SP2 = {0: 0, 1: 1, 2: 2, 3: 8, 4: 4, 5: 5, 6: 6}
CODES = {"sp2": [sign | code for sign in (0, 8) for code in SP2], "pot": [c for c in range(16) if c != 8],
         "int4": range(16)}


def int4_pair(codes, acts):
    """Two inputs of an int4 lane: planes 0 to 2 as they are, plane 3 (weight -8) as 31 - x."""
    planes = [sum(a for c, a in zip(codes, acts, strict=True) if c >> j & 1) for j in range(4)]
    return planes[0] + 2 * planes[1] + 4 * planes[2] + 8 * (31 - planes[3])


def lane(group, codes, acts):
    """What a lane delivers for the codes of a row and the operands of a pixel."""
    if group == "sp2":
        return sum(155 - SP2[c & 7] * a if c & 8 else SP2[c & 7] * a for c, a in zip(codes, acts, strict=True))
    if group == "pot":
        products = [(1 << (c & 7) >> 1) * a for c, a in zip(codes, acts, strict=True)]
        return sum(1023 - product if c & 8 else product for c, product in zip(codes, products, strict=True))
    if group == "int4":
        return sum(int4_pair(codes[i:i + 2], acts[i:i + 2]) for i in range(0, len(codes), 2))
    return sum(c * a for c, a in zip(codes, acts, strict=True))


class Tile:
    """Random words of a tile and what the accumulators must hold after them."""

    def __init__(self, rng, engine):
        e = engine
        self.wide = bool(e.wide and rng.random() < 0.5)
        planes, words = int(rng.integers(1, 3)), int(rng.integers(1, 6))
        self.high = [1] * words + [0] * words if planes == 2 else [0] * words
        n = len(self.high)
        self.acts = rng.integers(0, 16, (n, e.px, e.ki))
        self.codes = {group: rng.choice(np.array(CODES[group]), (n, getattr(e, f"{group}_rows"), e.ki))
                      for group in ("sp2", "pot", "int4")}
        self.codes["dsp"] = rng.integers(0, 256 if self.wide else 16, (n, e.dsp_rows, e.ki))
        self.noise = rng.integers(0, 16, (n, e.dsp_rows, e.ki))
        modulus, weight = 1 << e.acc_bits, [16 if high else 1 for high in self.high]
        acts = self.acts.tolist()
        self.totals = [sum(weight[i] * lane(group, codes[i, row].tolist(), acts[i][p]) for i in range(n)) % modulus
                       for group, codes in self.codes.items() for row in range(codes.shape[1]) for p in range(e.px)]
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
