"""Inverted residuals of MobileNet-v2 with its channel counts, on maps of 16x16: every code of every layer."""

from dataclasses import replace
from pathlib import Path

import pytest

from hwgen.engine import Engine
from hwgen.frontend import load
from hwgen.plan.cycles import count_cycles
from hwgen.plan.layout import lay_out, needs
from hwgen.synthetic import Options, SyntheticNetwork, smooth_images
from models.mobilenet_v2.network import inverted_residual
from program_bench import Case, differences, make_case, run_cases

ENGINES = {
    "any rows": (Engine(ki=8, px=4, int4_rows=6, dsp_rows=2, drain_lanes=8, wide=False, mem_bits=128), "fixed4"),
    "mixed rows": (Engine(ki=8, px=3, sp2_rows=10, int4_rows=3, dsp_rows=3, drain_lanes=4, wide=False, mem_bits=128),
                   "msq"),
}
"""The first drains a tile's pixel in a cycle, so that its walker works ahead."""


def blocks(text: str):
    """A stem of 24 channels, then blocks with stride 1 and a residual, with stride 2, and with another residual."""
    options = Options.parse(f"size=32,{text}")
    net = SyntheticNetwork("blocks", options)
    x = net.conv(net.input, 24, 3, 2, name="stem")
    for index, (rows, stride) in enumerate(((24, 1), (32, 2), (32, 1))):
        x = inverted_residual(net, x, 6, rows, stride, f"block{index}")
    net.logits(net.average(x, name="average"), 10, name="classify")
    return load(Path("blocks"), data=net.model()), smooth_images(2, 32, 7)


def fitted(graph, engine: Engine) -> Engine:
    wanted = needs(lay_out(graph, engine))
    wanted["ring_depth"] = max(16, 1 << (wanted["ring_depth"] - 1).bit_length())
    return replace(engine, **wanted)


@pytest.mark.parametrize("name", ENGINES)
def test_inverted_residuals(name, simulator_for):
    """With the whole scratchpad, and with so little of it that wide maps are never there as a whole."""
    engine, text = ENGINES[name]
    graph, images = blocks(text)
    engine = fitted(graph, replace(engine, scratch_depth=1 << 14))
    assert engine.walks_ahead == (name == "any rows")
    cases = [make_case(f"{name} {share}", graph, images, engine, 1 << 20, share) for share in (1.0, 0.5)]
    assert all(isinstance(case, Case) for case in cases), cases
    whole, tight = (case.layout.schedule for case in cases)
    made = {layer.output for layer in cases[0].layout.layers}
    assert made - whole.resident <= set(whole.in_memory) and made - tight.resident - set(tight.in_memory)
    sim = simulator_for(engine, "verilator", max(case.program.memory_words for case in cases))
    for case, traces in zip(cases, run_cases(sim, cases), strict=True):
        assert differences(case, traces) is None
        planned = count_cycles(case.layout)
        assert {(trace.cycles, tuple(trace.layer_cycles(case.layout))) for trace in traces} == {
            (planned.total, planned.layers)}
