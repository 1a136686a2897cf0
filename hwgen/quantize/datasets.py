"""Data sets that come as packages: Fashion-MNIST, the 8x8 digits, the Japanese vowels.

Each gives integer codes, as the hardware reads them, and labels; nothing is downloaded here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hwgen.errors import HwgenError

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
DIGITS_TEST = 497
"""Digits that are never trained on; drawn at random, always the same ones."""
VOWEL_REACH = 2.0
"""The coefficients of the vowels lie between -1.6 and 2.0 (training set); codes cover -2 to 2."""


@dataclass(frozen=True, eq=False)
class Split:
    """Codes (N, C, H, W) or (N, C, length), uint8, and labels (N,), int64."""

    codes: np.ndarray
    labels: np.ndarray

    def maps(self) -> np.ndarray:
        """The codes as the hardware sees them: (N, C, H, W), sequences with height 1."""
        return self.codes[:, :, None] if self.codes.ndim == 3 else self.codes


@dataclass(frozen=True, eq=False)
class Data:
    """Training and test set of one task; a code stands for ``code / (2^bits - 1)``."""

    train: Split
    test: Split
    bits: int = 8
    augment: bool = False
    """Training images are mirrored and shifted by up to 2 pixels."""

    def batches(self, size: int) -> "Batches":
        """The training set, shuffled anew in every epoch."""
        return Batches(self.train, size, self.bits, shuffle=True, augment=self.augment)

    def test_batches(self, size: int = 1000) -> "Batches":
        """The test set in its order."""
        return Batches(self.test, size, self.bits)

    def sample(self, count: int) -> tuple[Tensor, Tensor]:
        """(inputs, labels) of the first ``count`` training examples, as they are."""
        inputs = torch.from_numpy(self.train.codes[:count].copy()).float() / ((1 << self.bits) - 1)
        return inputs, torch.from_numpy(self.train.labels[:count].copy())


class Batches:
    """Batches of (inputs in 0..1, labels); order and augmentation follow torch's random state."""

    def __init__(self, split: Split, size: int, bits: int, shuffle: bool = False, augment: bool = False):
        self.codes, self.labels = torch.from_numpy(split.codes.copy()), torch.from_numpy(split.labels.copy())
        self.size, self.top = size, (1 << bits) - 1
        self.shuffle, self.augment = shuffle, augment
        if augment:
            self.padded = nn.functional.pad(self.codes, (2, 2, 2, 2))

    def __len__(self) -> int:
        return -(-len(self.labels) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.labels)) if self.shuffle else torch.arange(len(self.labels))
        for index in order.split(self.size):
            yield self._inputs(index).float() / self.top, self.labels[index]

    def _inputs(self, index: Tensor) -> Tensor:
        if not self.augment:
            return self.codes[index]
        height, width = self.codes.shape[-2:]
        rows = torch.randint(0, 5, (len(index), 1, 1)) + torch.arange(height).view(1, height, 1)
        columns = torch.arange(width).view(1, 1, width).expand(len(index), 1, width)
        columns = torch.where(torch.rand(len(index), 1, 1) < 0.5, columns, width - 1 - columns)
        columns = columns + torch.randint(0, 5, (len(index), 1, 1))
        return self.padded[index.view(-1, 1, 1), :, rows, columns].permute(0, 3, 1, 2)


def fashion_mnist(folder: Path = FASHION_MNIST) -> Data:
    """60,000 and 10,000 grey images of clothing, 28x28, ten classes (Zalando, MIT licence)."""
    splits = []
    for part in ("train", "t10k"):
        try:
            with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
                codes = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
            with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
                labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
        except (OSError, EOFError, ValueError) as error:
            raise HwgenError(f"Fashion-MNIST cannot be read from {folder} ({error}); "
                             "install it with: apt-get install dataset-fashion-mnist") from error
        splits.append(Split(codes, labels))
    return Data(splits[0], splits[1], augment=True)


def digits() -> Data:
    """1,300 and 497 digits of 8x8 pixels and 4 bits (the set's 16 becomes 15), from scikit-learn."""
    if find_spec("sklearn") is None:
        raise HwgenError("the digits come with scikit-learn; install it with: pip install scikit-learn")
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    codes = np.minimum(images, 15).astype(np.uint8).reshape(-1, 1, 8, 8)[order]
    labels = labels.astype(np.int64)[order]
    return Data(Split(codes[:-DIGITS_TEST], labels[:-DIGITS_TEST]), Split(codes[-DIGITS_TEST:], labels[-DIGITS_TEST:]),
                bits=4)


def japanese_vowels(folder: Path | None = None) -> Data:
    """270 and 370 utterances of nine speakers: 12 coefficients over 25 steps, codes of 8 bits (UCI).

    The files lie in the package aeon; it need not be importable, so ``pip install --no-deps aeon`` is enough.
    """
    if folder is None:
        spec = find_spec("aeon")
        if spec is None or not spec.submodule_search_locations:
            raise HwgenError("JapaneseVowels comes with aeon; install it with: pip install --no-deps aeon")
        folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "JapaneseVowels"
    return Data(_vowels(folder / "JapaneseVowels_eq_TRAIN.ts"), _vowels(folder / "JapaneseVowels_eq_TEST.ts"))


def _vowels(path: Path) -> Split:
    try:
        lines = path.read_text().split("@data", 1)[1].split()
        rows = [line.split(":") for line in lines]
        values = np.array([[channel.split(",") for channel in row[:-1]] for row in rows], np.float64)
        labels = np.array([row[-1] for row in rows], np.int64) - 1
    except (OSError, IndexError, ValueError) as error:
        raise HwgenError(f"JapaneseVowels cannot be read from {path} ({error}); "
                         "install it with: pip install --no-deps aeon") from error
    codes = np.clip(np.round((values + VOWEL_REACH) / (2 * VOWEL_REACH) * 255), 0, 255).astype(np.uint8)
    return Split(codes, labels)
