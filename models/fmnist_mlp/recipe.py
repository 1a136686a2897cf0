"""A multi-layer perceptron for Fashion-MNIST:  hwgen quantize fmnist_mlp --policy msq"""

from torch import nn

from hwgen.quantize.datasets import fashion_mnist
from hwgen.quantize.recipe import Recipe


def network() -> nn.Module:
    """784 -> 160 -> 80 -> 10 with batch norm and ReLU; 139,040 weights."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 160, bias=False), nn.BatchNorm1d(160), nn.ReLU(),
        nn.Linear(160, 80, bias=False), nn.BatchNorm1d(80), nn.ReLU(),
        nn.Linear(80, 10),
    )


RECIPE = Recipe(network, fashion_mnist, float_epochs=20, float_lr=3e-3, epochs=6, lr=1e-3, label_smoothing=0.05,
                norm_batches=100)
