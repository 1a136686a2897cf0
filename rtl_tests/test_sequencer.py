# amaranth: UnusedElaboratable=no
"""The sequencer against loops in plain Python: words of every tile, commands, barriers, cycles."""

from dataclasses import dataclass
import random

from block_bench import pack_array, simulate, stalls, unpack_fields
import pytest

from hwgen.isa import LAYER_WORDS, TILE_WORDS
from hwgen.rtl.reader import word_layout
from hwgen.rtl.sequencer import Sequencer, settings_layout, tile_layout
from hwgen.rtl.walker import slot_layout

PX, BANKS, RING_DEPTH, RING_BITS = 2, 3, 64, 6
LAYER, TILE, FINISH = 1, 2, 3
N_SETTINGS = 9
SLOT_BITS = slot_layout().size


@dataclass
class LayerCommand:
    """A random LAYER with the numbers that the loops need."""

    rng: random.Random

    def __post_init__(self):
        rng = self.rng
        self.kernel = rng.randint(1, 3), rng.randint(1, 3)
        self.planes = rng.randint(1, 2)
        self.pitch = rng.randint(3, 20)
        self.block_step, self.plane_step = (rng.randint(0, 900) for _ in range(2))
        self.res_step = rng.randint(1, 90)
        row_q, row_r = divmod(self.pitch - (self.kernel[1] - 1), BANKS)
        values = [
            {"command": LAYER, "kernel_w": self.kernel[1] - 1, "two_planes": self.planes - 1,
             "pad": rng.randrange(256)},
            {"block_step": self.block_step, "plane_step": self.plane_step, "row_q": row_q,
             "row_r": row_r},
            {"height": rng.randrange(4096), "width": rng.randrange(4096), "res_step": self.res_step},
            {"out_step": rng.randrange(65536), "out_w": rng.randrange(4096)},
            {"zero": -rng.randrange(200), "low": rng.randrange(256), "high2": rng.randrange(256)},
            {"a": -rng.randrange(2**31), "b": rng.randrange(2**31)},
            {"c2": -rng.randrange(2**51)},
            {"store_base": rng.randrange(2**32)},
            {"begin_h": rng.randrange(64), "begin_w": rng.randrange(64), "lead_w": rng.randrange(4)},
        ]
        self.settings = {name: value for word in values for name, value in word.items() if name != "command"}
        self.config = [rng.getrandbits(60) for _ in range(5)] + [rng.getrandbits(52) for _ in range(5)]
        self.commands = [word.encode(**fields) for word, fields in zip(LAYER_WORDS, values, strict=False)] + self.config
        assert len(self.commands) == len(LAYER_WORDS) and len(values) == N_SETTINGS


class TileCommand:
    def __init__(self, rng, layer, groups, end=0):
        self.layer, self.groups = layer, groups
        self.base, self.blocks = rng.randint(0, 900), rng.randint(1, 3)
        # Of a plane; some at the end may be left out.
        self.words = layer.kernel[0] * layer.kernel[1] * self.blocks - rng.randrange(self.blocks)
        self.values = {"words": self.words, "blocks": self.blocks - 1, "base": self.base,
                       "chunks": rng.randrange(1, 99), "interval": rng.randrange(4, 9999),
                       "wide": rng.randrange(2), "res_words": rng.choice((0, 0, 1, 3)),
                       "store_words": rng.randrange(512), "end": end, "out_address": rng.randrange(65536),
                       "res_address": rng.randrange(9000)}
        values = {"command": TILE} | self.values
        self.commands = [word.encode(**{f.name: values[f.name] for f in word.fields}) for word in TILE_WORDS]

    def group_words(self, ring_base, final):
        """The words of one group in order, only the fields that must hold."""
        layer, values = self.layer, self.values
        common = {"interval": values["interval"], "words": values["words"], "store_words": values["store_words"],
                  "wide": values["wide"]}
        for i in range(values["res_words"]):
            yield common | {"residual": 1, "high": 0, "last": 0, "release": 0, "tap_r": 0,
                            "tap_q": 0, "base": values["res_address"] + i * layer.res_step}
        for plane in range(layer.planes):
            index = 0
            for ky in range(layer.kernel[0]):
                for kx in range(layer.kernel[1]):
                    tap_q, tap_r = divmod(ky * layer.pitch + kx, BANKS)
                    for block in range(min(self.blocks, self.words - index)):
                        last = plane == layer.planes - 1 and index == self.words - 1
                        yield common | {
                            "residual": 0, "high": int(layer.planes == 2 and plane == 0), "last": int(last),
                            "release": int(last and final), "dy": ky, "dx": kx, "tap_q": tap_q,
                            "tap_r": tap_r, "base": self.base + plane * layer.plane_step + block * layer.block_step,
                            "ring": (ring_base + index) % RING_DEPTH}
                        index += 1


