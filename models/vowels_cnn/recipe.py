"""A 1-D network for JapaneseVowels, nine speakers:  hwgen quantize vowels_cnn --policy msq"""

from torch import nn

from hwgen.quantize.datasets import japanese_vowels
from hwgen.quantize.recipe import Recipe


def network() -> nn.Module:
    """Three convolutions over 25 steps of 12 coefficients, global average, linear layer."""
    return nn.Sequential(
        nn.Conv1d(12, 32, 5, padding=2, bias=False), nn.BatchNorm1d(32), nn.ReLU(),
        nn.Conv1d(32, 32, 3, padding=1, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(32, 48, 3, padding=1, bias=False), nn.BatchNorm1d(48), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(48, 9),
    )


RECIPE = Recipe(network, japanese_vowels, float_epochs=60, float_lr=1e-2, epochs=30, lr=2e-3, batch=30,
                norm_batches=9)
