"""A MobileNetV2-like network for Fashion-MNIST:  hwgen quantize fmnist_mobilenetv2 --policy msq

M. Sandler et al., MobileNetV2 (CVPR 2018): inverted residuals of a 1x1 expansion, a 3x3 depthwise convolution and
a 1x1 projection without activation, added to the block's input where the shapes agree.
"""

from torch import Tensor, nn

from hwgen.quantize.datasets import fashion_mnist
from hwgen.quantize.recipe import Recipe

STEM, HEAD = 16, 96
BLOCKS = ((1, 12, 1), (4, 16, 2), (4, 16, 1), (4, 24, 2), (4, 24, 1))
"""(expansion, outputs, stride)."""


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs)]


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection."""

    def __init__(self, inputs: int, expansion: int, outputs: int, stride: int):
        super().__init__()
        wide = inputs * expansion
        expand = [] if expansion == 1 else [*conv(inputs, wide, 1), nn.ReLU6()]
        self.layers = nn.Sequential(*expand, *conv(wide, wide, 3, stride, groups=wide), nn.ReLU6(),
                                    *conv(wide, outputs, 1))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


def network() -> nn.Module:
    """Stem, five inverted residuals, 1x1 head, global average, linear layer."""
    layers: list[nn.Module] = [*conv(1, STEM, 3, 2), nn.ReLU6()]
    inputs = STEM
    for expansion, outputs, stride in BLOCKS:
        layers.append(InvertedResidual(inputs, expansion, outputs, stride))
        inputs = outputs
    return nn.Sequential(*layers, *conv(inputs, HEAD, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(HEAD, 10))


RECIPE = Recipe(network, fashion_mnist, float_epochs=10, float_lr=5e-3, epochs=4, lr=1e-3, label_smoothing=0.05,
                norm_batches=50)