class Bench:
    """Feeds commands and groups, takes words, and records what happened in which cycle."""

    def __init__(self, rng, commands, groups, chances=(0, 0, 0), idle=lambda cycle: 1):
        self.commands, self.groups, self.idle = list(commands), list(groups), idle
        self.sources = [stalls((rng.random(), kind), chance) for kind, chance in enumerate(chances)]
        self.taken, self.words, self.pushes, self.writes, self.groups_taken = [], [], [], [], []
        self.finish_cycles, self.illegal, self.done = [], 0, []

    async def run(self, ctx, dut, until, limit=20_000, finished=lambda cycle: 0):
        for cycle in range(limit):
            command_valid, word_ready, slots_valid = (next(source) for source in self.sources)
            command_valid &= bool(self.commands)
            slots_valid &= bool(self.groups)
            ctx.set(dut.command_valid, command_valid)
            command = self.commands[0] if command_valid else 0xBAD
            ctx.set(dut.command, command)
            ctx.set(dut.command_kind, sum((command & 15 == code) << i for i, code in enumerate((LAYER, TILE, FINISH))))
            ctx.set(dut.word_ready, word_ready)
            ctx.set(dut.slots_valid, slots_valid)
            if slots_valid:
                slots, final = self.groups[0]
                ctx.set(dut.slots.as_value(), slots)
                ctx.set(dut.slots_final, final)
            ctx.set(dut.idle, self.idle(cycle))
            ctx.set(dut.finished, finished(cycle))
            out = (await ctx.tick().sample(
                dut.command_ready, dut.word_valid, dut.word.as_value(), dut.slots_take, dut.group_push, dut.step_write,
                dut.move_write, dut.config_index, dut.final, dut.parity, dut.active.as_value(), dut.tile.as_value(),
                dut.settings.as_value(), dut.finish, dut.illegal, dut.restart,
                dut.layers_done))[2:]
            (ready, word_valid, word, take, push, step, move, index, final, parity, active, tile, settings, finish,
             self.illegal, restart, layers_done) = out
            self.done.append(layers_done)
            if step or move:
                assert command_valid and ready and not (step and move)
                self.writes.append(("step" if step else "move", index, self.commands[0]))
            if restart:
                self.writes.append(("restart", cycle, settings))
            if command_valid and ready:
                self.taken.append((cycle, self.commands.pop(0)))
            if take:
                assert slots_valid
                self.groups_taken.append(cycle)
                self.groups.pop(0)
            if word_valid and word_ready:
                self.words.append((cycle, unpack_fields(word_layout(RING_BITS), word)))
            if push:
                assert word_valid and word_ready
                self.pushes.append((cycle, active, final, parity, unpack_fields(tile_layout(), tile)))
            if finish:
                self.finish_cycles.append(cycle)
            if until(self):
                return
        raise AssertionError("the sequencer did not get there")


