"""Train, quantize and export the digits network:  python -m models.digits_mlp.recipe --help

Needs the extra `train` (torch and scikit-learn, which brings the images).
"""

import argparse
from pathlib import Path
import time

import numpy as np
from sklearn.datasets import load_digits
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hwgen.quantize import Policy, accuracy, export, fit, freeze, integer_forward, prepare

HERE = Path(__file__).resolve().parent
TEST_IMAGES = 497
"""Never trained on; drawn at random, always the same ones."""


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


def read_images() -> tuple[np.ndarray, np.ndarray]:
    """Codes (1797, 1, 8, 8) uint8 of 0 to 15 (the set's 16 becomes 15) and labels (1797,) int64, shuffled."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return np.minimum(images, 15).astype(np.uint8).reshape(-1, 1, 8, 8)[order], labels.astype(np.int64)[order]


def batches(codes: np.ndarray, labels: np.ndarray, shuffle: bool = False) -> DataLoader:
    images = torch.from_numpy(codes).float() / 15
    return DataLoader(TensorDataset(images, torch.from_numpy(labels)), batch_size=50, shuffle=shuffle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60, help="epochs in float, and again with quantizers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the model and the test images")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    codes, labels = read_images()
    train = batches(codes[:-TEST_IMAGES], labels[:-TEST_IMAGES], shuffle=True)
    codes, labels = codes[-TEST_IMAGES:], labels[-TEST_IMAGES:]

    start = time.perf_counter()
    network = DigitsMlp()
    fit(network, train, options.epochs, 1e-2, weight_decay=0.02)
    float_accuracy = accuracy(network, batches(codes, labels))
    quantized = prepare(network, Policy.msq(input_bits=4), next(iter(train))[0])
    fit(quantized, train, options.epochs, 3e-3)
    frozen = freeze(quantized)
    quantized_accuracy = float((integer_forward(frozen, codes).argmax(1) == labels).mean())
    print(f"float {float_accuracy:.4f}, quantized {quantized_accuracy:.4f} on {len(labels)} images, "
          f"{time.perf_counter() - start:.0f} s")
    export(frozen, options.out / "digits_mlp.onnx", metadata={
        "hwgen.float_accuracy": round(float_accuracy, 4), "hwgen.quantized_accuracy": round(quantized_accuracy, 4)})
    np.savez_compressed(options.out / "test_images.npz", codes=codes, labels=labels.astype(np.uint8))


if __name__ == "__main__":
    main()
