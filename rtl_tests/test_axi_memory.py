"""Engines on simulated AXI memories with latency and bandwidth: golden codes, and the planner's cycles within 2 %."""

import pytest

from engines import ICARUS
from hwgen.plan.cycles import count_cycles
from hwgen.plan.load import Memory
from hwgen.rtl.axi import emit_top
from hwgen.sim.run import compile_engine
from program_bench import differences, random_cases, run_cases
from simulators import need_simulator

MEMORY_WORDS = 1 << 14
MEMORIES = (Memory(30, queue=8), Memory(30, 4, 8), Memory(2, queue=4), Memory(60, queue=8))
"""As fast as the ports; 4 bytes per cycle; near; far, so that many writes are on their way."""


@pytest.mark.parametrize("name,protocol", [("mixed", "axi3"), ("lut", "axi4")])
def test_planned_cycles_are_within_two_percent(name, protocol, tmp_path):
    need_simulator("icarus")
    engine = ICARUS[name]
    sim = compile_engine(emit_top(engine, protocol), engine, MEMORY_WORDS, tmp_path, "icarus",
                         protocol=protocol)
    cases, _ = random_cases(engine, 20, 3, MEMORY_WORDS)
    for memory in MEMORIES:
        for case, traces in zip(cases, run_cases(sim, cases, memory=memory), strict=True):
            assert differences(case, traces) is None
            planned = count_cycles(case.layout, memory.behind_axi())
            # Nearly always equal; a port's queue and its memory's count as one in the plan.
            for trace in traces:
                assert 50 * abs(trace.cycles - planned.total) <= planned.total, (case.label, memory)
    for case, traces in zip(cases, run_cases(sim, cases, memory=Memory(7, queue=3), stall=40, seed=5), strict=True):
        assert differences(case, traces) is None
    (trace,) = run_cases(sim, cases[:1], memory=Memory(7, queue=3), fail_at=cases[0].program.words // 2)[0]
    assert trace.error == 5
