"""A torch network as a list of operations that the hardware has, and everything in it that it has not."""

import copy
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from hwgen.errors import HwgenError
from hwgen.quantize.layers import MODULES, plane

FUNCTIONS = {
    operator.add: "add", operator.iadd: "add", torch.add: "add", torch.relu: "relu",
    nn.functional.relu: "relu", nn.functional.relu6: "relu6", torch.flatten: "flatten",
}
METHODS = {"add": "add", "add_": "add", "relu": "relu", "relu_": "relu", "flatten": "flatten"}


def trace(model: nn.Module, example_input: Tensor) -> tuple[fx.GraphModule, dict[fx.Node, str]]:
    """A traced copy of ``model`` in evaluation mode with the shapes of ``example_input``, and the kind of every node.

    Raises HwgenError that names every unsupported layer at once, each with its path and the reason.
    """
    model = copy.deepcopy(model).eval()
    try:
        graph = fx.Tracer().trace(model)
    except Exception as error:
        raise HwgenError(f"prepare: {type(model).__name__} cannot be traced: {error}; "
                         "forward must not branch on the data") from error
    traced = fx.GraphModule(model, graph)
    kinds = _check(traced)
    try:
        with torch.no_grad():
            ShapeProp(traced).propagate(example_input)
    except Exception as error:
        raise HwgenError(f"prepare: the network does not run on an input of shape {tuple(example_input.shape)}: "
                         f"{str(error).strip().splitlines()[0]}") from error
    _check_shapes(traced, kinds)
    return traced, kinds


def kind_of(traced: fx.GraphModule, node: fx.Node) -> str | None:
    """One of input, output, conv, linear, pad, norm, relu, relu6, add, max_pool, avg_pool, flatten, same.

    None if the operation is not supported.
    """
    if node.op in ("placeholder", "output"):
        return {"placeholder": "input", "output": "output"}[node.op]
    if node.op == "call_function":
        return FUNCTIONS.get(node.target)  # type: ignore[arg-type]
    if node.op == "call_method":
        return METHODS.get(str(node.target))
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        return next((kind for cls, (kind, _) in MODULES.items() if isinstance(module, cls)), None)
    return None


def _where(node: fx.Node) -> str:
    """The module path of a node, or of the module whose forward it is written in."""
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack") or {}
    inside = [str(value[0]) if isinstance(value, tuple) else str(key) for key, value in stack.items()]
    return f"{inside[-1]}.{node.name}" if inside and inside[-1] else node.name


def _check(traced: fx.GraphModule) -> dict[fx.Node, str]:
    """The kind of every node.  HwgenError with all that is unsupported, by path and reason."""
    kinds: dict[fx.Node, str] = {}
    problems = []
    seen: set[str] = set()
    for node in traced.graph.nodes:
        kind = kind_of(traced, node)
        kinds[node] = kind or "unsupported"
        reason = _reason(traced, node, kind, kinds, seen)
        if reason is not None:
            problems.append(f"  {_where(node)}: {reason}")
    if len([n for n in traced.graph.nodes if n.op == "placeholder"]) != 1:
        problems.append("  forward: exactly one input is supported")
    if problems:
        raise HwgenError("prepare: the network has layers that are not supported:\n" + "\n".join(problems))
    return kinds


def _reason(traced: fx.GraphModule, node: fx.Node, kind: str | None, kinds: dict[fx.Node, str],
            seen: set[str]) -> str | None:
    """Why this node cannot be quantized, or None."""
    sources = [kinds[source] for source in node.all_input_nodes]
    if kind is None:
        if node.op == "call_module":
            return f"{type(traced.get_submodule(str(node.target))).__name__} is not supported"
        return f"{getattr(node.target, '__name__', node.target)} is not supported; use a module of torch.nn"
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        check = next(check for cls, (_, check) in MODULES.items() if isinstance(module, cls))
        if (why := check(module)) is not None:
            return why
        if kind in ("conv", "linear", "norm") and str(node.target) in seen:
            return "used more than once in forward; make one module for each use"
        seen.add(str(node.target))
    if sources and sources[0] == "pad" and kind not in ("conv", "pad"):
        return "padding of its own is supported in front of convolutions only"
    if kind == "norm" and (sources[0] not in ("conv", "linear") or len(node.all_input_nodes[0].users) != 1):
        return "batch norm must directly follow a convolution or linear layer that nothing else reads"
    if kind in ("relu", "relu6") and sources[0] not in ("conv", "linear", "norm", "add"):
        return f"ReLU after {sources[0]} is not supported; put it before (pools and flatten commute with it)"
    if kind == "add" and (len(sources) != 2 or node.kwargs):
        return "only the sum of two different tensors of the network is supported"
    if kind == "flatten" and node.op != "call_module":
        if (*node.args[1:], *node.kwargs.values()) not in ((1,), (1, -1)):
            return "only flatten(x, 1) is supported"
    if kind == "output" and not isinstance(node.args[0], fx.Node):
        return "exactly one output tensor is supported"
    return None


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(node.meta["tensor_meta"].shape)


def _check_shapes(traced: fx.GraphModule, kinds: dict[fx.Node, str]) -> None:
    problems = []
    for node, kind in kinds.items():
        shapes = [_shape(source) for source in node.all_input_nodes]
        if kind == "linear" and len(shapes[0]) != 2:
            problems.append(f"  {_where(node)}: the input has shape {shapes[0]}; put Flatten() before a linear layer")
        if kind == "add" and shapes[0] != shapes[1]:
            problems.append(f"  {_where(node)}: the operands have shapes {shapes[0]} and {shapes[1]}; make them equal")
    if problems:
        raise HwgenError("prepare: the network has layers that are not supported:\n" + "\n".join(problems))


def window(traced: fx.GraphModule, node: fx.Node) -> tuple[int, int]:
    """Height and width of a pool's window; needs the shapes of ShapeProp."""
    module: Any = traced.get_submodule(str(node.target))
    if isinstance(module, (nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool1d)):
        return sides_of(node.all_input_nodes[0])
    return plane(module, module.kernel_size, 1)


def sides_of(node: fx.Node) -> tuple[int, int]:
    """Height and width of a map, 1 and the length of a sequence; needs the shapes of ShapeProp."""
    while "tensor_meta" not in node.meta:  # an inserted quantizer has the shape of what it quantizes
        node = node.all_input_nodes[0]
    sides = [int(side) for side in node.meta["tensor_meta"].shape[2:]]
    return (1, sides[0]) if len(sides) == 1 else (sides[0], sides[1])
