"""Commands about networks: check, compare, explore, quantize."""

import json
from pathlib import Path
from typing import Annotated

import typer

from hwgen.cli.console import Board, Clock, Json, Model, PartName, app, err_console, out_console, print_json, work
from hwgen.device import list_parts
from hwgen.errors import HwgenError


@app.command(epilog="Example:  hwgen check my_network.onnx")
def check(
    model: Model,
    as_json: Json = False,
) -> None:
    """List what a network holds, which boards and parts take it, and everything that keeps it from being built.

    The engines are a first answer: 'hwgen build' finds the same or faster ones.  Exit code 1 when there is a problem.
    """
    from hwgen.build.models import find_model
    from hwgen.build.survey import survey
    from hwgen.frontend import inspect_network
    from hwgen.report.inspection import print_inspection

    source = find_model(model)
    network = source.read()
    found = inspect_network(network)
    proofs, fits = work(f"checking {source.name}", lambda progress: survey(network, progress)) if found.ok else ({}, [])
    if as_json:
        print_json(found.to_json() | {
            "proven": {name: list(pair) for name, pair in proofs.items()},
            "fits": [vars(fit) | {"fps": fit.fps} for fit in fits]})
    else:
        print_inspection(found, proofs, fits, out_console())
    if not found.ok:
        lines = "\n".join(f"  {problem}" for problem in found.problems)
        count = "1 problem" if len(found.problems) == 1 else f"{len(found.problems)} problems"
        raise HwgenError(f"{found.path}: {count}:\n{lines}")
    if not as_json:
        typer.echo("no problems")


@app.command(epilog="Example:  hwgen compare my_network.onnx --inputs images.npy")
def compare(
    model: Model,
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

    result = work(f"comparing {model}", lambda progress: compare_step(model, inputs=inputs, images=images))
    if as_json:
        print_json(result)
    else:
        print_comparison(result, out_console())
    if result["first_difference"]:
        raise HwgenError(f"{model}: the golden model is not equal to the file; first difference: "
                         f"{result['first_difference']}")


@app.command(epilog="Example:  hwgen explore resnet18 --part XC7Z020 -o build/explore")
def explore(
    model: Model,
    board: Board = None,
    part: PartName = None,
    clock_mhz: Clock = None,
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
    result = work(f"exploring {source.name} on {target.part.name}", lambda progress: run(
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
        return print_json(found)
    print_exploration(found, out_console())
    if output is not None:
        err_console().print(f"written: {output / 'explore.png'}, {output / 'explore.json'}", soft_wrap=True)


@app.command(epilog="Example:  hwgen quantize fmnist_mlp --policy rmsmp --epochs 6 -o build/mlp")
def quantize(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A network in models/ with a recipe, or the path of a "
                                                                 "recipe.py.")],
    policy: Annotated[str, typer.Option(help="msq, msp, rmsmp, ilmpq (also with a ratio: msq_67_33), fixed4, pot4, sp2 "
                                             "or fixed8; msq+fixed8 has 8 bits in the first and the last "
                                             "layer.")] = "msq",
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
                        post), err_console())
    if as_json:
        return print_json(found)
    rows = ", ".join(f"{scheme} {count}" for scheme, count in found["rows"].items())
    console = out_console()
    console.print(f"{found['network']}, {policy}: float {100 * found['float_accuracy']:.2f} %, "
                  f"quantized {100 * found['accuracy']:.2f} % on {found['test_set']:,} test inputs; rows: {rows}",
                  soft_wrap=True)
    err_console().print(f"written: {found['file']}; next: hwgen build {found['file']}", soft_wrap=True)
