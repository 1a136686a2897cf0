"""Which share of a layer's rows has which scheme."""

from dataclasses import dataclass

import numpy as np

from hwgen.errors import HwgenError

BY_VARIANCE = ("pot4", "sp2", "fixed4")
"""Rows of low variance first, as MSQ (sp2, fixed4) and RMSMP (pot4, fixed4) assign them."""

NAMED = {
    # MSQ (HPCA 2021) on the XC7Z020
    "msq": {"sp2": 60, "fixed4": 40},
    # RMSMP (ICCV 2021) on the XC7Z020
    "rmsmp": {"pot4": 60, "fixed4": 35, "fixed8": 5},
}


@dataclass(frozen=True)
class Mix:
    """Parts of a whole, by scheme: 60 and 40 are percent, 20 and 12 the rows of an engine's lane groups."""

    shares: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, **parts: int) -> "Mix":
        """HwgenError for an unknown scheme or no parts at all."""
        for name, share in parts.items():
            if name not in (*BY_VARIANCE, "fixed8"):
                raise HwgenError(f"no mix with scheme {name!r}; known are fixed4, fixed8, sp2, pot4")
            if share < 0:
                raise HwgenError(f"the share of {name} must not be negative, not {share}")
        if not any(parts.values()):
            raise HwgenError(f"the shares of {', '.join(parts) or 'a mix'} must not all be 0")
        return cls(tuple(sorted((name, share) for name, share in parts.items() if share)))

    @property
    def total(self) -> int:
        return sum(share for _, share in self.shares)

    def counts(self, rows: int) -> dict[str, int]:
        """Rows per scheme, shares rounded so that they add up to ``rows``."""
        counts = {name: rows * share // self.total for name, share in self.shares}
        left = [name for _, name in sorted((-(rows * share % self.total), name) for name, share in self.shares)]
        for name in left[:rows - sum(counts.values())]:
            counts[name] += 1
        return counts

    def assign(self, variance: np.ndarray, rng: np.random.Generator) -> tuple[str, ...]:
        """A scheme per row: fixed8 at random (RMSMP asks the Hessian, which needs data), the others by variance."""
        counts = self.counts(len(variance))
        schemes = np.full(len(variance), "fixed8", dtype=object)
        wide = rng.permutation(len(variance))[:counts.get("fixed8", 0)]
        order = [row for row in np.argsort(variance, kind="stable") if row not in set(wide.tolist())]
        begin = 0
        for name in BY_VARIANCE:
            end = begin + counts.get(name, 0)
            schemes[order[begin:end]] = name
            begin = end
        return tuple(schemes.tolist())
