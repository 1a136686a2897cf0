"""Train, quantize and export the Fashion-MNIST network:  python -m models.fmnist_cnn.recipe --help

Needs the extra `train` and the images (Debian package dataset-fashion-mnist).
"""

import argparse
from collections.abc import Iterator
import gzip
from pathlib import Path
import time

import numpy as np
import torch
from torch import Tensor, nn

from hwgen.quantize import Policy, accuracy, export, fit, freeze, integer_forward, prepare

HERE = Path(__file__).resolve().parent
IMAGES = Path("/usr/share/datasets/fashion-mnist")


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


def read_images(part: str, folder: Path = IMAGES) -> tuple[np.ndarray, np.ndarray]:
    """Codes (N, 1, 28, 28) uint8 and labels (N,) int64 of "train" or "t10k"."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        codes = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    return codes, labels


class Batches:
    """Batches of (images in [0, 1], labels); with ``augment`` shuffled, mirrored and shifted by up to 2 pixels."""

    def __init__(self, codes: np.ndarray, labels: np.ndarray, batch: int = 256, augment: bool = False):
        self.images = torch.from_numpy(codes.copy())
        self.labels = torch.from_numpy(labels.copy())
        self.batch, self.augment = batch, augment
        if augment:
            self.padded = nn.functional.pad(self.images, (2, 2, 2, 2))

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.labels)) if self.augment else torch.arange(len(self.labels))
        for index in order.split(self.batch):
            yield self._images(index).float() / 255, self.labels[index]

    def _images(self, index: Tensor) -> Tensor:
        if not self.augment:
            return self.images[index]
        pixels = torch.arange(28)
        rows = torch.randint(0, 5, (len(index), 1, 1)) + pixels.view(1, 28, 1)
        columns = pixels.view(1, 1, 28).expand(len(index), 1, 28)
        columns = torch.where(torch.rand(len(index), 1, 1) < 0.5, columns, 27 - columns)
        columns = columns + torch.randint(0, 5, (len(index), 1, 1))
        return self.padded[index.view(-1, 1, 1), 0, rows, columns].unsqueeze(1)


def report(label: str):
    """A progress function that prints one line for every tenth of the training."""
    start = time.perf_counter()

    def progress(done: int, steps: int, loss: float) -> None:
        if done * 10 // steps > (done - 1) * 10 // steps:
            seconds = time.perf_counter() - start
            print(f"{label}: {100 * done // steps:3d} %  loss {loss:.3f}  {seconds:.0f} s", flush=True)

    return progress


def new_network(seed: int) -> FmnistCnn:
    """Random weights; whatever follows is determined by the seed."""
    torch.manual_seed(seed)
    return FmnistCnn().to(memory_format=torch.channels_last)


def float_weights(train: Batches, options: argparse.Namespace) -> dict[str, Tensor]:
    """Weights of the network in float: trained, or read from the file of an earlier run."""
    if options.float_weights and options.float_weights.exists():
        return torch.load(options.float_weights)
    network = new_network(options.seed)
    fit(network, train, options.epochs, 5e-3, weight_decay=0.02, label_smoothing=0.05, progress=report("float"))
    if options.float_weights:
        torch.save(network.state_dict(), options.float_weights)
    return network.state_dict()


def train_quantized(network: FmnistCnn, train: Batches, policy: Policy, epochs: int) -> nn.Module:
    sample, _ = next(iter(train))
    quantized = prepare(network, policy, sample)
    fit(quantized, train, epochs, 1e-3, label_smoothing=0.05, norm_batches=100, progress=report("quantized"))
    return quantized


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=16, help="epochs in float")
    parser.add_argument("--quantized-epochs", type=int, default=10, help="epochs with quantizers")
    parser.add_argument("--policy", choices=("msq", "fixed4"), default="msq")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="the result depends on it in the last digits")
    parser.add_argument("--images", type=Path, default=IMAGES, help="folder of the four .gz files")
    parser.add_argument("--float-weights", type=Path, help="kept here after training in float; read if it exists")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the model and the test images")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    codes, labels = read_images("t10k", options.images)
    train, test = Batches(*read_images("train", options.images), augment=True), Batches(codes, labels, batch=1000)

    start = time.perf_counter()
    weights = float_weights(train, options)
    network = new_network(options.seed)
    network.load_state_dict(weights)
    middle = time.perf_counter()
    float_accuracy = accuracy(network, test)
    policy = Policy.msq() if options.policy == "msq" else Policy.fixed4()
    frozen = freeze(train_quantized(network, train, policy, options.quantized_epochs))
    end = time.perf_counter()
    quantized_accuracy = float((integer_forward(frozen, codes).argmax(1) == labels).mean())
    print(f"float {float_accuracy:.4f} in {middle - start:.0f} s, "
          f"quantized {quantized_accuracy:.4f} in {end - middle:.0f} s, on {len(labels)} images")
    export(frozen, options.out / "fmnist_cnn.onnx", metadata={
        "hwgen.float_accuracy": round(float_accuracy, 4), "hwgen.quantized_accuracy": round(quantized_accuracy, 4)})
    np.savez_compressed(options.out / "test_images.npz", codes=codes[:500], labels=labels[:500].astype(np.uint8))


if __name__ == "__main__":
    main()
