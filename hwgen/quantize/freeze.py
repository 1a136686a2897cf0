"""A trained quantized network as plain integers and float32 constants, and its exact forward pass."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from hwgen.errors import HwgenError
from hwgen.quantize.layers import pads, plane
from hwgen.quantize.quantizers import SNAP_BITS
from hwgen.quantize.tracing import kind_of, sides_of, window


@dataclass(frozen=True, eq=False)
class Step:
    """One operation: ``output = kind(*inputs)``; real values unless a ``quant`` made them."""

    kind: str
    """input, quant, conv, linear, add, relu, relu6, max_pool, avg_pool or flatten."""
    name: str
    inputs: tuple[str, ...]
    settings: dict[str, Any]
    """quant: scale, bits, signed.  conv, linear: weight (int64), alpha, bias, schemes; conv: groups.

    Windows: kernel, strides as (vertical, horizontal); pads as (top, left, bottom, right), of a convolution with those
    of the padding in front of it, of a max pool with what ceil_mode adds; whole for a global average.
    """


@dataclass(frozen=True, eq=False)
class Frozen:
    """The steps in order; constants are float32 values, the file's values."""

    steps: tuple[Step, ...]
    input_shape: tuple[int, ...]
    """Without the batch: (features,) or (channels, height, width), the height 1 for sequences."""
    output: str


def freeze(qmodel: fx.GraphModule) -> Frozen:
    """The constants of ``qmodel`` with batch norms folded into row scales and biases.

    A row whose batch-norm factor is negative changes the signs of its integers, which every grid
    allows, so that row scales are positive.  Raises HwgenError for NaN and infinite constants.
    """
    alias: dict[fx.Node, str] = {}
    steps: list[Step] = []
    shape: tuple[int, ...] = ()
    output = ""
    for node in qmodel.graph.nodes:
        sources = tuple(alias[source] for source in node.all_input_nodes)
        kind = _kind(qmodel, node)
        if kind == "output":
            output = sources[0]
            continue
        if kind in ("same", "norm", "pad"):
            alias[node] = sources[0]  # a batch norm and padding are in the step of their layer
            continue
        if kind == "input":
            shape = tuple(int(side) for side in node.meta["tensor_meta"].shape[1:])
            shape = (shape[0], 1, shape[1]) if len(shape) == 2 else shape
        alias[node] = f"{sources[0]}_quant" if kind == "quant" else node.name
        steps.append(Step(kind, alias[node], sources, _settings(qmodel, node, kind)))
    frozen = Frozen(tuple(steps), shape, output)
    _check_finite(frozen)
    _snap(frozen)
    return frozen


def _kind(qmodel: fx.GraphModule, node: fx.Node) -> str:
    if node.op == "call_module" and hasattr(qmodel.get_submodule(str(node.target)), "scale"):
        return "quant"
    kind = kind_of(qmodel, node)
    if kind is None:
        raise HwgenError(f"export: {node.name} was not made by prepare; export the network that prepare returned")
    return kind


def _settings(qmodel: fx.GraphModule, node: fx.Node, kind: str) -> dict[str, Any]:
    module: Any = qmodel.get_submodule(str(node.target)) if node.op == "call_module" else None
    if kind == "quant":
        return {"scale": np.float32(module.scale().item()), "bits": module.bits, "signed": module.signed}
    if kind in ("conv", "linear"):
        settings = _folded(module, _norm_after(qmodel, node))
        if kind == "conv":
            weight = settings["weight"]
            settings |= {"strides": plane(module, module.stride, 1), "pads": _pads_before(qmodel, node),
                         "groups": module.groups, "weight": weight.reshape(*weight.shape[:2], -1, weight.shape[-1])}
        return settings
    if kind in ("max_pool", "avg_pool"):
        kernel = window(qmodel, node)
        if isinstance(module, (nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool1d)):
            return {"kernel": kernel, "strides": (1, 1), "pads": (0, 0, 0, 0), "whole": True}
        strides = plane(module, module.stride, 1)
        return {"kernel": kernel, "strides": strides, "pads": _pool_pads(module, node, kernel, strides), "whole": False}
    return {}


