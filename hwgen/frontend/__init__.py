"""Reads model files, ONNX in the QONNX dialect or in QDQ form, and writes QONNX (docs/model-file.md)."""

import json

from hwgen.errors import HwgenError
from hwgen.frontend.importer import Importer
from hwgen.frontend.inspection import Inspection, LayerReport, inspect_network
from hwgen.frontend.lower import lower
from hwgen.frontend.model_file import read
from hwgen.frontend.network import HostStep, Network, NodeReport, Problem
from hwgen.frontend.operators import HANDLERS
from hwgen.graph.ir import Graph

__all__ = ["HostStep", "HwgenError", "Inspection", "LayerReport", "NodeReport", "Problem", "inspect", "inspect_network",
           "load", "read_network", "to_graph"]


def read_network(path, data: bytes | None = None) -> Network:
    """The exact network of a file, with its problems; HwgenError if the file cannot be opened at all.

    data: the file's contents where it is made up and has no path; ``path`` then names it in messages.
    """
    return Importer(read(path, data)).run(HANDLERS)


def inspect(path, data: bytes | None = None) -> Inspection:
    """The front-door check: every node, what it becomes, and all problems at once.

    HwgenError for a file that cannot be opened (missing, truncated, not ONNX, not quantized).
    """
    return inspect_network(read_network(path, data))


def load(path, m_bits: int | None = None, data: bytes | None = None) -> Graph:
    """The integer network of a model file: :func:`read_network` and :func:`to_graph`."""
    return to_graph(read_network(path, data), m_bits)


def to_graph(network: Network, m_bits: int | None = None) -> Graph:
    """The integer network of a file that was read.

    m_bits: width of the requantizers' multipliers, 2 to 32; by default the narrowest from 18 on
    with which a layer is proven equal to the file (see hwgen.frontend.lower).  HwgenError, one message that lists every
    problem by node, for a file that cannot be opened or built.  What the host computes from the outputs, if anything,
    is in the graph's metadata as ``hwgen.host``.
    """
    if network.problems:
        count = "1 problem" if len(network.problems) == 1 else f"{len(network.problems)} problems"
        lines = "\n".join(f"  {problem}" for problem in network.problems)
        raise HwgenError(f"{network.file.path}: {count}:\n{lines}")
    if network.host:
        network.file.metadata["hwgen.host"] = json.dumps([vars(step) for step in network.host])
    if network.before != (1, 0):
        network.file.metadata["hwgen.before"] = json.dumps([float(value) for value in network.before])
    return lower(network, m_bits)
