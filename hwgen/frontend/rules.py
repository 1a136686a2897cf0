"""The requantizer of one layer: from its exact constants to integers, by the form that its quantizer needs."""

from collections.abc import Callable, Sequence
from fractions import Fraction
import math

import numpy as np

from hwgen.frontend.halves import bipolar_requant
from hwgen.frontend.layers import Layer
from hwgen.frontend.quantizers import Quantizer
from hwgen.frontend.settle import by_steps, code_limits
from hwgen.frontend.steps import ROUNDINGS, by_switch_points
from hwgen.frontend.values import Codes, CodeSource, Pending, PoolSource
from hwgen.frontend.wide import digit_requant
from hwgen.graph.ir import Requant, Rescale
from hwgen.graph.requantize import compile_affine, compile_fused
from hwgen.graph.rescale import compile_rescale
from hwgen.graph.thresholds import MAX_STEPS

M_BITS = (18, 19, 20, 21, 22, 24, 26, 28, 32)
"""Widths of multipliers that are tried, narrowest first; wider ones cost multipliers in the engine."""


def code_affine(x: Pending, quantizer: Quantizer) -> tuple[list[Fraction], list[Fraction], list[Fraction]]:
    """(slope, coefficient, intercept) in the source's integers: ``y/s + zero`` before rounding."""
    scale = quantizer.scale
    return ([a / scale for a in x.slope], [c / scale for c in x.coefficient],
            [b / scale + quantizer.zero for b in x.intercept])


def narrowest(widths: Sequence[int], compiled: Callable[[int], Rescale]) -> Rescale:
    """The rule of the narrowest width that is proven, by bisection: each try takes long.  If none is, the narrowest."""
    low, high = 0, len(widths) - 1
    best = None
    while low < high:
        middle = (low + high) // 2
        rule = compiled(widths[middle])
        if rule.proven:
            best, high = rule, middle
        else:
            low = middle + 1
    if best is None:
        rule = compiled(widths[-1])
        best = rule if rule.proven or len(widths) == 1 else compiled(widths[0])
    return best


def _options(layer: Layer) -> dict:
    """What every requantizer of this Quant node shares.

    Rounding is of ``y/s + zero`` in the source's integers; signed codes are shifted after it.
    """
    low, high = code_limits(layer.pending, layer.quantizer)
    return {"rounding": ROUNDINGS[layer.quantizer.mode], "low": low[0], "high": high[0],
            "zero_point": layer.quantizer.offset, "zero_after": True}


def compile_requant(layer: Layer, acc_lo: np.ndarray, acc_hi: np.ndarray, widths: Sequence[int]) -> Requant:
    """The rule of a convolution, per row, over the accumulators that can occur; ``widths`` of M, narrowest first."""
    pending, quantizer = layer.pending, layer.quantizer
    if layer.digit is not None:
        return digit_requant(layer)
    if layer.thresholds is not None or by_steps(pending, quantizer):
        return by_switch_points(layer, widths[0])
    if quantizer.bipolar:
        intercept = pending.intercept
        if pending.bend is not None:  # bent(y) >= 0 where y >= undo(0)
            intercept = [b - pending.bend.undo(row, Fraction(0)) for row, b in enumerate(intercept)]
        return bipolar_requant(pending.slope, intercept, acc_lo, acc_hi)
    slope, coefficient, intercept = code_affine(pending, quantizer)
    options = {**_options(layer), "acc_lo": acc_lo, "acc_hi": acc_hi}
    residual = pending.residual
    if residual is not None:
        return compile_fused(slope, intercept, coefficient, residual_lo=0, residual_hi=_top(residual),
                             m_bits=widths, **options)
    best = compile_affine(slope, intercept, threshold_steps=0, m_bits=widths, **options)
    if best.proven < pending.channels and quantizer.code_bits <= 4:
        # Thresholds take fifteen cycles where a multiplier of any width takes one: only where none is exact.
        return compile_affine(slope, intercept, threshold_steps=MAX_STEPS, m_bits=widths[0], **options)
    return best


def compile_sum(layer: Layer, widths: Sequence[int]) -> Rescale:
    """The rule of an average pool, an add, or codes that are quantized again."""
    pending, source = layer.pending, layer.pending.source
    slope, coefficient, intercept = code_affine(pending, layer.quantizer)
    window = math.prod(source.kernel) if isinstance(source, PoolSource) else 1
    assert isinstance(source, (PoolSource, CodeSource))
    y_codes = (0, 0) if pending.residual is None else (0, _top(pending.residual))
    options = {**_options(layer), "x_codes": (0, window * _top(source.input)), "y_codes": y_codes}
    other = coefficient[0] if coefficient else 0
    return narrowest(widths, lambda width: compile_rescale(slope[0], other, intercept[0], m_bits=width, **options))


def _top(codes: Codes) -> int:
    return (1 << codes.quantizer.code_bits) - 1
