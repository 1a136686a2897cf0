"""Which row gets which number system, and how many bits each kind of tensor has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwgen.errors import HwgenError
from hwgen.schemes import get
from hwgen.schemes.mix import WIDE, Mix

Rule = Callable[[str, np.ndarray], tuple[str, ...]]
"""The user's own assignment: (path of the layer, its weight with rows first) -> a scheme per row."""
REASSIGN = 10
"""Epochs between two assignments, as RMSMP has them."""


@dataclass(frozen=True)
class Policy:
    """Row assignment and activation widths; made by :meth:`msq`, :meth:`rmsmp`, ... or :meth:`parse`.

    Rows of low variance get the shift-add scheme, the others fixed point: the levels of SP2 and of powers of two
    lie densely around zero, those of fixed point evenly (MSQ, HPCA 2021, section IV).
    """

    mix: Mix
    """Shares of the schemes, in every layer or over the network."""
    wide_by: str = "hessian"
    """Rows of 5 to 8 bits are those with the largest eigenvalue of the loss's "hessian", or "variance"."""
    scope: str = "layer"
    """"layer": every layer has the ratio; "network": only all layers together (a free ratio per layer)."""
    ends: str | None = None
    """Scheme of all rows of the first and the last layer; None treats them like the others."""
    quotas: tuple[tuple[str, int], ...] = ()
    """Rows by scheme of one tile of the engine; counts then fill whole tiles (:meth:`hwgen.schemes.mix.Mix.counts`)."""
    reassign_every: int = 0
    """Epochs after which ``fit`` assigns the rows anew; 0 for never."""
    part: str | None = None
    """``prepare`` takes ratio and quotas from the planner's curve for this part."""
    rule: Rule | None = None
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
        for name, known in (("residual", ("two_step", "fused")), ("wide_by", ("hessian", "variance")),
                            ("scope", ("layer", "network"))):
            if getattr(self, name) not in known:
                raise HwgenError(f"Policy: {name} must be {known[0]!r} or {known[1]!r}, not {getattr(self, name)!r}")
        if not (isinstance(self.reassign_every, int) and self.reassign_every >= 0):
            raise HwgenError(f"Policy: reassign_every must be a number of epochs, not {self.reassign_every!r}")
        if self.ends is not None:
            get(self.ends)
        if self.quotas:
            self.mix.counts(1, dict(self.quotas))
        if self.part is not None:
            from hwgen.device import get_part

            get_part(self.part)
            if self.rule is not None or not {"sp2", "pot4"} & {name for name, _ in self.mix.shares}:
                raise HwgenError("Policy: a part chooses the share of sp2 or pot4 rows; this policy has none")

    # -- makers ------------------------------------------------------------------------

    @classmethod
    def of(cls, parts: Mapping[str, int], **settings: Any) -> "Policy":
        """Any mix: ``Policy.of({"sp2m5": 50, "fixed3": 40, "fixed8": 10}, act_bits=3)``."""
        return cls(Mix.of(**parts), **settings)

    @classmethod
    def own(cls, rule: Rule, **settings: Any) -> "Policy":
        """The user's own assignment; see :data:`Rule`."""
        return cls(Mix.of(fixed4=1), rule=rule, **settings)

    @classmethod
    def fixed4(cls, **settings: Any) -> "Policy":
        """Every row fixed point with integers -7 to 7."""
        return cls.of({"fixed4": 1}, **settings)

    @classmethod
    def fixed8(cls, **settings: Any) -> "Policy":
        """Every row fixed point with integers -127 to 127."""
        return cls.of({"fixed8": 1}, **settings)

    @classmethod
    def pot4(cls, **settings: Any) -> "Policy":
        """Every row powers of two up to 64."""
        return cls.of({"pot4": 1}, **settings)

    @classmethod
    def sp2(cls, **settings: Any) -> "Policy":
        """Every row sums of two powers of two (m = 4)."""
        return cls.of({"sp2": 1}, **settings)

    @classmethod
    def msq(cls, ratio: tuple[int, ...] | None = None, part: str | None = None, **settings: Any) -> "Policy":
        """SP2 : fixed4 by variance (HPCA 2021); 60:40 as on the XC7Z020, or the planner's ratio for ``part``."""
        return cls._papers("msq", ("sp2", "fixed4"), (60, 40), ratio, part, settings)

    @classmethod
    def msp(cls, ratio: tuple[int, ...] | None = None, part: str | None = None, **settings: Any) -> "Policy":
        """SP2 : fixed4 : fixed8, everything by variance: the most scattered rows get 8 bits (arXiv 2009.07460)."""
        return cls._papers("msp", ("sp2", "fixed4", "fixed8"), (60, 35, 5), ratio, part,
                           {"wide_by": "variance"} | settings)

    @classmethod
    def rmsmp(cls, ratio: tuple[int, ...] | None = None, part: str | None = None, **settings: Any) -> "Policy":
        """pot4 : fixed4 : fixed8 (ICCV 2021): 8 bits by the Hessian, the rest by variance, anew every 10 epochs."""
        return cls._papers("rmsmp", ("pot4", "fixed4", "fixed8"), (60, 35, 5), ratio, part,
                           {"reassign_every": REASSIGN} | settings)

    @classmethod
    def ilmpq(cls, ratio: tuple[int, ...] | None = None, part: str | None = None, **settings: Any) -> "Policy":
        """The rows of :meth:`rmsmp`, assigned once (arXiv 2111.00155); 65:30:5 as on the XC7Z045."""
        return cls._papers("ilmpq", ("pot4", "fixed4", "fixed8"), (65, 30, 5), ratio, part, settings)

    @classmethod
    def _papers(cls, name: str, schemes: tuple[str, ...], usual: tuple[int, ...], ratio: tuple[int, ...] | None,
                part: str | None, settings: dict[str, Any]) -> "Policy":
        if ratio is not None and part is not None:
            raise HwgenError(f"Policy.{name}: give a ratio or a part, not both")
        shares = usual if ratio is None else tuple(ratio)
        if len(shares) != len(schemes) or not all(isinstance(s, int) and s >= 0 for s in shares) or not sum(shares):
            raise HwgenError(f"Policy.{name}: ratio must be {len(schemes)} whole numbers ({' : '.join(schemes)}) that "
                             f"are not negative, not {ratio!r}")
        return cls(Mix.of(**dict(zip(schemes, shares, strict=True))), part=part, **settings)

    @classmethod
    def parse(cls, text: str, part: str | None = None, **settings: Any) -> "Policy":
        """A name with an optional ratio, as in ``msq``, ``msq_67_33``, ``rmsmp_65_30_5``, ``fixed8``.

        ``msq+fixed8`` has another scheme in the first and the last layer (``ends``).  ``part`` goes to the four
        policies that have a ratio.  Raises HwgenError.
        """
        whole, (text, plus, ends) = text, text.partition("+")
        if plus:
            if not ends:
                raise HwgenError(f"policy {whole!r} ends in '+'; name the scheme of the first and the last layer: "
                                 "msq+fixed8")
            settings["ends"] = ends
        name, *numbers = text.split("_")
        if name in SIMPLE and not numbers:
            if part is not None:
                raise HwgenError(f"policy {text!r} has no ratio that a part could choose; leave --part out")
            return getattr(cls, name)(**settings)
        if name not in MIXED or not all(number.isdigit() for number in numbers):
            raise HwgenError(f"unknown policy {text!r}; known are {', '.join(SIMPLE + MIXED)}, the last "
                             f"{len(MIXED)} also with a ratio: msq_67_33, rmsmp_65_30_5")
        return getattr(cls, name)(tuple(int(number) for number in numbers) or None, part, **settings)

    # -- use ---------------------------------------------------------------------------

    @property
    def needs_importance(self) -> bool:
        """Whether :meth:`assign` wants the eigenvalues of the Hessian."""
        return self.rule is None and self.wide_by == "hessian" and any(name in WIDE for name, _ in self.mix.shares) \
            and len(self.mix.shares) > 1

    @property
    def shifted(self) -> str:
        """The scheme that stands against fixed4 in the ratio."""
        return next(name for name, _ in self.mix.shares if name not in ("fixed4", *WIDE))

    @property
    def wide_percent(self) -> int:
        """Share of rows with more than 4 bits, in whole percent."""
        return round(100 * sum(share for name, share in self.mix.shares if name in WIDE) / self.mix.total)

    def assign(self, weights: Mapping[str, np.ndarray], importance: Mapping[str, np.ndarray] | None = None,
               ) -> dict[str, tuple[str, ...]]:
        """A scheme for every row of every layer; the layers in the network's order, rows first in each weight.

        ``importance`` holds one number per row (:func:`hwgen.quantize.hessian.row_eigenvalues`).  The same
        arguments give the same answer; rows that are equal go by number.
        """
        if self.rule is not None:
            return {name: self._by_rule(name, weight) for name, weight in weights.items()}
        variance = {name: np.asarray(weight, np.float64).reshape(len(weight), -1).var(axis=1)
                    for name, weight in weights.items()}
        matter = importance if importance is not None and self.wide_by == "hessian" else variance
        names = list(weights)
        ends = {names[0], names[-1]} if self.ends is not None else set()
        middle = [name for name in names if name not in ends]
        found = {name: (str(self.ends),) * len(weights[name]) for name in ends}
        for group in [middle] if self.scope == "network" else [[name] for name in middle]:
            found |= self._together(group, variance, matter)
        return {name: found[name] for name in names}

    def _together(self, names: list[str], variance: Mapping[str, np.ndarray], matter: Mapping[str, np.ndarray],
                  ) -> dict[str, tuple[str, ...]]:
        """The ratio over the rows of all these layers.  Several layers are made comparable by their mean variance."""
        if not names:
            return {}
        means = {name: variance[name].mean() or 1.0 for name in names}
        scale = means if len(names) > 1 else {names[0]: 1.0}
        schemes = self.mix.assign(np.concatenate([variance[name] / scale[name] for name in names]),
                                  np.concatenate([matter[name] for name in names]), dict(self.quotas) or None)
        ends = np.cumsum([len(variance[name]) for name in names])
        return {name: schemes[end - len(variance[name]):end] for name, end in zip(names, ends, strict=True)}

    def _by_rule(self, name: str, weight: np.ndarray) -> tuple[str, ...]:
        assert self.rule is not None
        schemes = tuple(self.rule(name, weight))
        if len(schemes) != len(weight):
            raise HwgenError(f"Policy.own: the rule gave {len(schemes)} schemes for the {len(weight)} rows of {name}")
        for scheme in schemes:
            get(scheme)
        return schemes


SIMPLE = ("fixed4", "pot4", "sp2", "fixed8")
MIXED = ("msq", "msp", "rmsmp", "ilmpq")
