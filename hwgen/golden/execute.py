"""Run a network on batches of images."""

from collections.abc import Callable

import numpy as np

from hwgen.errors import HwgenError
from hwgen.golden import operations
from hwgen.graph.ir import Add, AvgPool, Conv, Graph, MaxPool, Op


def apply(graph: Graph, op: Op, maps: dict[str, np.ndarray]) -> np.ndarray:
    """One operation on the codes of the tensors it reads, (images, channels, height, width)."""
    codes = maps[op.input]
    zero_point = graph.tensors[op.input].zero_point
    if isinstance(op, Conv):
        return operations.conv(op, codes, zero_point, None if op.residual is None else maps[op.residual])
    if isinstance(op, MaxPool):
        return operations.max_pool(op, codes)
    if isinstance(op, AvgPool):
        return operations.avg_pool(op, codes, zero_point)
    if isinstance(op, Add):
        return operations.add(op, codes, maps[op.other])
    raise HwgenError(f"{getattr(op, 'name', op)}: unknown operation {type(op).__name__}")


def _images_per_chunk(graph: Graph) -> int:
    """Images whose largest temporary array is about operations.CHUNK elements."""
    largest = max(int(np.prod(tensor.shape)) for tensor in graph.tensors.values())
    for op in graph.ops:
        if isinstance(op, Conv):
            largest = max(largest, operations.columns_per_image(op, graph.tensors[op.output].shape))
    return max(1, operations.CHUNK // largest)


def check_codes(graph: Graph, codes: np.ndarray) -> np.ndarray:
    """``codes`` as uint8 (images, channels, height, width).  HwgenError if they are no input of the network."""
    tensor = graph.tensors[graph.input]
    codes = np.asarray(codes)
    if codes.ndim != 4 or codes.shape[1:] != tuple(tensor.shape):
        raise HwgenError(f"input {tensor.name!r} must have shape (images, {', '.join(map(str, tensor.shape))}), "
                         f"not {codes.shape}")
    if not np.issubdtype(codes.dtype, np.integer):
        raise HwgenError(f"input {tensor.name!r} must hold integer codes, not {codes.dtype}; quantize it first")
    top = (1 << tensor.bits) - 1
    if codes.size and (codes.min() < 0 or codes.max() > top):
        raise HwgenError(f"input {tensor.name!r} must hold codes of 0..{top}, not {codes.min()}..{codes.max()}")
    return codes.astype(np.uint8, copy=False)


def _run(graph: Graph, codes: np.ndarray, names: list[str],
         watch: Callable[[int, Op, dict[str, np.ndarray]], None]) -> dict[str, np.ndarray]:
    codes = check_codes(graph, codes)
    results = {name: np.empty((len(codes), *graph.tensors[name].shape), dtype=np.uint8) for name in names}
    step = _images_per_chunk(graph)
    for start in range(0, len(codes), step):
        maps = {graph.input: codes[start:start + step]}
        for op in graph.ops:
            watch(start, op, maps)
            maps[op.output] = apply(graph, op, maps)
        for name in names:
            results[name][start:start + step] = maps[name]
    return results


def run(graph: Graph, codes: np.ndarray, keep: bool = False) -> dict[str, np.ndarray]:
    """Codes of the network's outputs, or with ``keep`` of every tensor (the input too).

    codes: integers (images, channels, height, width) in the input tensor's code range; HwgenError if not.
    The graph must pass :func:`hwgen.graph.check.check`.  Returns uint8 arrays (images, channels, height,
    width) by tensor name.  Images are processed in chunks, so memory beyond the results is bounded.
    """
    names = [graph.input, *(op.output for op in graph.ops)] if keep else list(graph.outputs)
    return _run(graph, codes, names, lambda start, op, maps: None)


def accumulators(graph: Graph, codes: np.ndarray) -> dict[str, np.ndarray]:
    """Accumulators of every convolution by operation name: int64 (images, rows, out height, out width)."""
    found: dict[str, list[np.ndarray]] = {op.name: [] for op in graph.ops if isinstance(op, Conv)}

    def watch(start: int, op: Op, maps: dict[str, np.ndarray]) -> None:
        if isinstance(op, Conv):
            found[op.name].append(operations.conv_accumulators(op, maps[op.input],
                                                               graph.tensors[op.input].zero_point))

    _run(graph, codes, [], watch)
    shapes = {op.name: graph.tensors[op.output].shape for op in graph.ops}
    return {name: np.concatenate([np.empty((0, *shapes[name]), dtype=np.int64), *parts])
            for name, parts in found.items()}
