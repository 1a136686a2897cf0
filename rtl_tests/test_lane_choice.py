"""Where rows run: an all-fixed4 network on LUT lanes and multipliers together, in the hardware."""

import numpy as np
import pytest

from hwgen.device.parts import get_part
from hwgen.graph.ir import Add, Rescale, Tensor
from hwgen.plan.cycles import count_cycles
from hwgen.plan.presets import parse_engine, size_engine
from hwgen.program.assemble import assemble_layout
from program_bench import Case, differences, run_cases
from test_directed_programs import conv, graph_of

PART = get_part("XC7Z020")


def plain_network(seed):
    """Two convolutions, an add of both, and a third, all rows fixed4."""
    rng = np.random.default_rng(seed)
    tensors = [Tensor("input", (5, 7, 6), 4)] + [Tensor(f"{name}_out", (rows, 7, 6), bits)
                                                 for name, rows, bits in (("a", 22, 4), ("b", 22, 4), ("sum", 22, 4),
                                                                          ("c", 10, 8))]
    ops = [conv("a", "input", rng.integers(-8, 8, (22, 5, 3, 3)), "fixed4", 15, pads=(1, 1, 1, 1)),
           conv("b", "a_out", rng.integers(-8, 8, (22, 22, 1, 1)), "fixed4", 15),
           Add("sum", "b_out", "a_out", "sum_out", Rescale(9000, 7000, 14, 300, "half_up", 0, 0, 15)),
           conv("c", "sum_out", rng.integers(-8, 8, (10, 22, 1, 1)), "fixed4", 255)]
    return graph_of(tensors, ops, ("c_out",)), rng.integers(0, 16, (2, 5, 7, 6)).astype(np.uint8)


@pytest.mark.parametrize("engine,seed", [("ki=4,px=2,int4=4,dsp=4,drain=4", 1),
                                         ("ki=4,px=1,int4=8,dsp=10,drain=2,mem=128,ports=2", 2)])
def test_plain_rows_on_lut_lanes_and_multipliers(engine, seed, simulator_for):
    graph, images = plain_network(seed)
    layout = size_engine(graph, parse_engine(engine, PART), PART).layout
    for layer in layout.layers:
        used = {layout.engine.group_of(slot) for tile in layout.tiles(layer)
                for slot in tile.slots[tile.rows >= 0].tolist()}
        assert used == {"int4", "dsp"}
    case = Case(f"seed {seed}", graph, images, layout, assemble_layout(layout))
    (traces,) = run_cases(simulator_for(layout.engine, "icarus", case.program.memory_words), [case])
    assert differences(case, traces) is None
    assert {trace.cycles for trace in traces} == {count_cycles(layout).total}