def _pool_pads(module: Any, node: fx.Node, kernel: tuple[int, int], strides: tuple[int, int]) -> tuple[int, ...]:
    """A pool's padding; with ceil_mode its last windows may take more below and to the right."""
    first = plane(module, module.padding, 0)
    last = [max(pad, (count - 1) * step + k - side - pad) for pad, count, step, k, side in zip(
        first, sides_of(node), strides, kernel, sides_of(node.all_input_nodes[0]), strict=True)] \
        if module.ceil_mode else first
    return *first, *last


def _pads_before(qmodel: fx.GraphModule, node: fx.Node) -> tuple[int, ...]:
    """A convolution's padding and that of the modules in front of it that pad."""
    total = pads(qmodel.get_submodule(str(node.target)))
    source = node.all_input_nodes[0]
    while source.op == "call_module" and kind_of(qmodel, source) == "pad":
        total = total + pads(qmodel.get_submodule(str(source.target)))
        source = source.all_input_nodes[0]
    return tuple(int(side) for side in total)


def _norm_after(qmodel: fx.GraphModule, node: fx.Node) -> Any:
    for user in node.users:
        if user.op == "call_module" and kind_of(qmodel, user) == "norm":
            return qmodel.get_submodule(str(user.target))
    return None


def _doubles(tensor: Tensor | None, rows: int, default: float) -> np.ndarray:
    return np.full(rows, default) if tensor is None else tensor.detach().cpu().double().numpy()


def _folded(layer: Any, norm: Any) -> dict[str, Any]:
    """y = g * (acc * alpha * s + bias) + (beta - g * mean), g = gamma / sqrt(var + eps).

    Computed in float64 and rounded once, to the float32 that the file holds.
    """
    rows = len(layer.weight)
    integers = layer.weight_quant.integers(layer.weight.detach().cpu())
    alpha = layer.weight_quant.scale().detach().cpu().double().numpy()
    bias = _doubles(layer.bias, rows, 0.0)
    if norm is not None:
        factor = _doubles(norm.weight, rows, 1.0) / np.sqrt(_doubles(norm.running_var, rows, 1.0) + norm.eps)
        bias = _doubles(norm.bias, rows, 0.0) + factor * (bias - _doubles(norm.running_mean, rows, 0.0))
        integers = integers * np.sign(factor).astype(np.int64).reshape(-1, *[1] * (integers.ndim - 1))
        alpha = np.where(factor == 0, alpha, alpha * np.abs(factor))
    return {"weight": integers, "alpha": alpha.astype(np.float32), "bias": bias.astype(np.float32),
            "schemes": layer.weight_quant.schemes}


def _snap(frozen: Frozen) -> None:
    """Rows that end in more than 4 bits get a scale whose requantizer is a short multiplier.

    The requantizer multiplies by alpha * s_in / s_out.  Outputs of up to 4 bits are switched at exactly
    the right accumulators by nearly every ratio; 255 steps over a wide accumulator are not, unless the
    ratio is (within float32) a short integer over a power of two.  alpha moves by at most 2^-16 of itself.
    """
    by_name = {step.name: step for step in frozen.steps}
    for quant in frozen.steps:
        layer = by_name[quant.inputs[0]] if quant.inputs else quant
        if quant.kind != "quant" or layer.kind not in ("conv", "linear") or quant.settings["bits"] <= 4:
            continue
        ratio = _scale_of(by_name, layer.inputs[0]) / float(quant.settings["scale"])
        mantissa, exponent = np.frexp(layer.settings["alpha"].astype(np.float64) * ratio)
        short = np.ldexp(np.round(np.ldexp(mantissa, SNAP_BITS)), exponent - SNAP_BITS)
        layer.settings["alpha"] = (short / ratio).astype(np.float32)


def _scale_of(by_name: dict[str, Step], name: str) -> float:
    """The scale of a tensor of codes: of the quantizer at the start of its pools and flattens."""
    while by_name[name].kind != "quant":
        name = by_name[name].inputs[0]
    return float(by_name[name].settings["scale"])


def _check_finite(frozen: Frozen) -> None:
    for step in frozen.steps:
        for key in ("scale", "alpha", "bias"):
            values = np.asarray(step.settings.get(key, 1.0))
            if not np.isfinite(values).all() or (key != "bias" and (values <= 0).any()):
                raise HwgenError(f"export: {key} of {step.name} is not a finite number above zero; "
                                 "train with a smaller learning rate")


