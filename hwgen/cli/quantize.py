"""``hwgen quantize``: a recipe trained with a policy, exported and checked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import json
from pathlib import Path
import time

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from hwgen.errors import HwgenError

CHECKED = 1000
"""Test inputs on which the file and the trained network must agree in every integer."""
KNOWN = 500
"""Test inputs that are stored beside the file, for ``hwgen build``."""
PLAIN_STEPS = 10
"""Lines per phase where the output is no terminal."""


@dataclass(frozen=True)
class Options:
    """Of the command line; see its help."""

    recipe: str
    policy: str
    part: str | None
    epochs: int | None
    float_epochs: int | None
    seed: int
    threads: int
    output: Path
    resume: bool
    distill: float
    admm: float
    post: bool


def quantize(options: Options, console: Console) -> dict:
    """Train, quantize, export; returns what is known.  Raises HwgenError."""
    # the first of these says what to install where torch is missing
    from hwgen.quantize import assigned, draw_assignment, export, freeze
    from hwgen.quantize.policy import Policy
    from hwgen.quantize.post import post_training
    from hwgen.quantize.recipe import find_recipe
    from hwgen.quantize.train import Job, check_golden, float_accuracy, integer_accuracy
    import torch

    name, recipe = find_recipe(options.recipe)
    policy = Policy.parse(options.policy, options.part, **recipe.widths)
    for what, value in (("--epochs", options.epochs), ("--float-epochs", options.float_epochs)):
        if value is not None and value < 1:
            raise HwgenError(f"{what} must be at least 1, not {value}")
    torch.set_num_threads(options.threads)
    data = recipe.data()
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise HwgenError(f"cannot write to {options.output}: {reason}; choose another -o DIR") from error
    with bars(console) as bar:
        job = Job(recipe, data, options.seed, options.resume, options.output, bar)
        network = job.float_network(options.float_epochs)
        before = float_accuracy(network, data)
        if options.post:
            qmodel = post_training(network, policy, *data.sample(KNOWN))
        else:
            extra = {"teacher": network, "distill": options.distill} if options.distill else {}
            title = options.policy if options.part is None else f"{options.policy}.{options.part}"
            qmodel = job.quantized(network, policy, options.epochs, title, admm=options.admm, **extra)
    frozen = freeze(qmodel)
    after = integer_accuracy(frozen, data.test)
    path = export(frozen, options.output / f"{name}.onnx", metadata={
        "hwgen.float_accuracy": round(before, 4), "hwgen.quantized_accuracy": round(after, 4)})
    check_golden(path, frozen, data.test.codes[:CHECKED])
    np.savez_compressed(options.output / "test_images.npz", codes=data.test.maps()[:KNOWN],
                        labels=data.test.labels[:KNOWN].astype(np.uint8))
    schemes = assigned(qmodel)
    draw_assignment(schemes, options.output / "assignment.png", f"{name}, {options.policy}")
    rows: dict[str, int] = {}
    for scheme in (scheme for layer in schemes.values() for scheme in layer):
        rows[scheme] = rows.get(scheme, 0) + 1
    found = {"network": name, "policy": options.policy, "part": options.part, "seed": options.seed,
             "float_accuracy": before, "accuracy": after, "test_set": len(data.test.labels),
             "rows": dict(sorted(rows.items())), "file": str(path)}
    (options.output / "quantize.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


@contextmanager
def bars(console: Console) -> Iterator:
    """A function that gives the progress function of a phase: a bar, or lines where there is no terminal."""
    if not console.is_terminal:
        yield lambda title: _lines(title, console)
        return
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[loss]}"), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        yield lambda title: _bar(progress, progress.add_task(title, loss="", total=None))


def _bar(progress: Progress, task: TaskID):
    def show(done: int, steps: int, loss: float) -> None:
        progress.update(task, completed=done, total=steps, loss=f"loss {loss:.3f}")

    return show


def _lines(title: str, console: Console):
    start = time.monotonic()

    def show(done: int, steps: int, loss: float) -> None:
        if done * PLAIN_STEPS // steps > (done - 1) * PLAIN_STEPS // steps:
            print(f"{title}: {100 * done // steps:3d} %  loss {loss:.3f}  {time.monotonic() - start:.0f} s",
                  file=console.file, flush=True)

    return show
