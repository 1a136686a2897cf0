"""Long-running tools as child processes: log to a file, report progress, end cleanly."""

from collections.abc import Callable, Sequence
from pathlib import Path
import re
import subprocess

from hwgen.errors import HwgenError

Progress = Callable[[str], None]
"""Called with a few words about what is being done."""


Hopeless = Callable[[str], bool]
"""Says of a tool's log so far that it need not go on."""


class GaveUp(Exception):
    """A tool was ended because its log said that it gets nowhere."""


def silent(text: str) -> None:
    """A Progress that shows nothing."""


def run_tool(command: Sequence[str], *, cwd: Path, log: Path, what: str, step: re.Pattern[str],
             progress: Progress = silent, hopeless: Hopeless | None = None) -> str:
    """Run ``command`` with its output in ``log``; returns the log's text.

    ``step`` finds the name of the current step in the log (group 1); the last one goes to
    ``progress``.  Ctrl-C and any other exception end the child.  Raises HwgenError with the
    log's last error when the tool fails, and GaveUp when ``hopeless`` says so of the log so far.
    """
    with open(log, "wb") as output:
        try:
            child = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output,
                                     stderr=subprocess.STDOUT)
        except OSError as error:
            raise HwgenError(f"cannot start {what} ({command[0]}): {error.strerror or error}; "
                             "'hwgen doctor' says what is missing") from error
        try:
            code = _wait(child, log, step, progress, hopeless)
        finally:
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(5)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
    text = log.read_text(encoding="utf-8", errors="replace")
    if code:
        raise HwgenError(f"{what} failed ({_reason(code, text)}); its log is {log}")
    return text


def _wait(child: subprocess.Popen, log: Path, step: re.Pattern[str], progress: Progress,
          hopeless: Hopeless | None) -> int:
    shown, text = None, ""
    with open(log, encoding="utf-8", errors="replace") as reader:
        while True:
            try:
                code = child.wait(0.5)
            except subprocess.TimeoutExpired:
                code = None
            new = reader.read()
            found = step.findall(new)
            if found and found[-1] != shown:
                shown = found[-1]
                progress(shown)
            if code is not None:
                return code
            text += new
            if hopeless is not None and new and hopeless(text):
                raise GaveUp


def _reason(code: int, text: str) -> str:
    if code < 0:
        return f"ended by signal {-code}; too little memory?"
    errors = [line.strip() for line in text.splitlines() if "ERROR" in line or line.startswith("ModuleNotFoundError")]
    return errors[-1] if errors else f"exit code {code}"
