"""The commands.  Results go to standard output, progress and messages to standard error."""

from collections.abc import Callable
import json
from pathlib import Path
import sys
from typing import Annotated

from rich.box import ASCII2
from rich.console import Console
from rich.table import Column, Table
import typer

from hwgen.device import list_boards, list_parts
from hwgen.errors import HwgenError
from hwgen.version import __version__

app = typer.Typer(name="hwgen", add_completion=False, no_args_is_help=False, pretty_exceptions_enable=False,
                  rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A build directory, made by 'hwgen build'.")]
MODEL_HELP = "A name in models/ (generated networks take options: resnet18@fixed4), or a path to an ONNX file."
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of tables.")]


PLAIN_WIDTH = 80
"""Columns where the output is no terminal; scripts use --json."""


def _out() -> Console:
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def _err() -> Console:
    return Console(stderr=True, highlight=False, markup=False)


def _print_json(tree) -> None:
    typer.echo(json.dumps(tree, indent=1))


def _work(title: str, job: Callable):
    """Run ``job(progress)`` with its progress shown."""
    from hwgen.cli.progress import show

    with show(title, _err()) as progress:
        return job(progress)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hwgen {__version__}")
        raise typer.Exit


@app.callback(epilog="Example:  hwgen build fmnist_cnn --board ulx3s_85f -o build/demo")
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                          help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when hwgen itself fails.")] = False,
) -> None:
    """Compile a quantized network into an FPGA accelerator, verify it, and report what it takes."""


