"""From a recipe to a trained integer network: what ``hwgen quantize`` and the accuracy table do."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from hwgen.errors import HwgenError
from hwgen.graph import Graph
from hwgen.quantize import processes
from hwgen.quantize.datasets import Data, Split
from hwgen.quantize.fit import Progress, accuracy, fit
from hwgen.quantize.freeze import Frozen, freeze, integer_forward
from hwgen.quantize.policy import Policy
from hwgen.quantize.prepare import prepare
from hwgen.quantize.recipe import Recipe

CALIBRATION = 256
"""Training examples that set the first scales."""
CHUNK = 500
"""Inputs that are computed together in integers."""

Bar = Callable[[str], Progress]
"""Gives the progress function of a phase by its title."""


def _silent(title: str) -> Progress:
    return lambda done, steps, loss: None


@dataclass(frozen=True)
class Job:
    """One training of one recipe.  Everything follows from these values and the number of threads."""

    recipe: Recipe
    data: Data
    seed: int = 1
    resume: bool = False
    folder: Path | None = None
    """Of the float weights, kept for later runs, and the checkpoints; None keeps nothing."""
    bar: Bar = _silent

    def _path(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{name}.seed{self.seed}.pt"

    def float_network(self, epochs: int | None = None) -> nn.Module:
        """The network trained in float, for the recipe's number of ``epochs`` or another, or read from ``folder``."""
        network, recipe, epochs = self.recipe.new_network(self.seed), self.recipe, epochs or self.recipe.float_epochs
        path = self._path(f"float.{epochs}_epochs")
        if path is not None and path.exists():
            try:
                network.load_state_dict(torch.load(path))
            except Exception as error:
                raise HwgenError(f"{path} does not hold weights of this network ({type(error).__name__}); "
                                 "delete it to train them again") from error
            return network.eval()
        fit(network, self.data.batches(recipe.batch), epochs, recipe.float_lr,
            weight_decay=recipe.weight_decay, label_smoothing=recipe.label_smoothing,
            checkpoint=self._path(f"float.{epochs}_epochs.checkpoint"), resume=self.resume and path is not None,
            progress=self.bar("float"))
        if path is not None and processes.first():
            torch.save(network.state_dict(), path)
        return network

    def quantized(self, network: nn.Module, policy: Policy | None, epochs: int | None = None, name: str = "quantized",
                  **options: Any) -> Any:
        """``network`` prepared with ``policy`` and trained; without a policy trained on in float, same budget."""
        recipe = self.recipe
        torch.manual_seed(self.seed)
        model: Any = network if policy is None else prepare(network, policy, *self.data.sample(CALIBRATION))
        fit(model, self.data.batches(recipe.batch), epochs or recipe.epochs, recipe.lr,
            label_smoothing=recipe.label_smoothing, norm_batches=recipe.norm_batches,
            checkpoint=self._path(f"{name}.checkpoint"), resume=self.resume, progress=self.bar(name), **options)
        return model


def integer_accuracy(network: fx.GraphModule | Frozen, split: Split) -> float:
    """Share of right answers, 0 to 1, of the integers that the exported file computes."""
    frozen = network if isinstance(network, Frozen) else freeze(network)
    right = 0
    for start in range(0, len(split.labels), CHUNK):
        answers = integer_forward(frozen, split.codes[start:start + CHUNK])
        right += int((answers.argmax(1) == split.labels[start:start + CHUNK]).sum())
    return right / len(split.labels)


def float_accuracy(network: nn.Module, data: Data) -> float:
    """Share of right answers, 0 to 1, on the test set."""
    return accuracy(network, data.test_batches())


def golden_answers(graph: Graph, codes: np.ndarray) -> np.ndarray:
    """Output codes (N, outputs) that the golden model computes from input codes of torch's shape."""
    from hwgen import golden

    images = codes.reshape(len(codes), *graph.tensors[graph.input].shape)
    return golden.run(graph, images)[graph.outputs[0]].reshape(len(codes), -1)


def check_golden(path: Path, frozen: Frozen, codes: np.ndarray) -> None:
    """The file at ``path`` in the golden model gives ``frozen``'s integers for all ``codes``.

    HwgenError with the first input and output that differ; the file is then removed.
    """
    from hwgen.frontend import load

    found = golden_answers(load(path), codes)
    expected = integer_forward(frozen, codes).reshape(len(codes), -1)
    if not np.array_equal(found, expected):
        image, output = np.argwhere(found != expected)[0]
        path.unlink()
        raise HwgenError(f"export refused: for input {image} output {output} of the file is {found[image, output]}, of "
                         f"the trained network {expected[image, output]}; {path} was removed. Outputs of fewer bits or "
                         "residual='two_step' make all layers provable")
