"""Post-training quantization, for those who cannot train: scales from a few hundred inputs, biases corrected."""

from typing import Any

import torch
from torch import Tensor, fx, nn

from hwgen.quantize.layers import weight_layers
from hwgen.quantize.policy import Policy
from hwgen.quantize.prepare import prepare


def post_training(model: nn.Module, policy: Policy, inputs: Tensor, labels: Tensor | None = None) -> fx.GraphModule:
    """``model`` with ``policy``, calibrated on ``inputs`` (a few hundred real ones, in 0..1) and never trained.

    Every weight row gets the scale of least squared error, every activation too (:func:`prepare`).  Then the bias of
    every channel is moved, layer after layer, by the mean of what quantization has added to it (M. Nagel et al.,
    Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2, here on data).
    Usual policies: ``Policy.fixed8(act_bits=8)`` (W8A8) and
    ``Policy.fixed4(act_bits=8)`` (W4A8).
    """
    qmodel = prepare(model, policy, inputs, labels).eval()
    _correct_biases(model.eval(), qmodel, inputs)
    return qmodel


@torch.no_grad()
def _correct_biases(model: nn.Module, qmodel: fx.GraphModule, inputs: Tensor) -> None:
    """In the order of execution, so that a layer's correction sees those before it."""
    layers: dict[str, Any] = weight_layers(qmodel)
    for node in qmodel.graph.nodes:
        if node.op != "call_module" or str(node.target) not in layers:
            continue
        path = str(node.target)
        shift = _mean(model, path, inputs) - _mean(qmodel, path, inputs)
        layer = layers[path]
        if layer.bias is None:
            layer.bias = nn.Parameter(torch.zeros(len(layer.weight), device=layer.weight.device))
        layer.bias += shift


def _mean(network: nn.Module, path: str, inputs: Tensor) -> Tensor:
    """Mean output of every channel of a layer, (rows,)."""
    kept: list[Tensor] = []
    hook = network.get_submodule(path).register_forward_hook(lambda module, arguments, output: kept.append(output))
    try:
        network(inputs)
    finally:
        hook.remove()
    output = kept[0]
    return output.mean(dim=[axis for axis in range(output.ndim) if axis != 1])
