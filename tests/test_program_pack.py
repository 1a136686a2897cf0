"""Weights and parameters: the packed bytes, decoded by an independent reader, are the network's."""

from dataclasses import replace

import numpy as np
from program_reader import read_program
import pytest
from small_networks import NETWORKS, Builder
from test_plan_cycles import laid_out

from hwgen.engine import Engine
from hwgen.plan.layout import fit_scratchpad
from hwgen.program.assemble import assemble_layout

ENGINES = {
    "mixed": Engine(ki=4, px=2, sp2_rows=4, dsp_rows=4, drain_lanes=2),
    "shifts": Engine(ki=4, px=2, sp2_rows=4, dsp_rows=4, drain_lanes=2, shift_base=14),
    "one lane": Engine(ki=8, px=1, sp2_rows=3, dsp_rows=5, drain_lanes=1, mem_bits=128),
    "multipliers": Engine(ki=16, px=3, sp2_rows=0, dsp_rows=4, drain_lanes=4, mem_bits=256, ports=4),
    "wide words": Engine(ki=32, px=1, sp2_rows=2, dsp_rows=2, drain_lanes=2, mem_bits=128),
    "narrow": Engine(ki=2, px=1, sp2_rows=10, dsp_rows=6, drain_lanes=2, mem_bits=512, ports=4),
    "all groups": Engine(ki=8, px=1, sp2_rows=4, pot_rows=2, int4_rows=6, dsp_rows=4, drain_lanes=2, mem_bits=128),
}


def stored_channels(layout, tensor):
    """Channel at each position of the stored tensor, -1 for none, up to whole words."""
    order = None
    for layer in layout.layers:
        if layer.output == tensor:
            order = np.concatenate([tile.rows for tile in layout.tiles(layer)])
        elif order is None and tensor in (layer.residual, layer.input if layer.depthwise else None):
            order = np.concatenate([tile.rows for tile in layout.tiles(layer)])
    if order is None:
        order = np.arange(layout.tensor(tensor).shape[0])
    return np.pad(order, (0, -len(order) % layout.engine.ki), constant_values=-1)


