"""What hwgen makes of a folder of such files:  python -m benchmarks.exporters FOLDER [--write]

Every file is compared with its own executor, layer by layer, on 20 random inputs; forms of one network (``NAME.qonnx``,
``NAME.qdq``) also with each other, code by code.  ``--write`` makes docs/exporters.md.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass, field
import logging
from pathlib import Path

import numpy as np

from benchmarks.markdown import table, write_between
from hwgen.build.create import requantizer_facts
from hwgen.build.models import input_codes
from hwgen.errors import HwgenError
from hwgen.frontend import read_network, to_graph
from hwgen.frontend.execute import compare
from hwgen.frontend.model_file import annotated
from hwgen.golden import run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "exporters.md"
BARE = "bits=8,scale=1/32,zero=128"
"""What the codes of an input mean that a file does not quantize."""


@dataclass
class Row:
    """One tool's files."""

    files: int = 0
    exact: int = 0
    rules: int = 0
    proven: int = 0
    codes: int = 0
    ties: int = 0
    different: int = 0
    pairs: int = 0
    same: int = 0
    refused: list[str] = field(default_factory=list)


def examine(path: Path, row: Row) -> list[np.ndarray] | None:
    """Adds a file to its tool's row; codes of its outputs on seeded input codes, None where it is refused."""
    row.files += 1
    data, network = None, read_network(path)
    if any("input is not quantized" in problem.reason for problem in network.problems):
        data = annotated(path.read_bytes(), input_codes(BARE))
        network = read_network(path, data)
    try:
        graph = to_graph(network)
    except HwgenError:
        row.refused.append(f"{path.stem}: {network.problems[0]}")
        return None
    tensor = graph.tensors[graph.input]
    real = np.random.default_rng(1).standard_normal((20, *tensor.shape)).astype(np.float32)
    found = compare(path, graph, real, every_layer=True, data=data)
    facts = requantizer_facts(graph)
    row.proven, row.rules = row.proven + facts["requantizers_proven"], row.rules + facts["requantizers"]
    row.exact += found.ok
    row.codes += sum(layer.compared for layer in found.layers)
    row.ties += sum(layer.ties for layer in found.layers)
    row.different += sum(layer.different for layer in found.layers)
    codes = np.random.default_rng(2).integers(0, 1 << tensor.bits, (50, *tensor.shape))
    return [output.reshape(len(codes), -1) for output in run(graph, codes).values()]


def measure(folder: Path) -> dict[str, Row]:
    """{tool: row}; the tool is the first word of a file's name."""
    tools: dict[str, Row] = defaultdict(Row)
    first: dict[str, list[np.ndarray]] = {}
    for path in sorted(folder.glob("*.onnx")):
        name, form = path.stem.rsplit(".", 1) if "." in path.stem else (path.stem, "")
        row = tools[name.split("_")[0]]
        outputs = examine(path, row)
        print(path.stem, "refused" if outputs is None else "compared", flush=True)
        if outputs is None or form not in ("qonnx", "qdq"):
            continue
        if name in first:
            row.pairs += 1
            row.same += len(outputs) == len(first[name]) and all(map(np.array_equal, outputs, first[name]))
        first.setdefault(name, outputs)
    return dict(tools)


def page(tools: dict[str, Row]) -> str:
    titles = ["tool", "files", "exact", "refused", "rules proven", "codes compared", "ties", "different",
              "same in two forms"]
    rows = [[tool, row.files, row.exact, len(row.refused), f"{row.proven:,} of {row.rules:,}", f"{row.codes:,}",
             row.ties, row.different, f"{row.same} of {row.pairs}" if row.pairs else "-"]
            for tool, row in tools.items()]
    refused = [f"* {text}" for row in tools.values() for text in row.refused]
    return "\n".join([*table(titles, *rows), "Refused, by name:", "", *(refused or ["* none"])]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help="write docs/exporters.md")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    text = page(measure(options.folder))
    print(text)
    if options.write:
        write_between(PAGE, text)


if __name__ == "__main__":
    main()
