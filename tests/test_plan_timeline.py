"""Splits add up, spans agree with them, traffic is what the program and its maps hold."""

from dataclasses import asdict
import json
import random

import numpy as np
import pytest
from small_networks import NETWORKS, Builder

from hwgen.device.parts import get_part
from hwgen.engine import Engine
from hwgen.plan import make_plan
from hwgen.plan.cycles import count_cycles
from hwgen.plan.tiles import Unplaceable
from hwgen.plan.sizing import size
from hwgen.plan.timeline import UNITS, Span, Split, chrome_trace
from hwgen.plan.traffic import Traffic, traffic
from hwgen.program.assemble import assemble_layout

PART = get_part("LFE5U-85F")


def cases():
    rng, found = random.Random(7), []
    while len(found) < 25:
        name, seed = rng.choice(list(NETWORKS)), rng.randrange(9)
        ki = rng.choice([2, 4, 8, 16])
        d = rng.choice([d for d in (1, 2, 4, 8) if ki % d == 0])
        engine = Engine(ki=ki, px=rng.randrange(1, 7), sp2_rows=d * rng.randrange(3), dsp_rows=d * rng.randrange(1, 5),
                        drain_lanes=d, mem_bits=rng.choice([64, 128, 256]))
        try:
            layout = size(NETWORKS[name](seed)[0], engine, PART).layout
        except Unplaceable:
            continue
        found.append(pytest.param(layout, id=f"{name} {seed} {ki}x{engine.px}x{engine.rows} {engine.mem_bits}"))
    return found


@pytest.mark.parametrize("layout", cases())
def test_splits_add_up_and_spans_agree(layout):
    spans: list[Span] = []
    cycles = count_cycles(layout, spans=spans)
    assert cycles == count_cycles(layout)
    assert cycles.last_word <= cycles.total
    for layer, split, planned, collisions in zip(layout.layers, cycles.splits, cycles.layers, cycles.collisions,
                                                 strict=True):
        assert split.total == planned and min(asdict(split).values()) >= 0
        kernel = layer.conv.weight.shape[2] * layer.conv.weight.shape[3]
        taps = sum(kernel * tile.blocks for tile in layout.tiles(layer))
        groups = sum(step.walk.groups for step in layout.steps if step.layer is layer)
        assert split.busy == groups * taps * layout.planes(layer.input)
        assert split.activations >= collisions
    assert {span.unit for span in spans} == set(UNITS)
    for unit in UNITS[:2]:
        # These units do one thing at a time.
        mine = [span for span in spans if span.unit == unit]
        assert all(a.end <= b.begin for a, b in zip(mine, mine[1:], strict=False)), unit
    assert all(0 <= span.begin < span.end <= cycles.total for span in spans)
    for layer, split in zip(layout.layers, cycles.splits, strict=True):
        mine = [span for span in spans if span.unit == "compute" and span.layer == layer.name]
        steps = sum(step.layer is layer for step in layout.steps)
        assert len(mine) == steps * len(layout.tiles(layer))
        assert sum(span.end - span.begin for span in mine) >= split.busy


@pytest.mark.parametrize("layout", cases())
def test_traffic_is_the_program_and_its_maps(layout):
    """START, END and what lies between; maps beside it."""
    moved = [traffic(layout, layer) for layer in layout.layers]
    program = assemble_layout(layout)
    stream = sum(t.weights + t.parameters + t.commands for t in moved)
    assert stream + 2 * layout.engine.mem_bits // 8 == len(program.image)
    fetched, given = sum(t.maps_in for t in moved), program.input_words * layout.engine.mem_bits // 8
    # Strips overlap.
    assert fetched == given if len(layout.steps) == len(layout.layers) else fetched >= given
    for layer, t in zip(layout.layers, moved, strict=True):
        # Weights of 4 bits at least, present ones only.
        assert t.weights >= layer.conv.weight.size / 2
        assert (t.maps_out > 0) == (layer.output in layout.network.graph.outputs)
        assert t.total == t.weights + t.parameters + t.commands + t.maps_in + t.maps_out


def test_a_linear_layer_waits_for_its_weights():
    """64 x 1024 weights on one pixel: 4 bits each through 64 bits per cycle are 4,096 cycles for 1,024 of work."""
    b = Builder(1, (64, 4, 4), 4, ("sp2",))
    graph = b.graph(b.conv(b.conv("input", 64), 64, (4, 4)))
    layout = size(graph, Engine(ki=16, px=1, sp2_rows=16, dsp_rows=0, drain_lanes=8), PART).layout
    split = count_cycles(layout).splits[1]
    assert split.busy == 1024 * 64 // 16 // 16
    assert split.weights > 3 * split.busy - 512 and split.weights > 0.6 * split.total
    assert split.memory == 0


def test_a_1x1_layer_of_few_channels_waits_for_the_drain():
    """One word per group of 4 pixels and 8 rows on one drain lane: 32 cycles of drain for 1 of work."""
    b = Builder(1, (8, 8, 8), 4, ("sp2",))
    layout = size(b.graph(b.conv("input", 8)), Engine(ki=8, px=4, sp2_rows=8, dsp_rows=0, drain_lanes=1), PART).layout
    split = count_cycles(layout).splits[0]
    assert split.busy == 16 and 15 * 31 <= split.drain <= 16 * 32 + 60


def test_sum_of_splits():
    assert Split(1, 2, 3, 4, 5) + Split(10, 20, 30, 40, 50) == Split(11, 22, 33, 44, 55)
    assert Split(1, 2, 3, 4, 5).total == 15 == Traffic(1, 2, 3, 4, 5).total


def test_trace_for_perfetto():
    plan = make_plan(NETWORKS["residual"](1)[0], PART, clock_mhz=50)
    trace = json.loads(json.dumps(plan.timeline()))
    spans = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    names = {event["tid"]: event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "thread_name"}
    assert names == {1: "load", 2: "compute", 3: "drain"}
    assert {event["args"]["layer"] for event in spans} == {layer["name"] for layer in plan.layers}
    assert max(event["ts"] + event["dur"] for event in spans) <= plan.cycles / 50
    assert np.all(np.diff([event["ts"] for event in spans]) >= 0)
    event = chrome_trace([Span("drain", "conv", "tile 1", 100, 150)], "net", 100)["traceEvents"][-1]
    assert (event["name"], event["ts"], event["dur"], event["tid"]) == ("conv: tile 1", 1.0, 0.5, 3)
