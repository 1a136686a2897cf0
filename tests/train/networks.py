"""Small networks for the tests, with batch norms that have seen data."""

import torch
from torch import Tensor, nn


class Tiny(nn.Module):
    """Every supported layer, a residual with a projection, odd sizes; input (N, 2, 9, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2, 1))
        self.conv1 = nn.Conv2d(5, 7, (3, 2), stride=(2, 1), padding=(1, 0), bias=False)
        self.bn1 = nn.BatchNorm2d(7)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(7, 6, 3, padding=1)
        self.project = nn.Conv2d(5, 6, (1, 2), stride=(2, 1), bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.average = nn.AvgPool2d(2)
        self.dropout = nn.Dropout(0.1)
        self.hidden = nn.Linear(6 * 2 * 3, 11)
        self.classify = nn.Linear(11, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.conv2(self.relu1(self.bn1(self.conv1(x))))
        x = torch.relu(y + self.bn2(self.project(x)))
        x = torch.flatten(self.dropout(self.average(x)), 1)
        return self.classify(self.hidden(x))


def tiny(seed: int) -> Tiny:
    """A network with random weights; one batch-norm factor is negative, one is zero."""
    torch.manual_seed(seed)
    network = Tiny()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    with torch.no_grad():
        network.bn1.weight[2] = -0.8
        network.bn1.weight[4] = 0.0
        for _ in range(20):
            network.train()(torch.rand(32, 2, 9, 8))
    return network.eval()


class Inverted(nn.Module):
    """Depthwise and grouped convolutions, ReLU6, uneven padding, an add without projection, a global average.

    Input (N, 3, 8, 7).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.expand = nn.Sequential(nn.Conv2d(8, 12, 1), nn.BatchNorm2d(12), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False), nn.BatchNorm2d(12),
                                       nn.ReLU6())
        self.shrink = nn.Sequential(nn.Conv2d(12, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.grouped = nn.Sequential(nn.ZeroPad2d((0, 1, 2, 1)),
                                     nn.Conv2d(8, 8, 3, stride=2, groups=4), nn.ReLU())
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.classify = nn.Linear(8, 4)
        for module in (self.stem, self.expand, self.depthwise):
            nn.init.constant_(module[1].weight, 5.0)  # many values above 6

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.shrink(self.depthwise(self.expand(x)))
        return self.classify(self.flatten(self.pool(self.grouped(x))))


def sequence() -> nn.Module:
    """One dimension, with every pool; input (N, 3, 20)."""
    return nn.Sequential(
        nn.Conv1d(3, 8, 5, stride=2, padding=2, bias=False), nn.BatchNorm1d(8), nn.ReLU(),
        nn.MaxPool1d(3, 2, ceil_mode=True), nn.ConstantPad1d((2, 0), 0.0), nn.Conv1d(8, 8, 3, groups=2), nn.ReLU(),
        nn.AvgPool1d(2),
        nn.Conv1d(8, 6, 1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 4))


def ceiled() -> nn.Module:
    """ceil_mode with one more window in the height and, in the width, one left out that would begin in the padding.

    Input (N, 2, 9, 8).
    """
    return nn.Sequential(nn.Conv2d(2, 5, 2), nn.ReLU(), nn.MaxPool2d((3, 2), (2, 3), padding=1, ceil_mode=True),
                         nn.Flatten(), nn.Linear(5 * 5 * 3, 4))


def seen(network: nn.Module, shape: tuple[int, ...], seed: int) -> nn.Module:
    """``network`` with batch norms that have seen random data."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for _ in range(10):
            network.train()(torch.rand(32, *shape))
    return network.eval()
