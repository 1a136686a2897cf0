"""Shapes and sizes of a network: output shapes, multiply-accumulates, weights, rows by scheme."""

from hwgen.errors import HwgenError
from hwgen.graph.groups import weight_count
from hwgen.graph.ir import Add, Conv, Graph, Op

Shape = tuple[int, int, int]


def output_shape(op: Op, in_shape: Shape) -> Shape:
    """(channels, height, width) of the output.

    Each side is ``floor((size + pads - kernel) / stride) + 1``.  HwgenError, naming the operation, where
    the kernel is larger than the padded map.
    """
    if isinstance(op, Add):
        return in_shape
    channels, *sizes = in_shape
    kernel = op.weight.shape[2:] if isinstance(op, Conv) else op.kernel
    padded = [sizes[axis] + op.pads[axis] + op.pads[axis + 2] for axis in (0, 1)]
    if any(k > size for k, size in zip(kernel, padded, strict=True)):
        raise HwgenError(f"{op.name}: kernel {kernel[0]}x{kernel[1]} does not fit its padded input "
                         f"{padded[0]}x{padded[1]}")
    height, width = ((size - k) // step + 1 for size, k, step in zip(padded, kernel, op.strides, strict=True))
    return (len(op.weight) if isinstance(op, Conv) else channels), height, width


def macs(graph: Graph) -> dict[str, int]:
    """Multiply-accumulates of one image by operation name; 0 for pooling and addition.

    Products with padding count, those of channels without any weight do not where such channels prevail
    (:func:`hwgen.graph.groups.sparse_pairs`).
    """
    counts = {}
    for op in graph.ops:
        counts[op.name] = 0
        if isinstance(op, Conv):
            _, height, width = output_shape(op, graph.tensors[op.input].shape)
            counts[op.name] = weight_count(op.weight, op.sparse) * height * width
    return counts


def params(graph: Graph) -> int:
    """Weights of the network, without the requantizers' constants."""
    return sum(weight_count(op.weight, op.sparse) for op in graph.ops if isinstance(op, Conv))


def scheme_rows(graph: Graph) -> dict[str, int]:
    """Rows by scheme name over the whole network, sorted by name."""
    counts: dict[str, int] = {}
    for op in graph.ops:
        for name in op.schemes if isinstance(op, Conv) else ():
            counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))
