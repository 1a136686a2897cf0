"""``hwgen compare``: the golden model against a network file in its own executor."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from hwgen.build.models import Model, find_model, load_inputs
from hwgen.frontend.execute import compare
from hwgen.graph.ir import Graph

KNOWN = 100
"""Known images that are compared without being asked for."""


def compare_step(name: str, inputs: Path | None = None, images: int | None = None) -> dict:
    """Every layer of a network compared with its file, as a tree for JSON.

    inputs: a .npy file of input codes (integers) or real images (floats); else the images that come with the network,
    else seeded random codes.  Raises HwgenError for files that cannot be read and for images that do not fit.
    """
    model = find_model(name)
    graph = model.load()
    array, source = _images(model, graph, inputs)
    array = array[:images] if images is not None else array if inputs is not None else array[:KNOWN]
    path, data = model.file
    found = compare(path, graph, array, every_layer=True, data=data)
    return {"model": name, "executor": found.executor, "inputs": source, "images": len(array), "ok": found.ok,
            "compared": found.compared, "equal": found.equal, "ties": found.ties, "different": found.different,
            "tie_rounds": found.tie_rounds, "first_difference": found.first_difference,
            "layers": [asdict(layer) for layer in found.layers]}


def _images(model: Model, graph: Graph, inputs: Path | None) -> tuple[np.ndarray, str]:
    if inputs is not None:
        array = load_inputs(inputs, graph, real=True)
        return array, f"{inputs} ({'real values' if array.dtype.kind == 'f' else 'codes'})"
    codes, _, known = model.inputs(graph)
    return codes, "known images" if known else "random codes"
