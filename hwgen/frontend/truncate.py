"""Trunc nodes: the integers of a value lose their low bits.

Source of the formulas: the QONNX operator descriptions of Trunc, version 1 (five inputs) and 2 (six inputs).
"""

from dataclasses import replace
from fractions import Fraction
import math

from onnx import NodeProto

from hwgen.frontend.importer import Importer
from hwgen.frontend.quantize_nodes import activation
from hwgen.frontend.quantizers import MODES, Quantizer, round_exact
from hwgen.frontend.values import ConvSource, Pending, PoolSource, Refusal


def trunc(importer: Importer, node: NodeProto, options: dict):
    """``round(n / 2**k)`` of the integer ``n = round(x/scale + zero)``; version 2 clamps and has its own scale.

    The inner rounding must have nothing to round, so that there is one rounding in all.
    """
    if len(node.input) not in (5, 6):
        raise Refusal(f"a Trunc node has 5 or 6 inputs, this one has {len(node.input)}", "export the model again")
    numbers = [_scalar(importer, name, what) for name, what in
               zip(node.input[1:], ("its scale", "its zero point", "its input width", "its output scale or width",
                                    "its output width"), strict=False)]
    mode = MODES.get(str(options.get("rounding_mode", "FLOOR")).upper())
    if mode is None:
        raise Refusal(f"unknown rounding mode {options['rounding_mode']!r}", f"use one of {', '.join(MODES)}")
    scale, zero = numbers[:2]
    bits = numbers[-1]
    if scale <= 0 or bits.denominator != 1 or not 1 <= bits <= 8:
        raise Refusal(f"a scale of {float(scale):g} and an output of {float(bits):g} bits",
                      "use a positive scale and 1 to 8 bits")
    if zero.denominator != 1:
        raise Refusal("its zero point is not an integer", "use integer zero points")
    x = importer.real(node, node.input[0])
    factor, offset = _integers(x, scale, zero)
    if len(node.input) == 6:
        drop = Fraction(2) ** _log2(numbers[3] / scale)
        out_scale, out_zero = numbers[3], zero / drop
        signed, narrow = bool(options.get("signed", 1)), bool(options.get("narrow", 0))
    else:
        drop = Fraction(2) ** int(numbers[2] - bits)
        out_scale, out_zero, narrow = scale, zero, False
        signed = _signed(x, [a / drop for a in factor], [b / drop for b in offset], int(bits), mode)
    if out_zero.denominator != 1:
        raise Refusal(f"a zero point of {float(out_zero):g} behind the truncation", "use a multiple of the step")
    quantizer = Quantizer(out_scale, int(out_zero), int(bits), signed, narrow, mode)

    def moved(limit: Fraction | None) -> Fraction | None:
        if limit is None:
            return None
        return (round_exact(limit / scale + zero, "HALF_EVEN") / drop - out_zero) * out_scale

    # the same value in units of the output, where position(y) is n / 2**k
    y = replace(x, slope=[a / drop * out_scale for a in factor],
                intercept=[(b / drop - out_zero) * out_scale for b in offset],
                low=[moved(limit) for limit in x.low], high=[moved(limit) for limit in x.high],
                size=[value / scale / drop * out_scale for value in x.size])
    return activation(importer, node, quantizer, y)


def _scalar(importer: Importer, name: str, what: str) -> Fraction:
    numbers, _ = importer.numbers(name, what)
    if len(set(numbers)) != 1:
        raise Refusal(f"{what} is not one number", "use one per tensor")
    return numbers[0]


def _log2(ratio: Fraction) -> int:
    exponent = round(math.log2(ratio)) if ratio > 0 else -1
    if not -8 <= exponent <= 40:  # below 0: Brevitas widens sums that are shorter than its codes
        raise Refusal(f"an output scale of {float(ratio):g} input scales", "use a power of two from 1/256 on")
    return exponent


def _integers(x: Pending, scale: Fraction, zero: Fraction) -> tuple[list[Fraction], list[Fraction]]:
    """(n, m) per channel with ``round(x/scale + zero) = n*v + m`` for every v that can occur; Refusal if it rounds."""
    if x.residual is not None or x.bend is not None:
        raise Refusal("Trunc of a sum or of a leaky ReLU", "put a Quant node before it")
    factors, offsets = [], []
    for channel, (slope, intercept) in enumerate(zip(x.slope, x.intercept, strict=True)):
        a, b = slope / scale, intercept / scale + zero
        n, m = Fraction(round(a)), Fraction(round(b))
        ends = source_range(x, channel)
        if any(abs((a - n) * v + b - m) >= Fraction(1, 2) for v in ends):
            raise Refusal("its input is not on the grid of its scale", "use the scale of the layer before it")
        factors.append(n)
        offsets.append(m)
    return factors, offsets


def source_range(x: Pending, channel: int) -> tuple[int, int]:
    """Smallest and largest ``v`` of a channel."""
    source = x.source
    quantizer = source.input.quantizer
    low, high = quantizer.low, quantizer.high
    if isinstance(source, PoolSource):
        window = math.prod(source.kernel)
        return low * window, high * window
    if isinstance(source, ConvSource):
        row = source.weight[channel].astype(int)
        rises, falls = int(row[row > 0].sum()), int(row[row < 0].sum())
        return low * rises + high * falls, high * rises + low * falls
    return low, high


def _signed(x: Pending, factor: list[Fraction], offset: list[Fraction], bits: int, mode: str) -> bool:
    """Whether the integers are signed ones of ``bits``; version 1 neither says so nor clamps."""
    ends = [round_exact(a * v + b, mode) for channel, (a, b) in enumerate(zip(factor, offset, strict=True))
            for v in source_range(x, channel)]
    if min(ends) >= 0 and max(ends) < 1 << bits:
        return False
    if min(ends) >= -(1 << (bits - 1)) and max(ends) < 1 << (bits - 1):
        return True
    raise Refusal(f"its integers reach from {min(ends)} to {max(ends)}, more than its {bits} bits",
                  "quantize with more bits, or export with Trunc of version 2, which clamps")
