"""A ResNet-20-like network for Fashion-MNIST:  hwgen quantize fmnist_resnet20 --policy rmsmp

K. He et al., Deep Residual Learning for Image Recognition (CVPR 2016), section 4.2, with n = 3: stem, three
stages of three blocks of two 3x3 convolutions, global average.  Widths 12, 24 and 48 and a stem of stride 2
instead of 16, 32, 64 and stride 1 leave an eighth of the work; projections are 1x1 convolutions.
"""

from torch import Tensor, nn

from hwgen.quantize.datasets import fashion_mnist
from hwgen.quantize.recipe import Recipe

WIDTHS = (12, 24, 48)
BLOCKS = 3


class Block(nn.Module):
    """Two 3x3 convolutions beside the identity, or a 1x1 projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False),
                                          nn.BatchNorm2d(outputs))
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + self.shortcut(x))


def network() -> nn.Module:
    """21 convolutions, two of them projections, and a linear layer; 152,364 weights."""
    layers: list[nn.Module] = [nn.Conv2d(1, WIDTHS[0], 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(WIDTHS[0]),
                               nn.ReLU()]
    inputs = WIDTHS[0]
    for stage, outputs in enumerate(WIDTHS):
        for block in range(BLOCKS):
            layers.append(Block(inputs, outputs, 2 if stage and not block else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


RECIPE = Recipe(network, fashion_mnist, float_epochs=10, float_lr=5e-3, epochs=4, lr=1e-3, label_smoothing=0.05,
                norm_batches=50)
