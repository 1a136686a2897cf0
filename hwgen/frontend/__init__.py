"""Reads and writes model files: ONNX in the QONNX dialect (docs/model-file.md)."""

from dataclasses import dataclass
import json
from pathlib import Path

from hwgen.errors import HwgenError
from hwgen.frontend.importer import Importer, Network, NodeReport, Problem
from hwgen.frontend.lower import lower
from hwgen.frontend.model_file import read
from hwgen.frontend.operators import HANDLERS
from hwgen.frontend.values import ConvSource, Layer
from hwgen.graph.ir import Graph

__all__ = ["HwgenError", "Inspection", "NodeReport", "Problem", "inspect", "load", "read_network"]


@dataclass(frozen=True)
class Inspection:
    """What a model file holds, node by node, and everything that keeps it from being built."""

    path: Path
    name: str
    input_shape: tuple[int, int, int]
    nodes: tuple[NodeReport, ...]
    problems: tuple[Problem, ...]
    macs: int
    """Multiply-accumulates per image of the layers that were read."""
    rows: dict[str, int]
    """Weight rows per scheme."""
    metadata: dict[str, str]

    @property
    def ok(self) -> bool:
        return not self.problems

    def to_json(self) -> str:
        """The same for scripts."""
        return json.dumps({
            "path": str(self.path), "name": self.name, "input_shape": list(self.input_shape), "ok": self.ok,
            "macs": self.macs, "rows": self.rows,
            "nodes": [{"node": node.node, "op": node.op, "becomes": node.becomes} for node in self.nodes],
            "problems": [vars(problem) for problem in self.problems]}, indent=1)


def read_network(path, data: bytes | None = None) -> Network:
    """The exact network of a file, with its problems; HwgenError if the file cannot be opened at all.

    data: the file's contents where it is made up and has no path; ``path`` then names it in messages.
    """
    return Importer(read(path, data)).run(HANDLERS)


def inspect(path, data: bytes | None = None) -> Inspection:
    """The front-door check: every node, what it becomes, and all problems at once.

    HwgenError for a file that cannot be opened (missing, truncated, not ONNX, not quantized).
    """
    network = read_network(path, data)
    macs, rows = 0, dict[str, int]()
    for layer in network.layers:
        source = layer.pending.source if isinstance(layer, Layer) else None
        if isinstance(source, ConvSource):
            height, width = _conv_size(source)
            macs += source.weight.size * height * width
            for scheme in source.schemes:
                rows[scheme] = rows.get(scheme, 0) + 1
    return Inspection(network.file.path, network.file.name, network.file.input_shape, tuple(network.reports),
                      tuple(network.problems), macs, dict(sorted(rows.items())), network.file.metadata)


def _conv_size(source: ConvSource) -> tuple[int, int]:
    sizes = [(source.input.shape[axis + 1] + source.pads[axis] + source.pads[axis + 2] - source.weight.shape[axis + 2])
             // source.strides[axis] + 1 for axis in (0, 1)]
    return sizes[0], sizes[1]


def load(path, m_bits: int | None = None, data: bytes | None = None) -> Graph:
    """The integer network of a model file (or of its contents ``data``, see :func:`read_network`).

    m_bits: width of the requantizers' multipliers, 2 to 32; by default the narrowest from 18 on
    with which a layer is proven equal to the file (see hwgen.frontend.lower).  HwgenError, one message that lists every
    problem by node, for a file that cannot be opened or built.
    """
    network = read_network(path, data)
    if network.problems:
        count = "1 problem" if len(network.problems) == 1 else f"{len(network.problems)} problems"
        lines = "\n".join(f"  {problem}" for problem in network.problems)
        raise HwgenError(f"{network.file.path}: {count}:\n{lines}")
    return lower(network, m_bits)