@torch.no_grad()
def integer_forward(network: fx.GraphModule | Frozen, codes: np.ndarray, keep: bool = False) -> Any:
    """What the exported file computes: unsigned output codes (uint8) for input codes (N, C, H, W) or (N, features).

    Accumulators are exact; scales and biases are the file's float32 values and are applied in float64,
    so a code can differ from exact arithmetic only at a rounding tie within 1e-15.  With ``keep``
    the codes of every quantizer are returned as a dict by name instead.
    """
    frozen = network if isinstance(network, Frozen) else freeze(network)
    values: dict[str, Tensor] = {}
    scales: dict[str, float] = {}
    stored: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for step in frozen.steps:
        inputs = [values[name] for name in step.inputs]
        s = step.settings
        if step.kind == "input":
            values[step.name] = torch.from_numpy(np.asarray(codes, np.float64)).reshape(-1, *frozen.input_shape)
            continue
        scale = scales.get(step.inputs[0], 1.0)
        if step.kind == "quant":
            scales[step.name] = float(s["scale"])
            low = -(1 << (s["bits"] - 1)) if s["signed"] else 0
            high = low + (1 << s["bits"]) - 1
            # An average is divided once, by an exact number, so that a sum that ends in a half is one here too.
            unit = float(s["scale"]) * counts.get(step.inputs[0], 1)
            whole = inputs[0] if step.inputs[0] == frozen.steps[0].name else inputs[0] / unit
            values[step.name] = whole.round().clamp(low, high)
            stored[step.name] = (values[step.name] - low).to(torch.uint8).numpy()
        elif step.kind in ("max_pool", "flatten"):
            values[step.name] = _moved(step, inputs[0])
            scales[step.name] = scale
            stored[step.name] = (values[step.name] + _zero_point(frozen, step)).to(torch.uint8).numpy()
        elif step.kind == "add":
            # a quantized operand is codes, the other of a fused add is real already
            reals = [value * scales.get(name, 1.0) for value, name in zip(inputs, step.inputs, strict=True)]
            values[step.name] = reals[0] + reals[1]
        elif step.kind == "relu":
            values[step.name] = inputs[0].relu()
        elif step.kind == "relu6":
            values[step.name] = inputs[0].clamp(0, 6)
        elif step.kind == "avg_pool":
            values[step.name], counts[step.name] = _window_sums(step, inputs[0]) * scale, int(np.prod(s["kernel"]))
        else:
            values[step.name] = _layer(step, inputs[0], scale)
    return stored if keep else stored[frozen.output]


def _zero_point(frozen: Frozen, step: Step) -> int:
    """Offset from signed to unsigned codes of the quantizer that ``step`` reads from."""
    by_name = {other.name: other for other in frozen.steps}
    while step.kind != "quant":
        step = by_name[step.inputs[0]]
    return 1 << (step.settings["bits"] - 1) if step.settings["signed"] else 0


def _layer(step: Step, codes: Tensor, scale: float) -> Tensor:
    s = step.settings
    weight = torch.from_numpy(s["weight"].astype(np.float64))
    side = [1] * (codes.ndim - 2)
    alpha = torch.from_numpy(s["alpha"].astype(np.float64) * scale).view(-1, *side)
    bias = torch.from_numpy(s["bias"].astype(np.float64)).view(-1, *side)
    if step.kind == "linear":
        return (codes @ weight.T) * alpha + bias
    sums = nn.functional.conv2d(_padded(step, codes), weight, stride=s["strides"], groups=s["groups"])
    return sums * alpha + bias


def _moved(step: Step, codes: Tensor) -> Tensor:
    s = step.settings
    if step.kind == "flatten":
        return codes.flatten(1)
    return nn.functional.max_pool2d(_padded(step, codes, -torch.inf), s["kernel"], s["strides"])


def _window_sums(step: Step, codes: Tensor) -> Tensor:
    s = step.settings
    return nn.functional.avg_pool2d(_padded(step, codes), s["kernel"], s["strides"], divisor_override=1)


def _padded(step: Step, codes: Tensor, value: float = 0.0) -> Tensor:
    top, left, bottom, right = step.settings["pads"]
    return nn.functional.pad(codes, (left, right, top, bottom), value=value)
