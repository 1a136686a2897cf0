"""Builder -> file -> reader -> golden model against the qonnx package on the same file."""

import numpy as np
import pytest

from hwgen.frontend import load
from hwgen.frontend.execute import compare, execute
from hwgen.golden import run
from hwgen.graph.ir import Conv, MaxPool
from qonnx_networks import MODES, random_network


@pytest.mark.parametrize("seed", range(30))
def test_random_network_equals_qonnx(tmp_path, seed):
    net = random_network(seed, tmp_path / "net.onnx")
    graph = load(net.path)
    result = compare(net.path, graph, net.codes(20))
    assert result.equal + result.ties + result.different == result.compared == 20 * 5
    if all_proven(graph):
        assert result.different == 0, result
    elif result.different:  # only the unproven requantizer may be at fault
        assert "golden" in result.first_difference


def all_proven(graph) -> bool:
    return all(op.requant.proven == len(op.weight) if isinstance(op, Conv) else op.rescale.proven
               for op in graph.ops if not isinstance(op, MaxPool))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(4))
def test_rounding_modes_on_exact_ties(tmp_path, seed, mode):
    """Powers of two only: float32 rounds nothing, so every code of qonnx is exact, ties included."""
    net = random_network(1000 + seed, tmp_path / "net.onnx", dyadic=True, modes=(mode,), bits=(2, 3, 4))
    graph = load(net.path, m_bits=30)
    assert all_proven(graph)
    codes = net.codes(20)
    golden, ours = run(graph, codes), execute(net.path, codes)
    for name in graph.outputs:
        assert np.array_equal(golden[name], ours[name])
