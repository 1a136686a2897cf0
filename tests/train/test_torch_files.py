"""Files that torch's own quantization and exporter write, QDQ, against onnxruntime."""

from pathlib import Path
import warnings

import numpy as np
import pytest
import torch

from benchmarks.exporters.torch_files import Mlp, Residual, eager
from hwgen.frontend import load
from hwgen.frontend.execute import compare
from hwgen.graph.ir import Conv, MaxPool


def check_exact(path: Path) -> None:
    graph = load(path)
    for op in graph.ops:
        assert isinstance(op, MaxPool) or (op.requant.proven == len(op.weight) if isinstance(op, Conv)
                                           else op.rescale.proven), op.name
    real = np.random.default_rng(1).normal(size=(30, *graph.tensors[graph.input].shape)).astype(np.float32)
    found = compare(path, graph, real, every_layer=True)
    assert found.ok and found.different == 0
    assert len(found.layers) >= 3 and all(layer.compared for layer in found.layers)


@pytest.mark.parametrize("backend", ["fbgemm", "qnnpack"])
@pytest.mark.parametrize("make, shape", [(Residual, (3, 12, 12)), (Mlp, (20,))], ids=["residual", "mlp"])
def test_exported_by_torch(tmp_path, make, shape, backend):
    """Behind fake quantizers and in integers; the residual's last average of 36 codes keeps its scale and has ties."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both are deprecated, and in every second repository
        torch.manual_seed(0)
        eager("net", make(), shape, backend, tmp_path)
    files = sorted(tmp_path.glob("*.onnx"))
    assert [path.name for path in files] == [f"torch_net_{backend}.fake.onnx", f"torch_net_{backend}.integers.onnx"]
    for path in files:
        check_exact(path)
