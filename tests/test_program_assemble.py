"""The assembled stream: packets, commands and addresses, read back by an independent reader."""

import numpy as np
from program_reader import bits, read_program
import pytest
from small_networks import Builder
from test_plan_cycles import laid_out
from test_plan_geometry import evaluations
from test_program_pack import CASES, ENGINES

from hwgen import isa
from hwgen.engine import ENGINE_VERSION
from hwgen.program.assemble import assemble_layout


def settings_of(words):
    """All fields of a LAYER command but those of the walker."""
    return {name: value for word, text in zip(isa.LAYER_WORDS, words, strict=False) if word.name not in ("step", "move")
            for name, value in word.decode(text).items()}


@pytest.mark.parametrize("layout", CASES)
def test_stream(layout):
    """Header, order of packets, checksum, sizes, and the same bytes every time."""
    engine = layout.engine
    program = assemble_layout(layout)
    assert assemble_layout(layout).image == program.image
    size = engine.mem_bits // 8
    assert len(program.image) == program.words * size
    image = read_program(program.image, engine.mem_bits)
    assert image.start == 1 | ENGINE_VERSION << 4 | engine.id << 16
    assert image.finished and image.checksum == image.computed
    region = layout.regions[layout.network.graph.input]
    in_word = engine.mem_bits // (4 * engine.ki)
    n_words = region.blocks * region.planes * region.plane_step * engine.banks
    assert program.input_words == -(-n_words // in_word)
    assert program.words <= program.input_address < program.words + 16
    assert [len(tiles) for _, tiles in image.layers] == [len(layout.tiles(step.layer)) for step in layout.steps]


@pytest.mark.parametrize("layout", CASES)
def test_operands_are_there_and_stay(layout):
    """Scratchpad and memory followed word by word: whatever a step can read is the word of that map and place.

    A fetch takes place after as many steps as it waits for, at the latest where it stands in the stream: both
    extremes are tried.  Nothing may be overwritten that a step in between still reads.
    """
    program, engine = assemble_layout(layout), layout.engine
    image = read_program(program.image, engine.mem_bits)
    in_word = engine.mem_bits // (4 * engine.ki)
    bases = program.output_base | {layout.network.graph.input: program.input_address * in_word}
    for early in (True, False):
        memory = {bases[layout.network.graph.input] + i: (layout.network.graph.input, i)
                  for i in range(layout.regions[layout.network.graph.input].size * engine.banks)}
        scratch = {}
        # (when, order): a step is an event at its number; fetches come before the step that they are done before.
        events = [(index + 0.5, 1, step) for index, step in enumerate(layout.steps)]
        events += [(wait if early else ahead, 0, (first, words, address, bank))
                   for ahead, first, words, address, bank, wait in image.fetches]
        assert all(wait <= ahead for ahead, *_, wait in image.fetches)
        for _, kind, event in sorted(events, key=lambda event: event[:2]):
            if kind == 0:
                first, words, address, bank = event
                for i in range(words):
                    scratch[divmod(address * engine.banks + bank + i, engine.banks)] = memory.get(first + i)
                continue
            check_operand(layout, scratch, event, event.layer.input, event.source, event.walk, False)
            if event.residual:
                check_operand(layout, scratch, event, event.layer.residual, event.residual, event.walk, True)
            write_output(layout, scratch, memory, bases, event)


def linear(layout, tensor, index, y, x):
    """Place of a word in the tensor's linear map."""
    region = layout.regions[tensor]
    return index * region.plane_step * layout.engine.banks + y * region.pitch + x


def check_operand(layout, scratch, step, tensor, region, walk, residual):
    conv, banks = step.layer.conv, layout.engine.banks
    _, height, width = layout.tensor(tensor).shape
    rows = set()
    for cy in range(max(0, walk.origin[0]), min(walk.conv_shape[0], walk.last_row + 1)):
        if residual:
            rows.add(cy)
        else:
            rows |= {cy * conv.strides[0] - conv.pads[0] + i for i in range(conv.weight.shape[2])}
    if not walk.raster:
        for y in rows & set(range(height)):
            assert region.first_row <= y < region.first_row + region.height
            for index in range(region.blocks * region.planes):
                for x in range(width):
                    point = (y - region.first_row) * region.pitch + x
                    place = region.base + index * region.plane_step + point // banks, point % banks
                    assert scratch[place] == (tensor, linear(layout, tensor, index, y, x))


def write_output(layout, scratch, memory, bases, step):
    tensor, target, banks = step.layer.output, step.target, layout.engine.banks
    for index in range(target.blocks * target.planes):
        for y in range(step.walk.first_row, step.walk.first_row + step.walk.out_rows):
            for x in range(target.width):
                value = tensor, linear(layout, tensor, index, y, x)
                point = (y - target.first_row) * target.pitch + x
                if step.keep:
                    scratch[target.base + index * target.plane_step + point // banks, point % banks] = value
                if step.store:
                    memory[bases[tensor] + value[1]] = value


@pytest.mark.parametrize("layout", CASES)
def test_results_lie_behind_the_program_and_apart(layout):
    program = assemble_layout(layout)
    engine = layout.engine
    in_word = engine.mem_bits // (4 * engine.ki)
    taken = set(range(program.input_address, program.input_address + program.input_words))
    for name, base in program.output_base.items():
        words = {place // in_word for place in range(base, base + layout.regions[name].size * engine.banks)}
        assert not taken & words and min(words) >= program.words and max(words) < program.memory_words
        taken |= words
    assert set(program.output_base) >= set(layout.network.graph.outputs)
    assert program.memory_words == max(taken) + 1


@pytest.mark.parametrize("layout", CASES)
def test_layer_settings(layout):
    program = assemble_layout(layout)
    image = read_program(program.image, layout.engine.mem_bits)
    for step, (words, _) in zip(layout.steps, image.layers, strict=True):
        layer, source, target = step.layer, step.source, step.target
        conv, rule, pool = layer.conv, layer.conv.requant, layer.pool
        second = layer.add or (pool.rescale if pool else None)
        found = settings_of(words)
        banks, kw = layout.engine.banks, conv.weight.shape[3]
        expected = {
            "command": 1, "kernel_w": kw - 1,
            "two_planes": int(layout.tensor(layer.input).bits > 4),
            "out_two_planes": int(layout.tensor(layer.output).bits > 4), "res_on": int(layer.residual is not None),
            "half_even": int(rule.rounding == "half_even"), "threshold_mode": int(rule.thresholds is not None),
            "store": int(step.store), "keep": int(step.keep),
            "pool_mode": 0 if pool is None else 1 if pool.rescale is None else 2,
            "rescale": 1 if layer.add else 2 if second else 0,
            "step": (15 if rule.thresholds is not None else 2 if layout.tensor(layer.output).bits > 4 else 1) - 1,
            "pad": layout.tensor(layer.input).zero_point, "pool_pad": pool.pad_code if pool else 0,
            "plane_step": source.plane_step, "block_step": source.plane_step * source.planes,
            "height": source.height, "width": source.width,
            "conv_h": layer.conv_shape[1], "conv_w": layer.conv_shape[2],
            "pool_h": (pool.kernel[0] if pool else 1) - 1, "pool_w": (pool.kernel[1] if pool else 1) - 1,
            "out_h": step.walk.out_rows - 1, "out_w": layout.tensor(layer.output).shape[2] - 1,
            "out_step": layout.regions[layer.output].plane_step, "zero": rule.zero_point,
            "low": rule.low, "high": rule.high,
        }
        # From the end of a kernel row to the beginning of the next.
        assert found["row_q"] * banks + found["row_r"] == source.pitch - (kw - 1) and 0 <= found["row_r"] < banks
        if layer.residual:
            expected |= {"res_two_planes": int(layout.tensor(layer.residual).bits > 4),
                         "res_step": step.residual.plane_step}
        if second:
            half = 0 if second.rounding == "floor" else 2**(second.shift - 1)
            expected |= {"a": second.a, "b": second.b, "c2": second.constant + half, "shift2": second.shift - 1,
                         "half_even2": int(second.rounding == "half_even"), "zero2": second.zero_point,
                         "low2": second.low, "high2": second.high}
        assert step.store or layer.output not in layout.network.graph.outputs
        if step.store:
            # Bank 0 of address 0: before the region's words, at the first row of a strip that is not kept.
            before = target.base * banks if step.keep else -step.walk.first_row * target.pitch
            expected["store_base"] = (program.output_base[layer.output] - before) % 2**32
        assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("layout", CASES)
def test_walker_words_walk_over_the_evaluations(layout):
    """Adding up steps and moves visits the points that a plain loop over the map visits."""
    image = read_program(assemble_layout(layout).image, layout.engine.mem_bits)
    banks = layout.engine.banks
    for step, (words, _) in zip(layout.steps, image.layers, strict=True):
        layer, first = step.layer, step.walk.first_row
        conv, (kh, kw) = layer.conv, layer.window.kernel
        in_pitch, out_pitch = layout.regions[layer.input].pitch, layout.regions[layer.output].pitch
        res_pitch, res_row = (step.residual.pitch, step.residual.first_row) if step.residual else (0, 0)
        out_h, out_w = step.walk.out_rows, layout.tensor(layer.output).shape[2]
        out_row = first if step.keep else 0
        steps = [[bits(w, low, 16, True) * banks + bits(w, low + 16, 4) for low in (0, 20, 40)] for w in words[9:14]]
        moves = [[bits(w, 13 * i, 13, True) for i in range(4)] for w in words[14:19]]
        state = np.array(steps[4] + moves[4])
        for index, (cy, cx) in enumerate(evaluations(layer, (first, first + out_h))):
            pi, pj = index // kw % kh, index % kw
            oy, ox = divmod(index // (kh * kw), out_w)
            iy, ix = cy * conv.strides[0] - conv.pads[0] - step.source.first_row, cx * conv.strides[1] - conv.pads[1]
            point = [iy * in_pitch + ix, (cy - res_row) * res_pitch + cx, (oy + out_row) * out_pitch + ox,
                     ix, iy, cx, cy]
            assert state.tolist() == point
            event = 0 if pj < kw - 1 else 1 if pi < kh - 1 else 2 if ox < out_w - 1 else 3
            state = state + np.array(steps[event] + moves[event])
        assert index == out_h * out_w * kh * kw - 1


@pytest.mark.parametrize("layout", CASES)
def test_tile_commands(layout):
    """Words, chunks and addresses of every tile; output words of a layer follow each other without a hole."""
    engine = layout.engine
    image = read_program(assemble_layout(layout).image, engine.mem_bits)
    for step, (_, tiles) in zip(layout.steps, image.layers, strict=True):
        layer, target, first = step.layer, step.target, 0
        kernel = layer.conv.weight.shape[2] * layer.conv.weight.shape[3]
        cycles = 15 if layer.conv.requant.thresholds is not None else target.planes
        for planned, tile in zip(layout.tiles(layer), tiles, strict=True):
            values = {**isa.TILE_WORDS[0].decode(tile.command[0]), **isa.TILE_WORDS[1].decode(tile.command[1])}
            n_words, chunks = -(-len(planned.rows) // engine.ki), len(planned.rows) // engine.drain_lanes
            assert values["blocks"] == planned.blocks - 1
            offset = planned.first_block * step.source.planes * step.source.plane_step
            assert values["base"] == step.source.base + offset
            assert values["words"] == kernel * planned.blocks - layer.spare_words == bits(tile.header, 28, 12)
            assert values["chunks"] == chunks and values["wide"] == planned.wide
            assert values["interval"] == max(4, chunks * engine.px * cycles)
            assert values["out_address"] == target.base + first * target.planes * target.plane_step
            if layer.residual:
                residual = step.residual
                assert values["res_words"] == n_words * residual.planes
                assert values["res_address"] == residual.base + first * residual.planes * residual.plane_step
            else:
                assert values["res_words"] == 0
            assert values["end"] == (planned is layout.tiles(layer)[-1])
            assert values["store_words"] == (n_words * target.planes * engine.px if step.store else 0)
            first += n_words
        assert first == target.blocks


def test_another_network_is_another_program_for_the_same_engine():
    """Retrained weights of the same shapes: same engine, same length, other bytes."""
    programs = []
    for seed in (1, 2):
        b = Builder(seed, (3, 4, 4), 4, ("sp2",))
        layout = laid_out(b.graph(b.conv("input", 5, (3, 3))), ENGINES["mixed"])
        programs.append((layout.engine.id, assemble_layout(layout)))
    assert programs[0][0] == programs[1][0]
    assert programs[0][1].words == programs[1][1].words
    assert programs[0][1].image != programs[1][1].image
