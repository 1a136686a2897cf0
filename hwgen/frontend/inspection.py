"""What a model file holds: every node, every layer, the schemes that hold its rows, and all problems."""

from dataclasses import dataclass
from pathlib import Path

from hwgen.frontend.layers import Layer
from hwgen.frontend.network import HostStep, Network, NodeReport, Problem
from hwgen.frontend.steps import reach
from hwgen.frontend.values import ConvSource
from hwgen.graph.groups import sparse_pairs, weight_count
from hwgen.schemes import DISCOVERY_ORDER, discover, signed_bits, values_of


@dataclass(frozen=True)
class LayerReport:
    """One convolution or linear layer."""

    layer: str
    rows: int
    macs: int
    """Multiply-accumulates per image, products with padding included."""
    parameters: int
    holds: dict[str, int]
    """By scheme, in how many rows it holds every integer exactly; a row counts for each scheme that holds it."""
    chosen: dict[str, int]
    """Rows by the scheme they get."""
    input_bits: int
    output_bits: int
    accumulator_bits: int
    """Signed width that holds every sum of weights times codes."""


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
    layers: tuple[LayerReport, ...] = ()
    host: tuple[HostStep, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems

    def to_json(self) -> dict:
        """The same for scripts."""
        return {
            "path": str(self.path), "name": self.name, "input_shape": list(self.input_shape), "ok": self.ok,
            "macs": self.macs, "rows": self.rows,
            "layers": [vars(layer) for layer in self.layers],
            "host": [vars(step) for step in self.host],
            "nodes": [{"node": node.node, "op": node.op, "becomes": node.becomes} for node in self.nodes],
            "problems": [vars(problem) for problem in self.problems]}


def inspect_network(network: Network) -> Inspection:
    """The front-door check: every node, what it becomes, and all problems at once."""
    layers = tuple(_report(layer) for layer in network.layers
                   if isinstance(layer, Layer) and isinstance(layer.pending.source, ConvSource))
    rows = dict[str, int]()
    for layer in layers:
        for scheme, count in layer.chosen.items():
            rows[scheme] = rows.get(scheme, 0) + count
    file = network.file
    return Inspection(file.path, file.name, file.input_shape, tuple(network.reports), tuple(network.problems),
                      sum(layer.macs for layer in layers), dict(sorted(rows.items())), dict(file.metadata), layers,
                      tuple(network.host))


def _report(layer: Layer) -> LayerReport:
    source = layer.pending.source
    assert isinstance(source, ConvSource)
    holds = dict.fromkeys(DISCOVERY_ORDER, 0)
    for values in values_of(source.weight):
        for name in discover(values):
            holds[name] += 1
    chosen = {name: source.schemes.count(name) for name in sorted(set(source.schemes))}
    low, high = reach(layer)
    height, width = conv_size(source)
    weights = weight_count(source.weight, sparse_pairs(source.weight, source.groups))
    return LayerReport(source.name, len(source.weight), weights * height * width, weights, holds, chosen,
                       source.input.quantizer.code_bits, layer.quantizer.code_bits,
                       signed_bits(int(low.min()), int(high.max())))


def conv_size(source: ConvSource) -> tuple[int, int]:
    """(height, width) of a convolution's result."""
    sizes = [(source.input.shape[axis + 1] + source.pads[axis] + source.pads[axis + 2] - source.weight.shape[axis + 2])
             // source.strides[axis] + 1 for axis in (0, 1)]
    return sizes[0], sizes[1]
