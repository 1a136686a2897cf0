"""What a layer becomes when its Quant node is reached: a plain one, switch points, two halves, or a refusal."""

from dataclasses import replace
from fractions import Fraction
import math

from hwgen.frontend.copies import as_convolution
from hwgen.frontend.quantizers import Quantizer
from hwgen.frontend.values import Codes, CodeSource, ConvSource, Factors, Pending, PoolSource, Refusal


def code_limits(x: Pending, quantizer: Quantizer) -> tuple[list[int], list[int]]:
    """Smallest and largest code per channel: the quantizer's range cut by ReLU and clips."""
    low = [quantizer.low if limit is None else quantizer.code(limit) for limit in x.low]
    high = [quantizer.high if limit is None else quantizer.code(limit) for limit in x.high]
    return low, high


def settled(x: Pending, quantizer: Quantizer) -> Pending:
    """The value as a convolution where only one has what it needs: constants per channel, 1-bit codes."""
    if quantizer.bipolar:
        # the sign of a value does not change where it is cut on both sides of 0
        around = all((low is None or low < 0) and (high is None or high >= 0)
                     for low, high in zip(x.low, x.high, strict=True))
        x = replace(x, low=[None] * x.channels, high=[None] * x.channels) if around else x
    parts = (x.slope, x.intercept, x.coefficient, *((x.bend.factor, x.bend.pivot) if x.bend else ()))
    if quantizer.bipolar or len(set(x.low)) > 1 or any(value != part[0] for part in parts for value in part):
        return as_convolution(x)
    return x


def check_layer(x: Pending, quantizer: Quantizer) -> None:
    """Refuses what no requantizer of the engine computes."""
    low, high = code_limits(x, quantizer)
    if quantizer.bipolar and (x.clipped or x.residual is not None):
        raise Refusal("1-bit signed activations of a sum or behind a Relu", "use at least 2 bits, or 1 unsigned")
    if x.pools and any(value < 0 for value in x.coefficient):
        raise Refusal("a max pool after a difference", "quantize before the max pool")
    if by_steps(x, quantizer) or quantizer.bipolar:
        return
    if len(set(low)) > 1 or len(set(high)) > 1:
        raise Refusal("a limit (Relu or Clip) that is scaled differently per channel before it is quantized",
                      "put batch norm and factors before the Relu or Clip, or use up to 4 bits and no residual")
    pivot = split_at(x, quantizer)
    if pivot is not None and len({quantizer.code(value) for value in pivot}) > 1:
        raise Refusal("a leaky ReLU that is scaled differently per channel before it is quantized",
                      "put batch norm and factors before it, or use up to 4 bits and no residual")
    if pivot is not None and x.bend is not None and directed(quantizer) and \
            any(value != -quantizer.zero * quantizer.scale for value in pivot):
        raise Refusal("a leaky ReLU rounded to or from zero that does not bend at 0", "use ROUND or FLOOR")


def proportional(x: Pending, zero: int) -> bool:
    """Whether every value is ``slope * (v - zero)`` of the source's integer, with one positive slope."""
    slope = x.slope[0]
    return slope > 0 and all(a == slope for a in x.slope) and all(b == -slope * zero for b in x.intercept)


def on_grid(x: Pending) -> Quantizer | None:
    """The quantizer whose grid holds every value of ``x``: codes that met nothing but limits on their own grid.

    They may be sums that fit a code: of an average pool, or of two tensors with one scale.
    """
    if isinstance(x.source, ConvSource) or x.bend is not None or x.border is not None:
        return None
    unit = x.source.input.quantizer
    top, zero = unit.high, unit.code_zero
    if isinstance(x.source, PoolSource):
        top, zero = (value * math.prod(x.source.kernel) for value in (top, zero))
    if x.residual is not None:
        top, zero = top + x.residual.quantizer.high, zero + x.residual.quantizer.code_zero
        if x.coefficient != x.slope:
            return None
    if isinstance(x.source, PoolSource) or x.residual is not None:
        if top > 255:
            return None
        unit = Quantizer(x.slope[0], zero, top.bit_length())
    if not proportional(x, zero) or x.slope[0] != unit.scale:
        return None
    limits = {x.low[0], x.high[0]} - {None}
    plain = len(set(x.low)) == len(set(x.high)) == 1
    exact = all((limit / unit.scale).denominator == 1 for limit in limits if limit is not None)
    return unit if plain and exact and not unit.bipolar else None


def unscaled(x: Pending) -> tuple[Pending, Factors]:
    """``x`` divided by the scales of its source's channels, and those; the rows of a layer have none."""
    factors = None if isinstance(x.source, ConvSource) else x.source.input.factors
    return (x if factors is None else x.divided(factors)), factors


def scaled_codes(x: Pending) -> Codes | None:
    """The codes that met nothing but positive factors, with those as scales of their channels; else None."""
    found = moved_codes(x)
    return found[0] if found and found[1] is None and min(x.slope) > 0 else None


def moved_codes(x: Pending) -> tuple[Codes, tuple[Fraction, ...] | None] | None:
    """Codes that met nothing but factors and offsets; None where ``x`` is something else.

    The factors, which may be negative here, are scales of the codes' channels.  With them their zero points, in codes
    and no whole numbers in general; None where these are the quantizer's.
    """
    if not isinstance(x.source, CodeSource) or x.residual or x.pools or x.clipped or x.bend or not all(x.slope):
        return None
    codes = x.source.input
    zeros = tuple(-b / a for a, b in zip(x.slope, x.intercept, strict=True))
    factors = tuple(slope / codes.quantizer.scale for slope in x.slope)
    return (replace(codes, flat=x.flat, axes=x.axes, border=x.border, factors=factors),
            None if set(zeros) == {codes.quantizer.code_zero} else zeros)


def directed(quantizer: Quantizer) -> bool:
    """Whether values below zero are rounded another way than those above, and both can occur."""
    return quantizer.mode in ("UP", "DOWN") and quantizer.low < quantizer.offset


def by_steps(x: Pending, quantizer: Quantizer) -> bool:
    """Whether a layer is compiled to switch points of its own: no other form has them, and there are few."""
    if not isinstance(x.source, ConvSource) or x.residual is not None or quantizer.code_bits > 4 or quantizer.bipolar:
        return False
    low, high = code_limits(x, quantizer)
    return x.bend is not None or len(set(low)) > 1 or len(set(high)) > 1


def split_at(x: Pending, quantizer: Quantizer) -> list[Fraction] | None:
    """Where a layer is cut in two halves that are computed apart and added; None where it needs no cut."""
    if x.bend is not None:
        return x.bend.pivot
    plain = isinstance(x.source, ConvSource) and x.residual is None and quantizer.code_bits <= 4
    low, _ = code_limits(x, quantizer)
    if directed(quantizer) and min(low) < quantizer.offset and not plain:
        return [-quantizer.zero * quantizer.scale] * x.channels
    return None