def program(rng, n_layers=3):
    """Commands, groups of slots, and per tile its expected words and pushes."""
    commands, groups, tiles, layers = [], [], [], []
    for _ in range(n_layers):
        layer = LayerCommand(rng)
        layers.append(layer)
        commands += layer.commands
        n_groups = rng.randint(1, 4)
        n_tiles = rng.randint(1, 3)
        for number in range(n_tiles):
            tile = TileCommand(rng, layer, n_groups, int(number == n_tiles - 1))
            tiles.append(tile)
            commands += tile.commands
            groups += [(pack_array([rng.getrandbits(SLOT_BITS) for _ in range(PX)], SLOT_BITS), i == n_groups - 1)
                       for i in range(n_groups)]
    return commands, groups, layers, tiles


@pytest.mark.parametrize("seed", range(6))
def test_random_programs(seed):
    """Every word, every push, every configuration write, in order, with stalls on all three streams."""
    rng = random.Random(f"sequencer {seed}")
    dut = Sequencer(px=PX, banks=BANKS, ring_depth=RING_DEPTH)

    async def bench(ctx):
        commands, groups, layers, tiles = program(rng)
        chances = [rng.choice((0, 0.3, 0.7)) for _ in range(3)]
        harness = Bench(rng, commands, groups, chances)
        await harness.run(ctx, dut, lambda h: len(h.pushes) == len(groups))
        assert [word for _, word in harness.taken] == commands
        found, ring_base, position = harness.words, 0, 0
        for parity, tile in enumerate(tiles):
            for group in range(tile.groups):
                final = group == tile.groups - 1
                expected = list(tile.group_words(ring_base, final))
                for (_, word), want in zip(found[:len(expected)], expected, strict=True):
                    assert {name: word[name] for name in want} == want
                cycle, active, was_final, was_parity, was_tile = harness.pushes[position]
                assert cycle == found[len(expected) - 1][0]
                assert (active, was_final, was_parity) == (*groups[position], parity % 2)
                assert was_tile == tile.values
                found = found[len(expected):]
                position += 1
            ring_base += tile.words
        assert found == []
        restarts = [entry for entry in harness.writes if entry[0] == "restart"]
        writes = [entry for entry in harness.writes if entry[0] != "restart"]
        assert writes == [(kind, index, layer.config[5 * half + index]) for layer in layers
                          for half, kind in enumerate(("step", "move")) for index in range(5)]
        for layer, (_, _, settings) in zip(layers, restarts, strict=True):
            got = unpack_fields(settings_layout(), settings)
            assert got == {name: layer.settings.get(name, 0) for name in got}
        assert ctx.get(dut.layers) == len(layers)

    simulate(dut, bench, cycles=40_000)


def test_cycles():
    """LAYER takes a word per cycle and restarts the walk; groups follow at once, tiles after three cycles."""
    rng = random.Random(7)
    dut = Sequencer(px=PX, banks=BANKS, ring_depth=RING_DEPTH)

    async def bench(ctx):
        commands, groups, layers, tiles = program(rng, n_layers=1)
        while len(tiles) < 2 or tiles[0].groups < 2:
            commands, groups, layers, tiles = program(rng, n_layers=1)
        harness = Bench(rng, commands, groups)
        await harness.run(ctx, dut, lambda h: len(h.pushes) == len(groups))
        n = len(LAYER_WORDS)
        assert [cycle for cycle, _ in harness.taken[:n]] == list(range(n))
        assert [entry[1] for entry in harness.writes if entry[0] == "restart"] == [n]
        cycle, expected = n + 1, []
        for tile in tiles:
            per_group = tile.values["res_words"] + tile.layer.planes * tile.words
            # Two cycles for the command, one for the first group.
            expected += range(cycle + 3, cycle + 3 + per_group * tile.groups)
            cycle += 3 + per_group * tile.groups
        assert [cycle for cycle, _ in harness.words] == expected

    simulate(dut, bench)


