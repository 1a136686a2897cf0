"""Networks as torchvision defines them, quantized by onnxruntime: exactness, cycles and what is refused.

    python -m benchmarks.torchvision_networks [NAME ...]

Needs torch, onnxruntime and torchvision.  Weights are random (seed 0), images 64x64; codes are uint8, weights int8
per channel, as quantize_static makes them.  Every layer is judged on onnxruntime's own codes, then one image runs
through the simulated Verilog of an engine for XC7Z020.  Each network's figures are kept in build/bench/torchvision; the
page docs/torchvision-networks.md is written from all that are there.
"""

import argparse
import json
import logging
from pathlib import Path
import sys

import numpy as np

from benchmarks.real_networks import FOLDER as REAL
from benchmarks.real_networks import PART, ROOT, measure, through_rtl
from hwgen.errors import HwgenError
from hwgen.frontend import inspect

FOLDER = ROOT / "build" / "bench" / "torchvision"
PAGE = ROOT / "docs" / "torchvision-networks.md"
RUN = ("squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5", "mobilenet_v2", "resnet18", "regnet_x_400mf", "googlenet")
REFUSED = ("mobilenet_v3_small", "regnet_y_400mf", "efficientnet_b0", "convnext_tiny", "swin_t")
SIDE, IMAGES = 64, 4


def quantized(name: str) -> Path:
    """The file that quantize_static writes for a network with random weights."""
    path = FOLDER / f"{name}.onnx"
    if path.exists():
        return path
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
        import torch
        from torchvision import models
    except (ImportError, RuntimeError) as error:
        raise HwgenError(f"torch, torchvision or onnxruntime is missing or does not match: {error}") from error

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(images(4, seed=0)[:, None])

        def get_next(self):
            image = next(self.images, None)
            return None if image is None else {"image": image}

    FOLDER.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    network = getattr(models, name)(weights=None, **options).eval()
    for key, tensor in network.named_buffers():  # batch norms that are not the identity
        if key.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    real, partial = FOLDER / f"{name}.float.onnx", path.with_suffix(".part")
    torch.onnx.export(network, (torch.randn(1, 3, SIDE, SIDE),), real, opset_version=17, input_names=["image"],
                      dynamo=False)
    quant_pre_process(str(real), str(real), skip_symbolic_shape=True)
    logging.disable(logging.WARNING)
    quantize_static(str(real), str(partial), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    logging.disable(logging.NOTSET)
    real.unlink()
    return partial.rename(path)


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3, SIDE, SIDE)).astype(np.float32)


def run(name: str) -> dict:
    """Figures of one network, or what it is refused for."""
    path = quantized(name)
    found = inspect(path)
    if not found.ok:
        return {"network": name, "macs": found.macs,
                "problems": sorted({f"{problem.op}: {problem.reason}" for problem in found.problems})}
    tree = measure(name, path, images(IMAGES, seed=1), None) | {"macs": found.macs}
    REAL.mkdir(parents=True, exist_ok=True)
    return tree | {"rtl": through_rtl(name, path, images(1, seed=2))}


def page(trees: list[dict]) -> str:
    """docs/torchvision-networks.md."""
    lines = ["# Networks of torchvision", "",
             "Written by `python -m benchmarks.torchvision_networks`: torchvision's definitions with random weights,",
             "64x64, quantized by onnxruntime's quantize_static (uint8 activations, int8 weights per channel). A tie",
             "is a code that is proven to lie within float32's error of the exact value. One image ran through the",
             f"simulated Verilog of an engine for {PART} at 100 MHz, every code of every layer compared with the",
             "golden model's.", "",
             "| network | MAC | rows proven | codes of 4 images | ties | different | engine | cycles planned | "
             "simulated | ms | mismatches |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    for tree in trees:
        if "rtl" in tree:
            rtl = tree["rtl"]
            lines.append(
                f"| {tree['network']} | {tree['macs']:,} | {tree['proven']:,} of {tree['rows']:,} | "
                f"{tree['codes']:,} | {tree['ties']:,} | {tree['different']:,} | {rtl['engine']} | "
                f"{rtl['planned']:,} | {rtl['simulated']:,} | {rtl['latency_ms']:.2f} | {rtl['mismatches']} |")
    lines += ["", "Refused, each node by name; the kinds of reasons:", ""]
    lines += [f"* {tree['network']}: {'; '.join(tree['problems'])}" for tree in trees if "problems" in tree]
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"default: {', '.join(RUN + REFUSED)}")
    for name in parser.parse_args().names or RUN + REFUSED:
        tree = run(name)
        (FOLDER / f"{name}.json").write_text(json.dumps(tree, indent=1) + "\n")
        print(json.dumps(tree), flush=True)
    kept = [FOLDER / f"{name}.json" for name in RUN + REFUSED]
    trees = [json.loads(path.read_text()) for path in kept if path.exists()]
    PAGE.write_text(page(trees))


if __name__ == "__main__":
    try:
        main()
    except HwgenError as error:
        sys.exit(f"torchvision_networks: {error}")
