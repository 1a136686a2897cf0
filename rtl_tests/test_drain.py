# amaranth: UnusedElaboratable=no
"""The drain against its formulas in plain integers: order, words, planes, pools, residuals, thresholds, cycles."""

from dataclasses import dataclass, field, replace
import random

from block_bench import pack_array, pack_fields, simulate
import pytest

from hwgen.engine import Engine
from hwgen.plan.timing import MIN_INTERVAL, SELECT_LATENCY, THRESHOLD_STEP, WRITE_LATENCY, lane_latency
from hwgen.rtl.drain import Drain
from hwgen.rtl.sequencer import settings_layout, tile_layout
from hwgen.rtl.walker import slot_layout

COMMON = {"ring_depth": 16, "scratch_depth": 4096, "acc_bits": 18, "m_bits": 12}
ENGINES = {
    "two lanes": Engine(ki=4, px=2, sp2_rows=4, dsp_rows=4, drain_lanes=2, **COMMON),
    "whole words": Engine(ki=4, px=1, sp2_rows=4, dsp_rows=4, drain_lanes=4, mem_bits=256, ports=2, **COMMON),
    "one lane": Engine(ki=4, px=3, sp2_rows=1, pot_rows=1, int4_rows=2, dsp_rows=5, drain_lanes=1, pool_columns=5,
                       shift_base=7, **COMMON),
    "fewer rows than channels": Engine(ki=8, px=1, sp2_rows=2, dsp_rows=0, drain_lanes=2, mem_bits=128, **COMMON),
    "plain": Engine(ki=4, px=2, sp2_rows=0, dsp_rows=4, drain_lanes=2, residual=False, rescale=False, pool=False,
                    thresholds=False, **COMMON),
}


@dataclass
class Layer:
    """Constants of a layer and the state of its pools."""

    half_even: int
    zero: int
    low: int
    high: int
    out_planes: int = 1
    thresholds: bool = False
    residual_planes: int = 0
    pool_mode: int = 0
    pool_pad: int = 0
    rescale: int = 0
    second: dict = field(default_factory=dict)
    out_step: int = 1
    state: dict = field(default_factory=dict)

    @property
    def step(self):
        return THRESHOLD_STEP if self.thresholds else self.out_planes

    def settings(self):
        return {"half_even": self.half_even, "zero": self.zero, "low": self.low, "high": self.high,
                "threshold_mode": int(self.thresholds), "out_two_planes": self.out_planes - 1,
                "res_two_planes": int(self.residual_planes == 2), "res_on": int(self.residual_planes > 0),
                "pool_mode": self.pool_mode, "pool_pad": self.pool_pad, "rescale": self.rescale,
                "step": self.step - 1, "out_step": self.out_step, **self.second}

    def code(self, record, raw, total, offset, res, slot, key):
        """One operand through the lane: accumulator, requantizer, second stage and pool."""
        acc = raw - offset * total
        if self.thresholds:
            v = -acc - 1 if record["negate"] else acc
            q = self.low + sum(v >= t for t in record["thresholds"])
        else:
            v = acc * record["m"] + res * record["r"] + record["c"]
            q = _rounded(v, record["shift"], self.half_even, self.zero, self.low, self.high)
        x = q
        if self.pool_mode == 2 and slot["alive"]:
            x = (0 if slot["first"] else self.state[key]) + (q if slot["inside"] else self.pool_pad)
            self.state[key] = x
        if self.rescale:
            s = self.second
            v = x * s["a"] + (res * s["b"] if self.rescale == 1 else 0) + s["c2"]
            q = _rounded(v, s["shift2"], s["half_even2"], s["zero2"], s["low2"], s["high2"])
        if self.pool_mode == 1 and slot["alive"]:
            q = max(0 if slot["first"] else self.state[key], q if slot["inside"] else self.pool_pad)
            self.state[key] = q
        return q


