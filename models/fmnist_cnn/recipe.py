"""A small residual network for Fashion-MNIST:  hwgen quantize fmnist_cnn --policy msq_50_50"""

from torch import Tensor, nn

from hwgen.quantize.datasets import fashion_mnist
from hwgen.quantize.recipe import Recipe


class Residual(nn.Module):
    """Two 3x3 convolutions beside a 1x1 projection; the first convolution and the projection have stride 2."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.project = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
        self.project_bn = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + self.project_bn(self.project(x)))


class FmnistCnn(nn.Module):
    """2,643,784 multiply-accumulates and 62,440 weights for a 28x28 image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = self._block(1, 16, 1)
        self.down = self._block(16, 24, 2)
        self.residual = Residual(24, 44)
        self.head = self._block(44, 76, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classify = nn.Linear(76, 10)

    @staticmethod
    def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.residual(self.down(self.stem(x))))
        return self.classify(self.flatten(self.pool(x)))


RECIPE = Recipe(FmnistCnn, fashion_mnist, float_epochs=16, float_lr=5e-3, epochs=10, lr=1e-3, label_smoothing=0.05,
                norm_batches=100)
