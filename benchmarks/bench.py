"""Reproduce the figures of docs/benchmarks.md:  python -m benchmarks.bench [NAME ...] [--engine TEXT] [--steps plan]

Every experiment writes build/bench/NAME/report.json; docs/benchmarks.md is made anew from all reports that are there.
A search is done once: the engine that was found stands in the report and is taken again.
"""

import argparse
from dataclasses import replace
import datetime
import json
import os
from pathlib import Path
import platform
import resource
import statistics
import sys
import time

from benchmarks.experiments import EXPERIMENTS, STEPS, Experiment, find
from benchmarks.page import page
from hwgen.build import load_build
from hwgen.build.create import build, make_target, tool_versions
from hwgen.build.models import find_model
from hwgen.build.steps import choose_inputs, synthesize_step
from hwgen.device import Part, get_part
from hwgen.errors import HwgenError
from hwgen.plan import Plan, make_plan
from hwgen.plan.cycles import count_cycles
from hwgen.plan.ideal import ideal
from hwgen.plan.load import EXTERNAL, Memory
from hwgen.plan.presets import engine_text
from hwgen.plan.sizing import describe
from hwgen.report.data import error_percent
from hwgen.sim import simulate
from hwgen.synth import place, synthesize_wrapped

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "bench"


class Clock:
    """Seconds, seconds of CPU and peak memory of every step of an experiment."""

    def __init__(self):
        self.steps: dict[str, dict] = {}

    def run(self, name: str, job):
        start, before = time.monotonic(), _cpu_seconds()
        print(f"  {name} ...", flush=True)
        result = job()
        used = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        self.steps[name] = {"seconds": round(time.monotonic() - start, 1), "cpu": round(_cpu_seconds() - before, 1),
                            "peak_gb": round(used / 1e6, 2)}
        print(f"  {name}: {self.steps[name]['seconds']} s", flush=True)
        return result


def _cpu_seconds() -> float:
    """Of this process and of those that it has started and waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def run(experiment: Experiment, steps: tuple[str, ...]) -> dict:
    """Do the experiment; returns the report, which is written too."""
    clock, folder, part = Clock(), FOLDER / experiment.name, get_part(experiment.part)
    folder.mkdir(parents=True, exist_ok=True)
    graph = clock.run("network", lambda: find_model(experiment.model).load())
    plan = clock.run("plan", lambda: make_plan(graph, part, clock_mhz=experiment.clock_mhz,
                                               engine=experiment.engine, progress=lambda text: print("   ", text)))
    report = {
        "name": experiment.name, "title": experiment.title, "model": experiment.model, "part": experiment.part,
        "clock_mhz": experiment.clock_mhz, "engine": describe(plan.engine), "engine_text": engine_text(plan.engine),
        "searched": experiment.engine is None, "macs_per_cycle": plan.engine.macs_per_cycle,
        "date": datetime.date.today().isoformat(),
        "versions": {**tool_versions(), "machine": platform.machine()},
        "protocol": part.protocol, "available": part.available.to_json(),
        "estimated": plan.estimate.to_json(),
        "memory": {str(width): _planned(plan, part, width) for width in experiment.bandwidths},
        "layers": plan.layers, "units": plan.units, "explanation": plan.explanation, "synthesized": None,
        "placed": None,
    }
    wanted = [step for step in experiment.steps if step in steps and step != "plan"]
    if wanted:
        target = make_target(None, experiment.part, experiment.clock_mhz)
        made, _ = clock.run("build", lambda: build(experiment.model, target, folder / "build",
                                                   engine=engine_text(plan.engine)))
    if "synth" in wanted:
        resources = clock.run("synth", lambda: synthesize_step(made))["resources"]
        found = resources["synthesized"]
        report["synthesized"] = {**found, "carry": resources["carry"], "levels": resources["levels"], "error_percent": {
            name: error_percent(report["estimated"][name], found[name]) for name in report["estimated"]}}
    if "simulate" in wanted:
        _simulate(load_build(folder / "build"), experiment, report, clock)
    if "place" in wanted:
        report["placed"] = _place(load_build(folder / "build"), experiment, part, folder / "pnr", clock)
    report["steps"] = clock.steps
    report["targets"] = _targets(experiment, report)
    _print_targets(report)
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    return report


def _memory(width: int) -> Memory:
    return replace(EXTERNAL, bytes_per_cycle=width)


def _planned(plan: Plan, part: Part, width: int) -> dict:
    """Cycles with a memory of ``width`` bytes per cycle, behind the part's AXI ports, and the bound."""
    memory = _memory(width)
    cycles = count_cycles(plan.layout, memory if part.protocol is None else memory.behind_axi())
    bound = ideal(plan.layout, cycles, width)
    macs = sum(layer["macs"] for layer in plan.layers)
    return {"planned": cycles.total, "simulated": None, "mismatches": None, "bound": bound.total,
            "bound_share": bound.total / cycles.total,
            "utilization": macs / (cycles.total * plan.engine.macs_per_cycle),
            "ms": cycles.total / plan.clock_mhz / 1e3}


