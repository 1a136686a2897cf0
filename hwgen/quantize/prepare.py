"""From a torch network to the same network with quantizers in it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from hwgen.quantize.hessian import row_eigenvalues
from hwgen.quantize.layers import quantized, weight_layers
from hwgen.quantize.policy import Policy
from hwgen.quantize.quantizers import ActQuant, AverageQuant, InputQuant
from hwgen.quantize.tracing import trace, window

QUANTIZERS = "quantizers"
"""Sub-module of the prepared network that holds the activation quantizers, by node name."""
POLICY = "hwgen.policy"
"""Key of the policy in the prepared network's ``meta``."""


def prepare(model: nn.Module, policy: Policy, example_input: Tensor, labels: Tensor | None = None) -> fx.GraphModule:
    """A copy of ``model`` that computes with quantized weights and activations, ready for training.

    ``model`` (trained in float) is made of the modules of :data:`hwgen.quantize.layers.MODULES` and residual adds;
    its modules keep their names.  ``example_input`` (N, C, H, W), (N, C, length) or (N, features), is a batch of real
    inputs in 0..1: the activation scales start from it, so take a few hundred.  ``labels`` (N,) are for policies
    that ask the Hessian; without them the model's own answers are taken.  A policy with a part asks the planner
    for its ratio, which takes a minute.  Raises HwgenError that names every unsupported layer at once.
    """
    traced, kinds = trace(model, example_input)
    layers = _in_order(traced)
    importance = None
    if policy.needs_importance:
        weights = {name: layer.weight for name, layer in layers.items()}
        importance = row_eigenvalues(traced, example_input, labels, weights)
    _Insertion(traced, policy, kinds).run()
    schemes = policy.assign(_weights(layers), importance)
    for name, layer in layers.items():
        traced.set_submodule(name, quantized(layer, schemes[name]))
    traced.graph.lint()
    traced.recompile()
    _calibrate(traced, example_input)
    if policy.part is not None:
        from hwgen.quantize.ratio import policy_for_part

        policy = policy_for_part(traced, policy)
        _set(layers, policy.assign(_weights(layers), importance))
    traced.meta[POLICY] = policy
    return traced


def reassign(qmodel: fx.GraphModule, inputs: Tensor, labels: Tensor | None = None) -> int:
    """Assign the rows anew, by the weights as they are now and the policy of ``prepare``; returns how many changed.

    A row that changes its scheme gets a new scale of least squared error.
    """
    policy: Policy = qmodel.meta[POLICY]
    layers = _in_order(qmodel)
    importance = None
    if policy.needs_importance:
        importance = row_eigenvalues(qmodel, inputs, labels, {name: layer.weight for name, layer in layers.items()})
    return _set(layers, policy.assign(_weights(layers), importance))


def assigned(qmodel: nn.Module) -> dict[str, tuple[str, ...]]:
    """The scheme of every row, by layer."""
    return {name: layer.weight_quant.schemes for name, layer in weight_layers(qmodel).items()}


def _in_order(traced: fx.GraphModule) -> dict[str, Any]:
    """The weight layers by path in the order of execution."""
    layers: dict[str, Any] = weight_layers(traced)
    return {str(node.target): layers[str(node.target)] for node in traced.graph.nodes
            if node.op == "call_module" and str(node.target) in layers}


def _weights(layers: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: layer.weight.detach().cpu().numpy() for name, layer in layers.items()}


def _set(layers: dict[str, Any], schemes: dict[str, tuple[str, ...]]) -> int:
    return sum(layer.weight_quant.reassign(schemes[name], layer.weight) for name, layer in layers.items())


class _Insertion:
    """Puts a quantizer at every place where the hardware holds codes."""

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

    _relu6 = _relu

    def _add(self, node: fx.Node) -> None:
        raw = [source for source in node.all_input_nodes if source not in self.quantizer]
        keep = [source for source in raw if self.kinds[source] != "add" and len(source.users) == 1]
        if self.policy.residual == "fused" and keep:
            raw.remove(keep[0])
        for source in raw:
            self._codes(source, self.policy.add_bits)

    def _max_pool(self, node: fx.Node) -> None:
        self.quantizer[node] = self.quantizer[self._codes(node.all_input_nodes[0], self.policy.act_bits)]

    _flatten = _same = _pad = _max_pool

    def _avg_pool(self, node: fx.Node) -> None:
        source = self._codes(node.all_input_nodes[0], self.policy.act_bits)
        count = window(self.traced, node)[0] * window(self.traced, node)[1]
        self._insert(node, AverageQuant(self.quantizer[source], count, self.policy.pool_bits))

    def _output(self, node: fx.Node) -> None:
        self._codes(node.all_input_nodes[0], self.policy.output_bits)


@torch.no_grad()
def _calibrate(traced: fx.GraphModule, example_input: Tensor) -> None:
    quantizers = [module for module in traced.modules() if isinstance(module, ActQuant)]
    for module in quantizers:
        module.observing = True
    traced(example_input)
    for module in quantizers:
        module.observing = False
