"""Concatenation: branches of unequal scales on one grid, with the engine's convolutions.

The first branch is computed with rows of zeros where the others belong; every further branch adds its rows
in a convolution whose fused residual is what there is so far.  A row has a multiplier either for its
accumulator or for its residual, so both roundings stay those of the file.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

from hwgen.frontend.copies import as_convolution, embedded
from hwgen.frontend.grids import common_step
from hwgen.frontend.layers import Layer
from hwgen.frontend.quantizers import Quantizer
from hwgen.frontend.values import Codes, Pending, Refusal, Shape, pending_codes


@dataclass(frozen=True, eq=False)
class Joined:
    """Branches that were concatenated and not yet quantized together."""

    name: str
    tensor: str
    parts: tuple[Codes | Pending, ...]

    @property
    def channels(self) -> int:
        return sum(part.shape[0] for part in self.parts)

    @property
    def shape(self) -> Shape:
        return self.channels, *self.parts[0].shape[1:]

    @property
    def flat(self) -> bool:
        return self.parts[0].flat

    @property
    def axes(self) -> str:
        return self.parts[0].axes

    def _each(self, change) -> "Joined":
        """``change(part, first channel, channels)`` of every part as real values."""
        parts, first = [], 0
        for part in self.parts:
            real = part if isinstance(part, Pending) else pending_codes(self.name, part)
            parts.append(change(real, slice(first, first + real.channels)))
            first += real.channels
        return replace(self, parts=tuple(parts))

    def scaled(self, factor: list[Fraction], offset: list[Fraction], size: list[Fraction] | None = None) -> "Joined":
        return self._each(lambda x, i: x.scaled(factor[i], offset[i], None if size is None else size[i]))

    def divided(self, factors: tuple[Fraction, ...]) -> "Joined":
        return self._each(lambda x, i: x.divided(factors[i]))

    def limited(self, low: Fraction | None, high: Fraction | None) -> "Joined":
        return self._each(lambda x, i: x.limited(low, high))

    def bent(self, factor: list[Fraction]) -> "Joined":
        return self._each(lambda x, i: x.bent(factor[i]))


def common_grid(joined: Joined) -> Quantizer:
    """The coarsest grid of at most 8 bits that holds every code of every branch; Refusal if there is none."""
    branches = []
    for part in joined.parts:
        if not isinstance(part, Codes):
            raise Refusal("a branch that is not quantized", "put a Quant node before or behind the concatenation")
        branches.append(part)
    first = branches[0].quantizer
    if all(part.quantizer == first and part.factors is None for part in branches):
        return first
    steps = {(part.quantizer, step) for part in branches for step in part.scales}
    scale = common_step([step for _, step in steps])
    ends = [step * (code - quantizer.code_zero) / scale
            for quantizer, step in steps for code in (quantizer.low, quantizer.high)]
    low, high = int(min([*ends, Fraction(0)])), int(max(ends))
    bits = max(1, (high - low).bit_length())
    if bits > 8:
        scales = ", ".join(dict.fromkeys(f"{float(step):g}" for part in branches for step in part.scales))
        raise Refusal(f"its branches have the scales {scales}, and no grid of 8 bits holds all their values",
                      "put a Quant node behind the concatenation")
    return Quantizer(scale, -low, bits)


def realize(joined: Joined, quantizer: Quantizer, output: str, node: str, quantize) -> list[Layer]:
    """The layers that put all branches on the grid of ``quantizer``, as tensor ``output``.

    quantize: ``(part, name) -> (layers, codes)`` for a branch that needs its own Quant node first.
    """
    if quantizer.bipolar:
        raise Refusal("1-bit signed activations of a concatenation", "quantize the branches before it")
    layers: list[Layer] = []
    done: Codes | None = None
    first = 0
    for index, part in enumerate(joined.parts):
        rows = part.shape[0]
        x = pending_codes(joined.name, part) if isinstance(part, Codes) else part
        if not _plain(x, quantizer):
            before, codes = quantize(replace(x, border=None), f"{output}.branch{index}")
            layers += before
            x = pending_codes(joined.name, codes)
        x = embedded(as_convolution(x), first, joined.channels)
        last = index == len(joined.parts) - 1
        name = output if last else f"{output}.joined{index}"
        if done is None:
            offset = [Fraction(0)] * joined.channels
        else:
            step, zero = done.quantizer.scale, done.quantizer.code_zero
            held = [Fraction(0) if first <= row < first + rows else step for row in range(joined.channels)]
            offset = [-value * zero for value in held]
            x = replace(x, residual=done, coefficient=held,
                        intercept=[a + b for a, b in zip(x.intercept, offset, strict=True)])
        done = Codes(name, joined.shape, quantizer, joined.flat, joined.axes)
        layers.append(Layer(x, quantizer, name, node, internal=not last))
        first += rows
    return layers


def _plain(x: Pending, quantizer: Quantizer) -> bool:
    """Whether a branch needs no rounding of its own before it is put in its place."""
    limits = [quantizer.low if limit is None else quantizer.code(limit) for limit in x.low]
    tops = [quantizer.high if limit is None else quantizer.code(limit) for limit in x.high]
    free = set(limits) == {quantizer.low} and set(tops) == {quantizer.high}
    return free and x.residual is None and not x.pools and x.bend is None and \
        quantizer.mode not in ("UP", "DOWN")

