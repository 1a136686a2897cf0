"""How much the loss minds an error in a row: the largest eigenvalue of the row's block of the Hessian.

RMSMP (ICCV 2021, section 3.2) and HAWQ (ICCV 2019) rank filters and layers by it.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

ITERATIONS, PROBES = 12, 4


def row_eigenvalues(model: nn.Module, inputs: Tensor, labels: Tensor | None, weights: Mapping[str, Tensor], *,
                    iterations: int = ITERATIONS, probes: int = PROBES, seed: int = 0) -> dict[str, np.ndarray]:
    """Per layer of ``weights`` (parameters of ``model``, rows first) the eigenvalue of every row, float64 (rows,).

    Cross entropy on ``inputs`` (N, ...) and ``labels`` (N,), or, without labels, on the model's own answers; the model
    is evaluated with the running statistics of its batch norms.  Power iteration runs in all rows at once: the
    rows' vectors are multiplied by random signs before the Hessian-vector product and by the same signs after it,
    so that what one row adds to another has mean zero, and ``probes`` products are averaged.  Where rows do not
    interact (one linear layer under a squared error) this is exact.  Deterministic for a ``seed``.
    """
    was_training = model.training
    model.eval()
    try:
        outputs = model(inputs)
        target = outputs.detach().argmax(1) if labels is None else labels
        loss = nn.functional.cross_entropy(outputs, target)
        values = _power_iteration(loss, list(weights.values()), iterations, probes, seed)
    finally:
        model.train(was_training)
    return dict(zip(weights, values, strict=True))


def _power_iteration(loss: Tensor, weights: list[Tensor], iterations: int, probes: int, seed: int) -> list[np.ndarray]:
    generator = torch.Generator().manual_seed(seed)
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    vectors = [_unit(torch.randn(w.shape, generator=generator).to(w)) for w in weights]
    values = [torch.zeros(len(w)) for w in weights]
    for _ in range(iterations):
        products = [torch.zeros_like(w) for w in weights]
        for _ in range(probes):
            signs = [(2.0 * torch.randint(0, 2, (len(w),), generator=generator) - 1).to(w) for w in weights]
            signed = [_times(v, s) for v, s in zip(vectors, signs, strict=True)]
            along = torch.stack([(g * v).sum() for g, v in zip(gradients, signed, strict=True)]).sum()
            found = torch.autograd.grad(along, weights, retain_graph=True, allow_unused=True)
            for product, one, sign in zip(products, found, signs, strict=True):
                if one is not None:
                    product += _times(one, sign) / probes
        values = [(v * p).flatten(1).sum(1) for v, p in zip(vectors, products, strict=True)]
        vectors = [_unit(p) for p in products]
    return [value.detach().cpu().double().numpy() for value in values]


def _times(x: Tensor, rows: Tensor) -> Tensor:
    return x * rows.view(-1, *[1] * (x.ndim - 1))


def _unit(x: Tensor) -> Tensor:
    norm = x.flatten(1).norm(dim=1)
    return _times(x, 1 / torch.where(norm > 0, norm, torch.ones_like(norm)))
