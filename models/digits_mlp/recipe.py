"""A small perceptron for the 8x8 digits:  hwgen quantize digits_mlp --policy msq_50_50"""

from torch import Tensor, nn

from hwgen.quantize.datasets import digits
from hwgen.quantize.recipe import Recipe


class DigitsMlp(nn.Module):
    """64 -> 24 -> 18 -> 10 with ReLU; 2,148 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.hidden1 = nn.Linear(64, 24)
        self.relu1 = nn.ReLU()
        self.hidden2 = nn.Linear(24, 18)
        self.relu2 = nn.ReLU()
        self.classify = nn.Linear(18, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.hidden1(self.flatten(x)))
        return self.classify(self.relu2(self.hidden2(x)))


RECIPE = Recipe(DigitsMlp, digits, float_epochs=60, float_lr=1e-2, epochs=60, lr=3e-3, batch=50,
                widths={"input_bits": 4})
