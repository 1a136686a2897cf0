"""Which share of a layer's rows has which scheme."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwgen.errors import HwgenError

BY_VARIANCE = ("pot3", "pot4", "sp2m3", "sp2", "sp2m5", "sp2m6", "sp2m7", "sp2m8", "fixed2", "fixed3", "fixed4")
"""Rows of low variance first, as MSQ (sp2, fixed4) and RMSMP (pot4, fixed4) assign them."""
WIDE = ("fixed8", "fixed7", "fixed6", "fixed5")
"""Schemes of the most important rows, the most important first, as RMSMP assigns fixed8."""

NAMED = {
    # MSQ (HPCA 2021) on the XC7Z020
    "msq": {"sp2": 60, "fixed4": 40},
    # RMSMP (ICCV 2021) on the XC7Z020
    "rmsmp": {"pot4": 60, "fixed4": 35, "fixed8": 5},
}


def by_chance(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Importances in random order, where no data says which rows matter most."""
    importance = np.empty(rows)
    importance[rng.permutation(rows)] = np.arange(rows, 0, -1)
    return importance


@dataclass(frozen=True)
class Mix:
    """Parts of a whole, by scheme: 60 and 40 are percent, 20 and 12 the rows of an engine's lane groups."""

    shares: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, **parts: int) -> "Mix":
        """HwgenError for an unknown scheme or no parts at all."""
        for name, share in parts.items():
            if name not in (*BY_VARIANCE, *WIDE):
                raise HwgenError(f"no mix with scheme {name!r}; known are {', '.join(sorted((*BY_VARIANCE, *WIDE)))}")
            if not isinstance(share, (int, np.integer)) or share < 0:
                raise HwgenError(f"the share of {name} must be a whole number that is not negative, not {share!r}")
        if not any(parts.values()):
            raise HwgenError(f"the shares of {', '.join(parts) or 'a mix'} must not all be 0")
        return cls(tuple(sorted((name, int(share)) for name, share in parts.items() if share)))

    @property
    def total(self) -> int:
        return sum(share for _, share in self.shares)

    def counts(self, rows: int, quotas: Mapping[str, int] | None = None) -> dict[str, int]:
        """Rows per scheme, shares rounded so that they add up to ``rows``.

        ``quotas`` are the rows of each scheme in one tile of an engine.  With them no scheme gets more rows than
        the fewest possible tiles have places for: whole quotas are filled before another tile is begun.
        """
        counts = {name: rows * share // self.total for name, share in self.shares}
        left = [name for _, name in sorted((-(rows * share % self.total), name) for name, share in self.shares)]
        for name in left[:rows - sum(counts.values())]:
            counts[name] += 1
        return counts if quotas is None else self._within(counts, rows, quotas)

    def _within(self, counts: dict[str, int], rows: int, quotas: Mapping[str, int]) -> dict[str, int]:
        if set(quotas) != set(counts) or min(quotas.values()) < 1:
            raise HwgenError(f"quotas must give at least one row to each of {', '.join(counts)}, not {dict(quotas)}")
        tiles = -(-rows // sum(quotas.values()))
        places = {name: tiles * quotas[name] for name in counts}
        counts = {name: min(count, places[name]) for name, count in counts.items()}
        for name in sorted(counts, key=lambda name: (counts[name] - places[name], name)):
            counts[name] += min(places[name] - counts[name], rows - sum(counts.values()))
        return counts

    def assign(self, variance: np.ndarray, importance: np.ndarray, quotas: Mapping[str, int] | None = None,
               ) -> tuple[str, ...]:
        """A scheme per row: the wide ones by importance, highest first, the others by variance, lowest first.

        Rows that are equal go by number.
        """
        counts = self.counts(len(variance), quotas)
        schemes = np.full(len(variance), "", dtype=object)
        begin = 0
        ranked = np.argsort(-np.asarray(importance), kind="stable")
        for name in WIDE:
            end = begin + counts.get(name, 0)
            schemes[ranked[begin:end]] = name
            begin = end
        wide = set(ranked[:begin].tolist())
        order = [row for row in np.argsort(variance, kind="stable") if row not in wide]
        begin = 0
        for name in BY_VARIANCE:
            end = begin + counts.get(name, 0)
            schemes[order[begin:end]] = name
            begin = end
        return tuple(schemes.tolist())
