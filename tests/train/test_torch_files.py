"""Files that torch's own quantization and exporter write, QDQ, against onnxruntime."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
import torch.ao.quantization as quantization

from hwgen.frontend import load
from hwgen.frontend.execute import compare
from hwgen.graph.ir import Conv, MaxPool


class Residual(nn.Module):
    """Batch norm, a depthwise branch, an add, pools; the last average of 36 codes keeps its scale and has ties."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.conv1, self.norm1, self.relu1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8)
        self.add, self.relu2 = torch.ao.nn.quantized.FloatFunctional(), nn.ReLU()
        self.pool, self.conv3, self.relu3 = nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU()
        self.mean, self.classify = nn.AdaptiveAvgPool2d(1), nn.Linear(12, 5)

    def forward(self, x):
        x = self.relu1(self.norm1(self.conv1(self.quant(x))))
        x = self.relu2(self.add.add(x, self.norm2(self.conv2(x))))
        x = self.mean(self.relu3(self.conv3(self.pool(x))))
        return self.dequant(self.classify(torch.flatten(x, 1)))


class Mlp(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(quantization.QuantStub(), nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5),
                         quantization.DeQuantStub())


def trained(network: nn.Module, backend: str, shape, convert: bool) -> nn.Module:
    """A few steps' statistics; float weights behind fake quantizers, or with ``convert`` integer ones."""
    network.train().qconfig = quantization.get_default_qat_qconfig(backend, version=0)
    if isinstance(network, Residual):
        network = quantization.fuse_modules_qat(network, [["conv1", "norm1", "relu1"], ["conv2", "norm2"]])
    network = quantization.prepare_qat(network)
    for _ in range(6):
        network(torch.randn(16, *shape))
    network.eval().apply(quantization.disable_observer)
    return quantization.convert(network) if convert else network


@pytest.mark.parametrize("convert", [False, True], ids=["fake", "integers"])
@pytest.mark.parametrize("backend", ["fbgemm", "qnnpack"])
@pytest.mark.parametrize("make, shape", [(Residual, (3, 12, 12)), (Mlp, (20,))], ids=["residual", "mlp"])
def test_exported_by_torch(tmp_path, make, shape, backend, convert):
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both are deprecated, and in every second repository
        torch.manual_seed(0)
        network = trained(make(), backend, shape, convert)
        torch.onnx.export(network, (torch.randn(1, *shape),), str(path), dynamo=False, opset_version=13)
    graph = load(path)
    for op in graph.ops:
        assert isinstance(op, MaxPool) or (op.requant.proven == len(op.weight) if isinstance(op, Conv)
                                           else op.rescale.proven), op.name
    real = np.random.default_rng(1).normal(size=(30, *graph.tensors[graph.input].shape)).astype(np.float32)
    found = compare(path, graph, real, every_layer=True)
    assert found.ok and found.different == 0
    assert len(found.layers) >= 3 and all(layer.compared for layer in found.layers)
