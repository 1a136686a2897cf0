"""Quantizers with straight-through gradients: a grid per weight row, a uniform range per activation tensor."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hwgen import schemes as number_systems
from hwgen.errors import HwgenError

SNAP_BITS = 15
"""Length of the multiplier where the ratio of scales may be chosen: of rows with wide outputs, averages with halves."""


class _Uniform(torch.autograd.Function):
    """``s * clamp(round(x / s), low, high)``, round half to even as in QONNX's Quant.

    Gradients as in LSQ (Esser et al., ICLR 2020): of x, 1 inside the range and 0 outside; of s,
    round(x/s) - x/s inside and the bound itself outside.
    """

    @staticmethod
    def forward(ctx, x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
        ratio = x / scale
        codes = ratio.round().clamp_(low, high)
        ctx.save_for_backward(ratio, codes)
        ctx.low, ctx.high = low, high
        return codes * scale

    @staticmethod
    def backward(ctx, *gradients):
        (gradient,) = gradients
        ratio, codes = ctx.saved_tensors
        inside = (ratio >= ctx.low) & (ratio <= ctx.high)
        grad_x = gradient * inside
        grad_scale = (gradient * codes).sum() - (grad_x * ratio).sum()
        return grad_x, grad_scale, None, None


def nearest(x: Tensor, magnitudes: Tensor) -> Tensor:
    """The level ``±magnitudes[i]`` next to every element of ``x``; ``magnitudes`` is sorted.

    The same rule as :meth:`hwgen.schemes.Scheme.nearest`: middles go to the smaller magnitude.
    """
    middles = (magnitudes[1:] + magnitudes[:-1]) / 2
    size = magnitudes[torch.bucketize(x.abs(), middles)]
    return torch.where(x < 0, -size, size)


class WeightQuant(nn.Module):
    """Rows on the grids of their schemes: ``alpha_r * nearest(w / alpha_r)``, alpha learned as its logarithm.

    The gradient passes straight through inside the grid's range; alpha's follows from that as in LSQ.
    The schemes are part of the state, so a saved network keeps them.
    """

    assignment: Tensor
    bypass = False
    """While True the weight passes as it is (ADMM)."""

    def __init__(self, schemes: Sequence[str], weight: Tensor):
        super().__init__()
        if len(weight) != len(schemes):
            raise HwgenError(f"WeightQuant: {len(schemes)} schemes for {len(weight)} rows")
        self.register_buffer("assignment", torch.tensor([number_systems.NAMES.index(s) for s in schemes]))
        self.log_scale = nn.Parameter(self._fit_scale(weight.detach().reshape(len(weight), -1)).log())

    @property
    def schemes(self) -> tuple[str, ...]:
        """The scheme of every row."""
        return tuple(number_systems.NAMES[index] for index in self.assignment.tolist())

    @torch.no_grad()
    def reassign(self, schemes: Sequence[str], weight: Tensor) -> int:
        """Give the rows other schemes; returns how many changed.  Those get a scale fitted to ``weight``."""
        new = torch.tensor([number_systems.NAMES.index(s) for s in schemes], device=self.assignment.device)
        changed = new != self.assignment
        self.assignment.copy_(new)
        if changed.any():
            fitted = self._fit_scale(weight.detach().reshape(len(weight), -1)).log()
            self.log_scale.copy_(torch.where(changed, fitted, self.log_scale))
        return int(changed.sum())

    @torch.no_grad()
    def refit(self, weight: Tensor) -> None:
        """Scales of least squared error for ``weight``."""
        self.log_scale.copy_(self._fit_scale(weight.detach().reshape(len(weight), -1)).log())

    def scale(self) -> Tensor:
        """alpha, the real value of integer 1, shape (rows,)."""
        return self.log_scale.exp()

    def _tops(self) -> Tensor:
        """Largest magnitude of every row's grid, shape (rows, 1)."""
        return torch.tensor([[float(number_systems.get(name).max_abs)] for name in self.schemes],
                            device=self.assignment.device)

    def _round(self, ratio: Tensor) -> Tensor:
        result = torch.zeros_like(ratio)
        for index in self.assignment.unique().tolist():
            sizes = np.unique(np.abs(number_systems.get(number_systems.NAMES[index]).levels))
            levels = nearest(ratio, torch.tensor(sizes, dtype=ratio.dtype, device=ratio.device))
            result = torch.where((self.assignment == index).unsqueeze(1), levels, result)
        return result

    def _fit_scale(self, flat: Tensor) -> Tensor:
        """The scale of least squared error per row, among 60 candidates up to 1.2 times the range."""
        reach = flat.abs().amax(dim=1, keepdim=True)
        whole = torch.where(reach > 0, reach, torch.ones_like(reach)) / self._tops()
        best, least = whole.clone(), torch.full_like(whole, float("inf"))
        for factor in torch.linspace(0.2, 1.2, 60).tolist():
            scale = whole * factor
            error = (flat - scale * self._round(flat / scale)).square().sum(dim=1, keepdim=True)
            best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
        return best.squeeze(1)

    @torch.no_grad()
    def integers(self, weight: Tensor) -> np.ndarray:
        """The integers of the rows, int64, in the weight's shape."""
        flat = weight.to(self.log_scale.device).reshape(len(weight), -1)
        whole = self._round(flat / self.scale().unsqueeze(1))
        return whole.reshape(weight.shape).round().to(torch.int64).cpu().numpy()

    def forward(self, weight: Tensor) -> Tensor:
        return weight if self.bypass else self.rounded(weight)

    def rounded(self, weight: Tensor) -> Tensor:
        """``alpha_r * integers``, in the weight's shape."""
        flat = weight.reshape(len(weight), -1)
        scale = self.scale().unsqueeze(1)
        tops = self._tops()
        ratio = (flat / scale).clamp(-tops, tops)
        rounded = ratio + (self._round(ratio) - ratio).detach()
        return (scale * rounded).reshape(weight.shape)


