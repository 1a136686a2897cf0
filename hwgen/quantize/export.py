"""Writes a trained quantized network as a QONNX file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import fx

from hwgen.errors import HwgenError
from hwgen.frontend.qonnx_writer import QonnxBuilder, Value
from hwgen.quantize.freeze import Frozen, Step, freeze
from hwgen.schemes import runs_as


def export(qmodel: fx.GraphModule | Frozen, path: str | Path, *, name: str | None = None,
           metadata: Mapping[str, object] | None = None) -> Path:
    """Write ``qmodel`` (from :func:`prepare`, trained) to ``path`` and return the path.

    ``name`` is the network's name, the file's stem by default.  ``metadata`` goes into the file,
    for example ``{"hwgen.float_accuracy": 0.92}``.  Batch norms are folded into row scales and
    biases; the scheme of every row is written to ``hwgen.schemes``, as the hardware's (rows of fixed3 run as
    fixed4).  HwgenError where a row has a scheme that no hardware runs.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise HwgenError(f"export: the folder {path.parent} does not exist; create it first")
    frozen = qmodel if isinstance(qmodel, Frozen) else freeze(qmodel)
    builder = to_builder(frozen, name or path.stem)
    for key, value in (metadata or {}).items():
        builder.metadata(key, value)
    return builder.save(path)


def to_builder(frozen: Frozen, name: str) -> QonnxBuilder:
    """The file under construction, complete but for metadata."""
    _check_schemes(frozen)
    first = next(step for step in frozen.steps if step.kind == "quant")
    channels, height, width = (*frozen.input_shape, 1, 1)[:3]
    image = first.settings
    builder = QonnxBuilder(name, (channels, height, width), image["bits"], image["scale"])
    values: dict[str, Value] = {first.name: builder.input}
    for step in frozen.steps:
        if step.kind != "input" and step is not first:
            values[step.name] = _write(builder, step, [values[source] for source in step.inputs])
    builder.output(values[frozen.output])
    return builder


def _check_schemes(frozen: Frozen) -> None:
    problems = []
    for step in frozen.steps:
        lost = sorted({scheme for scheme in step.settings.get("schemes", ()) if runs_as(scheme) is None})
        if lost:
            problems.append(f"  {step.name}: {', '.join(lost)}")
    if problems:
        raise HwgenError("export: no hardware runs the schemes of these layers, their levels go beyond 8 bits; "
                         "prepare the network with others:\n" + "\n".join(problems))


def _schemes(settings: dict) -> list[str]:
    return [str(runs_as(scheme)) for scheme in settings["schemes"]]


def _write(builder: QonnxBuilder, step: Step, inputs: list[Value]) -> Value:
    s = step.settings
    if step.kind == "quant":
        return builder.quant(inputs[0], s["scale"], 0, s["bits"], s["signed"], name=step.name)
    if step.kind == "conv":
        return builder.conv(inputs[0], s["weight"], s["alpha"], _bias(s), s["strides"], s["pads"], step.name,
                            _schemes(s), s["groups"])
    if step.kind == "linear":
        return builder.linear(inputs[0], s["weight"], s["alpha"], _bias(s), step.name, _schemes(s))
    if step.kind == "avg_pool" and s["whole"]:
        return builder.global_avg_pool(inputs[0], step.name)
    if step.kind in ("max_pool", "avg_pool"):
        pool = builder.max_pool if step.kind == "max_pool" else builder.avg_pool
        return pool(inputs[0], s["kernel"], s["strides"], s["pads"], step.name)
    if step.kind == "add":
        return builder.add(inputs[0], inputs[1], step.name)
    if step.kind == "relu6":
        return builder.clip(inputs[0], 0, 6, step.name)
    return {"relu": builder.relu, "flatten": builder.flatten}[step.kind](inputs[0], step.name)


def _bias(settings: dict) -> np.ndarray | None:
    bias = settings["bias"]
    return bias if bias.any() else None
