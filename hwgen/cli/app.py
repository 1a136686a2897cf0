"""The commands.  Results go to standard output, progress and messages to standard error."""

from typing import Annotated

import typer

from hwgen.cli import engines, networks  # noqa: F401  registers their commands, in this order
from hwgen.cli.console import Json, app, out_console, print_json, work
from hwgen.errors import HwgenError
from hwgen.version import __version__


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


@app.command(epilog="Example:  hwgen doctor --json")
def doctor(as_json: Json = False) -> None:
    """Say which tools are found, which versions, what is missing and how to get it.

    Exit code 1 when something needed is missing.
    """
    from hwgen.cli.doctor import examine
    from hwgen.cli.doctor import report as doctor_report
    from hwgen.report.tables import plain_table

    findings = work("looking for tools", lambda progress: examine())
    if as_json:
        print_json(doctor_report(findings))
    else:
        table = plain_table("tool", "for", "version", "how to get it")
        for f in findings:
            state = f.version or ("MISSING" if f.needed else "not there (optional)")
            table.add_row(f.tool, f.purpose, state, f.note)
        out_console().print(table)
    missing = [f.tool for f in findings if not f.ok]
    if missing:
        raise HwgenError(f"missing: {', '.join(missing)}")
