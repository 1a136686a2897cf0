"""A recipe: a network, its data and how both are trained.  ``recipe.py`` in a folder of models/ holds one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
import sys
from typing import Any

import torch
from torch import nn

from hwgen.data import GENERATOR, entries
from hwgen.errors import HwgenError
from hwgen.quantize.datasets import Data

FILE = "recipe.py"


@dataclass(frozen=True)
class Recipe:
    """What ``hwgen quantize`` needs to know; a recipe file names its own ``RECIPE``."""

    network: Callable[[], nn.Module]
    data: Callable[[], Data]
    float_epochs: int
    float_lr: float
    epochs: int
    """With quantizers."""
    lr: float
    batch: int = 256
    weight_decay: float = 0.02
    label_smoothing: float = 0.0
    norm_batches: int = 0
    widths: dict[str, Any] = field(default_factory=dict)
    """Settings of the policy, such as ``{"input_bits": 4}``."""

    def new_network(self, seed: int) -> nn.Module:
        """Random weights; whatever follows is determined by the seed (and the number of threads)."""
        torch.manual_seed(seed)
        return self.network().to(memory_format=torch.channels_last)


def list_recipes() -> list[str]:
    """Names of the networks in models/ that can be trained."""
    return list(entries("models", FILE))


def find_recipe(name: str) -> tuple[str, Recipe]:
    """The network's name and its recipe, by a name in models/ or the path of a recipe file.  Raises HwgenError."""
    known = entries("models", FILE)
    path = known.get(name, Path(name))
    if not path.is_file() and name in entries("models", GENERATOR):
        raise HwgenError(f"models/{name} has generated weights and no data to train with; prepare a torch network of "
                         "your own with hwgen.quantize, or give the path of a recipe.py (docs/training.md)")
    if not path.is_file():
        raise HwgenError(f"no recipe {name!r}: there is no such file, and models/ has {', '.join(known) or 'none'}")
    return (name if name in known else path.resolve().parent.name), _load(path)


def _load(path: Path) -> Recipe:
    spec = spec_from_file_location(f"hwgen_recipe_{path.resolve().parent.name}", path)
    if spec is None or spec.loader is None:
        raise HwgenError(f"recipe {path} is not a Python file")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except HwgenError:
        raise
    except Exception as error:
        raise HwgenError(f"recipe {path} does not load: {type(error).__name__}: {error}") from error
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise HwgenError(f"recipe {path} has no RECIPE = Recipe(...); see docs/training.md")
    return recipe
