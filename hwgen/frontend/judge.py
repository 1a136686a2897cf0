"""Judges every layer on its executor's own input codes: equal, a rounding tie of float32, or different.

Executors compute in float32, the golden model exactly.  Where a code differs, the layer is evaluated in rational
numbers on the codes that the executor itself had at the layer's input.  The golden model must give the exact
code there; the difference is a rounding tie if the executor's code belongs to a value within float32's error bound
of the exact one.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
import math

import numpy as np

from hwgen.frontend.executors import execute, executor_name, input_codes
from hwgen.frontend.importer import Network
from hwgen.frontend.layers import Layer, PoolLayer
from hwgen.frontend.lower import between, needed
from hwgen.frontend.values import Codes, ConvSource, MaxPoolStep, Pending, PoolSource
from hwgen.frontend.wide import FloatOutput
from hwgen.golden import apply, conv_accumulators, operations, pool_sums
from hwgen.graph.check import inputs
from hwgen.graph.ir import Add, AvgPool, Conv, Graph, MaxPool, Op, Requant, Rescale

UNIT = Fraction(1, 1 << 24)
"""Largest relative error of one float32 operation."""


@dataclass(frozen=True)
class LayerComparison:
    """The codes of one layer: the golden model's against the executor's, on the executor's own input codes."""

    layer: str
    compared: int
    equal: int
    ties: int
    """Differences proven to be float32 rounding ties of the executor."""
    different: int

    def __add__(self, other: "LayerComparison") -> "LayerComparison":
        return LayerComparison(self.layer, self.compared + other.compared, self.equal + other.equal,
                               self.ties + other.ties, self.different + other.different)


