"""Everything that training depends on, after every epoch, in one file."""

from pathlib import Path
import pickle
from typing import Any

import torch
from torch import nn

from hwgen.errors import HwgenError
from hwgen.quantize import processes
from hwgen.quantize.admm import Admm


class Checkpoint:
    """Saves and restores model, optimizer, schedule, random state and ADMM's variables; path None does nothing.

    ``settings`` are the arguments of the training: a checkpoint of other ones is refused.
    """

    def __init__(self, path: Path | None, model: nn.Module, optimizer: torch.optim.Optimizer, schedule: Any,
                 grids: Admm | None, settings: dict[str, Any]):
        self.path, self.model, self.optimizer, self.schedule = path, model, optimizer, schedule
        self.grids, self.settings = grids, settings
        self.saved_epochs = 0
        if path is not None and not path.parent.is_dir():
            raise HwgenError(f"fit: the folder {path.parent} of the checkpoint does not exist; create it first")

    def save(self, history: list[float]) -> None:
        """Written under a temporary name and renamed, by the first process only: it is whole or not there."""
        self.saved_epochs = len(history)
        if self.path is None or not processes.first():
            return
        state = {"settings": self.settings, "history": history, "model": self.model.state_dict(),
                 "optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict(),
                 "random": torch.get_rng_state(), "admm": self.grids.state() if self.grids else None}
        partial = self.path.with_name(self.path.name + ".part")
        try:
            torch.save(state, partial)
            partial.replace(self.path)
        except (OSError, RuntimeError) as error:
            raise HwgenError(f"cannot write the checkpoint {self.path}: {error}") from error

    def load(self) -> list[float]:
        """The losses of the epochs done; empty where there is no checkpoint yet.  Raises HwgenError."""
        assert self.path is not None
        if not self.path.exists():
            return []
        try:
            state = torch.load(self.path, map_location=next(self.model.parameters()).device)
            settings, history = state["settings"], list(state["history"])
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
            raise HwgenError(f"the checkpoint {self.path} cannot be read ({type(error).__name__}); "
                             "delete it and train anew") from error
        for name, value in self.settings.items():
            if settings.get(name) != value:
                raise HwgenError(f"the checkpoint {self.path} was made with {name}={settings.get(name)}, not {value}; "
                                 "resume with the same settings, or delete it and train anew")
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise HwgenError(f"the checkpoint {self.path} belongs to another network; "
                             "delete it and train anew") from error
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"].cpu())
        if self.grids is not None:
            self.grids.load(state["admm"])
        self.saved_epochs = len(history)
        return history

    def last_good(self) -> str:
        """Where to go on from, in words."""
        if self.path is None or not self.saved_epochs:
            return "there is no earlier checkpoint"
        return f"the last good checkpoint is {self.path}, after epoch {self.saved_epochs}"
