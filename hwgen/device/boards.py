"""Boards: a part, its clock, and where its pins are described.

One file ``boards/NAME/board.toml`` per board; CONTRIBUTING.md shows how to add one.
"""

from dataclasses import dataclass
from pathlib import Path
import tomllib

from hwgen.data import entries
from hwgen.device.parts import Part, get_part
from hwgen.errors import HwgenError


@dataclass(frozen=True, kw_only=True)
class Pll:
    """engine clock = oscillator / input_divider * vco_multiplier / output_divider."""

    primitive: str
    input_divider: int
    vco_multiplier: int
    output_divider: int
    vco_range_mhz: tuple[float, float]

    def vco_mhz(self, oscillator_mhz: float) -> float:
        return oscillator_mhz / self.input_divider * self.vco_multiplier

    def output_mhz(self, oscillator_mhz: float) -> float:
        return self.vco_mhz(oscillator_mhz) / self.output_divider


@dataclass(frozen=True, kw_only=True)
class Board:
    """One board.  ``clock_mhz`` is the engine clock that frame rates are planned with."""

    name: str
    title: str
    part: Part
    platform: str
    """``module:class`` in amaranth-boards."""
    oscillator: str
    """Resource name of the oscillator in the platform."""
    oscillator_mhz: float
    clock_mhz: float
    pll: Pll | None = None
    """None: the oscillator is the engine clock."""

    def __post_init__(self):
        if self.pll is None:
            made, how = self.oscillator_mhz, "without a PLL"
        else:
            vco, (low, high) = self.pll.vco_mhz(self.oscillator_mhz), self.pll.vco_range_mhz
            if not low <= vco <= high:
                raise ValueError(f"the PLL's VCO would run at {vco:g} MHz, outside {low:g} to {high:g}")
            made, how = self.pll.output_mhz(self.oscillator_mhz), "by the PLL's factors"
        if abs(made - self.clock_mhz) > 1e-6 * made:
            raise ValueError(f"clock.engine_mhz is {self.clock_mhz:g}, but {how} it is {made:g}")

    @property
    def clock_text(self) -> str:
        """How the engine clock is made, in words."""
        if self.pll is None:
            return f"{self.clock_mhz:g} MHz, the oscillator {self.oscillator}"
        p = self.pll
        divided = f" / {p.input_divider}" if p.input_divider != 1 else ""
        return (f"{self.clock_mhz:g} MHz = {self.oscillator_mhz:g} MHz{divided} * {p.vco_multiplier} / "
                f"{p.output_divider} ({p.primitive})")


def load_board(path: Path) -> Board:
    """Read one board file.  Raises HwgenError naming the file and the key that is wrong."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise HwgenError(f"board file {path}: {error}") from error
    try:
        clock = data["clock"]
        pll = clock.get("pll")
        return Board(
            name=path.parent.name, title=data["title"], part=get_part(data["part"]), platform=data["platform"],
            oscillator=clock["oscillator"], oscillator_mhz=float(clock["oscillator_mhz"]),
            clock_mhz=float(clock["engine_mhz"]),
            pll=None if pll is None else Pll(**{**pll, "vco_range_mhz": tuple(pll["vco_range_mhz"])}))
    except KeyError as error:
        raise HwgenError(f"board file {path}: key {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise HwgenError(f"board file {path}: {error}") from error


def list_boards() -> list[str]:
    return list(entries("boards", "board.toml"))


def get_board(name: str) -> Board:
    """The board of that name.  Raises HwgenError with the list when there is none."""
    files = entries("boards", "board.toml")
    key = name.strip().lower()
    if key not in files:
        known = ", ".join(files) or "none installed"
        raise HwgenError(f"unknown board {name!r}; known boards: {known} (for a bare FPGA use --part)")
    return load_board(files[key])
