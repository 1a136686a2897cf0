"""Run many programs on one simulated engine and name the first difference of each."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines import why_not
from hwgen.golden import run
from hwgen.graph.ir import Graph
from hwgen.plan.engine import Engine
from hwgen.plan.layout import Layout, lay_out
from hwgen.plan.place import Unplaceable
from hwgen.program.assemble import Program, assemble_layout, input_words
from hwgen.rtl import emit_verilog
from hwgen.sim.run import Simulator, compile_engine, run_jobs
from hwgen.sim.trace import ImageTrace, read_trace
from random_networks import random_network

MEMORY_WORDS = 1 << 16


@dataclass(frozen=True, eq=False)
class Case:
    """A network laid out on an engine, its program, and the images to run."""

    label: str
    graph: Graph
    images: np.ndarray
    layout: Layout
    program: Program


def compile_for(engine: Engine, folder: Path, simulator: str) -> Simulator:
    return compile_engine(emit_verilog(engine), engine, MEMORY_WORDS, folder, simulator)


def make_case(label: str, graph: Graph, images: np.ndarray, engine: Engine) -> Case | str:
    """The case, or why the network does not fit the engine."""
    try:
        layout = lay_out(graph, engine)
    except Unplaceable as error:
        return str(error)
    reason = why_not(layout)
    if reason:
        return reason
    program = assemble_layout(layout)
    if program.memory_words > MEMORY_WORDS:
        return f"program and results take {program.memory_words} words"
    return Case(label, graph, images, layout, program)


def random_cases(engine: Engine, first_seed: int, count: int) -> tuple[list[Case], list[str]]:
    """The first ``count`` networks from ``first_seed`` on that fit, and the reasons of those that were skipped."""
    cases: list[Case] = []
    skipped: list[str] = []
    seed = first_seed
    while len(cases) < count:
        made = make_case(f"seed {seed}", *random_network(seed, engine), engine)
        if isinstance(made, Case):
            cases.append(made)
        else:
            skipped.append(f"seed {seed}: {made}")
        seed += 1
    return cases, skipped


def write_jobs(cases: list[Case], folder: Path) -> Path:
    """The job file of the testbench with its program and input files."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, case in enumerate(cases):
        program, size = case.program, case.layout.engine.mem_bits // 8
        image, data = folder / f"{number}.hex", folder / f"{number}.bin"
        image.write_text("\n".join(_words(program.image, size, lambda word: word.hex())))
        data.write_bytes(b"".join(b"".join(_words(input_words(case.layout, codes), size, bytes))
                                  for codes in case.images))
        lines.append(f"{image} 0 {program.words} {program.input_address} {program.input_words} {len(case.images)}\n"
                     f"{data}\n")
    (folder / "jobs").write_text("".join(lines))
    return folder / "jobs"


def _words(data: bytes, size: int, form) -> list:
    """Memory words, most significant byte first."""
    return [form(data[i:i + size][::-1]) for i in range(0, len(data), size)]


def run_cases(sim: Simulator, cases: list[Case], folder: Path, **memory) -> list[list[ImageTrace]]:
    """Traces per case and image, in one simulator run; an image that never ended has none."""
    run_jobs(sim, write_jobs(cases, folder), folder / "trace", **memory)
    owners = [(i, case) for i, case in enumerate(cases) for _ in case.images]
    result: list[list[ImageTrace]] = [[] for _ in cases]
    traces = read_trace(folder / "trace", [(case.layout, case.program.output_base) for _, case in owners])
    for (i, _), trace in zip(owners, traces, strict=False):
        result[i].append(trace)
    return result


def differences(case: Case, traces: list[ImageTrace]) -> str | None:
    """The first difference of a case between hardware and golden model, or None."""
    expected = run(case.graph, case.images, keep=True)
    for image in range(len(case.images)):
        where = f"{case.label}, image {image}"
        if image >= len(traces):
            return f"{where}: the engine never ran it"
        trace = traces[image]
        if trace.error:
            return f"{where}: the engine stopped with error {trace.error}"
        if len(trace.begins) != len(case.layout.layers):
            return f"{where}: {len(trace.begins)} of {len(case.layout.layers)} layers began"
        for layer in case.layout.layers:
            got, want = trace.tensors[layer.output], expected[layer.output][image]
            if not np.array_equal(got, want):
                return f"{where}, {first_difference(case.layout, layer, want, got)}"
            missing = trace.missing[layer.output]
            if missing:
                return f"{where}, layer {layer.name}: {missing} words were never written"
            if layer.output in case.graph.outputs:
                stored = trace.outputs[layer.output]
                if trace.missing[f"{layer.output} in memory"] or not np.array_equal(stored, want):
                    return f"{where}, layer {layer.name}: right in the scratchpad, wrong in memory: " + \
                        first_difference(case.layout, layer, want, stored)
        if trace.stray:
            return f"{where}: {trace.stray[0]}"
    return None


def first_difference(layout: Layout, layer, want: np.ndarray, got: np.ndarray) -> str:
    """Layer, row, scheme, lane group, pixel, expected, got; rows in the order in which the engine makes them."""
    engine = layout.engine
    wrong = got != want
    for index, tile in enumerate(layout.tiles(layer)):
        for position, row in enumerate(tile.rows):
            if row < 0 or not wrong[row].any():
                continue
            y, x = np.argwhere(wrong[row])[0]
            slot = tile.slots[position]
            group = "sp2" if slot < engine.sp2_rows else "dsp"
            return (f"layer {layer.name} ({'+'.join(layer.ops)}), row {row} ({layer.conv.schemes[row]}, tile {index}, "
                    f"position {position}, {group} slot {slot}), pixel ({y}, {x}): expected {want[row, y, x]}, "
                    f"got {got[row, y, x]}; {int(wrong.sum())} of {wrong.size} codes differ in "
                    f"{int(wrong.any(axis=(1, 2)).sum())} of {len(wrong)} rows")
    return f"layer {layer.name}: no code differs"
