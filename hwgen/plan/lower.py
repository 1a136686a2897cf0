"""From the graph to the layers of an engine: residuals and pooling join the convolution before them."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..errors import HwgenError
from ..graph.ir import Add, AvgPool, Conv, Graph, Requant, Rescale, Tensor
from .packing import InputPacking, pack_input


@dataclass(frozen=True)
class Pool:
    """A pooling window in the drain; ``rescale`` is there for an average."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    rescale: Rescale | None
    pad_code: int


@dataclass(frozen=True)
class Footprint:
    """Which pixels a layer reads, and in which order.  Layers that are alike in this share walks and strips."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    conv_shape: tuple[int, int]
    """Height and width of the map before pooling."""
    window: Pool


@dataclass(frozen=True, eq=False)
class Layer:
    """What the engine runs as one layer: a convolution, then maybe a residual, then maybe a pool."""

    name: str
    conv: Conv
    input: str
    output: str
    conv_shape: tuple[int, int, int]
    """Shape of the map before pooling."""
    residual: str | None = None
    add: Rescale | None = None
    """Two-step residual with x the convolution's code; None with a residual means fused."""
    pool: Pool | None = None
    ops: tuple[str, ...] = ()
    spare_words: int = 0
    """Words at the end of a tile's weights that are zero in every row, and left out."""

    @property
    def window(self) -> Pool:
        return self.pool or Pool((1, 1), (1, 1), (0, 0, 0, 0), None, 0)

    @property
    def depthwise(self) -> bool:
        """Row r reads channel r and nothing else."""
        return self.conv.groups == len(self.conv.weight) and self.conv.weight.shape[1] == 1

    @property
    def sparse(self) -> np.ndarray | None:
        """(rows, channels): where a row has weights, if tiles read only the channel blocks that their rows need."""
        return None if self.spare_words else self.conv.sparse

    @cached_property
    def footprint(self) -> Footprint:
        _, _, kh, kw = self.conv.weight.shape
        return Footprint((kh, kw), self.conv.strides, self.conv.pads, self.conv_shape[1:], self.window)


@dataclass(frozen=True, eq=False)
class Network:
    """The graph as layers, with the tensors that live in the scratchpad."""

    graph: Graph
    layers: tuple[Layer, ...]
    tensors: dict[str, Tensor]
    packing: InputPacking | None


def lower(graph: Graph, ki: int, px: int = 1, slots: int = 1) -> Network:
    """Fuse operations into layers, and pack the input where that saves cycles.

    ``px`` and ``slots``, pixels and row slots of the array, say what computing costs beside fetching;
    without them the first layer's words are as few as they can be.
    """
    uses: dict[str, int] = {}
    for op in graph.ops:
        for name in _inputs(op):
            uses[name] = uses.get(name, 0) + 1
    for name in graph.outputs:
        uses[name] = uses.get(name, 0) + 1
    layers: list[Layer] = []
    made: dict[str, int] = {}

    def producer(name: str) -> int | None:
        """The layer that may still take ``name`` further, because nobody else reads it."""
        index = made.get(name)
        return index if index is not None and uses[name] == 1 and layers[index].pool is None else None

    def put(layer: Layer) -> None:
        made[layer.output] = len(layers)
        layers.append(layer)

    for op in graph.ops:
        if isinstance(op, Conv):
            put(Layer(op.name, op, op.input, op.output, graph.tensors[op.output].shape, op.residual, ops=(op.name,)))
        elif isinstance(op, Add):
            _lower_add(graph, op, layers, made, producer, put)
        else:
            index = producer(op.input)
            pool = Pool(op.kernel, op.strides, op.pads, op.rescale if isinstance(op, AvgPool) else None,
                        graph.tensors[op.input].zero_point if isinstance(op, AvgPool) else 0)
            if index is not None and not (pool.rescale and layers[index].add):
                layer = layers[index]
                made[op.output] = index
                layers[index] = replace(layer, output=op.output, pool=pool, ops=(*layer.ops, op.name))
            else:
                copy = _identity(graph, op.input, op.name)
                put(Layer(op.name, copy, op.input, op.output, graph.tensors[op.input].shape, pool=pool, ops=(op.name,)))
    if not layers:
        raise HwgenError(f"network {graph.name!r} has no layer to run")
    packed = pack_input(graph, layers, ki, px, slots)
    return Network(graph, tuple(packed.layers), packed.tensors, packed.packing)


def _inputs(op) -> tuple[str, ...]:
    if isinstance(op, Add):
        return op.input, op.other
    if isinstance(op, Conv) and op.residual:
        return op.input, op.residual
    return (op.input,)


def _lower_add(graph, op, layers, made, producer, put):
    candidates = [(producer(name), name) for name in (op.input, op.other)]
    candidates = [(index, name) for index, name in candidates
                  if index is not None and layers[index].residual is None]
    if op.input != op.other and candidates:
        index, name = max(candidates)
        other = op.other if name == op.input else op.input
        # The other operand must exist before this layer begins.
        if made.get(other, -1) < index:
            scale = op.rescale if name == op.input else replace(op.rescale, a=op.rescale.b, b=op.rescale.a)
            layer = layers[index]
            made[op.output] = index
            layers[index] = replace(layer, output=op.output, residual=other, add=scale, ops=(*layer.ops, op.name))
            return
    copy = _identity(graph, op.input, op.name)
    put(Layer(op.name, copy, op.input, op.output, graph.tensors[op.input].shape, op.other, op.rescale,
              ops=(op.name,)))


def _identity(graph: Graph, name: str, op: str) -> Conv:
    """A depthwise 1x1 convolution that copies codes, for pools and adds without a convolution to join."""
    tensor = graph.tensors[name]
    rows = tensor.shape[0]
    ones, zeros = np.ones(rows, np.int64), np.zeros(rows, np.int64)
    requant = Requant(2 * ones, zeros, ones, "floor", 0, 0, 2**tensor.bits - 1, proven=rows)
    return Conv(f"{op}/copy", name, op, np.ones((rows, 1, 1, 1), np.int64), ("sp2",) * rows, np.ones(rows), requant,
                groups=rows)
