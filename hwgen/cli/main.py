"""The entry point: every outcome becomes an exit code and at most one message.

0 success; 1 a user's mistake, or a check that found something; 2 wrong use of the command
line; 70 a fault in hwgen; 130 interrupted.
"""

import os
import signal
import sys
import traceback

import typer
from typer.exceptions import TyperException

from hwgen.cli.app import app
from hwgen.errors import HwgenError

USER, USAGE, INTERNAL, INTERRUPTED, TERMINATED = 1, 2, 70, 130, 143


def main(arguments: list[str] | None = None) -> int:
    """Run ``hwgen ARGUMENTS`` (default: those of the process); returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGTERM, _terminate)  # clean up as after Ctrl-C
    try:
        result = typer.main.get_command(app).main(args=list(words), prog_name="hwgen", standalone_mode=False)
        sys.stdout.flush()
        if result == INTERRUPTED:  # typer has turned Ctrl-C into this
            return _fail("interrupted", INTERRUPTED)
        return result if isinstance(result, int) else 0
    except HwgenError as error:
        return _fail(str(error), USER)
    except TyperException as error:
        return _usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # the reader of our output has gone; nothing is wrong, but Python must not complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        return _fail("out of memory", USER)
    except Exception as error:
        if "--debug" in words:
            traceback.print_exc()
        kind = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _fail(f"internal error ({kind}); please report it, with the output of "
                     f"'hwgen --debug {' '.join(w for w in words if w != '--debug')}'", INTERNAL)


def _fail(message: str, code: int) -> int:
    print(f"hwgen: {message}", file=sys.stderr, flush=True)
    return code


def _usage(error: TyperException) -> int:
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "hwgen"
    if not message:  # no command at all: the help has been the message
        return USAGE
    return _fail(f"{message}; see '{path} --help'", USAGE)


def _terminate(number: int, frame) -> None:
    raise SystemExit(TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
