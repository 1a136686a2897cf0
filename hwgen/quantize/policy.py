"""Which row gets which number system, and how many bits each kind of tensor has."""

from dataclasses import dataclass

import numpy as np

from hwgen.errors import HwgenError

LOW, HIGH = 0.3, 0.7
"""Shares between these stay between these in every layer, however few rows it has."""


@dataclass(frozen=True)
class Policy:
    """Row assignment and activation widths; build one with :meth:`msq` or :meth:`fixed4`.

    Rows of low variance get ``low_scheme``, the others ``high_scheme``: the levels of SP2 lie
    densely around zero, those of fixed point evenly (MSQ, HPCA 2021, section IV).
    """

    low_scheme: str
    high_scheme: str
    low_share: float
    """Share of the rows of every layer that get ``low_scheme``, 0 to 1."""
    act_bits: int = 4
    """Unsigned bits after a ReLU, signed bits where no ReLU is."""
    add_bits: int = 4
    """Signed bits of an add's operand that comes straight from a convolution (two-step residual)."""
    input_bits: int = 8
    pool_bits: int = 8
    """Bits after an average pool."""
    output_bits: int = 8
    residual: str = "two_step"
    """"two_step": both operands of an add are quantized; "fused": one stays an accumulator."""

    def __post_init__(self) -> None:
        for name in ("act_bits", "add_bits", "input_bits", "pool_bits", "output_bits"):
            bits = getattr(self, name)
            if not (isinstance(bits, int) and 2 <= bits <= 8):
                raise HwgenError(f"Policy: {name} must be 2 to 8, not {bits!r}")
        if self.residual not in ("two_step", "fused"):
            raise HwgenError(f"Policy: residual must be 'two_step' or 'fused', not {self.residual!r}")
        if not 0 <= self.low_share <= 1:
            raise HwgenError(f"Policy: the share must be 0 to 1, not {self.low_share!r}")

    @classmethod
    def msq(cls, ratio: tuple[float, float] | None = None, part: str | None = None, **widths) -> "Policy":
        """SP2 and fixed-point rows in every layer; ``ratio`` is SP2 : fixed4, (50, 50) by default.

        ``part`` takes the ratio from the part's logic and multipliers instead (see :func:`share_for_part`).
        """
        if ratio is not None and part is not None:
            raise HwgenError("Policy.msq: give a ratio or a part, not both")
        if part is not None:
            share = share_for_part(part)
        else:
            sp2, fixed = (50, 50) if ratio is None else ratio
            if sp2 < 0 or fixed < 0 or sp2 + fixed <= 0:
                raise HwgenError(f"Policy.msq: ratio must be two shares that are not negative, not {ratio!r}")
            share = sp2 / (sp2 + fixed)
        return cls("sp2", "fixed4", share, **widths)

    @classmethod
    def fixed4(cls, **widths) -> "Policy":
        """Every row fixed point with integers -7 to 7."""
        return cls("fixed4", "fixed4", 0.0, **widths)

    def assign(self, weight: np.ndarray) -> tuple[str, ...]:
        """One scheme per row of ``weight`` (rows, ...); equal variances go by row number."""
        rows = len(weight)
        variance = np.asarray(weight, np.float64).reshape(rows, -1).var(axis=1)
        low = set(np.argsort(variance, kind="stable")[: self._low_rows(rows)].tolist())
        return tuple(self.low_scheme if row in low else self.high_scheme for row in range(rows))

    def _low_rows(self, rows: int) -> int:
        count = int(np.floor(rows * self.low_share + 0.5))
        floor, ceiling = int(np.ceil(LOW * rows)), int(np.floor(HIGH * rows))
        if LOW <= self.low_share <= HIGH and floor <= ceiling:
            count = min(max(count, floor), ceiling)
        return count


LUT_SHARE = 0.6
"""Part of the LUTs that lanes may fill; the rest is control, requantizers and routing slack."""
SP2_MAC_LUTS = {4: 30.0, 6: 15.0}
"""LUTs per SP2 multiply-accumulate, adder tree included, by the inputs of one LUT."""


def share_for_part(part: str) -> float:
    """Share of SP2 rows that keeps a part's LUTs and multipliers equally busy, within LOW to HIGH.

    A first estimate, one product per multiplier: parts with many LUTs per multiplier all give HIGH.
    """
    from hwgen.device import get_part

    found = get_part(part)
    sp2 = LUT_SHARE * found.lut / SP2_MAC_LUTS[found.lut_inputs]
    return float(min(max(sp2 / (sp2 + found.dsp), LOW), HIGH))
