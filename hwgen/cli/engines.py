"""Commands about engines: build, simulate, synth, report."""

from pathlib import Path
from typing import Annotated

import typer

from hwgen.cli.console import (Board, Clock, Directory, Json, Model, PartName, app, err_console, out_console,
                               print_json, work)
from hwgen.errors import HwgenError


@app.command(epilog="Example:  hwgen build fmnist_cnn --board ulx3s_85f --fps 2000 -o build/demo")
def build(
    model: Model,
    board: Board = None,
    part: PartName = None,
    fps: Annotated[float | None, typer.Option(help="Make the smallest engine that reaches this frame rate; "
                                                   "without it the fastest that fits.")] = None,
    engine: Annotated[str | None, typer.Option(metavar="ENGINE", help="Take this engine instead of searching one: a "
                                               "preset (d1-1, d1-2, d1-3) or ki=16,px=6,sp2=24,dsp=8,drain=8.")] = None,
    clock_mhz: Clock = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR",
                                                help="Build directory; default: build/MODEL.")] = None,
    as_json: Json = False,
) -> None:
    """Size an engine for a network and write the build directory.

    An existing DIR is replaced only if hwgen made it, and only after success.
    """
    from hwgen.build.create import build as make
    from hwgen.build.create import make_target
    from hwgen.report import print_report

    target = make_target(board, part, clock_mhz)
    out = output if output is not None else Path("build") / Path(model).stem
    _, report = work(f"building {out}", lambda progress: make(model, target, out, fps=fps, engine=engine,
                                                                          progress=progress))
    if as_json:
        return print_json(report)
    console = out_console()
    print_report(report, console)
    for line in report["explanation"]:
        console.print(line, soft_wrap=True)
    err_console().print(f"next: hwgen simulate {out}; hwgen synth {out}", soft_wrap=True)


@app.command(epilog="Example:  hwgen simulate build/demo --images 100")
def simulate(
    directory: Directory,
    images: Annotated[int | None, typer.Option(help="How many of the known images (without known ones: seeded random "
                                                    "codes); default 100 or all.")] = None,
    inputs: Annotated[Path | None, typer.Option(help="A .npy file of input codes, "
                                                     "(n, channels, height, width).")] = None,
    memory_latency: Annotated[int | None, typer.Option(
        metavar="N", help="Cycles that external memory takes to answer, on parts with ports to it; "
                          "default 30.")] = None,
    bytes_per_cycle: Annotated[int | None, typer.Option(
        metavar="N", help="Bandwidth of external memory, in whole cycles per memory word; default: what the ports "
                          "give.")] = None,
    as_json: Json = False,
) -> None:
    """Run images through the generated Verilog and compare every layer with the golden model.

    Engines with AXI ports run on external memory behind these, others on their on-chip memory.
    Exit code 1 when a code differs.
    """
    from hwgen.build import load_build
    from hwgen.build.steps import simulate_step

    loaded = load_build(directory)
    report = work(f"simulating {directory}",
                   lambda progress: simulate_step(loaded, images=images, inputs=inputs, memory_latency=memory_latency,
                                                  bytes_per_cycle=bytes_per_cycle, progress=progress))
    check = report["verification"]
    if as_json:
        print_json(report)
    else:
        _print_report(report)
    if check["mismatches"]:
        raise HwgenError(f"{check['mismatches']} codes differ from the golden model in {check['images']} images; "
                         f"first difference: {check['first_difference']}")


@app.command(epilog="Example:  hwgen synth build/demo --pnr")
def synth(
    directory: Directory,
    pnr: Annotated[bool, typer.Option("--pnr", help="Place and route too, for the clock that is "
                                                    "reached (minutes).")] = False,
    target: Annotated[float | None, typer.Option(
        min=1, metavar="MHZ", help="Clock that place and route tries to reach; default: the engine's own.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of place and route, whose result varies with it.")] = 1,
    as_json: Json = False,
) -> None:
    """Count the LUTs, flip-flops, DSPs and block RAMs of the engine, its AXI ports included, with Yosys."""
    from hwgen.build import load_build
    from hwgen.build.steps import place_step, synthesize_step

    loaded = load_build(directory)
    if target is not None and not pnr:
        raise HwgenError("--target is for place and route: give --pnr too")
    if pnr:
        report = work(f"placing and routing {directory}",
                       lambda progress: place_step(loaded, target_mhz=target, seed=seed, progress=progress))
    else:
        report = work(f"synthesizing {directory}", lambda progress: synthesize_step(loaded, progress=progress))
    if as_json:
        return print_json(report)
    _print_report(report)


@app.command(epilog="Example:  hwgen report build/demo --json")
def report(directory: Directory, as_json: Json = False) -> None:
    """Show what is known about a build: accuracy, cycles, frame rate, resources."""
    from hwgen.build import load_build
    from hwgen.build.results import refresh_report
    from hwgen.report import print_report

    tree = refresh_report(load_build(directory))
    if as_json:
        return print_json(tree)
    console = out_console()
    print_report(tree, console)
    console.print(f"reports: {directory / 'report.html'}, {directory / 'report.json'}", soft_wrap=True)


def _print_report(tree: dict) -> None:
    from hwgen.report import print_report

    print_report(tree, out_console(), layers=False)