class ActQuant(nn.Module):
    """A tensor as codes ``low..high`` of one learned scale; signed codes are -2^(b-1)..2^(b-1)-1.

    While ``observing`` the scale is fitted to each batch (least squared error) before it is used.
    """

    def __init__(self, bits: int, signed: bool):
        super().__init__()
        self.bits, self.signed = bits, signed
        self.low = -(1 << (bits - 1)) if signed else 0
        self.high = self.low + (1 << bits) - 1
        self.observing = False
        self.log_scale = nn.Parameter(torch.zeros(()))

    def scale(self) -> Tensor:
        """The real value of one step, a scalar."""
        return self.log_scale.exp()

    @torch.no_grad()
    def _observe(self, x: Tensor) -> None:
        sample = x.detach().flatten()
        sample = sample[:: max(1, len(sample) // 200_000)]
        reach = float(sample.abs().max()) or 1.0
        factors = torch.linspace(0.1, 1.0, 46)
        errors = []
        for factor in factors.tolist():
            scale = reach * factor / self.high
            codes = (sample / scale).round().clamp(self.low, self.high)
            errors.append(float((sample - scale * codes).square().mean()))
        best = reach * float(factors[int(np.argmin(errors))]) / self.high
        self.log_scale.fill_(float(np.log(best)))

    def forward(self, x: Tensor) -> Tensor:
        if self.observing:
            self._observe(x)
        return _Uniform.apply(x, self.scale(), self.low, self.high)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, signed={self.signed}"


class InputQuant(nn.Module):
    """The network's input, already codes: fixed scale 1 / (2^bits - 1), zero point 0."""

    signed = False

    def __init__(self, bits: int):
        super().__init__()
        self.bits, self.low, self.high = bits, 0, (1 << bits) - 1
        self.step = float(np.float32(1 / self.high))

    def scale(self) -> Tensor:
        return torch.tensor(self.step)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.high).round().clamp(self.low, self.high) * self.step


def _factor(count: int, least: Fraction) -> float:
    """Units of an average's code in units of the averaged codes: ``least``, or a little more."""
    ratio = 1 / (count * least)
    halves = ratio.denominator % 2 == 0
    if not halves or ratio.denominator & (ratio.denominator - 1) == 0:
        return float(least)
    shift = 0
    while ratio * 2**(shift + 1) < 2**SNAP_BITS:
        shift += 1
    return float(1 / (count * Fraction(int(ratio * 2**shift), 2**shift)))


class AverageQuant(nn.Module):
    """After an average pool of ``count`` codes: the scale follows from the pool's input.

    Where the sum of a window fits the bits, the code IS the sum and nothing is rounded; otherwise the whole range of
    the sum is spread over the codes.  A ratio of sum and code that puts sums halfway between two codes, and is no
    dyadic number, gives way to the next dyadic number of SNAP_BITS bits below: no multiplier rounds all those
    halves to even.
    """

    def __init__(self, source: Any, count: int, bits: int):
        super().__init__()
        self.bits, self.signed, self.count = bits, bool(source.signed), count
        self.low = -(1 << (bits - 1)) if self.signed else 0
        self.high = self.low + (1 << bits) - 1
        ends = [Fraction(source.high, self.high), *([Fraction(source.low, self.low)] if self.signed else [])]
        self.factor = _factor(count, max(Fraction(1, count), *ends))
        # In a tuple the source stays a reference: its parameters are registered where it stands in the network.
        self._source = (source,)

    def scale(self) -> Tensor:
        source: Any = self._source[0]
        return source.scale() * self.factor

    def forward(self, x: Tensor) -> Tensor:
        return _Uniform.apply(x, self.scale(), self.low, self.high)
