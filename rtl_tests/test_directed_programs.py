"""Networks made for one corner of the engine that random ones rarely reach."""

import numpy as np
import pytest

from simulators import MEMORY_WORDS
from engines import VERILATOR
from hwgen.graph.check import check
from hwgen.graph.ir import Add, Conv, Graph, Requant, Rescale, Tensor
from hwgen.plan.load import Memory
from program_bench import Case, differences, make_case, run_cases

ENGINE = VERILATOR["eight_lanes"]


def conv(name: str, source: str, weight: np.ndarray, scheme: str, high: int, *, pads=(0, 0, 0, 0)) -> Conv:
    """Codes spread by a multiplier that differs from row to row."""
    rows = np.arange(len(weight))
    rule = Requant(37 + 5 * rows, 100 * rows - 400, np.full(len(weight), 5), "half_even", 0, 0, high)
    return Conv(name, source, f"{name}_out", weight, (scheme,) * len(weight), np.ones(len(weight)), rule, pads=pads)


def graph_of(tensors: list[Tensor], ops: list, outputs: tuple[str, ...]) -> Graph:
    graph = Graph("directed", {tensor.name: tensor for tensor in tensors}, tuple(ops), "input", outputs)
    check(graph)
    return graph


def check_on_engine(sim, graph: Graph, image_seed: int, **memory) -> None:
    source = graph.tensors["input"]
    images = np.random.default_rng(image_seed).integers(0, 2**source.bits, (2, *source.shape)).astype(np.uint8)
    case = make_case("directed", graph, images, sim.engine, MEMORY_WORDS)
    assert isinstance(case, Case), case
    (traces,) = run_cases(sim, [case], **memory)
    assert differences(case, traces) is None


@pytest.mark.parametrize("stall", [0, 90])
def test_store_queue_full(simulator_of, stall):
    """A 1x1 layer makes results faster than a stalling memory takes them: tiles wait for room in the store queue."""
    rng = np.random.default_rng(1)
    weight = rng.choice([-8, -4, -1, 0, 1, 2, 5, 6], (16, 8, 1, 1))
    graph = graph_of([Tensor("input", (8, 20, 20), 4), Tensor("a_out", (16, 20, 20), 8)],
                     [conv("a", "input", weight, "sp2", 255)], ("a_out",))
    check_on_engine(simulator_of("eight_lanes"), graph, 2, stall=stall, seed=9)


def test_weights_far_ahead_of_a_full_ring(simulator_of):
    """Tiles of 99 ring words in a ring of 128: every one waits for the release of the one before."""
    rng = np.random.default_rng(3)
    weight = rng.integers(-8, 8, (40, 8, 11, 9))
    graph = graph_of([Tensor("input", (8, 12, 9), 4), Tensor("a_out", (40, 2, 1), 4)],
                     [conv("a", "input", weight, "fixed4", 15)], ("a_out",))
    for memory in ({}, {"memory": Memory(40, queue=8), "stall": 50, "seed": 4}):
        check_on_engine(simulator_of("eight_lanes"), graph, 5, **memory)


def test_long_residual_chain(simulator_of):
    """One order of channels over four additions that begin at the graph's input, all rows on multipliers only."""
    rng = np.random.default_rng(6)
    tensors = [Tensor("input", (19, 7, 5), 8, zero_point=31)]
    ops: list = []
    for i in range(4):
        before = ops[-1].output if ops else "input"
        a = conv(f"c{i}", before, rng.integers(-128, 128, (19, 19, 1, 1)), "fixed8", 255)
        b = Add(f"s{i}", before, a.output, f"s{i}_out", Rescale(300, -500, 9, 250, ("half_up", "floor")[i % 2]))
        ops += [a, b]
        tensors += [Tensor(a.output, (19, 7, 5), 8), Tensor(b.output, (19, 7, 5), 4 if i % 2 else 8)]
        ops[-1] = Add(b.name, b.input, b.other, b.output, Rescale(300, -500, 9, 250, b.rescale.rounding, 0, 0,
                                                                  15 if i % 2 else 255))
    check_on_engine(simulator_of("eight_lanes"), graph_of(tensors, ops, ("s3_out",)), 7)
