"""A training loop for float and quantized networks alike.  A loop of one's own works as well."""

from collections.abc import Callable, Iterable
from itertools import islice
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from hwgen.errors import HwgenError
from hwgen.quantize import processes
from hwgen.quantize.admm import Admm
from hwgen.quantize.checkpoint import Checkpoint
from hwgen.quantize.losses import Loss
from hwgen.quantize.prepare import POLICY, reassign

Progress = Callable[[int, int, float], None]
"""Called after every step with (steps done, steps in all, loss)."""


def fit(
    model: nn.Module,
    train_loader: Any,
    epochs: int,
    lr: float,
    *,
    weight_decay: float = 0.0,
    label_smoothing: float = 0.0,
    norm_batches: int = 0,
    teacher: nn.Module | None = None,
    distill: float = 0.5,
    temperature: float = 4.0,
    admm: float = 0.0,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> list[float]:
    """Train ``model`` in place with AdamW and a one-cycle learning rate; returns the mean loss of each epoch.

    ``train_loader`` has a length and yields (inputs, class labels), in an order that follows torch's random state.
    ``lr`` is the peak rate.  Quantizer scales and other vectors are exempt from weight decay.  With
    ``norm_batches`` the statistics of batch norms are averaged anew over that many batches after training:
    quantized weights jump between levels up to the last step, so the running statistics belong to a mixture of
    networks and not to the final one.

    ``teacher``, usually the float network, adds its softened answers to the loss (:class:`Loss`).  ``admm`` above 0
    trains the first half of the epochs with real weights that are drawn to the grids (:class:`Admm`), as MSQ does.
    A policy with ``reassign_every`` assigns rows anew after so many epochs, but not after the last.

    After every epoch everything goes to ``checkpoint``; with ``resume`` training goes on from there, to the same
    result bit for bit (same machine, number of threads and arguments).  In several processes (torchrun, or a process
    group of one's own) each takes its share of the batches and gradients are averaged.

    Raises HwgenError when the loss is no number, naming the epoch and the last good checkpoint; the model then
    holds what led there.
    """
    if epochs < 1:
        raise HwgenError(f"fit: epochs must be at least 1, not {epochs}")
    if resume and checkpoint is None:
        raise HwgenError("fit: to resume, name the checkpoint to resume from")
    processes.start(model)
    batches = processes.share_of(train_loader)
    steps = epochs * len(batches)
    optimizer = _optimizer(model, lr, weight_decay)
    # the rise takes a quarter of the steps and must have two: a shorter training ends within the cycle
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=max(steps, 8), pct_start=0.25)
    loss_of = Loss(label_smoothing, teacher, distill, temperature)
    grids = Admm(model, admm, epochs // 2) if admm else None
    state = Checkpoint(checkpoint, model, optimizer, schedule, grids, {
        "epochs": epochs, "lr": lr, "weight_decay": weight_decay, "label_smoothing": label_smoothing, "admm": admm,
        "steps": steps, "distill": distill if teacher is not None else 0.0, "temperature": temperature})
    history = state.load() if resume else []
    model.train()
    for epoch in range(len(history), epochs):
        processes.same_random_state(model)
        history.append(_epoch(model, batches, epoch, optimizer, schedule, loss_of, grids, state, progress, steps))
        if grids is not None:
            grids.end_epoch(epoch)
        _maybe_reassign(model, train_loader, epoch + 1, epochs)
        state.save(history)
    model.eval()
    if norm_batches:
        average_norms(model, train_loader, norm_batches)
    return history


def _optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr)


def _epoch(model: nn.Module, batches: Any, epoch: int, optimizer: torch.optim.Optimizer, schedule: Any, loss_of: Loss,
           grids: Admm | None, state: Checkpoint, progress: Progress | None, steps: int) -> float:
    """One pass over the batches; the mean loss."""
    device = next(model.parameters()).device
    total, done = 0.0, epoch * len(batches)
    for inputs, labels in batches:
        inputs, labels = inputs.to(device), labels.to(device)
        loss = loss_of(model(inputs), inputs, labels)
        if grids is not None:
            loss = loss + grids.penalty()
        value = processes.mean(float(loss.detach()), device)
        if not math.isfinite(value):
            raise HwgenError(f"training diverged: the loss is {value} in epoch {epoch + 1}; {state.last_good()}; "
                             "train with a smaller learning rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        processes.average_gradients(model)
        optimizer.step()
        schedule.step()
        done += 1
        total += value
        if progress is not None:
            progress(done, steps, value)
    processes.average_buffers(model)
    return total / len(batches)


def _maybe_reassign(model: nn.Module, train_loader: Any, done: int, epochs: int) -> None:
    """Assign the rows anew where the policy says so, by a batch of the loader, the same one in every process."""
    policy = model.meta.get(POLICY) if isinstance(model, fx.GraphModule) else None
    if policy is None or not policy.reassign_every or done % policy.reassign_every or done == epochs:
        return
    assert isinstance(model, fx.GraphModule)
    processes.same_random_state(model)
    device = next(model.parameters()).device
    inputs, labels = next(iter(train_loader))
    reassign(model, inputs.to(device), labels.to(device))


@torch.no_grad()
def average_norms(model: nn.Module, train_loader: Any, n_batches: int) -> None:
    """Set the statistics of every batch norm to the plain average over ``n_batches`` batches."""
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    device = next(iter(model.parameters()), torch.zeros(())).device
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to ask for a cumulative average
        norm.train()
    for inputs, _ in islice(train_loader, n_batches):
        model(inputs.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Share of right answers, 0 to 1, of ``model`` in evaluation mode."""
    was_training = model.training
    device = next(iter(model.parameters()), torch.zeros(())).device
    model.eval()
    right = total = 0
    for inputs, labels in batches:
        right += int((model(inputs.to(device)).argmax(1).cpu() == labels).sum())
        total += len(labels)
    model.train(was_training)
    return right / total
