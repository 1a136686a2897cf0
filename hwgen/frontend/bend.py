"""A leaky ReLU, as exact arithmetic leaves it behind any factors and offsets."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, eq=False)
class Bend:
    """``pivot + factor * (y - pivot)`` on one side of the pivot, ``y`` on the other; one entry per channel."""

    pivot: list[Fraction]
    factor: list[Fraction]
    """Positive: the function rises, and can be undone."""
    above: list[bool]
    """Whether the factor is for values above the pivot."""

    def moved(self, factor: list[Fraction], offset: list[Fraction]) -> "Bend":
        """The same bend of ``factor * y + offset``."""
        return Bend([p * m + c for p, m, c in zip(self.pivot, factor, offset, strict=True)], self.factor,
                    [above != (m < 0) for above, m in zip(self.above, factor, strict=True)])

    def apply(self, channel: int, value: Fraction) -> Fraction:
        pivot = self.pivot[channel]
        bent = value > pivot if self.above[channel] else value < pivot
        return pivot + self.factor[channel] * (value - pivot) if bent else value

    def undo(self, channel: int, value: Fraction) -> Fraction:
        pivot = self.pivot[channel]
        bent = value > pivot if self.above[channel] else value < pivot
        return pivot + (value - pivot) / self.factor[channel] if bent else value
