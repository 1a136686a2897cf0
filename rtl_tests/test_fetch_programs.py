"""Maps fetched again while layers run: results and planned cycles stay right, whatever the fetches collide with."""

from importlib import import_module
import random

import pytest

from conftest import MEMORY_WORDS
from engines import ICARUS
from hwgen.plan import cycles as cycle_model
from hwgen.plan import stream
from hwgen.plan.cycles import count_cycles
from hwgen.plan.layout import Layout
from hwgen.plan.load import Memory
from hwgen.plan.lower import Layer
from hwgen.plan.memory import depth
from hwgen.plan.stream import Fetch
from program_bench import Case, differences, make_case, random_cases, run_cases

MEMORIES = {"on chip": None, "slow": Memory(30, 4, 8), "far": Memory(45, None, 5)}


stream_fetches = stream.fetches


def extra_fetches(layout: Layout, layer: Layer, seed: int) -> tuple[Fetch, ...]:
    """The needed ones, then up to four more before every layer: parts of the input or of results.

    A result goes back to where it is, because later layers may read it; the input may be
    overwritten by then and goes behind all maps.
    """
    result = list(stream_fetches(layout, layer))
    index, graph = layout.layers.index(layer), layout.network.graph
    rng = random.Random(f"{seed} {index}")
    stored = [i for i, other in enumerate(layout.layers[:index]) if layout.stored(other)]
    reads_last = max(i for i, other in enumerate(layout.layers) if graph.input in (other.input, other.residual))
    for _ in range(rng.randint(0, 4) if index else 0):
        producer = rng.choice([-1, *stored])
        name = graph.input if producer < 0 else layout.layers[producer].output
        region, banks = layout.regions[name], layout.engine.banks
        size = region.size * banks
        first = rng.choice((0, rng.randrange(size)))
        words = rng.choice((1, rng.randint(1, size - first), size - first))
        base, wait = region.base, rng.randint(producer + 1, index)
        alive = max((i for i, other in enumerate(layout.layers) if name in (other.input, other.residual)), default=-1)
        if producer < 0 or alive < index:
            base = depth(layout.regions)
        if producer < 0 and reads_last >= index:
            continue
        address, bank = divmod(base * banks + first, banks)
        if address + words // banks + 1 < layout.engine.scratch_depth:
            result.append(Fetch(name, first, words, address, bank, wait))
    return tuple(result)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("name", ICARUS)
def test_fetches_while_layers_run(name, memory, simulator_of, monkeypatch):
    engine, seed = ICARUS[name], 7100
    cases, _ = random_cases(engine, seed, 4, MEMORY_WORDS)
    for module in (stream, cycle_model, import_module("hwgen.program.assemble")):
        monkeypatch.setattr(module, "fetches", lambda layout, layer: extra_fetches(layout, layer, seed))
    cases = [case for case in cases if len(case.layout.layers) > 1]
    fetched = [fetch for case in cases for layer in case.layout.layers[1:]
               for fetch in stream.fetches(case.layout, layer)]
    assert len(fetched) > 5 and any(fetch.wait for fetch in fetched)
    cases = [make_case(case.label, case.graph, case.images, engine, MEMORY_WORDS) for case in cases]
    assert all(isinstance(case, Case) for case in cases), cases
    runs = run_cases(simulator_of(name), cases, memory=MEMORIES[memory])
    for case, traces in zip(cases, runs, strict=True):
        assert differences(case, traces) is None
        planned = count_cycles(case.layout, MEMORIES[memory])
        for trace in traces:
            assert (trace.cycles, tuple(trace.layer_cycles())) == (planned.total, planned.layers), case.label