@app.command(epilog="Example:  hwgen build fmnist_cnn --board ulx3s_85f --fps 2000 -o build/demo")
def build(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    board: Annotated[str | None, typer.Option(help=f"One of: {', '.join(list_boards())}.")] = None,
    part: Annotated[str | None, typer.Option(help=f"A bare FPGA, one of: {', '.join(list_parts())}.")] = None,
    fps: Annotated[float | None, typer.Option(help="Make the smallest engine that reaches this frame rate; "
                                                   "without it the fastest that fits.")] = None,
    engine: Annotated[str | None, typer.Option(metavar="ENGINE", help="Take this engine instead of searching one: a "
                                               "preset (d1-1, d1-2, d1-3) or ki=16,px=6,sp2=24,dsp=8,drain=8.")] = None,
    clock_mhz: Annotated[float | None, typer.Option(help="Engine clock to plan with; default: the board's.")] = None,
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
    _, report = _work(f"building {out}", lambda progress: make(model, target, out, fps=fps, engine=engine,
                                                                          progress=progress))
    if as_json:
        return _print_json(report)
    console = _out()
    print_report(report, console)
    for line in report["explanation"]:
        console.print(line, soft_wrap=True)
    _err().print(f"next: hwgen simulate {out}; hwgen synth {out}", soft_wrap=True)


@app.command(epilog="Example:  hwgen explore resnet18 --part XC7Z020 -o build/explore")
def explore(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    board: Annotated[str | None, typer.Option(help=f"One of: {', '.join(list_boards())}.")] = None,
    part: Annotated[str | None, typer.Option(help=f"A bare FPGA, one of: {', '.join(list_parts())}.")] = None,
    clock_mhz: Annotated[float | None, typer.Option(help="Engine clock to plan with; default: the board's.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="Write explore.json and the "
                                                "picture explore.png there.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a part can do with a network: engines of all sizes, and the best SP2 : fixed ratio.

    Everything is planned; nothing is built.  A few minutes for a large network.
    """
    from hwgen.build.create import make_target
    from hwgen.build.models import find_model
    from hwgen.plan.explore import explore as run
    from hwgen.report.exploration import draw, print_exploration

    target, source = make_target(board, part, clock_mhz), find_model(model)
    result = _work(f"exploring {source.name} on {target.part.name}", lambda progress: run(
        source.load(), target.part, clock_mhz=target.clock_mhz, progress=progress))
    found = result.to_json()
    if output is not None:
        try:
            output.mkdir(parents=True, exist_ok=True)
            (output / "explore.json").write_text(json.dumps(found, indent=1) + "\n")
            (output / "explore.png").write_bytes(draw(found))
        except OSError as error:
            raise HwgenError(f"cannot write to {output}: {error.strerror or error}; choose another -o DIR") from error
    if as_json:
        return _print_json(found)
    print_exploration(found, _out())
    if output is not None:
        _err().print(f"written: {output / 'explore.png'}, {output / 'explore.json'}", soft_wrap=True)


@app.command(epilog="Example:  hwgen quantize fmnist_mlp --policy rmsmp --epochs 6 -o build/mlp")
def quantize(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A network in models/ with a recipe, or the path of a "
                                                                 "recipe.py.")],
    policy: Annotated[str, typer.Option(help="msq, msp, rmsmp, ilmpq (also with a ratio: msq_67_33), fixed4, pot4, sp2 "
                                             "or fixed8.")] = "msq",
    part: Annotated[str | None, typer.Option(help="Take the ratio that the planner finds best for this FPGA: "
                                                  f"{', '.join(list_parts())}.")] = None,
    epochs: Annotated[int | None, typer.Option(help="With quantizers; default: the recipe's.")] = None,
    float_epochs: Annotated[int | None, typer.Option(help="In float; default: the recipe's.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="Default: build/RECIPE.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints in DIR.")] = False,
    distill: Annotated[float, typer.Option(min=0, max=1, help="Share of the float network's answers in the "
                                                              "loss.")] = 0.0,
    admm: Annotated[float, typer.Option(min=0, help="Draw weights to their grids in the first half of the epochs, with "
                                                    "this factor.")] = 0.0,
    post: Annotated[bool, typer.Option("--post", help="Do not train: quantize the float network with 500 "
                                                      "inputs.")] = False,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    threads: Annotated[int, typer.Option(min=1, help="The result depends on it in the last digits.")] = 2,
    as_json: Json = False,
) -> None:
    """Train a network in float, quantize it with a policy, and write the file that 'hwgen build' takes.

    Float weights and checkpoints stay in DIR.  The file is checked: on 1,000 inputs the golden model gives the same
    integers as the trained network.  Needs torch: pip install "hwgen[train]".
    """
    from hwgen.cli.quantize import Options
    from hwgen.cli.quantize import quantize as run

    found = run(Options(recipe, policy, part, epochs, float_epochs, seed, threads,
                        output if output is not None else Path("build") / Path(recipe).stem, resume, distill, admm,
                        post), _err())
    if as_json:
        return _print_json(found)
    rows = ", ".join(f"{scheme} {count}" for scheme, count in found["rows"].items())
    console = _out()
    console.print(f"{found['network']}, {policy}: float {100 * found['float_accuracy']:.2f} %, "
                  f"quantized {100 * found['accuracy']:.2f} % on {found['test_set']:,} test inputs; rows: {rows}",
                  soft_wrap=True)
    _err().print(f"written: {found['file']}; next: hwgen build {found['file']}", soft_wrap=True)


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
    report = _work(f"simulating {directory}",
                   lambda progress: simulate_step(loaded, images=images, inputs=inputs, memory_latency=memory_latency,
                                                  bytes_per_cycle=bytes_per_cycle, progress=progress))
    check = report["verification"]
    if as_json:
        _print_json(report)
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
        report = _work(f"placing and routing {directory}",
                       lambda progress: place_step(loaded, target_mhz=target, seed=seed, progress=progress))
    else:
        report = _work(f"synthesizing {directory}", lambda progress: synthesize_step(loaded, progress=progress))
    if as_json:
        return _print_json(report)
    _print_report(report)


@app.command(epilog="Example:  hwgen report build/demo --json")
def report(directory: Directory, as_json: Json = False) -> None:
    """Show what is known about a build: accuracy, cycles, frame rate, resources."""
    from hwgen.build import load_build
    from hwgen.build.results import refresh_report
    from hwgen.report import print_report

    tree = refresh_report(load_build(directory))
    if as_json:
        return _print_json(tree)
    console = _out()
    print_report(tree, console)
    console.print(f"reports: {directory / 'report.html'}, {directory / 'report.json'}", soft_wrap=True)


@app.command(epilog="Example:  hwgen check my_network.onnx")
def check(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    as_json: Json = False,
) -> None:
    """List what a network holds, which boards and parts take it, and everything that keeps it from being built.

    The engines are a first answer: 'hwgen build' finds the same or faster ones.  Exit code 1 when there is a problem.
    """
    from hwgen.build.models import find_model
    from hwgen.build.survey import survey
    from hwgen.frontend import inspect

    source = find_model(model)
    found = inspect(source.path) if source.options is None else inspect(source.name, source.data)
    proofs, fits = _work(f"checking {source.name}", lambda progress: survey(source, progress)) if found.ok else ({}, [])
    if as_json:
        _print_json(found.to_json() | {
            "proven": {name: list(pair) for name, pair in proofs.items()},
            "fits": [vars(fit) | {"fps": fit.fps} for fit in fits]})
    else:
        table = Table(*_columns("node", "operator", "becomes"), box=ASCII2, show_edge=False, pad_edge=False)
        for node in found.nodes:
            table.add_row(str(node.node), str(node.op), str(node.becomes))
        console = _out()
        console.print(table)
        if found.layers:
            console.print(_layer_table(found.layers, proofs))
        for step in found.host:
            console.print(f"left to the host: {step.op} {step.node} of {step.output}", soft_wrap=True)
        rows = ", ".join(f"{name} {n}" for name, n in found.rows.items()) or "none"
        parameters = sum(layer.parameters for layer in found.layers)
        console.print(f"{found.name}: {found.macs:,} MAC, {parameters:,} parameters; rows: {rows}", soft_wrap=True)
        if fits:
            console.print(_fit_table(fits))
    if not found.ok:
        lines = "\n".join(f"  {problem}" for problem in found.problems)
        count = "1 problem" if len(found.problems) == 1 else f"{len(found.problems)} problems"
        raise HwgenError(f"{found.path}: {count}:\n{lines}")
    if not as_json:
        typer.echo("no problems")


def _fit_table(fits) -> Table:
    """Boards and parts: an engine with its frame rate, or what is missing."""
    table = Table(*_columns("board or part", "MHz", "engine, or what is missing", "MAC/cycle", "images/s"), box=ASCII2,
                  show_edge=False, pad_edge=False, caption_justify="left", caption="channels x pixels x rows of an "
                  "engine found quickly; 'hwgen build' finds the same or faster ones")
    for fit in fits:
        table.add_row(fit.board or fit.part, f"{fit.clock_mhz:g}", fit.engine or fit.missing,
                      f"{fit.macs_per_cycle:,}" if fit.cycles else "-", f"{fit.fps:,.1f}" if fit.cycles else "-")
    return table


def _layer_table(layers, proofs) -> Table:
    """Per layer: widths, in how many rows each number system holds every weight exactly, and rows proven equal."""
    table = Table(*_columns("layer", "rows", "proven", "pot", "sp2", "4-bit", "8-bit", "in", "out", "sum"), box=ASCII2,
                  show_edge=False, pad_edge=False, caption="rows whose codes are proven equal to the file's; rows that "
                  "a number system holds exactly; bits of codes and sums", caption_justify="left")
    for layer in layers:
        proven = f"{proofs[layer.layer][0]:,}" if layer.layer in proofs else "-"
        table.add_row(layer.layer, f"{layer.rows:,}", proven, *(f"{layer.holds[name]:,}" for name in (
            "pot4", "sp2", "fixed4", "fixed8")), str(layer.input_bits), str(layer.output_bits),
            str(layer.accumulator_bits))
    return table


@app.command(epilog="Example:  hwgen compare my_network.onnx --inputs images.npy")
def compare(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    inputs: Annotated[Path | None, typer.Option(help="A .npy file (n, channels, height, width): integers are input "
                                                     "codes, floats the real image; without it the known images, "
                                                     "else seeded random codes.")] = None,
    images: Annotated[int | None, typer.Option(min=1, help="How many of them; default all, of the known ones "
                                                           "100.")] = None,
    as_json: Json = False,
) -> None:
    """Run the file in its own executor (qonnx or onnxruntime) and in the golden model, and compare every layer.

    A layer is judged on the executor's own input codes.  Executors compute in float32: a difference counts as a
    tie only if the executor's code is proven to lie within float32's error of the exact value.  Exit code 1 when
    anything else differs.
    """
    from hwgen.build.comparison import compare_step
    from hwgen.report.comparison import print_comparison

    result = _work(f"comparing {model}", lambda progress: compare_step(model, inputs=inputs, images=images))
    if as_json:
        _print_json(result)
    else:
        print_comparison(result, _out())
    if result["first_difference"]:
        raise HwgenError(f"{model}: the golden model is not equal to the file; first difference: "
                         f"{result['first_difference']}")


@app.command(epilog="Example:  hwgen doctor --json")
def doctor(as_json: Json = False) -> None:
    """Say which tools are found, which versions, what is missing and how to get it.

    Exit code 1 when something needed is missing.
    """
    from hwgen.cli.doctor import examine
    from hwgen.cli.doctor import report as doctor_report

    findings = _work("looking for tools", lambda progress: examine())
    if as_json:
        _print_json(doctor_report(findings))
    else:
        table = Table(*_columns("tool", "for", "version", "how to get it"), box=ASCII2, show_edge=False, pad_edge=False)
        for f in findings:
            state = f.version or ("MISSING" if f.needed else "not there (optional)")
            table.add_row(f.tool, f.purpose, state, f.note)
        _out().print(table)
    missing = [f.tool for f in findings if not f.ok]
    if missing:
        raise HwgenError(f"missing: {', '.join(missing)}")


def _columns(*titles: str) -> list[Column]:
    """Columns that break long words instead of cutting them."""
    return [Column(title, overflow="fold") for title in titles]


def _print_report(tree: dict) -> None:
    from hwgen.report import print_report

    print_report(tree, _out(), layers=False)
