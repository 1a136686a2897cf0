"""Networks of torch's own quantization as QDQ:  python benchmarks/exporters/torch_files.py FOLDER

Eager mode and FX, with fake quantizers (as trained) and, in eager mode, converted to integers; torch 2.13 was used.
Weights are random, statistics come from a few random batches (seed 0).
"""

import copy
from pathlib import Path
import sys
import warnings

import torch
from torch import Tensor, nn
import torch.ao.quantization as quantization
from torch.ao.quantization import quantize_fx
from torch.nn import functional


class Residual(nn.Module):
    """Batch norm, a depthwise branch, an add, a max pool and a global average."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.conv1, self.norm1, self.relu1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8)
        self.add, self.relu2 = torch.ao.nn.quantized.FloatFunctional(), nn.ReLU()
        self.pool, self.conv3, self.relu3 = nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU()
        self.mean, self.classify = nn.AdaptiveAvgPool2d(1), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.norm1(self.conv1(self.quant(x))))
        x = self.relu2(self.add.add(x, self.norm2(self.conv2(x))))
        x = self.mean(self.relu3(self.conv3(self.pool(x))))
        return self.dequant(self.classify(torch.flatten(x, 1)))


class Mlp(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(quantization.QuantStub(), nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5),
                         quantization.DeQuantStub())


class Branches(nn.Module):
    """For FX, which needs no stubs: a concatenation, Hardtanh, and an average of 36 codes that keeps its scale."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)
        self.conv3, self.limit, self.classify = nn.Conv2d(16, 6, 3), nn.Hardtanh(), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.conv1(x)))
        x = functional.max_pool2d(torch.cat([x, functional.relu6(self.conv2(x))], 1), 2)
        x = functional.adaptive_avg_pool2d(self.limit(self.conv3(x)), 1)
        return self.classify(torch.flatten(x, 1))


def save(network: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    torch.onnx.export(network, (torch.randn(1, *shape),), str(path), dynamo=False, opset_version=13)
    print(path.stem, flush=True)


def statistics(network: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    for _ in range(6):
        network(torch.randn(16, *shape))
    return network.eval().apply(quantization.disable_observer)


def eager(name: str, network: nn.Module, shape: tuple[int, ...], backend: str, folder: Path) -> None:
    network.train().qconfig = quantization.get_default_qat_qconfig(backend, version=0)
    if isinstance(network, Residual):
        network = quantization.fuse_modules_qat(network, [["conv1", "norm1", "relu1"], ["conv2", "norm2"]])
    network = statistics(quantization.prepare_qat(network), shape)
    save(copy.deepcopy(network), shape, folder / f"torch_{name}_{backend}.fake.onnx")
    save(quantization.convert(network), shape, folder / f"torch_{name}_{backend}.integers.onnx")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for backend in ("fbgemm", "qnnpack"):
        torch.manual_seed(0)
        eager("residual", Residual(), (3, 16, 16), backend, folder)
        eager("mlp", Mlp(), (20,), backend, folder)
        shape = (3, 16, 16)
        mapping = quantization.get_default_qat_qconfig_mapping(backend, version=0)
        network = quantize_fx.prepare_qat_fx(Branches().train(), mapping, (torch.randn(1, *shape),))
        save(statistics(network, shape), shape, folder / f"torch_branches_{backend}.fake.onnx")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
