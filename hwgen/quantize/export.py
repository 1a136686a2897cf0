"""Writes a trained quantized network as a QONNX file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import fx

from hwgen.errors import HwgenError
from hwgen.frontend.qonnx_writer import QonnxBuilder, Value
from hwgen.quantize.freeze import Frozen, Step, freeze


def export(qmodel: fx.GraphModule | Frozen, path: str | Path, *, name: str | None = None,
           metadata: Mapping[str, object] | None = None) -> Path:
    """Write ``qmodel`` (from :func:`prepare`, trained) to ``path`` and return the path.

    ``name`` is the network's name, the file's stem by default.  ``metadata`` goes into the file,
    for example ``{"hwgen.float_accuracy": 0.92}``.  Batch norms are folded into row scales and
    biases; the scheme of every row is written to ``hwgen.schemes``.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise HwgenError(f"export: the folder {path.parent} does not exist; create it first")
    frozen = qmodel if isinstance(qmodel, Frozen) else freeze(qmodel)
    first = next(step for step in frozen.steps if step.kind == "quant")
    channels, height, width = (*frozen.input_shape, 1, 1)[:3]
    image = first.settings
    builder = QonnxBuilder(name or path.stem, (channels, height, width), image["bits"], image["scale"])
    values: dict[str, Value] = {first.name: builder.input}
    for step in frozen.steps:
        if step.kind != "input" and step is not first:
            values[step.name] = _write(builder, step, [values[source] for source in step.inputs])
    builder.output(values[frozen.output])
    for key, value in (metadata or {}).items():
        builder.metadata(key, value)
    return builder.save(path)


def _write(builder: QonnxBuilder, step: Step, inputs: list[Value]) -> Value:
    s = step.settings
    if step.kind == "quant":
        return builder.quant(inputs[0], s["scale"], 0, s["bits"], s["signed"], name=step.name)
    if step.kind == "conv":
        return builder.conv(inputs[0], s["weight"], s["alpha"], _bias(s), s["strides"], s["pads"], step.name,
                            s["schemes"])
    if step.kind == "linear":
        return builder.linear(inputs[0], s["weight"], s["alpha"], _bias(s), step.name, s["schemes"])
    if step.kind == "avg_pool" and s["whole"]:
        return builder.global_avg_pool(inputs[0], step.name)
    if step.kind in ("max_pool", "avg_pool"):
        pool = builder.max_pool if step.kind == "max_pool" else builder.avg_pool
        return pool(inputs[0], s["kernel"], s["strides"], s["pads"], step.name)
    if step.kind == "add":
        return builder.add(inputs[0], inputs[1], step.name)
    return {"relu": builder.relu, "flatten": builder.flatten}[step.kind](inputs[0], step.name)


def _bias(settings: dict) -> np.ndarray | None:
    bias = settings["bias"]
    return bias if bias.any() else None
