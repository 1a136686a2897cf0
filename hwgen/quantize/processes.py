"""Training in several processes, as torchrun starts them; in one process every function does nothing.

Each process walks through the same loader in the same order and takes every n-th batch; gradients are averaged, so
that n processes with batches of b do what one does with batches of n * b (batch norms aside, which see b).
"""

from collections.abc import Iterator
import os
from typing import Any

import torch
from torch import distributed, nn


def count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _running() else 1


def first() -> bool:
    """Whether this is the process that writes files and progress."""
    return not _running() or distributed.get_rank() == 0


def _running() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def start(model: nn.Module) -> None:
    """Join the group that torchrun's variables describe, if there is one, and take the first process's model.

    The backend is gloo on processors and nccl on GPUs.
    """
    if not _running() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        on_gpu = next(model.parameters()).is_cuda
        distributed.init_process_group("nccl" if on_gpu else "gloo")
    if count() == 1:
        return
    for tensor in (*model.parameters(), *model.buffers()):
        distributed.broadcast(tensor.detach(), 0)


def same_random_state(model: nn.Module) -> None:
    """The first process's random state in all, so that their loaders give the same order.

    Needed before every epoch: dropout draws as many numbers as a process's own batches have elements.
    """
    if count() == 1:
        return
    state = torch.get_rng_state().to(next(model.parameters()).device)
    distributed.broadcast(state, 0)
    torch.set_rng_state(state.cpu())


class _Share:
    """Every n-th batch; what is left over at the end of an epoch is dropped so that all take equally many."""

    def __init__(self, loader: Any):
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader) // count()

    def __iter__(self) -> Iterator:
        rank, full = distributed.get_rank(), len(self) * count()
        for index, batch in enumerate(self.loader):
            if index < full and index % count() == rank:
                yield batch


def share_of(loader: Any) -> Any:
    """The loader itself, or this process's share of its batches."""
    return loader if count() == 1 else _Share(loader)


def mean(value: float, device: torch.device) -> float:
    """The mean over the processes."""
    if count() == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)
    distributed.all_reduce(tensor)
    return float(tensor) / count()


def average_gradients(model: nn.Module) -> None:
    """After ``backward``: the mean gradient in every process."""
    if count() == 1:
        return
    for parameter in model.parameters():
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= count()


@torch.no_grad()
def average_buffers(model: nn.Module) -> None:
    """The mean of the running statistics, which each process gathered from its own batches."""
    if count() == 1:
        return
    for buffer in model.buffers():
        if buffer.is_floating_point():
            distributed.all_reduce(buffer)
            buffer /= count()
