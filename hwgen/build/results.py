"""Results of later steps beside a build, and the report that joins them.

Simulation and synthesis may run at the same time: each writes its own file, then the
report is made anew from all of them under a lock.
"""

from contextlib import contextmanager
import fcntl
import json
from pathlib import Path

from hwgen.build.directory import Build, load_manifest, write_atomically
from hwgen.build.graph_io import json_bytes
from hwgen.errors import HwgenError
from hwgen.report import make_report, render_html

STEPS = ("sim", "synth", "pnr")


def save_result(build: Build, step: str, result: dict) -> dict:
    """Keep the result of one step and renew report.json and report.html; returns the report.

    Raises HwgenError when the directory has been built anew since ``build`` was loaded.
    """
    if step not in STEPS:
        raise ValueError(f"step must be one of {', '.join(STEPS)}, not {step!r}")
    if load_manifest(build.path)["digest"] != build.digest:
        raise HwgenError(f"build directory {build.path} was built again while this step ran; run the step again")
    try:
        with _locked(build.path):
            write_atomically(build.path / f"{step}.json", json_bytes({"build": build.digest, "result": result}))
            return write_report(build)
    except OSError as error:
        raise HwgenError(f"cannot write to build directory {build.path}: {error.strerror or error}") from error


def load_result(build: Build, step: str) -> dict | None:
    """The result of a step on this very build, or None."""
    try:
        data = json.loads((build.path / f"{step}.json").read_bytes())
        return data["result"] if data["build"] == build.digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def current_report(build: Build) -> dict:
    """The report from the build's facts and whatever steps have run; nothing is written."""
    return make_report(build.facts, **{step: load_result(build, step) for step in STEPS})


def refresh_report(build: Build) -> dict:
    """The current report; report.json and report.html are made anew where they are not up to date."""
    report = current_report(build)
    wanted = {"report.json": json_bytes(report), "report.html": render_html(report).encode()}
    try:
        stale = any(not (build.path / name).is_file() or (build.path / name).read_bytes() != data
                    for name, data in wanted.items())
        if stale:
            with _locked(build.path):
                write_report(build)
    except OSError as error:
        raise HwgenError(f"cannot write to build directory {build.path}: {error.strerror or error}") from error
    return report


def write_report(build: Build) -> dict:
    """Make report.json and report.html anew; returns the report."""
    report = current_report(build)
    write_atomically(build.path / "report.json", json_bytes(report))
    write_atomically(build.path / "report.html", render_html(report).encode())
    return report


@contextmanager
def _locked(folder: Path):
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
