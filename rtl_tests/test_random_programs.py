"""Random programs on emitted Verilog: every code of every layer equals the golden model's.

One engine runs many programs without being rebuilt or reset.  Half of them run with the
on-chip memory, where the planned cycles must be the simulated ones, half with a memory
of random latency and stalls.  A failure names the seed; ``random_network(seed, engine)``
gives the network again.
"""

import numpy as np
import pytest

from simulators import MEMORY_WORDS
from engines import ICARUS, VERILATOR
from hwgen.engine import GROUPS
from hwgen.plan.cycles import count_cycles
from hwgen.plan.load import Memory
from program_bench import differences, random_cases, run_cases

PROGRAMS = {"verilator": 26, "icarus": 6}
BENCH_PROGRAMS = 250
BENCH_SEED = 10_000


def check_programs(sim, first_seed: int, count: int) -> None:
    engine = sim.engine
    cases, skipped = random_cases(engine, first_seed, count, MEMORY_WORDS)
    assert len(skipped) <= count // 3 + 1, "too many networks do not fit:\n" + "\n".join(skipped)
    rng = np.random.default_rng([first_seed, engine.id])
    ideal, slow = cases[::2], cases[1::2]
    problems = []
    for case, traces in zip(ideal, run_cases(sim, ideal), strict=True):
        problems.append(differences(case, traces))
        planned = count_cycles(case.layout)
        for trace in traces:
            found = trace.layer_cycles(case.layout)
            if not problems[-1] and (trace.cycles, tuple(found)) != (planned.total, planned.layers):
                problems.append(f"{case.label}: planned {planned.total} cycles, by layer {planned.layers}, simulated "
                                f"{trace.cycles}, by layer {found}")
    latency, stall, seed, queue = (int(rng.integers(*b)) for b in ((1, 41), (0, 61), (1, 1 << 30), (1, 17)))
    memory = {"memory": Memory(latency, queue=queue), "stall": stall, "seed": seed}
    for case, traces in zip(slow, run_cases(sim, slow, **memory), strict=True):
        found = differences(case, traces)
        problems.append(found and f"{found} (memory: {memory})")
    text = "\n".join(filter(None, problems))
    assert not text, f"engine {engine}:\n{text}"


@pytest.mark.parametrize("name", VERILATOR)
def test_random_programs(name, simulator_of):
    check_programs(simulator_of(name), 0, PROGRAMS["verilator"])


@pytest.mark.parametrize("name", ICARUS)
def test_random_programs_in_icarus(name, simulator_of):
    check_programs(simulator_of(name), 5000, PROGRAMS["icarus"])


@pytest.mark.bench
@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize("name", VERILATOR)
def test_many_random_programs(name, part, simulator_of):
    """2000 programs; each part with its own latency and stalls."""
    count = BENCH_PROGRAMS // 5
    check_programs(simulator_of(name), BENCH_SEED + 2 * part * count, count)


def test_the_default_run_has_200_programs():
    assert len(VERILATOR) <= 8
    assert len(VERILATOR) * PROGRAMS["verilator"] >= 200
    assert len(VERILATOR) * BENCH_PROGRAMS >= 2000


@pytest.mark.parametrize("name", [*VERILATOR, *ICARUS])
def test_generator_covers_what_the_engine_can_do(name):
    """The networks of the default run contain every feature of their engine, and their codes vary."""
    engine = {**VERILATOR, **ICARUS}[name]
    cases, _ = random_cases(engine, 0, 60, MEMORY_WORDS)
    layers = [layer for case in cases for layer in case.layout.layers]
    rules = [layer.conv.requant for layer in layers]
    assert {rule.rounding for rule in rules} == {"half_up", "half_even", "floor"}
    assert any(layer.depthwise and layer.conv.weight[0].size > 1 for layer in layers)
    assert any(1 < layer.conv.groups and not layer.depthwise for layer in layers)
    assert any(case.layout.planes(layer.input) == 2 for case in cases for layer in case.layout.layers)
    assert any(layer.residual for layer in layers) == engine.residual
    assert any(layer.add for layer in layers) == (engine.residual and engine.rescale)
    assert any(layer.pool for layer in layers) == engine.pool
    assert any(layer.window.rescale for layer in layers) == (engine.pool and engine.rescale)
    assert any(rule.thresholds is not None for rule in rules) == engine.thresholds
    assert any(rule.negate is not None and rule.negate.any() for rule in rules) == engine.thresholds
    assert any(len(case.layout.tiles(layer)) > 1 for case in cases for layer in case.layout.layers)
    assert any(len(case.graph.outputs) > 1 for case in cases)
    schemes = {scheme for layer in layers for scheme in layer.conv.schemes}
    assert schemes >= ({"sp2", "binary"} if engine.sp2_rows else set())
    assert schemes >= ({"fixed4"} if engine.dsp_rows or engine.int4_rows else set())
    assert schemes >= ({"pot4"} if engine.pot_rows else set())
    assert schemes >= ({"fixed8", "pot4"} if engine.dsp_rows and engine.wide else set())
    used = {engine.group_of(slot) for case in cases for layer in case.layout.layers
            for tile in case.layout.tiles(layer) for slot in tile.slots[tile.rows >= 0].tolist()}
    assert used == {group for group in GROUPS if engine.rows_of(group)}
