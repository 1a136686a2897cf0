"""A file against its own executor: what the tests of other people's forms ask of every one."""

import numpy as np

from hwgen.frontend import load
from hwgen.frontend.execute import compare
from hwgen.golden import run
from hwgen.graph.ir import Conv, Graph, MaxPool


def assert_proven(graph: Graph) -> None:
    """Every requantizer is equal to the file on every accumulator."""
    for op in graph.ops:
        assert isinstance(op, MaxPool) or (op.requant.proven == len(op.weight) if isinstance(op, Conv)
                                           else op.rescale.proven), op.name


def assert_exact(path, images: int, values: int, ties: float):
    """Every code of every layer is the executor's or proven to lie within float32's error of a tie; (graph, codes).

    values: codes that every output takes at least.  ties: their share stays below that.
    """
    graph = load(path)
    assert_proven(graph)
    tensor = graph.tensors[graph.input]
    codes = np.random.default_rng(7).integers(0, 1 << tensor.bits, (images, *tensor.shape))
    found = compare(path, graph, codes, every_layer=True)
    assert found.ok and found.different == 0, found.first_difference
    assert sum(layer.ties for layer in found.layers) < ties * sum(layer.compared for layer in found.layers)
    assert all(len(np.unique(array)) >= values for array in run(graph, codes).values())
    return graph, codes
