"""Amounts of FPGA resources: of a part, of an estimate, of a synthesized design."""

from dataclasses import asdict, dataclass, fields

Number = int | float

FIELDS = ("lut", "ff", "dsp", "bram")


@dataclass(frozen=True)
class Resources:
    """LUTs, flip-flops, DSP blocks and block RAMs, the last two in units of the part.

    ``lut`` counts look-up tables of the part's size (four inputs on ECP5 and iCE40, six on
    7-series) as docs/architecture.md says.  ``bram`` may be a half on 7-series, where half a
    RAMB36 is a block of its own.
    """

    lut: Number = 0
    ff: Number = 0
    dsp: Number = 0
    bram: Number = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(*(getattr(self, f) + getattr(other, f) for f in FIELDS))

    def __mul__(self, count: Number) -> "Resources":
        return Resources(*(getattr(self, f) * count for f in FIELDS))

    __rmul__ = __mul__

    def rounded(self) -> "Resources":
        """LUT, FF and DSP as whole numbers, block RAM to the next half."""
        halves = -(-round(2 * self.bram, 6) // 1) / 2
        return Resources(round(self.lut), round(self.ff), round(self.dsp), _whole(halves))

    def exceeded(self, available: "Resources") -> dict[str, tuple[Number, Number]]:
        """What does not fit: ``{field: (needed, available)}``, empty when everything does."""
        pairs = {f: (getattr(self, f), getattr(available, f)) for f in FIELDS}
        return {f: pair for f, pair in pairs.items() if pair[0] > pair[1]}

    def fits(self, available: "Resources") -> bool:
        return not self.exceeded(available)

    def to_json(self) -> dict[str, Number]:
        """The object that report.json holds: ``{lut, ff, dsp, bram}``."""
        return {key: _whole(value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict) -> "Resources":
        """The opposite of :meth:`to_json`; other keys are ignored."""
        return cls(**{f.name: data[f.name] for f in fields(cls)})


def _whole(value: Number) -> Number:
    return int(value) if float(value).is_integer() else value
