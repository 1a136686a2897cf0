"""Networks of Brevitas as QONNX and as QDQ:  python benchmarks/exporters/brevitas_files.py FOLDER

Needs brevitas (0.13.4 was used) and torch; hwgen is not needed here.  Weights are random, statistics come from a few
random batches (seed 0).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
import sys

from brevitas import nn as qnn
from brevitas.export import export_onnx_qcdq, export_qonnx
from brevitas.quant import Int8ActPerTensorFloat as Signed
from brevitas.quant import Int8WeightPerChannelFloat, Int8WeightPerTensorFixedPoint
from brevitas.quant import Uint8ActPerTensorFloat as Unsigned
from brevitas_examples.bnn_pynq.models import model_with_cfg
from brevitas_examples.imagenet_classification.models.mobilenetv1 import MobileNet
from brevitas_examples.imagenet_classification.models.proxylessnas import ProxylessNAS
import torch
from torch import Tensor, nn

MAP, VECTOR = (3, 10, 10), (20,)


def _real(x) -> Tensor:
    return x.value if hasattr(x, "value") else x


def _quant(bits: int, quantizer=Signed) -> nn.Module:
    return qnn.QuantIdentity(act_quant=quantizer, bit_width=bits, return_quant_tensor=True)


def _relu(bits: int) -> nn.Module:
    return qnn.QuantReLU(bit_width=bits, return_quant_tensor=True)


class Mlp(nn.Sequential):
    """Linear layers with batch norm; without a quantizer at the end."""

    def __init__(self, bits: int, weights):
        layers: list[nn.Module] = [_quant(bits)]
        for inputs, outputs in ((20, 24), (24, 24)):
            linear = qnn.QuantLinear(inputs, outputs, bias=True, weight_quant=weights, weight_bit_width=bits)
            layers += [linear, nn.BatchNorm1d(outputs), _relu(bits)]
        super().__init__(*layers, qnn.QuantLinear(24, 6, bias=True, weight_quant=weights, weight_bit_width=bits))


class Residual(nn.Module):
    """An add behind two quantizers, then an average without one (global, or of 2x2 windows) and a linear layer."""

    def __init__(self, bits: int, whole: bool):
        super().__init__()
        def conv(inputs: int, stride: int = 1) -> nn.Module:
            return qnn.QuantConv2d(inputs, 8, 3, stride=stride, padding=1, bias=False, weight_bit_width=bits)
        self.enter, self.conv1, self.norm1, self.relu1 = _quant(8), conv(3), nn.BatchNorm2d(8), _relu(bits)
        self.conv2, self.norm2, self.branch, self.relu2 = conv(8), nn.BatchNorm2d(8), _quant(bits), _relu(bits)
        self.conv3, self.norm3, self.relu3 = conv(8, 2), nn.BatchNorm2d(8), _relu(bits)
        self.pool = nn.AdaptiveAvgPool2d(1) if whole else nn.AvgPool2d(2)
        self.classify = qnn.QuantLinear(8 if whole else 32, 5, bias=True, weight_bit_width=bits)

    def forward(self, x):
        x = self.relu1(self.norm1(self.conv1(self.enter(x))))
        x = self.relu2(_real(self.branch(self.norm2(_real(self.conv2(x))))) + _real(x))
        x = self.relu3(self.norm3(self.conv3(x)))
        return _real(self.classify(torch.flatten(self.pool(_real(x)), 1)))


class Depthwise(nn.Module):
    """A depthwise and a pointwise convolution with one kind of activation."""

    def __init__(self, bits: int, activation: str):
        super().__init__()
        def conv(inputs: int, outputs: int, kernel: int, **options) -> nn.Module:
            return qnn.QuantConv2d(inputs, outputs, kernel, bias=False, weight_bit_width=bits, **options)
        makers: dict[str, Callable[[], nn.Module]] = {
            "relu": lambda: _relu(bits),
            "relu6": lambda: nn.Sequential(nn.ReLU6(), _quant(bits, Unsigned)),
            "leaky_relu": lambda: nn.Sequential(nn.LeakyReLU(0.1), _quant(bits)),
            "prelu": lambda: nn.Sequential(nn.PReLU(), _quant(bits)),
            "hardtanh": lambda: nn.Sequential(nn.Hardtanh(-1, 1), _quant(bits)),
            "sigmoid": lambda: qnn.QuantSigmoid(bit_width=bits, return_quant_tensor=True),
            "hardswish": lambda: nn.Sequential(nn.Hardswish(), _quant(bits))}
        act = makers[activation]
        self.layers = nn.Sequential(
            _quant(8), conv(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), act(),
            conv(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), act(), conv(8, 12, 1), nn.BatchNorm2d(12), act())
        self.classify = qnn.QuantLinear(12, 7, bias=True, weight_bit_width=bits)

    def forward(self, x):
        return _real(self.classify(_real(self.layers(x)).mean([2, 3])))


class Sum(nn.Module):
    """Two branches behind one quantizer; their sum enters a convolution as it is."""

    def __init__(self, bits: int):
        super().__init__()
        self.enter, self.shared, self.end = _quant(8), _quant(bits), _quant(8)
        self.wide, self.narrow = (qnn.QuantConv2d(3, 6, kernel, padding=kernel // 2, weight_bit_width=bits)
                                  for kernel in (3, 1))
        self.last = qnn.QuantConv2d(6, 4, 3, weight_bit_width=bits)

    def forward(self, x):
        x = self.enter(x)
        return _real(self.end(self.last(self.shared(self.wide(x)) + self.shared(self.narrow(x)))))


def networks() -> dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]:
    """Name to (how it is made, shape of an input)."""
    found: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {}
    for bits in (2, 3, 4, 6, 8):
        for name, weights in (("channel", Int8WeightPerChannelFloat), ("po2", Int8WeightPerTensorFixedPoint)):
            found[f"mlp_{name}_{bits}"] = partial(Mlp, bits, weights), VECTOR
        for name, whole in (("global", True), ("windows", False)):
            found[f"residual_{name}_{bits}"] = partial(Residual, bits, whole), MAP
        found[f"sum_{bits}"] = partial(Sum, bits), MAP
    for bits in (4, 8):
        for act in ("relu", "relu6", "leaky_relu", "prelu", "hardtanh", "sigmoid", "hardswish"):
            found[f"depthwise_{act}_{bits}"] = partial(Depthwise, bits, act), MAP
    return found | examples()


def examples() -> dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]:
    """Brevitas's own networks; those for ImageNet with fewer channels and blocks, for smaller images.

    MobileNet-v1 and ProxylessNAS have a scale per channel in front of their depthwise layers.
    """
    mobilenet = partial(MobileNet, [[8], [16], [32, 32], [64, 64], [64, 64, 64], [128, 128]], False, 4, 4,
                        avg_pool_kernel_size=2, num_classes=10)
    proxyless = partial(ProxylessNAS, [[8], [16, 16], [24, 24], [32, 32, 32]], 16, 64, [[1], [1, 1], [1, 1], [1, 1, 0]],
                        [[0], [0, 1], [0, 1], [0, 1, 1]], [[3], [5, 3], [7, 3], [5, 7, 5]],
                        [[1], [3, 3], [3, 6], [6, 3, 3]], 4, 4, 8, False, num_classes=10)
    found: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
        "mobilenet_v1_4": (mobilenet, (3, 64, 64)), "proxylessnas_4": (proxyless, (3, 112, 112))}
    for name in ("tfc_1w1a", "tfc_1w2a", "tfc_2w2a", "cnv_1w1a", "cnv_1w2a", "cnv_2w2a", "resnet18_4w4a"):
        found[name] = partial(_configured, name), (1, 28, 28) if name.startswith("tfc") else (3, 32, 32)
    return found


def _configured(name: str) -> nn.Module:
    network, _ = model_with_cfg(name, False)
    return network


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name, (make, shape) in networks().items():
        torch.manual_seed(0)
        network = make().train()
        for _ in range(8):
            network(torch.randn(32 if shape[-1] < 64 else 4, *shape))
        network.eval()
        for form, export in (("qonnx", export_qonnx), ("qdq", export_onnx_qcdq)):
            if form == "qdq" and "1w" in name:
                continue  # 1-bit weights have no QDQ form
            export(network, args=torch.randn(1, *shape), export_path=str(folder / f"brevitas_{name}.{form}.onnx"),
                   dynamo=False)
        print(name, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
