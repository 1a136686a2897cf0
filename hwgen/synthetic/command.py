"""Writes a generated network as an ONNX file."""

import argparse
from collections.abc import Callable
from pathlib import Path
import sys

from hwgen.errors import HwgenError
from hwgen.synthetic.network import SyntheticNetwork
from hwgen.synthetic.options import HELP, Options


def main(name: str, make: Callable[[str, Options], SyntheticNetwork]) -> None:
    """The command line of models/NAME/network.py."""
    parser = argparse.ArgumentParser(prog=f"python -m models.{name}.network",
                                     description=f"Write {name} of generated weights as an ONNX file.")
    parser.add_argument("options", nargs="?", default="", help=f"what may stand {HELP}")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.onnx")
    arguments = parser.parse_args()
    try:
        full = f"{name}@{arguments.options}" if arguments.options else name
        arguments.output.write_bytes(make(full, Options.parse(arguments.options)).model())
    except (HwgenError, OSError) as error:
        sys.exit(f"error: {error}")
