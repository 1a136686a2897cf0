"""A small training loop for float and quantized networks alike.  A loop of one's own works as well."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

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
    progress: Progress | None = None,
) -> list[float]:
    """Train ``model`` in place with AdamW and a one-cycle learning rate; returns the mean loss of each epoch.

    ``train_loader`` has a length and yields (inputs, class labels).  ``lr`` is the peak rate.  Quantizer scales
    and other vectors are exempt from weight decay.  With ``norm_batches`` the statistics of batch norms
    are averaged anew over that many batches after training: quantized weights jump between levels up to the
    last step, so the running statistics belong to a mixture of networks and not to the final one.
    """
    steps = epochs * len(train_loader)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps, pct_start=0.25)
    criterion = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    history, done = [], 0
    model.train()
    for _ in range(epochs):
        total = 0.0
        for inputs, labels in train_loader:
            loss = criterion(model(inputs), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            done += 1
            total += float(loss.detach())
            if progress is not None:
                progress(done, steps, float(loss.detach()))
        history.append(total / len(train_loader))
    model.eval()
    if norm_batches:
        average_norms(model, train_loader, norm_batches)
    return history


@torch.no_grad()
def average_norms(model: nn.Module, train_loader: Any, n_batches: int) -> None:
    """Set the statistics of every batch norm to the plain average over ``n_batches`` batches."""
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to ask for a cumulative average
        norm.train()
    for inputs, _ in islice(train_loader, n_batches):
        model(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Share of right answers, 0 to 1, of ``model`` in evaluation mode."""
    was_training = model.training
    model.eval()
    right = total = 0
    for inputs, labels in batches:
        right += int((model(inputs).argmax(1) == labels).sum())
        total += len(labels)
    model.train(was_training)
    return right / total
