"""Weights drawn to their grids by ADMM before they are rounded (MSQ, HPCA 2021, section V)."""

import torch
from torch import Tensor, nn

from hwgen.quantize.layers import weight_layers


class Admm:
    """``min loss(W) subject to W on the grid``: ``+ rho/2 * |W - Z + U|^2`` for every layer, Z on the grid.

    After every epoch ``Z = project(W + U)`` and ``U += W - Z``.  For ``epochs`` epochs the layers multiply with their
    real weights; then they round as usual, with scales fitted to the weights, and training goes on straight-through.
    """

    def __init__(self, model: nn.Module, rho: float, epochs: int):
        self.layers = [layer for layer in weight_layers(model).values() if hasattr(layer, "weight_quant")]
        self.rho, self.epochs = rho, epochs
        self.targets = [self._project(layer, layer.weight.detach()) for layer in self.layers]
        self.duals = [torch.zeros_like(layer.weight) for layer in self.layers]
        self._bypass(epochs > 0)

    def _bypass(self, on: bool) -> None:
        self.active = on
        for layer in self.layers:
            layer.weight_quant.bypass = on

    @staticmethod
    @torch.no_grad()
    def _project(layer, weight: Tensor) -> Tensor:
        """On the grid of least squared error per row."""
        layer.weight_quant.refit(weight)
        return layer.weight_quant.rounded(weight)

    def penalty(self) -> Tensor:
        """The term of the loss, a scalar; 0 once the weights are rounded."""
        if not self.active or not self.layers:
            return torch.zeros(())
        parts = [(layer.weight - target + dual).square().sum()
                 for layer, target, dual in zip(self.layers, self.targets, self.duals, strict=True)]
        return self.rho / 2 * torch.stack(parts).sum()

    @torch.no_grad()
    def end_epoch(self, epoch: int) -> None:
        """New targets after ``epoch`` (counted from 0); the last of them ends the phase."""
        if not self.active:
            return
        for index, layer in enumerate(self.layers):
            self.targets[index] = self._project(layer, layer.weight + self.duals[index])
            self.duals[index] += layer.weight - self.targets[index]
        if epoch + 1 >= self.epochs:
            for layer in self.layers:
                layer.weight_quant.refit(layer.weight)
            self._bypass(False)

    def state(self) -> dict:
        return {"targets": self.targets, "duals": self.duals, "active": self.active}

    def load(self, state: dict) -> None:
        self.targets, self.duals = state["targets"], state["duals"]
        self._bypass(state["active"])
