"""More fetches than needed, while layers run: codes and planned cycles must stay right whatever they collide with."""

from dataclasses import replace
import random

import pytest

from simulators import MEMORY_WORDS
from engines import ICARUS
from hwgen.plan.cycles import count_cycles
from hwgen.plan.layout import Layout
from hwgen.plan.load import Memory
from hwgen.plan.steps import Fetch
from hwgen.program.assemble import assemble_layout
from program_bench import differences, random_cases, run_cases

MEMORIES = {"on chip": None, "slow": Memory(30, 4, 8), "far": Memory(45, None, 5)}


def extra_fetches(layout: Layout, seed: int) -> Layout:
    """Up to three more behind LAYER commands and tiles: parts of maps in memory, to words that nobody uses."""
    rng, free = random.Random(seed), layout.schedule.depth
    written = {step.layer.output: index + 1 for index, step in enumerate(layout.steps)}
    steps = []
    for index, step in enumerate(layout.steps):
        places = [list(place) for place in step.fetches]
        for _ in range(rng.randint(0, 3)):
            name = rng.choice([name for name in layout.in_memory if written.get(name, 0) <= index])
            size = layout.regions[name].size * layout.engine.banks
            first = rng.choice((0, rng.randrange(size)))
            words = rng.choice((1, rng.randint(1, size - first), size - first))
            words = min(words, (layout.engine.scratch_depth - free - 1) * layout.engine.banks)
            if words > 0:
                wait = rng.randint(written.get(name, 0), index)
                rng.choice(places).append(Fetch(name, first, words, free, wait, rng.randrange(layout.engine.banks)))
        steps.append(replace(step, fetches=tuple(tuple(place) for place in places)))
    return replace(layout, schedule=replace(layout.schedule, steps=tuple(steps)))


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("name", ICARUS)
def test_fetches_while_layers_run(name, memory, simulator_of):
    seed, cases = 7100, []
    for case in random_cases(ICARUS[name], seed, 4, MEMORY_WORDS)[0]:
        layout = extra_fetches(case.layout, seed)
        cases.append(replace(case, layout=layout, program=assemble_layout(layout)))
    fetches = [fetch for case in cases for step in case.layout.steps for place in step.fetches[1:] for fetch in place]
    assert len(fetches) > 5 and any(fetch.wait for fetch in fetches)
    assert any(fetch.bank for fetch in fetches) == (ICARUS[name].banks > 1)
    runs = run_cases(simulator_of(name), cases, memory=MEMORIES[memory])
    for case, traces in zip(cases, runs, strict=True):
        assert differences(case, traces) is None
        planned = count_cycles(case.layout, MEMORIES[memory])
        for trace in traces:
            found = trace.cycles, tuple(trace.layer_cycles(case.layout))
            assert found == (planned.total, planned.layers), case.label