class Judge:
    """Verdicts over a batch of images, (images, channels, height, width), codes or real values of the input."""

    def __init__(self, network: Network, graph: Graph, images: np.ndarray):
        assert network.input is not None
        self.name = executor_name(network.file)
        self.verdicts: list[str | None] = [None] * len(images)
        """Per image the first rounding that differs and is no tie, or None."""
        self.ties = np.zeros(len(images), np.int64)
        """Roundings per image that were shown to be ties."""
        self.layers: list[LayerComparison] = []
        layers = list(needed(network))
        self.graph, self.ops = graph, {op.output: op for op in graph.ops}
        wanted = [network.input, *(target(layer) for layer in layers
                                   if not (isinstance(layer, Layer) and layer.internal))]
        made = {codes.tensor for codes in wanted}
        outputs = {output.tensor: output for output in network.floats if output.tensor not in made}
        real = [replace(output.codes[-1], tensor=name) for name, output in outputs.items()]
        self.tensors = execute(network, images, wanted, real)
        self._input(network, network.input, images)
        for layer in layers:
            if isinstance(layer, Layer):
                self._layer(layer)
            else:
                pooled, got = _max_pool(layer.step, self.tensors[layer.input.tensor]), self.tensors[layer.output]
                self._count(layer.step.name, pooled, got, got != pooled, pooled)
        for name, output in outputs.items():
            self._real(name, output)

    def _input(self, network: Network, source: Codes, images: np.ndarray) -> None:
        """The input's own quantizer: ``(factor * x + offset) / scale + zero`` is a few operations."""
        codes, unit, (factor, offset) = input_codes(network, images), source.quantizer, network.before
        got, least, most = self.tensors[source.tensor], codes.copy(), codes.copy()
        for index in zip(*np.nonzero(got != codes), strict=True) if images.dtype.kind == "f" else ():
            value = Fraction(float(images[index])) * factor
            error = 8 * UNIT * (abs(value) + abs(offset) + abs(unit.zero) * unit.scale)
            least[index], most[index] = unit.code(value + offset - error), unit.code(value + offset + error)
        self._count(source.tensor, codes, got, (got < least) | (got > most), codes)

    def _real(self, name: str, output: FloatOutput) -> None:
        """A real output that the host computes from accumulators: equal if float32's error explains the rest."""
        pending, got = output.pending, self.tensors[name]
        acc, reach, terms = _integers(pending, self.tensors[pending.source.input.tensor])
        held = output.accumulators(self.tensors)
        slope, intercept, size = (np.array([float(value) for value in values]).reshape(1, -1, 1, 1)
                                  for values in (pending.slope, pending.intercept, pending.size))
        whole = abs(slope) * reach + size + abs(slope * acc + intercept)
        exact = output.values(self.tensors)
        self._mark(name, held != acc, "accumulator", held, acc)
        wrong = (abs(got - exact) > (terms + 20) * float(UNIT) * whole) | (held != acc)
        self._count(name, got, got, wrong, exact)

    def _golden(self, name: str, own: bool = True) -> np.ndarray:
        """A tensor of the golden model on the executor's codes; ``own``: even where the executor has it, too."""
        if name in self.tensors and not own:
            return self.tensors[name]
        op = self.ops[name]
        return apply(self.graph, op, {source: self._golden(source, False) for source in inputs(op)})

    def _layer(self, layer: Layer) -> None:
        """Evaluates one layer exactly where codes differ, marks what is no tie, counts what is one."""
        pools = layer.pending.pools
        first = between(layer.output, 0) if pools else layer.output
        golden = pooled = self._golden(first)
        if layer.internal:
            self.tensors[layer.output] = golden
            return
        got = self.tensors[layer.output]
        for step in pools:
            pooled = _max_pool(step, pooled)
        doubtful = got != pooled
        if pools:  # any code of the map may be the one that won
            doubtful = np.broadcast_to(doubtful.any(axis=(2, 3), keepdims=True), golden.shape)
        values = _Exact(layer, self.tensors, golden, doubtful)
        self._mark(layer.node, golden != values.codes, "golden", golden, values.codes, _unproven(self.ops[first]))
        for step in pools:
            values.pool(step)
        wrong = (got < values.least) | (got > values.most) | (pooled != values.codes)
        self._count(layer.node, pooled, got, wrong, values.codes)

    def _count(self, node: str, golden: np.ndarray, got: np.ndarray, wrong: np.ndarray, exact: np.ndarray) -> None:
        self._mark(node, wrong, self.name, got, exact)
        tied = (got != golden) & ~wrong
        self.ties += tied.reshape(len(got), -1).sum(axis=1)
        different = int(wrong.sum())
        self.layers.append(LayerComparison(node, got.size, got.size - int(tied.sum()) - different, int(tied.sum()),
                                           different))

    def _mark(self, node: str, wrong: np.ndarray, who: str, got, exact, why: str = "") -> None:
        """Describes the first wrong code of every image that has no verdict yet."""
        for index in zip(*np.nonzero(wrong), strict=True):
            if self.verdicts[index[0]] is None:
                place = ", ".join(str(int(i)) for i in index[1:])
                self.verdicts[index[0]] = (f"{node} at (channel, y, x) = ({place}): {who} {got[index]}, "
                                           f"exact {exact[index]}{why}")


def _unproven(op: Op) -> str:
    """Says that the compiler knows of rows that may differ, where it does."""
    if isinstance(op, Conv) and op.requant.proven < len(op.weight):
        return (f" (no multiplier and shift of the hardware is exact in {len(op.weight) - op.requant.proven} of its "
                f"{len(op.weight)} rows, which are off by at most {op.requant.worst})")
    if isinstance(op, (Add, AvgPool)) and not op.rescale.proven:
        return " (no multiplier and shift of the hardware is exact)"
    return ""


def target(layer: Layer | PoolLayer) -> Codes:
    """The file's tensor that a layer makes."""
    if isinstance(layer, PoolLayer):
        return replace(layer.input, tensor=layer.output, shape=layer.step.shape, border=None)
    return layer.codes


