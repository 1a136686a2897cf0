"""From a torch network to the same network with quantizers in it."""

import copy
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from hwgen.errors import HwgenError
from hwgen.quantize.layers import MODULES, quantized
from hwgen.quantize.policy import Policy
from hwgen.quantize.quantizers import ActQuant, AverageQuant, InputQuant

FUNCTIONS = {
    operator.add: "add", operator.iadd: "add", torch.add: "add", torch.relu: "relu",
    nn.functional.relu: "relu", torch.flatten: "flatten",
}
METHODS = {"add": "add", "add_": "add", "relu": "relu", "relu_": "relu", "flatten": "flatten"}
QUANTIZERS = "quantizers"
"""Sub-module of the prepared network that holds the activation quantizers, by node name."""


def prepare(model: nn.Module, policy: Policy, example_input: Tensor) -> fx.GraphModule:
    """A copy of ``model`` that computes with quantized weights and activations, ready for training.

    ``model`` (trained in float) is made of Conv2d, Linear, BatchNorm, ReLU, MaxPool2d, AvgPool2d,
    AdaptiveAvgPool2d(1), Flatten and residual adds; its modules keep their names.  ``example_input``
    (N, C, H, W), or (N, features), is a batch of real inputs in 0..1: the activation scales start
    from it, so take a few hundred.  Raises HwgenError that names every unsupported layer at once.
    """
    model = copy.deepcopy(model).eval()
    try:
        graph = fx.Tracer().trace(model)
    except Exception as error:
        raise HwgenError(f"prepare: {type(model).__name__} cannot be traced: {error}; "
                         "forward must not branch on the data") from error
    traced = fx.GraphModule(model, graph)
    kinds = _check(traced)
    with torch.no_grad():
        ShapeProp(traced).propagate(example_input)
    _check_shapes(traced, kinds)
    _Insertion(traced, policy, kinds).run()
    for name, module in list(traced.named_modules()):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            traced.set_submodule(name, quantized(module, policy))
    traced.graph.lint()
    traced.recompile()
    _calibrate(traced, example_input)
    return traced


def kind_of(traced: fx.GraphModule, node: fx.Node) -> str | None:
    """One of input, output, conv, linear, norm, relu, add, max_pool, avg_pool, flatten, same; None if unsupported."""
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
    if kind == "norm" and (sources[0] not in ("conv", "linear") or len(node.all_input_nodes[0].users) != 1):
        return "batch norm must directly follow a convolution or linear layer that nothing else reads"
    if kind == "relu" and sources[0] not in ("conv", "linear", "norm", "add"):
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


class _Insertion:
    """Puts a quantizer at every place where the hardware holds codes."""

    REAL = ("conv", "linear", "norm", "add", "relu", "avg_pool")

    def __init__(self, traced: fx.GraphModule, policy: Policy, kinds: dict[fx.Node, str]):
        self.traced, self.policy, self.kinds = traced, policy, kinds
        self.quantizer: dict[fx.Node, nn.Module] = {}
        """By node whose value is codes: the quantizer that made them."""
        self.done: dict[fx.Node, fx.Node] = {}
        traced.add_module(QUANTIZERS, nn.Module())

    def run(self) -> None:
        for node in list(self.traced.graph.nodes):
            getattr(self, f"_{self.kinds[node]}")(node)

    def _insert(self, node: fx.Node, module: nn.Module) -> fx.Node:
        """``node -> module -> all that read node``."""
        path = f"{QUANTIZERS}.{node.name}"
        self.traced.add_submodule(path, module)
        with self.traced.graph.inserting_after(node):
            codes = self.traced.graph.call_module(path, (node,))
        node.replace_all_uses_with(codes, delete_user_cb=lambda user: user is not codes)
        self.kinds[codes] = "codes"
        self.quantizer[codes] = module
        return codes

    def _codes(self, node: fx.Node, bits: int) -> fx.Node:
        """``node`` as codes: itself, or a signed quantizer behind it."""
        return node if node in self.quantizer else self._insert(node, ActQuant(bits, signed=True))

    def _input(self, node: fx.Node) -> None:
        self._insert(node, InputQuant(self.policy.input_bits))

    def _layer(self, node: fx.Node) -> None:
        self._codes(node.all_input_nodes[0], self.policy.act_bits)

    _conv = _linear = _layer

    def _norm(self, node: fx.Node) -> None:
        pass

    def _relu(self, node: fx.Node) -> None:
        self._insert(node, ActQuant(self.policy.act_bits, signed=False))

    def _add(self, node: fx.Node) -> None:
        raw = [source for source in node.all_input_nodes if source not in self.quantizer]
        keep = [source for source in raw if self.kinds[source] != "add" and len(source.users) == 1]
        if self.policy.residual == "fused" and keep:
            raw.remove(keep[0])
        for source in raw:
            self._codes(source, self.policy.add_bits)

    def _max_pool(self, node: fx.Node) -> None:
        self.quantizer[node] = self.quantizer[self._codes(node.all_input_nodes[0], self.policy.act_bits)]

    _flatten = _same = _max_pool

    def _avg_pool(self, node: fx.Node) -> None:
        source = self._codes(node.all_input_nodes[0], self.policy.act_bits)
        count = window(self.traced, node)[0] * window(self.traced, node)[1]
        self._insert(node, AverageQuant(self.quantizer[source], count, self.policy.pool_bits))

    def _output(self, node: fx.Node) -> None:
        self._codes(node.all_input_nodes[0], self.policy.output_bits)


def window(traced: fx.GraphModule, node: fx.Node) -> tuple[int, int]:
    """Height and width of a pool's window; needs the shapes of ShapeProp."""
    module: Any = traced.get_submodule(str(node.target))
    if isinstance(module, nn.AdaptiveAvgPool2d):
        source = node.all_input_nodes[0]
        while "tensor_meta" not in source.meta:  # an inserted quantizer has the shape of what it quantizes
            source = source.all_input_nodes[0]
        height, width = source.meta["tensor_meta"].shape[-2:]
        return int(height), int(width)
    size = module.kernel_size
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


@torch.no_grad()
def _calibrate(traced: fx.GraphModule, example_input: Tensor) -> None:
    quantizers = [module for module in traced.modules() if isinstance(module, ActQuant)]
    for module in quantizers:
        module.observing = True
    traced(example_input)
    for module in quantizers:
        module.observing = False
