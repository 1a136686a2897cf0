"""What every command needs: the consoles, progress of long work, JSON, common options."""

from collections.abc import Callable
import json
from pathlib import Path
import sys
from typing import Annotated

from rich.console import Console
import typer

from hwgen.device import list_boards, list_parts

app = typer.Typer(name="hwgen", add_completion=False, no_args_is_help=False, pretty_exceptions_enable=False,
                  rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})

MODEL_HELP = ("A name in models/ (generated networks take options: resnet18@fixed4), or a path to an ONNX file. "
              "Where it does not quantize its input say what its codes mean: net.onnx@bits=8,scale=1/255,zero=0.")
Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A build directory, made by 'hwgen build'.")]
Board = Annotated[str | None, typer.Option(help=f"One of: {', '.join(list_boards())}.")]
PartName = Annotated[str | None, typer.Option(help=f"A bare FPGA, one of: {', '.join(list_parts())}.")]
Clock = Annotated[float | None, typer.Option(help="Engine clock to plan with; default: the board's.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of tables.")]

PLAIN_WIDTH = 80
"""Columns where the output is no terminal; scripts use --json."""


def out_console() -> Console:
    """Results."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def err_console() -> Console:
    """Progress and messages."""
    return Console(stderr=True, highlight=False, markup=False)


def print_json(tree) -> None:
    """To standard output."""
    typer.echo(json.dumps(tree, indent=1))


def work(title: str, job: Callable):
    """Run ``job(progress)`` with its progress shown; returns what it returns."""
    from hwgen.cli.progress import show

    with show(title, err_console()) as progress:
        return job(progress)