def expected_row(layout, layer, tile, row):
    """The row's weights in the order in which the engine meets them: kernel row, kernel column, stored channel.

    Of the channels that the tile reads, which are all of the row's group unless the layer has few weights; zero for
    those that are not of the group.  No weight is left out.
    """
    order, weight = stored_channels(layout, layer.input), layer.conv.weight[row]
    ki, channels = layout.engine.ki, len(weight)
    own = list(range(channels * layer.conv.groups))
    own = own[row * layer.conv.groups // len(layer.conv.weight) * channels:][:channels]
    order = order[tile.first_block * ki:(tile.first_block + tile.blocks) * ki]
    pairs = layer.conv.weight.any(axis=(2, 3))
    few = layer.conv.groups == 1 and not layer.spare_words and 2 * np.count_nonzero(pairs) <= pairs.size
    needed = {channel for channel, taps in zip(own, weight, strict=True) if taps.any()} if few else set(own)
    assert needed <= set(order.tolist())
    found = [int(weight[own.index(channel), i, j]) if channel in own else 0
             for i in range(weight.shape[1]) for j in range(weight.shape[2]) for channel in order.tolist()]
    # What is left out at the end is zero.
    end = len(found) - layer.spare_words * layout.engine.ki
    assert not any(found[end:])
    return found[:end]


def images():
    for name in NETWORKS:
        for kind, engine in ENGINES.items():
            for share in (1.0, 0.4):
                layout = laid_out(NETWORKS[name](4)[0], engine, share=share)
                if layout is not None:
                    yield pytest.param(layout, id=f"{name} {kind} {share}")


CASES = list(images())


def test_most_networks_fit_most_engines():
    assert len(CASES) >= 24


@pytest.mark.parametrize("layout", CASES)
def test_weights(layout):
    engine = layout.engine
    program = read_program(assemble_layout(layout).image, engine.mem_bits)
    for step, (_, tiles) in zip(layout.steps, program.layers, strict=True):
        layer = step.layer
        for planned, tile in zip(layout.tiles(layer), tiles, strict=True):
            operands = tile.lane_operands(engine)
            for row, slot in zip(planned.rows.tolist(), planned.slots.tolist(), strict=False):
                if row < 0:
                    continue
                offset = 0 if slot < engine.rows - engine.dsp_rows else 128 if planned.wide else 8
                assert [v - offset for v in operands[slot]] == expected_row(layout, layer, planned, row)


@pytest.mark.parametrize("layout", CASES)
def test_parameters(layout):
    """M, C with rounding and correction, S, the lane's slot, the residual's R; thresholds with the correction."""
    engine = layout.engine
    program = read_program(assemble_layout(layout).image, engine.mem_bits)
    for step, (_, tiles) in zip(layout.steps, program.layers, strict=True):
        layer = step.layer
        rule, planes = layer.conv.requant, 17 if layout.tensor(layer.input).bits > 4 else 1
        for planned, tile in zip(layout.tiles(layer), tiles, strict=True):
            records = list(tile.records(engine))
            assert len(records) == len(planned.rows)
            for position, (row, slot) in enumerate(zip(planned.rows.tolist(), planned.slots.tolist(), strict=False)):
                record = records[position]
                if row < 0:
                    assert (record["m"], record["c"], record["r"]) == (0, 0, 0)
                    continue
                assert record["slot"] * engine.drain_lanes + position % engine.drain_lanes == slot
                k = correction(engine, slot, expected_row(layout, layer, planned, row)) * planes
                if rule.thresholds is not None:
                    check_thresholds(rule, row, k, tile.thresholds[8 * position:8 * position + 8], record, engine)
                    continue
                s = int(rule.shift[row])
                half = 0 if rule.rounding == "floor" else 2**(s - 1)
                # A row whose S is not above the engine's base is multiplied until it is.
                times = 2**max(0, engine.shift_base + 1 - s)
                assert record["m"] == times * rule.multiplier[row]
                assert record["c"] == times * (rule.constant[row] + half - k * rule.multiplier[row])
                assert times > 1 or engine.shift_base + 1 + record["shift"] == s
                assert times == 1 or record["shift"] == 0
                assert record["negate"] == 0
                residual = rule.residual_multiplier
                assert record["r"] == (times * residual[row] if residual is not None else 0)


SP2_EXCESS = {0: 0, 1: 0, 5: 0, -1: 155, -5: 155, **dict.fromkeys((2, 4, 6, 8), 31),
              **dict.fromkeys((-2, -4, -6, -8), 124)}


def correction(engine, slot, weights):
    """What the slot's lane adds: by the codes of sp2 and int4 weights, by negative pot weights, nothing on dsp."""
    if slot < engine.sp2_rows:
        return sum(SP2_EXCESS[w] for w in weights)
    if slot < engine.sp2_rows + engine.pot_rows:
        return 15 * sum(max(0, -w) for w in weights)
    if slot < engine.rows - engine.dsp_rows:
        return sum(31 * (w >> 1 & 1) + 124 * (w < 0) for w in weights)
    return 0


def check_thresholds(rule, row, k, words, record, engine):
    negate = bool(rule.negate[row])
    assert record["negate"] == negate
    halves = [half for word in words for half in (word & 0xFFFFFFFF, word >> 32)]
    found = [half - (1 << 32) if half >> 31 else half for half in halves]
    largest = 2**engine.acc_bits - 1
    # v is -acc - 1 where negated, so the lane's correction moves the threshold the other way.
    expected = [min(max(int(t) + (-k if negate else k), -largest - 1), largest) for t in rule.thresholds[row]]
    assert found == expected + [largest] * (16 - len(expected))


def small_layout(**changes):
    b = Builder(1, (3, 4, 4), 4)
    layout = laid_out(b.graph(b.conv("input", 5, schemes=("sp2", "fixed4"))), ENGINES["mixed"])
    return replace(layout, engine=replace(layout.engine, **changes))


def test_multiplier_that_does_not_fit_is_refused():
    layout = small_layout(m_bits=8)
    value = max(layout.layers[0].conv.requant.multiplier, key=abs)
    assert abs(value) > 127
    with pytest.raises(ValueError, match=r"layer 'conv0': multiplier M = -?\d+ needs more than 8 bits"):
        assemble_layout(layout)


def test_constant_that_does_not_fit_is_refused():
    layout = small_layout()
    layer = layout.layers[0]
    rule = replace(layer.conv.requant, constant=np.full(5, 2**60))
    changed = replace(layer, conv=replace(layer.conv, requant=rule))
    layout = fit_scratchpad(replace(layout, network=replace(layout.network, layers=(changed,))), layout.engine)
    with pytest.raises(ValueError, match=r"layer 'conv0': constant C = \d+ needs more than \d+ bits"):
        assemble_layout(layout)