def _rounded(v, shift, half_even, zero, low, high):
    n = shift + 1
    q = v >> n
    if half_even and v % (1 << n) == 0 and q % 2:
        q -= 1
    return min(max(zero + q, low), high)


@dataclass
class Group:
    """One group of a tile: everything that is given to the drain for it."""

    tile: dict
    slots: list[dict]
    final: int
    parity: int
    records: list[dict]
    """Of the tile, by chunk * lanes + lane."""
    totals: list[int]
    sums: list[int]
    residual: list[list[int]]
    """Per chunk and lane, per pixel the code."""


def random_layer(rng, engine, kind):
    bound = {1: 15, 2: 255}
    planes = 2 if kind in ("two planes", "average") else 1
    low, high = sorted((rng.randint(0, bound[planes]), rng.randint(0, bound[planes])))
    layer = Layer(rng.randrange(2), rng.randint(-20, 20), low, high, planes, out_step=rng.randint(1, 200))
    if kind == "thresholds":
        layer = replace(layer, thresholds=True, low=0, high=15)
    if kind in ("fused", "two steps"):
        layer.residual_planes = rng.randint(1, 2)
    if kind in ("two steps", "average"):
        unit = 1 << 9
        layer.rescale = 1 if kind == "two steps" else 2
        layer.second = {"a": rng.randint(-unit, unit), "b": rng.randint(-unit, unit), "shift2": rng.randint(4, 9),
                        "c2": rng.randint(-20 * unit, 20 * unit), "half_even2": rng.randrange(2),
                        "zero2": rng.randint(-9, 9), "low2": 0, "high2": bound[planes]}
    if kind in ("maximum", "average"):
        layer.pool_mode, layer.pool_pad = (1, 0) if kind == "maximum" else (2, rng.randrange(256))
    return layer


def random_record(rng, engine, layer):
    fused = layer.residual_planes and layer.rescale != 1
    # Beside a fused residual, M is so small that both products count.
    m = rng.randint(-2, 2) if fused else rng.choice((rng.randint(-60, 60), rng.randint(-2**11, 2**11 - 1)))
    shift = rng.choice((rng.randrange(32), max(0, (abs(m) << 10).bit_length() - 4)))
    return {"m": m, "c": rng.randint(-2**20, 2**20), "shift": shift, "slot": rng.randrange(engine.chunks),
            "r": rng.randint(-2**11, 2**11 - 1) if fused else 0,
            "negate": rng.randrange(2), "thresholds": sorted(rng.randint(-5000, 200_000) for _ in range(15))}


def random_groups(rng, engine, layer, parity):
    """The groups of one row tile; windows of pools run over pixels and groups."""
    e = engine
    largest = max(e.rows, e.ki) // e.drain_lanes
    chunks = rng.randint(1, largest)
    tile = {"chunks": chunks, "wide": rng.randrange(2), "out_address": rng.randrange(2000)}
    records = [random_record(rng, e, layer) for _ in range(chunks * e.drain_lanes)]
    n_groups, window, position = rng.randint(1, 4), rng.randint(1, 3) if layer.pool_mode else 1, 0
    groups = []
    for index in range(n_groups):
        slots = []
        for p in range(e.px):
            alive = int(not (index == n_groups - 1 and p > 0 and rng.random() < 0.5))
            slots.append({"alive": alive, "first": int(position % window == 0),
                          "last": int(position % window == window - 1), "inside": int(rng.random() < 0.8),
                          "out_q": rng.randrange(-500, 500), "out_r": rng.randrange(e.banks)})
            position += 1
        sums = [rng.randrange(1 << e.acc_bits - 7) for _ in range(e.px)]
        totals = [rng.randrange(1 << e.acc_bits) for _ in range(e.rows * e.px)]
        top = {0: 1, 1: 16, 2: 256}[layer.residual_planes]
        residual = [[rng.randrange(top) for _ in range(e.px)] for _ in records]
        groups.append(Group(tile, slots, int(index == n_groups - 1), parity, records, totals, sums, residual))
    return groups


