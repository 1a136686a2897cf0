"""Measure what a multiply-accumulate takes on every lane and family, and write the table of docs/lanes.md.

    python benchmarks/lanes.py                        # all that has changed; finished measurements are kept
    python benchmarks/lanes.py --family ice40         # one family, printed only

A group of lanes with its adder trees and one accumulator per row and pixel is synthesized beside a long path (as in
an engine, where lanes are not what limits the clock) and divided by its multiply-accumulates.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
import datetime
from fractions import Fraction
import os
from pathlib import Path

from amaranth.hdl import Module, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.rtl.lanes import Accumulator
from hwgen.rtl.lanes.families import CELLS
from hwgen.rtl.lanes.fixed import FixedGroup
from hwgen.rtl.lanes.int4 import Int4Group
from hwgen.rtl.lanes.pot import PotGroup
from hwgen.rtl.lanes.single import SingleGroup
from hwgen.rtl.lanes.sp2 import Sp2Group
from hwgen.rtl.once import place
from measure import Bench

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "lanes.md"
MARKS = "<!-- lanes: begin -->", "<!-- lanes: end -->"
ACC_BITS = 20
SHAPES = {"xilinx7": (16, 2, 2), "ecp5": (16, 2, 2), "ice40": (8, 2, 4)}
"""ki, px, rows of a group.  Small, so that the table takes minutes: more rows and pixels share the registers of
operands and codes that wait."""


def logic(group: type) -> Callable:
    """Lanes of logic, with the family's cells where there are any."""
    return lambda family, **shape: group(**shape, family=family if family in CELLS else "")


def fixed(wide: bool, multiplier: str) -> Callable:
    """Multiplier lanes as engines have them."""
    return lambda family, **shape: FixedGroup(**shape, wide=wide, multiplier=multiplier, family=family)


def single(on_blocks: bool) -> Callable:
    """One product per DSP block, or none on blocks.

    Yosys gives every product of the ECP5 a block of its own accord; on 7-series it is instantiated; the iCE40's blocks
    are not given products that small.
    """
    def make(family, ki, px, rows):
        if on_blocks and family == "ice40":
            return None
        explicit = on_blocks and family == "xilinx7"
        return SingleGroup(ki=ki, px=px, rows=rows, wide=False, products=ki * px * rows if explicit else 0,
                           family=family if explicit else "")

    return make


@dataclass(frozen=True)
class Lane:
    """A line of the table.  ``make(family, ki=, px=, rows=)`` gives a group, None where the family has none."""

    name: str
    schemes: str
    make: Callable
    dsp: bool = True
    """Yosys may use DSP blocks where it likes to."""


LANES = (
    Lane("`sp2`", "sp2, binary", logic(Sp2Group)),
    Lane("`int4`", "fixed4, binary", logic(Int4Group)),
    Lane("`pot`", "pot4, binary", logic(PotGroup)),
    Lane("`dsp`, 4-bit weights", "fixed4, binary", fixed(False, "dsp")),
    Lane("`dsp`, 8-bit weights", "fixed8, pot4, sp2 with +8", fixed(True, "dsp")),
    Lane("`dsp` of logic, 4-bit weights", "fixed4, binary", fixed(False, "lut")),
    Lane("`dsp` of logic, 8-bit weights", "fixed8, pot4, sp2 with +8", fixed(True, "lut")),
    Lane("for comparison: one 4x4 product per DSP block", "fixed4", single(True)),
    Lane("for comparison: `*` on 4 x 4 bits in LUTs", "fixed4", single(False), dsp=False),
)


class Tile(wiring.Component):
    """A lane group with its accumulators."""

    def __init__(self, group, family: str):
        self.group, self.family = group, family if family in CELLS else ""
        inputs = {name: member for name, member in group.signature.members.items() if member.flow is In}
        super().__init__({**inputs, "valid": In(1), "high_plane": In(1), "last": In(1),
                          "totals": Out(data.ArrayLayout(ACC_BITS, group.rows * group.px))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.group = group = self.group
        for name, member in group.signature.members.items():
            if member.flow is In:
                m.d.comb += Value.cast(getattr(group, name)).eq(Value.cast(getattr(self, name)))
        for index in range(len(self.totals)):
            unit, ports = place(platform, "accumulator", lambda: Accumulator(
                dot_bits=group.dot_bits, acc_bits=ACC_BITS, family=self.family))
            m.submodules[f"acc_{index}"] = unit
            m.d.comb += [ports["dot"].eq(group.dots[index]), ports["valid"].eq(self.valid),
                         ports["high"].eq(self.high_plane), ports["last"].eq(self.last),
                         self.totals[index].eq(ports["total"])]
        return m


def measure(bench: Bench, lane: Lane) -> dict[str, str]:
    """LUT, FF and DSP per multiply-accumulate, as text."""
    ki, px, rows = SHAPES[bench.family]
    group = lane.make(bench.family, ki=ki, px=px, rows=rows)
    if group is None:
        return dict.fromkeys(("lut", "ff", "dsp"), "-")
    options = "-nodsp" if not lane.dsp and bench.family == "ecp5" else ""
    found = bench.block(Tile(group, bench.family), name=lane.name, options=options)
    macs = ki * px * rows
    return {"lut": f"{found['lut'] / macs:.1f}", "ff": f"{found['ff'] / macs:.1f}",
            "dsp": str(Fraction(found["dsp"]) / macs)}


def table(families: list[str], cache: Path) -> list[str]:
    """The lines of the Markdown table, measured where that has not been done."""
    benches = [Bench(family, cache) for family in families]
    shapes = ", ".join(f"{' x '.join(map(str, SHAPES[family]))} on {family}" for family in families)
    lines = [f"Yosys {benches[0].yosys}, {datetime.date.today().isoformat()}; accumulators of {ACC_BITS} bits; "
             f"ki x px x rows: {shapes}.", "",
             "| lane | schemes | " + " | ".join(f"{family} LUT | FF | DSP" for family in families) + " |",
             "|---" * (2 + 3 * len(families)) + "|"]
    for lane in LANES:
        cells = [value for bench in benches for value in measure(bench, lane).values()]
        lines.append(f"| {lane.name} | {lane.schemes} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=sorted(SHAPES), help="measure this one, leave the documentation")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "lanes")
    options = parser.parse_args()
    os.nice(5)
    lines = table([options.family] if options.family else list(SHAPES), options.cache)
    print("\n".join(lines))
    if not options.family:
        text = TARGET.read_text(encoding="utf-8")
        before, rest = text.split(MARKS[0])
        TARGET.write_text("\n".join([f"{before}{MARKS[0]}", *lines, f"{MARKS[1]}{rest.split(MARKS[1])[1]}"]),
                          encoding="utf-8")


if __name__ == "__main__":
    main()