@pytest.mark.parametrize("opcode", [LAYER, FINISH])
def test_barrier(opcode):
    """LAYER is not taken, and FINISH not reported, before everything was idle for a cycle; TILE does not wait."""
    rng = random.Random(8)
    dut = Sequencer(px=PX, banks=BANKS, ring_depth=RING_DEPTH)

    async def bench(ctx):
        commands, groups, layers, tiles = program(rng, n_layers=1)
        commands += LayerCommand(rng).commands if opcode == LAYER else [FINISH]
        n_before = len(commands) - (len(LAYER_WORDS) if opcode == LAYER else 1)
        harness = Bench(rng, commands, groups, idle=lambda cycle: cycle < 5 or cycle >= 900)
        end = (lambda h: len(h.taken) == len(commands)) if opcode == LAYER else (lambda h: h.finish_cycles)
        await harness.run(ctx, dut, end)
        assert len(harness.pushes) == len(groups) and harness.pushes[-1][0] < 800
        if opcode == LAYER:
            assert harness.taken[n_before][0] == 901
        else:
            assert harness.finish_cycles == [901]

    simulate(dut, bench)


def test_finish_waits_for_the_stream_and_the_next_program_follows():
    """FINISH leaves the queue when the caller says so; then layers count from 0 again after ``clear``."""
    rng = random.Random(9)
    dut = Sequencer(px=PX, banks=BANKS, ring_depth=RING_DEPTH)

    async def bench(ctx):
        for _ in range(2):
            commands, groups, layers, tiles = program(rng, n_layers=2)
            harness = Bench(rng, [*commands, FINISH], groups)
            await harness.run(ctx, dut, lambda h: not h.commands, finished=lambda cycle: cycle >= 700)
            assert harness.taken[-1] == (700, FINISH)
            assert len(harness.finish_cycles) > 10
            assert ctx.get(dut.layers) == 2
            ctx.set(dut.command_valid, 0)
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            assert ctx.get(dut.layers) == 0

    simulate(dut, bench)


def test_layers_count_as_done_when_their_last_tile_has_left():
    """The count rises two cycles after the pipeline is idle behind a tile with ``end``, and only then."""
    rng = random.Random(11)
    dut = Sequencer(px=PX, banks=BANKS, ring_depth=RING_DEPTH)

    async def bench(ctx):
        layer = LayerCommand(rng)
        tiles = [TileCommand(rng, layer, 2, end) for end in (0, 1)]
        groups = [(0, final) for _ in tiles for final in (0, 1)]
        # Idle behind the first tile does not count.
        harness = Bench(rng, [*layer.commands, *tiles[0].commands], groups, idle=lambda cycle: cycle < 300)
        await harness.run(ctx, dut, lambda h: len(h.done) == 300)
        assert len(harness.pushes) == 2 and set(harness.done) == {0}
        harness.commands += tiles[1].commands
        harness.done, harness.idle = [], lambda cycle: cycle >= 400
        await harness.run(ctx, dut, lambda h: len(h.done) == 500)
        assert len(harness.pushes) == 4 and harness.done == [0] * 402 + [1] * 98

    simulate(dut, bench)


@pytest.mark.parametrize("opcode", [0, 4, 15])
def test_illegal_command_stops(opcode):
    """``illegal`` rises and stays; nothing is taken any more."""
    rng = random.Random(10)
    dut = Sequencer(px=PX, banks=BANKS, ring_depth=RING_DEPTH)

    async def bench(ctx):
        layer = LayerCommand(rng)
        harness = Bench(rng, [*layer.commands, opcode, *layer.commands], [])
        await harness.run(ctx, dut, lambda h: h.illegal)
        for _ in range(20):
            await harness.run(ctx, dut, lambda h: True)
            assert harness.illegal
        assert [word for _, word in harness.taken] == layer.commands

    simulate(dut, bench)