def expected_writes(engine, layer, group, go):
    """(cycle, bank, address, word, mask) of every write, and the cycles of those that are skipped."""
    e = engine
    lanes, per_word, chunks = e.drain_lanes, e.ki // e.drain_lanes, group.tile["chunks"]
    search = THRESHOLD_STEP - 2 if layer.thresholds else 0
    start = go + 1 + SELECT_LATENCY + lane_latency(e) + search + WRITE_LATENCY
    codes, writes, skipped = {}, [], []
    for chunk in range(chunks):
        for p, slot in enumerate(group.slots):
            for lane in range(lanes):
                record = group.records[chunk * lanes + lane]
                row = record["slot"] * lanes + lane
                offset = 0 if row < e.rows - e.dsp_rows else 128 if group.tile["wide"] else 8
                record = record | {"shift": record["shift"] + e.shift_base}
                codes[chunk, lane, p] = layer.code(record, group.totals[row * e.px + p], group.sums[p], offset,
                                                   group.residual[chunk * lanes + lane][p], slot, (chunk, lane))
            if (chunk + 1) % per_word and chunk != chunks - 1:
                continue
            first = chunk // per_word * per_word
            for plane in range(layer.out_planes):
                shift = 4 if layer.out_planes == 2 and plane == 0 else 0
                word = mask = 0
                for piece in range(chunk - first + 1):
                    for lane in range(lanes):
                        at = 4 * (piece * lanes + lane)
                        word |= (codes[first + piece, lane, p] >> shift & 15) << at
                        mask |= 15 << at
                cycle = start + (chunk * e.px + p) * layer.step + plane
                if not (slot["alive"] and slot["last"]):
                    skipped.append(cycle)
                    continue
                address = group.tile["out_address"] + (chunk // per_word * layer.out_planes + plane) * layer.out_step
                # Places count modulo the scratchpad, blocks may lie further apart.
                writes.append((cycle, slot["out_r"], address + slot["out_q"] % 4096, word, mask))
    return writes, skipped


def parameter_writes(engine, layer, records, parity):
    """What the load unit writes of a tile's records: (kind, chunk, group of lanes, beat, parity, data)."""
    e, packed = engine, []
    fields = [("m", e.m_bits), ("c", e.acc_bits + e.m_bits + 2), ("shift", 5), ("slot", 8), ("negate", 1)]
    fields += [("r", e.m_bits)] if e.residual and e.fused else []
    for record in records:
        word = position = 0
        for name, bits in fields:
            word |= (record[name] & (1 << bits) - 1) << position
            position += bits
        packed.append(word)
    together = 1
    while 2 * together <= e.drain_lanes and 2 * together * position <= e.mem_bits:
        together *= 2
    for first in range(0, len(packed), together):
        whole = sum(word << k * e.mem_bits // together for k, word in enumerate(packed[first:first + together]))
        place = first // e.drain_lanes, first % e.drain_lanes // together
        for beat in range(-(-position // e.mem_bits)):
            yield ("params_write", *place, beat, parity, whole >> beat * e.mem_bits & (1 << e.mem_bits) - 1)
    if layer.thresholds:
        for index, record in enumerate(records):
            place = index // e.drain_lanes, index % e.drain_lanes
            table = [*record["thresholds"], (1 << e.acc_bits) - 1]
            for beat in range(8):
                low, high = (value & 0xFFFFFFFF for value in table[2 * beat:2 * beat + 2])
                yield ("thresholds_write", *place, beat, parity, low | high << 32)


def residual_words(engine, layer, group):
    """The residual's words of a group, high plane first, all pixels side by side."""
    e = engine
    positions = len(group.records)
    for word in range(-(-positions // e.ki)):
        for plane in range(layer.residual_planes):
            shift = 4 if layer.residual_planes == 2 and plane == 0 else 0
            pixels = [pack_array([group.residual[i][p] >> shift for i in range(word * e.ki,
                                                                                 min(positions, (word + 1) * e.ki))], 4)
                      for p in range(e.px)]
            yield pack_array(pixels, e.word_bits)


class Schedule:
    """What happens in which cycle."""

    def __init__(self, engine, layer):
        self.engine, self.layer = engine, layer
        self.actions: dict[int, list] = {}
        self.live: list[tuple[int, int, Group]] = []
        """Cycles in which a group's totals are readable."""
        self.writes, self.skipped, self.releases, self.ends = [], [], [], []
        self.cycle = 0

    def at(self, cycle, *action):
        self.actions.setdefault(cycle, []).append(action)

    def add(self, rng, tiles):
        """Tiles back to back; parameters of a tile as soon as their buffer is free, like the load unit."""
        e, layer = self.engine, self.layer
        writing, pushed, residual_at = 0, 3, 3
        go, previous = None, 0
        for number, groups in enumerate(tiles):
            free = self.releases[number - 2] + 1 if number >= 2 else 0
            cycle = max(writing, free)
            for write in parameter_writes(e, layer, groups[0].records, groups[0].parity):
                self.at(cycle, *write)
                cycle += 1
            writing = cycle
            for group in groups:
                words = list(residual_words(e, layer, group))
                steps = group.tile["chunks"] * e.px * layer.step
                earliest = 0 if go is None else go + max(MIN_INTERVAL, previous)
                go = max(earliest, writing, residual_at + len(words) + 3, pushed + 4) + rng.choice((0, 0, 0, 3, 20))
                for k, word in enumerate(words):
                    self.at(go - 3 - len(words) + k, "residual", word)
                residual_at = go - 3
                push = go - 3 - rng.randrange(0, min(3, go - 3 - pushed))
                self.at(push, "push", group)
                pushed = push
                self.at(go, "go")
                self.live.append((go + 2, go + 2 + steps, group))
                writes, skipped = expected_writes(e, layer, group, go)
                self.writes += writes
                self.skipped += skipped
                if group.final:
                    self.releases.append(go + steps)
                previous = steps
                # The last step may be longer than its writes.
                search = THRESHOLD_STEP - 2 if layer.thresholds else 0
                self.ends.append((push, go + SELECT_LATENCY + lane_latency(e) + search + WRITE_LATENCY + steps))
        self.cycle = self.ends[-1][1] + 10


async def play(ctx, dut, schedule, rng):
    """Run a schedule; returns writes, and the cycles of skipped writes, of releases, and of work (not idle)."""
    e, layer = schedule.engine, schedule.layer
    ctx.set(dut.settings.as_value(), pack_fields(settings_layout(e.wrap), layer.settings()))
    slots = slot_layout(e.point_bits)
    found = [], [], [], []
    live = list(schedule.live)
    for cycle in range(schedule.cycle):
        for name in ("params_write", "thresholds_write", "residual_valid", "push", "go"):
            ctx.set(getattr(dut, name), 0)
        ctx.set(dut.param_data, rng.getrandbits(64) * ((1 << e.mem_bits) // ((1 << 64) - 1)))
        ctx.set(dut.threshold_data, cycle * 0x1357_9BDF_0246_8ACE & (1 << 64) - 1)
        for action, *values in schedule.actions.get(cycle, ()):
            if action in ("params_write", "thresholds_write"):
                ctx.set(getattr(dut, action), 1)
                for name, value in zip(("chunk", "lane", "beat", "parity"), values[:4], strict=True):
                    ctx.set(getattr(dut, f"param_{name}"), value)
                ctx.set(dut.param_data if action == "params_write" else dut.threshold_data, values[4])
            elif action == "residual":
                ctx.set(dut.residual_valid, 1)
                ctx.set(dut.residual.as_value(), values[0])
            elif action == "push":
                group = values[0]
                ctx.set(dut.push, 1)
                ctx.set(dut.tile.as_value(), pack_fields(tile_layout(), group.tile))
                ctx.set(dut.active.as_value(), pack_array([pack_fields(slots, s) for s in group.slots], slots.size))
                ctx.set(dut.final, group.final)
                ctx.set(dut.parity, group.parity)
            else:
                ctx.set(dut.go, 1)
        while live and live[0][1] <= cycle:
            live.pop(0)
        readable = live[0][2] if live and live[0][0] <= cycle else None
        ctx.set(dut.totals.as_value(), pack_array(readable.totals, e.acc_bits) if readable
                else rng.getrandbits(e.acc_bits * e.rows * e.px))
        ctx.set(dut.sums.as_value(), pack_array(readable.sums, e.acc_bits) if readable
                else rng.getrandbits(e.acc_bits * e.px))
        write, bank, address, word, skipped, release, idle = (await ctx.tick().sample(
            dut.write, dut.write_bank, dut.write_address, dut.write_data, dut.write_skipped, dut.params_release,
            dut.idle))[2:]
        assert not (write and skipped)
        for condition, log, entry in ((write, found[0], (cycle, bank, address, word)), (skipped, found[1], cycle),
                                      (release, found[2], cycle), (not idle, found[3], cycle)):
            if condition:
                log.append(entry)
    return found


def kinds_of(engine):
    kinds = ["plain", "two planes"]
    kinds += ["fused"] if engine.residual and engine.fused else []
    kinds += ["two steps"] if engine.residual and engine.rescale else []
    kinds += ["maximum"] if engine.pool else []
    kinds += ["average"] if engine.pool and engine.rescale else []
    return kinds + (["thresholds"] if engine.thresholds else [])


CASES = [(name, kind) for name, engine in ENGINES.items() for kind in kinds_of(engine)]


@pytest.mark.parametrize("name,kind", CASES)
def test_random_tiles(name, kind):
    """Four tiles of random groups: every write with its cycle, every skipped write, the parameter buffers, idle."""
    engine = ENGINES[name]
    rng = random.Random(f"drain {name} {kind}")
    dut = Drain(engine=engine)

    async def bench(ctx):
        layer = random_layer(rng, engine, kind)
        schedule = Schedule(engine, layer)
        schedule.add(rng, [random_groups(rng, engine, layer, number % 2) for number in range(4)])
        writes, skipped, releases, working = await play(ctx, dut, schedule, rng)
        masked = [(*write[:3], write[3] & want[4]) for write, want in zip(writes, schedule.writes, strict=True)]
        assert masked == [want[:4] for want in schedule.writes]
        assert skipped == schedule.skipped
        assert releases == schedule.releases
        assert working == sorted({cycle for begin, end in schedule.ends for cycle in range(begin + 1, end + 1)})

    simulate(dut, bench, cycles=20_000)


def test_layers_one_after_the_other():
    """The settings change between layers, once the drain is idle; nothing of a layer reaches the next."""
    engine = ENGINES["two lanes"]
    rng = random.Random(77)
    dut = Drain(engine=engine)

    async def bench(ctx):
        for kind in ("thresholds", "plain", "average", "two steps", "thresholds", "maximum"):
            layer = random_layer(rng, engine, kind)
            schedule = Schedule(engine, layer)
            schedule.add(rng, [random_groups(rng, engine, layer, number % 2) for number in range(2)])
            schedule.cycle -= 9
            writes, skipped, _, _ = await play(ctx, dut, schedule, rng)
            assert [(*write[:3], write[3] & want[4]) for write, want in zip(writes, schedule.writes, strict=True)] == [
                want[:4] for want in schedule.writes], kind
            assert skipped == schedule.skipped
            assert ctx.get(dut.idle)

    simulate(dut, bench, cycles=20_000)
