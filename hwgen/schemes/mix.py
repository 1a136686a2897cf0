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
    """Shares in percent, by scheme; they add up to 100."""

    shares: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, **percent: int) -> "Mix":
        """HwgenError for an unknown scheme or shares that do not add up to 100."""
        for name, share in percent.items():
            if name not in (*BY_VARIANCE, "fixed8"):
                raise HwgenError(f"no mix with scheme {name!r}; known are fixed4, fixed8, sp2, pot4")
            if not 0 <= share <= 100:
                raise HwgenError(f"the share of {name} must be 0 to 100 percent, not {share}")
        if sum(percent.values()) != 100:
            raise HwgenError(f"the shares of {', '.join(percent)} add up to {sum(percent.values())} percent, not 100")
        return cls(tuple(sorted((name, share) for name, share in percent.items() if share)))

    def counts(self, rows: int) -> dict[str, int]:
        """Rows per scheme, shares rounded so that they add up to ``rows``."""
        exact = {name: rows * share / 100 for name, share in self.shares}
        counts = {name: int(value) for name, value in exact.items()}
        left = sorted(exact, key=lambda name: (counts[name] - exact[name], name))
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
