"""Run many programs on one simulated engine and name the first difference of each."""

from dataclasses import dataclass, replace

import numpy as np

from hwgen.golden import run
from hwgen.graph.ir import Graph
from hwgen.engine import Engine
from hwgen.plan.layout import Layout, lacking, lay_out
from hwgen.plan.lower import Layer
from hwgen.plan.tiles import Unplaceable
from hwgen.program.assemble import Program, assemble_layout
from hwgen.sim.run import Simulator
from hwgen.sim.simulate import Job, run_traces
from hwgen.sim.trace import ImageTrace
from random_networks import random_network


SHARES = (1.0, 0.7, 0.5, 0.3, 0.1)
"""Of the scratchpad that a random network needs for whole maps."""


@dataclass(frozen=True, eq=False)
class Case:
    """A network laid out on an engine, its program, and the images to run."""

    label: str
    graph: Graph
    images: np.ndarray
    layout: Layout
    program: Program


def make_case(label: str, graph: Graph, images: np.ndarray, engine: Engine, memory_words: int,
              share: float = 1.0) -> Case | str:
    """The case, or why the network does not fit the engine.

    With a ``share`` below 1 it is laid out as if there were only this part of the scratchpad that it
    needs otherwise, or more where that is too little, so that layers run in strips.
    """
    try:
        layout = lay_out(graph, engine)
        words = layout.schedule.depth
        while share < 1:
            try:
                small = replace(engine, scratch_depth=max(16, int(words * share)))
                layout = replace(lay_out(graph, small), engine=engine)
                break
            except Unplaceable:
                share += 0.1
    except Unplaceable as error:
        return str(error)
    reason = lacking(layout)
    if reason:
        return reason
    try:
        program = assemble_layout(layout)
    except ValueError as error:
        return str(error)
    if program.memory_words > memory_words:
        return f"program and results take {program.memory_words} words"
    return Case(label, graph, images, layout, program)


def random_cases(engine: Engine, first_seed: int, count: int, memory_words: int) -> tuple[list[Case], list[str]]:
    """The first ``count`` networks from ``first_seed`` on that fit, and the reasons of those that were skipped."""
    cases: list[Case] = []
    skipped: list[str] = []
    seed = first_seed
    while len(cases) < count:
        made = make_case(f"seed {seed}", *random_network(seed, engine), engine, memory_words,
                         SHARES[seed % len(SHARES)])
        if isinstance(made, Case):
            cases.append(made)
        else:
            skipped.append(f"seed {seed}: {made}")
        seed += 1
    return cases, skipped


def run_cases(sim: Simulator, cases: list[Case], **memory) -> list[list[ImageTrace]]:
    """Traces per case and image, in one simulator run; an image that never ended has none."""
    traces = run_traces(sim, [Job(case.layout, case.program, case.images) for case in cases], **memory)
    result, begin = [], 0
    for case in cases:
        result.append(traces[begin:begin + len(case.images)])
        begin += len(case.images)
    return result


def differences(case: Case, traces: list[ImageTrace]) -> str | None:
    """The first difference of a case between hardware and golden model, or None."""
    expected = run(case.graph, case.images, keep=True)
    for image in range(len(case.images)):
        where = f"{case.label}, image {image}"
        if image >= len(traces):
            return f"{where}: the engine never ran it"
        found = _image_difference(case, traces[image], {name: codes[image] for name, codes in expected.items()})
        if found:
            return f"{where}: {found}"
    return None


def _image_difference(case: Case, trace: ImageTrace, expected: dict[str, np.ndarray]) -> str | None:
    if trace.error:
        return f"the engine stopped with error {trace.error}"
    if len(trace.begins) != len(case.layout.steps):
        return f"{len(trace.begins)} of {len(case.layout.steps)} steps began"
    for layer in case.layout.layers:
        name = layer.output
        if not np.array_equal(trace.tensors[name], expected[name]):
            return first_difference(case.layout, layer, expected[name], trace.tensors[name])
        if trace.missing[name]:
            return f"layer {layer.name}: {trace.missing[name]} words were never written"
        if name in case.program.output_base:
            if trace.missing[f"{name} in memory"]:
                return f"layer {layer.name}: {trace.missing[f'{name} in memory']} words never reached memory"
            if not np.array_equal(trace.outputs[name], expected[name]):
                return "in memory only: " + first_difference(case.layout, layer, expected[name], trace.outputs[name])
    return trace.stray[0] if trace.stray else None


def first_difference(layout: Layout, layer: Layer, want: np.ndarray, got: np.ndarray) -> str:
    """Layer, row, scheme, lane group, pixel, expected, got; rows in the order in which the engine makes them."""
    engine, wrong = layout.engine, got != want
    for index, tile in enumerate(layout.tiles(layer)):
        for position, row in enumerate(tile.rows):
            if row < 0 or not wrong[row].any():
                continue
            y, x = np.argwhere(wrong[row])[0]
            slot = tile.slots[position]
            group = engine.group_of(slot)
            return (f"layer {layer.name} ({'+'.join(layer.ops)}), row {row} ({layer.conv.schemes[row]}, tile {index}, "
                    f"position {position}, {group} slot {slot}), pixel ({y}, {x}): expected {want[row, y, x]}, "
                    f"got {got[row, y, x]}; {int(wrong.sum())} of {wrong.size} codes differ in "
                    f"{int(wrong.any(axis=(1, 2)).sum())} of {len(wrong)} rows")
    return f"layer {layer.name}: no code differs"
