"""The steps after a build: simulation, synthesis, place and route, each from the directory alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hwgen.build.create import accuracy, layer_facts
from hwgen.build.directory import Build
from hwgen.build.models import load_inputs, random_codes
from hwgen.build.results import load_result, save_result
from hwgen.device import get_part
from hwgen.errors import HwgenError
from hwgen.plan.load import EXTERNAL, Memory
from hwgen.synth import place_and_route, synthesize

Progress = Callable[[str], None]
IMAGES = 100
"""Known images that are simulated unless told otherwise."""

MAX_LATENCY = 1_000_000
"""Cycles; an engine in which nothing has moved for 2**20 stops with an error."""


def choose_inputs(build: Build, images: int | None, inputs: Path | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Codes (n, c, h, w) to simulate, and their labels or None.

    ``inputs``: a .npy file; else the first ``images`` of the build's images; of a network without
    known images as many seeded random ones.  Raises HwgenError.
    """
    if inputs is not None and images is not None:
        raise HwgenError("give either --images or --inputs, not both")
    if images is not None and images < 1:
        raise HwgenError(f"--images must be at least 1, not {images}")
    if inputs is not None:
        return load_inputs(inputs, build.graph), None
    stored, labels = build.golden["inputs"], build.golden.get("labels")
    if not build.golden["known"]:
        return random_codes(build.graph, images or len(stored)), None
    n = min(IMAGES, len(stored)) if images is None else images
    if n > len(stored):
        raise HwgenError(f"--images {n}: this build has {len(stored)} images; more can be given with --inputs x.npy")
    return stored[:n], None if labels is None else labels[:n]


def choose_memory(build: Build, latency: int | None = None, bytes_per_cycle: int | None = None) -> Memory | None:
    """The memory behind a build's AXI ports, EXTERNAL where nothing is said; None where it is on the chip.

    Raises HwgenError.
    """
    for option, value in (("--memory-latency", latency), ("--bytes-per-cycle", bytes_per_cycle)):
        if value is not None and build.protocol is None:
            raise HwgenError(f"{option} is for parts with ports to external memory; {build.facts['part']} has none, "
                             "its engine's memory is on the chip")
        if value is not None and value < 1:
            raise HwgenError(f"{option} must be at least 1, not {value}")
    if latency is not None and latency > MAX_LATENCY:
        raise HwgenError(f"--memory-latency must be at most {MAX_LATENCY}, not {latency}: the engine's watchdog takes "
                         "a slower memory for a dead one")
    if build.protocol is None:
        return None
    return replace(EXTERNAL, latency=latency or EXTERNAL.latency, bytes_per_cycle=bytes_per_cycle)


def plan_with(build: Build, memory: Memory) -> dict:
    """What the build plans with ``memory`` behind its AXI ports, in the form of its facts."""
    from hwgen.plan.cycles import count_cycles
    from hwgen.plan.figures import layer_figures, unit_figures
    from hwgen.plan.layout import lay_out

    layout = lay_out(build.graph, build.engine)
    cycles = count_cycles(layout, memory.behind_axi())
    return {"cycles": cycles.total, "layers": layer_facts(layer_figures(layout, cycles)),
            "unit_cycles": unit_figures(cycles)}


def simulate_step(build: Build, *, images: int | None = None, inputs: Path | None = None,
                  memory_latency: int | None = None, bytes_per_cycle: int | None = None,
                  progress: Progress = lambda text: None) -> dict:
    """Run images through the generated Verilog and compare every layer's codes; returns the report.

    An engine with AXI ports runs on a memory behind these (:func:`choose_memory`), and the plan is counted again for
    the same memory.  Differences are no exception: they are counted in the report.  Raises HwgenError for bad inputs
    and for a simulator that is missing or fails.
    """
    from hwgen.sim import simulate

    memory = choose_memory(build, memory_latency, bytes_per_cycle)
    codes, labels = choose_inputs(build, images, inputs)
    result = simulate(build, codes, memory=memory, protocol=build.protocol, progress=progress)
    external = {} if memory is None else {
        "memory": {"latency": memory.latency, "bytes_per_cycle": memory.per_cycle(build.engine),
                   "queue": memory.queue},
        "planned": plan_with(build, memory)}
    return save_result(build, "sim", {
        "images": int(result.images), "mismatches": int(result.mismatches), "cycles": int(result.cycles),
        "layers": {name: int(cycles) for name, cycles in result.layers.items()},
        "accuracy": accuracy(np.asarray(result.outputs), labels),
        "first_difference": None if result.first_difference is None else str(result.first_difference),
        **external,
    })


def synthesize_step(build: Build, *, progress: Progress = lambda text: None) -> dict:
    """Count what the engine takes after synthesis, its AXI ports included; returns the report."""
    part = get_part(build.facts["part"])
    result = synthesize(build.verilog, build.top, part, build.path / "synth", progress=progress)
    return save_result(build, "synth", result.to_json())


def place_step(build: Build, *, target_mhz: float | None = None, seed: int = 1,
               progress: Progress = lambda text: None) -> dict:
    """Place and route the engine with its program memory; synthesis runs first when it has not yet.

    ``target_mhz``: the clock that is tried for, the engine's own unless given; ``seed``: of place and route.  Returns
    the report.  Raises HwgenError at once for a part that no open tool places.
    """
    part = get_part(build.facts["part"])
    if part.pnr is None:
        raise HwgenError(f"no open tool places and routes {part.name}; 'hwgen synth {build.path}' without --pnr "
                         "counts its resources")
    if load_result(build, "synth") is None:
        synthesize_step(build, progress=progress)
    words = build.facts["memory_bits"] // build.engine.mem_bits
    result = place_and_route(build.verilog, build.top, part, build.path / "pnr",
                             clock_mhz=target_mhz or build.facts["engine"]["clock_mhz"], memory_words=words,
                             seed=seed, progress=progress)
    return save_result(build, "pnr", result.to_json())
