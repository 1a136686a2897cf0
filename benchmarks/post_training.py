"""Networks quantized without training:  python -m benchmarks.post_training --help

Runs in a Python with torch (the training environment).  NETWORK is a name in models/; its float weights are those of
``benchmarks.accuracy`` (seed 1), trained if they are not there, and the whole test set is counted.  EfficientNet-Lite0
takes the photos in FOLDER and the weights in PACKAGES (``benchmarks.real_networks`` makes both).  Every network is
exported, and the golden model's codes of the exported file are compared with torch's integers.
"""

import argparse
from pathlib import Path
import sys
import tempfile
import time

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.efficientnet import pretrained
from hwgen.frontend import load
from hwgen.quantize import Policy, export, freeze, integer_forward
from hwgen.quantize.freeze import Frozen
from hwgen.quantize.post import post_training
from hwgen.quantize.recipe import find_recipe
from hwgen.quantize.train import CALIBRATION, Job, float_accuracy, golden_answers, integer_accuracy

POLICIES = {"W8A8": Policy.fixed8(act_bits=8, add_bits=8), "W4A8": Policy.fixed4(act_bits=8, add_bits=8),
            "SP2 : fixed4 60 : 40, A8": Policy.msq(act_bits=8, add_bits=8), "W4A4": Policy.fixed4()}
COMPARED = 100
"""Inputs whose codes are compared with the golden model's."""
CHUNK = 5
"""Photos that are computed together in integers."""


class Plain(nn.Module):
    """EfficientNet-Lite0 of the package in modules of torch.nn; pixels (N, 3, 224, 224) are 0..1.

    What the package does to pixels, (255 x - 127) / 128, is in the first convolution; the row and the column that it
    pads on the right and below are black here and gray there.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        stem = _convolution(network._conv_stem)
        conv = stem[-1]
        with torch.no_grad():
            conv.bias = nn.Parameter(conv.weight.sum((1, 2, 3)) * (-127 / 128))
            conv.weight *= 255 / 128
        self.stem = nn.Sequential(*stem, network._bn0, nn.ReLU6())
        self.blocks = nn.Sequential(*map(Block, network._blocks))
        self.head = nn.Sequential(*_convolution(network._conv_head), network._bn1, nn.ReLU6(),
                                  nn.AdaptiveAvgPool2d(1), nn.Flatten(), network._fc)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)))


class Block(nn.Module):
    """An inverted residual of the package."""

    def __init__(self, block: nn.Module):
        super().__init__()
        settings = block._block_args
        expand = [*_convolution(block._expand_conv), block._bn0, nn.ReLU6()] if settings.expand_ratio != 1 else []
        self.body = nn.Sequential(*expand, *_convolution(block._depthwise_conv), block._bn1, nn.ReLU6(),
                                  *_convolution(block._project_conv), block._bn2)
        self.residual = settings.stride == 1 and settings.input_filters == settings.output_filters

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


def _convolution(layer: nn.Module) -> list[nn.Module]:
    """The package's convolution, which pads in forward, as padding and a convolution of torch."""
    conv = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, tuple(layer.stride),
                     groups=layer.groups, bias=layer.bias is not None)
    conv.load_state_dict(layer.state_dict())
    padding = layer.static_padding
    return [conv] if isinstance(padding, nn.Identity) else [padding, conv]


def efficientnet(folder: Path, packages: Path) -> None:
    """Top-1 on the labelled photos, which the scales come from too: there are no others."""
    sys.path.append(str(packages))
    model = Plain(pretrained()).eval()
    images, labels = np.load(folder / "images.npy"), np.load(folder / "labels.npy")
    codes = np.clip(np.rint(images * 128 + 127), 0, 255).astype(np.uint8)
    inputs = torch.from_numpy(codes).float() / 255
    with torch.no_grad():
        right = int((model(inputs).argmax(1).numpy() == labels).sum())
    report("EfficientNet-Lite0", "float", f"{right} of {len(labels)}", 0, 0, 0, 0)
    for name, policy in POLICIES.items():
        start = time.perf_counter()
        frozen = freeze(post_training(model, policy, inputs))
        found = np.concatenate([integer_forward(frozen, codes[i:i + CHUNK]) for i in range(0, len(codes), CHUNK)])
        right = int((found.argmax(1) == labels).sum())
        report("EfficientNet-Lite0", name, f"{right} of {len(labels)}", time.perf_counter() - start,
               *against_golden(frozen, codes[:CHUNK], found[:CHUNK]))


def recipe(name: str, work: Path) -> None:
    """Percent of the whole test set."""
    _, found = find_recipe(name)
    data = found.data()
    job = Job(found, data, 1, resume=True, folder=work / name)
    (work / name).mkdir(parents=True, exist_ok=True)
    network = job.float_network()
    report(name, "float", f"{100 * float_accuracy(network, data):.2f} %", 0, 0, 0, 0)
    for text, policy in POLICIES.items():
        start = time.perf_counter()
        frozen = freeze(post_training(network, policy, data.sample(CALIBRATION)[0]))
        right = f"{100 * integer_accuracy(frozen, data.test):.2f} %"
        codes = data.test.codes[:COMPARED]
        report(name, text, right, time.perf_counter() - start,
               *against_golden(frozen, codes, integer_forward(frozen, codes)))


def against_golden(frozen: Frozen, codes: np.ndarray, expected: np.ndarray) -> tuple[int, int, int]:
    """Output codes compared, different ones, and rows whose requantizer is not proven."""
    with tempfile.TemporaryDirectory() as folder:
        graph = load(export(frozen, Path(folder) / "net.onnx"))
    found = golden_answers(graph, codes)
    unproven = sum(len(op.weight) - op.requant.proven for op in graph.ops if hasattr(op, "requant"))
    return found.size, int((found.reshape(expected.shape) != expected).sum()), unproven


def report(network: str, policy: str, right: str, seconds: float, compared: int, different: int, unproven: int) -> None:
    print(f"| {network} | {policy} | {right} | {compared:,} | {different} | {unproven} | {seconds:.0f} s |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="names in models/")
    parser.add_argument("--efficientnet", nargs=2, type=Path, metavar=("FOLDER", "PACKAGES"))
    parser.add_argument("--work", type=Path, default=Path("build/accuracy"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| network | policy | top-1 | codes compared | different | rows unproven | time |\n" + "|---" * 7 + "|")
    if options.efficientnet:
        efficientnet(*options.efficientnet)
    for name in options.networks:
        recipe(name, options.work)


if __name__ == "__main__":
    main()