def _max_pool(step: MaxPoolStep, codes: np.ndarray) -> np.ndarray:
    return operations.max_pool(MaxPool(step.name, "", "", step.kernel, step.strides, step.pads), codes)


class _Exact:
    """Exact codes of a layer, and the least and greatest code that float32 may give instead.

    Rational arithmetic is slow, so it is used only where a code is ``doubtful``; elsewhere ``golden`` stands.
    """

    def __init__(self, layer: Layer, tensors: dict[str, np.ndarray], golden: np.ndarray, doubtful: np.ndarray):
        pending = layer.pending
        acc, reach, terms = _integers(pending, tensors[pending.source.input.tensor])
        residual = None if pending.residual is None else tensors[pending.residual.tensor].astype(np.int64)
        self.codes, self.least, self.most = (golden.astype(np.int64) for _ in range(3))
        cache: dict[tuple, tuple[int, int, int]] = {}
        for index in zip(*np.nonzero(doubtful), strict=True):
            other = 0 if residual is None else int(residual[index])
            key = (index[1], int(acc[index]), int(reach[index]), other)
            if key not in cache:
                cache[key] = _codes(layer, *key, terms)
            self.codes[index], self.least[index], self.most[index] = cache[key]

    def pool(self, step: MaxPoolStep) -> None:
        """The same after a max pool."""
        self.codes, self.least, self.most = (_max_pool(step, array) for array in (self.codes, self.least, self.most))


def _codes(layer: Layer, channel: int, acc: int, reach: int, other: int, terms: int) -> tuple[int, int, int]:
    """(exact code, least, greatest code within float32's error) of an accumulator and a residual's code."""
    pending, quantizer = layer.pending, layer.quantizer
    real = pending.slope[channel] * acc + pending.intercept[channel]
    size = abs(pending.slope[channel]) * reach + pending.size[channel] + abs(quantizer.zero) * quantizer.scale
    if pending.residual is not None:
        real += pending.coefficient[channel] * other
        size += abs(pending.coefficient[channel] * (other - pending.residual.quantizer.code_zero))
    error = (terms + 20) * UNIT * (size + abs(real))
    if pending.bend is not None:
        real, error = pending.bend.apply(channel, real), error * max(Fraction(1), pending.bend.factor[channel])
    ends = [layer.limited(channel, value) for value in (real, real - error, real + error)]
    exact, least, most = (layer.code(channel, value) for value in ends)
    if layer.curve is not None:  # values lie between -1 and 1; executors approximate them to a few units of float32
        slack = 16 * UNIT * (1 + abs(quantizer.zero) * quantizer.scale)
        low, high = (Fraction(layer.curve.value(float(value))) for value in ends[1:])
        least, most = min(least, quantizer.code(low - slack)), max(most, quantizer.code(high + slack))
    return exact, least, most


def _integers(pending: Pending, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """``v``, the sum of magnitudes ``|w| * |q - z|`` behind it, and the number of terms."""
    source = pending.source
    zero = source.input.quantizer.code_zero
    distance = np.abs(codes.astype(np.int64) - zero)
    if isinstance(source, ConvSource):
        none = np.zeros(0, np.int64)
        empty = Requant(none, none, none)
        weights = source.weight, np.abs(source.weight.astype(np.int64))
        op, sizes = (Conv(source.name, "", "", weight, source.schemes, source.row_scales, empty, source.strides,
                          source.pads, groups=source.groups) for weight in weights)
        terms = int(np.count_nonzero(source.weight.reshape(len(source.weight), -1), axis=1).max())
        return conv_accumulators(op, codes, zero), conv_accumulators(sizes, distance, 0), terms
    if isinstance(source, PoolSource):
        pool = AvgPool(source.name, "", "", source.kernel, source.strides, Rescale(1, 0, 1), source.pads)
        return pool_sums(pool, codes, zero), pool_sums(pool, distance, 0), math.prod(source.kernel)
    return codes.astype(np.int64), distance, 1
