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

from hwgen.build.models import annotated, input_codes
from hwgen.errors import HwgenError
from hwgen.frontend import read_network, to_graph
from hwgen.frontend.execute import compare
from hwgen.golden import run
from hwgen.graph.ir import Conv, Graph, MaxPool

PAGE = Path(__file__).resolve().parents[2] / "docs" / "exporters.md"
BARE = "bits=8,scale=1/32,zero=128"
"""What the codes of an input mean that a file does not quantize."""
BEGIN, END = "<!-- table -->", "<!-- end -->"


@dataclass
class Row:
    """One tool's files."""

    files: int = 0
    exact: int = 0
    rows: int = 0
    proven: int = 0
    codes: int = 0
    ties: int = 0
    different: int = 0
    pairs: int = 0
    same: int = 0
    refused: list[str] = field(default_factory=list)


def rows_of(graph: Graph) -> tuple[int, int]:
    """Rows, adds and averages proven, and all of them."""
    rules = [(op.requant.proven, len(op.weight)) if isinstance(op, Conv) else (int(op.rescale.proven), 1)
             for op in graph.ops if not isinstance(op, MaxPool)]
    return sum(proven for proven, _ in rules), sum(count for _, count in rules)


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
    proven, count = rows_of(graph)
    row.proven, row.rows, row.exact = row.proven + proven, row.rows + count, row.exact + found.ok
    row.codes += sum(layer.compared for layer in found.layers)
    row.ties += sum(layer.ties for layer in found.layers)
    row.different += sum(layer.different for layer in found.layers)
    codes = np.random.default_rng(2).integers(0, 1 << tensor.bits, (50, *tensor.shape))
    return [output.reshape(len(codes), -1) for output in run(graph, codes).values()]


def measure(folder: Path) -> dict[str, Row]:
    """{tool: row}; the tool is the first word of a file's name."""
    table: dict[str, Row] = defaultdict(Row)
    first: dict[str, list[np.ndarray]] = {}
    for path in sorted(folder.glob("*.onnx")):
        name, form = path.stem.rsplit(".", 1) if "." in path.stem else (path.stem, "")
        row = table[name.split("_")[0]]
        outputs = examine(path, row)
        print(path.stem, "refused" if outputs is None else "compared", flush=True)
        if outputs is None or form not in ("qonnx", "qdq"):
            continue
        if name in first:
            row.pairs += 1
            row.same += len(outputs) == len(first[name]) and all(map(np.array_equal, outputs, first[name]))
        first.setdefault(name, outputs)
    return dict(table)


def page(table: dict[str, Row]) -> str:
    titles = ("tool", "files", "exact", "refused", "rules proven", "codes compared", "ties", "different",
              "same in two forms")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for tool, row in table.items():
        cells = (tool, row.files, row.exact, len(row.refused), f"{row.proven:,} of {row.rows:,}", f"{row.codes:,}",
                 row.ties, row.different, f"{row.same} of {row.pairs}" if row.pairs else "-")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    refused = [f"* {text}" for row in table.values() for text in row.refused]
    return "\n".join([*lines, "", "Refused, by name:", "", *(refused or ["* none"])]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help="write docs/exporters.md")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    text = page(measure(options.folder))
    print(text)
    if options.write:
        head, rest = PAGE.read_text().split(BEGIN, 1)
        PAGE.write_text(f"{head}{BEGIN}\n{text}{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    main()
