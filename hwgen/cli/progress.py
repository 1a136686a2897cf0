"""Progress of long steps on standard error: a moving line in a terminal, plain lines elsewhere."""

from contextlib import contextmanager
import time

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

PLAIN_SECONDS = 10.0
"""Where lines cannot be overwritten, a step's details appear this often at most."""


@contextmanager
def show(title: str, console: Console):
    """A function that shows a few words about what is being done, until the block ends."""
    with (_moving if console.is_terminal else _plain)(title, console) as progress:
        yield progress


@contextmanager
def _moving(title: str, console: Console):
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title)
        yield lambda text: bar.update(task, description=f"{title}: {text}")


@contextmanager
def _plain(title: str, console: Console):
    start = time.monotonic()
    printed = start
    print(f"{title} ...", file=console.file, flush=True)

    def progress(text: str) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed >= PLAIN_SECONDS:
            printed = now
            print(f"  {now - start:4.0f} s  {text}", file=console.file, flush=True)

    yield progress
    print(f"{title}: done in {time.monotonic() - start:.1f} s", file=console.file, flush=True)
