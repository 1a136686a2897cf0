"""The networks of models/ on small engines: every code of every layer of real images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwgen.frontend import load
from hwgen.plan.cycles import count_cycles
from hwgen.engine import Engine
from hwgen.plan.layout import lay_out, needs
from hwgen.plan.load import Memory
from program_bench import Case, differences, make_case, run_cases

MODELS = Path(__file__).parents[1] / "models"

SMALL = {
    "digits_mlp": Engine(ki=8, px=1, sp2_rows=4, dsp_rows=4, drain_lanes=2),
    "fmnist_cnn": Engine(ki=8, px=2, sp2_rows=4, dsp_rows=4, drain_lanes=2),
}


def fitted(graph, engine: Engine) -> Engine:
    """``engine`` with the widths and depths that the network needs."""
    wanted = needs(lay_out(graph, engine))
    wanted["m_bits"] = max(18, wanted["m_bits"])
    wanted["ring_depth"] = max(16, 1 << (wanted["ring_depth"] - 1).bit_length())
    wanted["scratch_depth"] = max(16, wanted["scratch_depth"])
    return replace(engine, **wanted)


@pytest.mark.parametrize("name", SMALL)
def test_network(name, simulator_for):
    graph = load(MODELS / name / f"{name}.onnx")
    images = np.load(MODELS / name / "test_images.npz")["codes"][:3]
    engine = fitted(graph, SMALL[name])
    case = make_case(name, graph, images, engine, 1 << 20)
    assert isinstance(case, Case), case
    sim = simulator_for(engine, "verilator", case.program.memory_words)
    (traces,) = run_cases(sim, [case])
    assert differences(case, traces) is None
    assert {trace.cycles for trace in traces} == {count_cycles(case.layout).total}
    (traces,) = run_cases(sim, [replace(case, images=images[:1])], memory=Memory(13, queue=3),
                          stall=30, seed=5)
    assert differences(replace(case, images=images[:1]), traces) is None
