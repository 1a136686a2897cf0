"""From the exact network of the file to the integer network."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from hwgen.errors import HwgenError
from hwgen.frontend.importer import Network
from hwgen.frontend.halves import even_sum, halves, has_ties, tied
from hwgen.frontend.layers import Layer, PoolLayer
from hwgen.frontend.quantizers import Quantizer
from hwgen.frontend.rules import M_BITS, compile_requant, compile_sum
from hwgen.frontend.settle import by_steps, code_limits, split_at
from hwgen.frontend.values import Codes, CodeSource, ConvSource, MaxPoolStep, Pending, PoolSource, Refusal
from hwgen.graph.check import check
from hwgen.graph.ir import Add, AvgPool, Conv, Graph, MaxPool, Op, Requant, Rescale, Tensor
from hwgen.graph.ranges import accumulator_range
from hwgen.graph.thresholds import parts_of


def lower(network: Network, m_bits: int | None = None) -> Graph:
    """The integer network of a file without problems.

    m_bits: width of the multipliers; None gives every layer the narrowest of ``M_BITS`` that is proven
    equal to the file on every accumulator (or proves the most rows).  Layers that no output depends on
    are dropped.
    """
    assert network.input is not None and not network.problems
    maker = _Maker(M_BITS if m_bits is None else (m_bits,))
    maker.tensor(network.input)
    for layer in needed(network):
        if isinstance(layer, PoolLayer):
            target = Codes(layer.output, layer.step.shape, layer.input.quantizer)
            maker.max_pool(layer.step, layer.input.tensor, target)
        else:
            maker.layer(layer)
    metadata = dict(sorted(network.file.metadata.items()))
    graph = Graph(network.file.name, maker.tensors, tuple(maker.ops), network.input.tensor,
                  tuple(codes.tensor for codes in network.outputs), metadata)
    check(graph)
    return graph


def needed(network: Network) -> Iterable[Layer | PoolLayer]:
    """The layers that an output depends on, in order."""
    wanted = {codes.tensor for codes in network.outputs}
    kept = []
    for layer in reversed(network.layers):
        if layer.output in wanted:
            kept.append(layer)
            wanted.update(inputs(layer))
    return reversed(kept)


def inputs(layer: Layer | PoolLayer) -> list[str]:
    """Names of the tensors a layer reads."""
    if isinstance(layer, PoolLayer):
        return [layer.input.tensor]
    pending = layer.pending
    return [pending.source.input.tensor] + ([pending.residual.tensor] if pending.residual else [])


def between(output: str, index: int) -> str:
    """Name of the tensor that max pool number ``index`` between a layer and its Quant node reads."""
    return f"{output}.before_pool{index or ''}"


class _Maker:
    def __init__(self, widths: Sequence[int]):
        self.widths = widths
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.names: set[str] = set()

    def tensor(self, codes: Codes) -> Tensor:
        quantizer = codes.quantizer
        tensor = Tensor(codes.tensor, codes.shape, quantizer.code_bits, float(quantizer.scale), quantizer.code_zero)
        self.tensors[codes.tensor] = tensor
        return tensor

    def name(self, wanted: str) -> str:
        """``wanted``, or with a number where an operation has it already."""
        name, count = wanted, 1
        while name in self.names:
            count += 1
            name = f"{wanted}_{count}"
        self.names.add(name)
        return name

    def max_pool(self, step: MaxPoolStep, source: str, target: Codes) -> None:
        self.tensor(target)
        self.ops.append(MaxPool(self.name(step.name), source, target.tensor, step.kernel, step.strides, step.pads))

    def layer(self, layer: Layer) -> None:
        """The operation, then the max pools between it and its Quant node."""
        pending, quantizer = layer.pending, layer.quantizer
        pools = pending.pools
        shape = _unpooled(pending)
        first = layer.output if not pools else between(layer.output, 0)
        target = Codes(first, shape, quantizer)
        try:
            self._put(layer, target)
        except (ValueError, OverflowError, Refusal) as error:
            raise HwgenError(f"{pending.source.name}: its constants do not fit a requantizer ({error})") from error
        for index, step in enumerate(pools):
            last = index == len(pools) - 1
            name = layer.output if last else between(layer.output, index + 1)
            self.max_pool(step, target.tensor, Codes(name, step.shape, quantizer))
            target = Codes(name, step.shape, quantizer)

    def _put(self, layer: Layer, target: Codes) -> None:
        """One operation, or two halves and their sum."""
        pivot = None if layer.thresholds or by_steps(layer.pending, layer.quantizer) else \
            split_at(layer.pending, layer.quantizer)
        if pivot is None:
            if has_ties(layer) and self._with_ties(layer, target):
                return
            op = self._operation(layer, target)
            if isinstance(op, Conv) and op.requant.thresholds is not None and layer.quantizer.code_bits > 4:
                self._counted(op, target)
                return
            pivot = self._worth_a_cut(layer, op)
            if pivot is None:
                self.tensor(target)
                self.ops.append(op)
                return
            self.names.discard(op.name)
        parts = self._parts(halves(layer, pivot), ("above", "below"), target)
        low, high = code_limits(layer.pending, layer.quantizer)
        middle = layer.quantizer.code(pivot[0])
        self._sum(layer, parts, target, Rescale(2, -2 * middle, 1, 2, "floor", 0, min(low), max(high), True))

    def _parts(self, layers: tuple[Layer, Layer], names: tuple[str, str], target: Codes) -> list[Op]:
        return [self._operation(part, replace(target, tensor=f"{target.tensor}.{name}"))
                for part, name in zip(layers, names, strict=True)]

    def _sum(self, layer: Layer, parts: list[Op], target: Codes, total: Rescale) -> None:
        for op in parts:
            self.tensor(replace(target, tensor=op.output))
            self.ops.append(op)
        self.tensor(target)
        name = self.name(f"{layer.pending.source.name}.sum")
        self.ops.append(Add(name, parts[0].output, parts[1].output, target.tensor, total))

    def _with_ties(self, layer: Layer, target: Codes) -> bool:
        """Puts the two roundings of a tie and the even one of them, if both are exact."""
        parts = self._parts(tied(layer), ("up", "down"), target)
        if not all(map(_proven, parts)):
            self.names.difference_update(part.name for part in parts)
            return False
        self._sum(layer, parts, target, even_sum(layer.quantizer))
        return True

    def _counted(self, op: Conv, target: Codes) -> None:
        """Thresholds for codes of more than 4 bits: convolutions that count some of them each, and running sums."""
        self.names.discard(op.name)
        rules = parts_of(op.requant)
        done, reached = "", 0
        for index, rule in enumerate(rules):
            last = index == len(rules) - 1
            part = replace(target, tensor=f"{target.tensor}.count{index}",
                           quantizer=Quantizer(target.quantizer.scale, bits=4))
            self.tensor(part)
            self.ops.append(replace(op, name=self.name(op.name), output=part.tensor, requant=rule))
            reached += rule.high
            if not index and not last:
                done = part.tensor
                continue
            low = op.requant.low if last else 0
            total = target if last else replace(target, tensor=f"{target.tensor}.sum{index}")
            self.tensor(total)
            name = self.name(f"{op.name}.sum")
            rescale = Rescale(2, 2 * low, 1, 2 if index else 0, "floor", 0, low, low + reached, True)
            self.ops.append(Add(name, part.tensor, done, total.tensor, rescale) if index else
                            AvgPool(name, part.tensor, total.tensor, (1, 1), (1, 1), rescale))
            done = total.tensor

    def _worth_a_cut(self, layer: Layer, op: Op) -> list[Fraction] | None:
        """Where to cut a layer whose ties below zero go another way than those above, if it is not proven."""
        quantizer, pending = layer.quantizer, layer.pending
        if _proven(op) or layer.thresholds or quantizer.bipolar or quantizer.mode not in ("HALF_UP", "HALF_DOWN"):
            return None
        low, high = code_limits(pending, quantizer)
        if not min(low) < quantizer.offset < max(high):
            return None
        return [-quantizer.zero * quantizer.scale] * pending.channels

    def _operation(self, layer: Layer, target: Codes) -> Op:
        pending, source = layer.pending, layer.pending.source
        if isinstance(source, ConvSource):
            return self._conv(layer, source, target)
        rescale = compile_sum(layer, self.widths)
        if isinstance(source, PoolSource):
            return AvgPool(self.name(source.name), source.input.tensor, target.tensor, source.kernel, source.strides,
                           rescale, source.pads)
        if pending.residual is not None:
            return Add(self.name(source.name), source.input.tensor, pending.residual.tensor, target.tensor, rescale)
        # Codes that are quantized again: the average of a window of one code.
        return AvgPool(self.name(layer.node), source.input.tensor, target.tensor, (1, 1), (1, 1), rescale)

    def _conv(self, layer: Layer, source: ConvSource, target: Codes) -> Conv:
        empty = np.zeros(0, np.int64)
        residual = layer.pending.residual
        op = Conv(self.name(source.name), source.input.tensor, target.tensor, _frozen(source.weight), source.schemes,
                  _frozen(source.row_scales), Requant(empty, empty, empty), source.strides, source.pads,
                  None if residual is None else residual.tensor, source.groups)
        acc_lo, acc_hi = accumulator_range(op, self.tensors[source.input.tensor])
        return replace(op, requant=compile_requant(layer, acc_lo, acc_hi, self.widths))

def _proven(op: Op) -> bool:
    assert not isinstance(op, MaxPool)
    return op.requant.proven == len(op.weight) if isinstance(op, Conv) else op.rescale.proven


def _unpooled(pending: Pending) -> tuple[int, int, int]:
    """Shape before the max pools."""
    source = pending.source
    if not pending.pools:
        return pending.shape
    shape = source.input.shape
    if isinstance(source, CodeSource):
        return shape
    kernel = source.weight.shape[2:] if isinstance(source, ConvSource) else source.kernel
    sizes = [(shape[axis + 1] + source.pads[axis] + source.pads[axis + 2] - kernel[axis]) // source.strides[axis] + 1
             for axis in (0, 1)]
    return pending.channels, sizes[0], sizes[1]


def _frozen(array: np.ndarray) -> np.ndarray:
    copy = np.array(array)
    copy.setflags(write=False)
    return copy