def _simulate(made, experiment: Experiment, report: dict, clock: Clock) -> None:
    """All images at the first bandwidth, one at the others; through the build's AXI ports where it has them."""
    codes, _ = choose_inputs(made, experiment.images, None)
    for width, row in report["memory"].items():
        images = codes if width == str(experiment.bandwidths[0]) else codes[:1]
        result = clock.run(f"simulate@{width}", lambda images=images, width=width: simulate(
            made, images, memory=_memory(int(width)), protocol=made.protocol))
        row |= {"simulated": int(result.cycles), "mismatches": int(result.mismatches), "images": len(images),
                "error_percent": error_percent(row["planned"], result.cycles),
                "bound_share": row["bound"] / result.cycles, "ms": result.cycles / experiment.clock_mhz / 1e3}


def _place(made, experiment: Experiment, part: Part, folder: Path, clock: Clock) -> dict:
    """The engine with its program memory placed and routed with every seed, and the median of the clocks in MHz."""
    words = made.facts["memory_bits"] // made.engine.mem_bits
    sources = clock.run("synth for place", lambda: synthesize_wrapped(made.verilog, made.top, part, folder,
                                                                      memory_words=words))
    runs = []
    for seed in experiment.seeds:
        result = clock.run(f"place@{seed}", lambda seed=seed: place(part, folder, sources, seed=seed,
                                                                    clock_mhz=experiment.target_mhz))
        runs.append(result.to_json())
        print(f"  {result.fmax_mhz:.1f} MHz", flush=True)
    return {"runs": runs, "median_mhz": statistics.median(run["fmax_mhz"] for run in runs)}


def _targets(experiment: Experiment, report: dict) -> dict:
    """Target, value and whether it is met, by name."""
    used = report["synthesized"] or report["estimated"]
    values = {name: used[name] / report["available"][name] for name in report["available"]}
    values |= {f"ms@{width}": row["ms"] for width, row in report["memory"].items()}
    values |= {f"beyond@{width}": 1 - row["bound_share"] for width, row in report["memory"].items()}
    if report["synthesized"]:
        # A slice has four LUTs and a carry block.
        values |= {"carry": used["carry"] / (report["available"]["lut"] // 4), "levels": used["levels"]}
    if report["placed"]:
        values["period_ns"] = 1e3 / report["placed"]["median_mhz"]
    return {name: {"most": most, "value": values[name], "met": values[name] <= most}
            for name, most in experiment.targets.items() if name in values}


def _print_targets(report: dict) -> None:
    for name, target in report["targets"].items():
        print(f"  target {name}: {target['value']:.3g}, at most {target['most']:g}: "
              f"{'met' if target['met'] else 'NOT MET'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments; default: all, in order")
    parser.add_argument("--engine", help="take this engine (hwgen build --engine) in every experiment named")
    parser.add_argument("--steps", default=",".join(STEPS), help=f"of {', '.join(STEPS)}; plan is always done")
    options = parser.parse_args()
    try:
        chosen = [find(name) for name in options.names] or list(EXPERIMENTS)
    except KeyError as error:
        sys.exit(f"error: no experiment {error}; known are {', '.join(e.name for e in EXPERIMENTS)}")
    failed = []
    for experiment in chosen:
        print(f"{experiment.name}: {experiment.title}", flush=True)
        try:
            run(replace(experiment, engine=options.engine or experiment.engine), tuple(options.steps.split(",")))
        except HwgenError as error:
            print(f"  error: {error}", flush=True)
            failed.append(experiment.name)
    reports = [FOLDER / experiment.name / "report.json" for experiment in EXPERIMENTS]
    text = page([json.loads(path.read_text()) for path in reports if path.exists()])
    (ROOT / "docs" / "benchmarks.md").write_text(text)
    print("written: docs/benchmarks.md")
    if failed:
        sys.exit(f"error: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
