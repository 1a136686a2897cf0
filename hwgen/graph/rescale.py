"""Rescaling of codes: the second step of a residual add, and average pooling.

``clamp(z + round(a*x + b*y + c), low, high)`` becomes one integer rule per tensor, proven over
all pairs of codes (docs/numerics.md, section "Residuals and pooling").
"""

from fractions import Fraction

from hwgen.graph import ir

from .requantize import Real, compile_affine, compile_fused, exact

SPAN = 64
"""Multipliers tried on each side of the ideal one: there is one rule per tensor, so many can be afforded."""


def compile_rescale(a: Real, b: Real, c: Real, *, x_codes: tuple[int, int], y_codes: tuple[int, int] = (0, 0),
                    rounding: str, low: int, high: int, zero_point: int = 0, zero_after: bool = True,
                    m_bits: int = 18, shift_max: int = ir.MAX_RESCALE_SHIFT) -> ir.Rescale:
    """``clamp(z + round(a*x + b*y + c), low, high)`` for all x and y in the inclusive ranges.

    a, b: output codes per code of x and y; c holds both zero points: for a residual add
    ``a = s_x/s_out, b = s_y/s_out, c = -a*z_x - b*z_y``; for an average of ``window`` codes x is their
    sum, ``a = s_in/(window*s_out), b = 0, c = -window*a*z_in``.  ``proven`` of the result is true only if all
    pairs agree.
    """
    a, b, c = exact(a, "first factor"), exact(b, "second factor"), exact(c, "constant")
    if b == 0 or y_codes[0] == y_codes[1]:
        requant = compile_affine([a], [c + b * y_codes[0]], rounding=rounding, low=low, high=high, acc_lo=x_codes[0],
                                 acc_hi=x_codes[1], zero_point=zero_point, zero_after=zero_after, m_bits=m_bits,
                                 shift_max=shift_max, threshold_steps=0)
        return _rule(requant, 0)
    requant = compile_fused([a], [c], b, residual_lo=y_codes[0], residual_hi=y_codes[1], rounding=rounding, low=low,
                            high=high, acc_lo=x_codes[0], acc_hi=x_codes[1], zero_point=zero_point,
                            zero_after=zero_after, m_bits=m_bits, shift_max=shift_max, span=SPAN)
    residual = requant.residual_multiplier
    assert residual is not None
    return _rule(requant, int(residual[0]))


def average_affine(window: int, scale_in: Real, scale_out: Real, zero_in: int) -> tuple[Fraction, Fraction]:
    """(a, c) of :func:`compile_rescale` for an average pooling of ``window`` codes, padding counted."""
    a = exact(scale_in, "input scale") / (window * exact(scale_out, "output scale"))
    return a, -window * a * zero_in


def add_affine(scale_x: Real, zero_x: int, scale_y: Real, zero_y: int, scale_out: Real,
               ) -> tuple[Fraction, Fraction, Fraction]:
    """(a, b, c) of :func:`compile_rescale` for the sum of two tensors."""
    unit = exact(scale_out, "output scale")
    a, b = exact(scale_x, "first scale") / unit, exact(scale_y, "second scale") / unit
    return a, b, -a * zero_x - b * zero_y


def _rule(requant: ir.Requant, b: int) -> ir.Rescale:
    return ir.Rescale(a=int(requant.multiplier[0]), constant=int(requant.constant[0]), shift=int(requant.shift[0]), b=b,
                      rounding=requant.rounding, zero_point=requant.zero_point, low=requant.low, high=requant.high,
                      proven=requant.proven == 1)
