"""Place and route of netlists that fill much of an ECP5, which nextpnr does not finish with its defaults."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
import re

from hwgen.device.parts import Part
from hwgen.synth import hard_blocks
from hwgen.synth.count import count_cells
from hwgen.synth.process import GaveUp, Progress

LARGE = 0.4
"""Share of an ECP5's LUTs above which placement by density and routing by negotiation are taken: nextpnr's defaults
reach higher clocks where there is room, and do not finish routing where there is little (docs/clock.md)."""
ROUNDS = 100
"""Rounds in which router2 must have met the clock: it would go on for ever.  Clocks that were met took 28 to 61."""
ROUND = re.compile(r"^Info: +iter=(\d+) wires=\d+ overused=", re.MULTILINE)
TARGET = re.compile(rb'("target_freq": ")[0-9.]+')
"""Of a placed design, in Hz: nextpnr heeds it more than its option."""
ESTIMATE = re.compile(r"^[A-Za-z]+: Max frequency for clock .*: ([0-9.]+) MHz", re.MULTILINE)
PINS, SITES, NETLIST, PLACED = "pins.lpf", "sites.json", "netlist_with_sites.json", "placed.json"
PLACE = ("--placer", "static", "--router", "router2", "--lpf", PINS, "--no-route", "--write", PLACED)
ROUTE = ("--no-pack", "--no-place", "--router", "router2")
Run = Callable[..., str]
"""Runs nextpnr on a netlist with further options, and ``hopeless`` by name; the log."""


def is_large(part: Part, cells: dict[str, dict]) -> bool:
    """The netlist needs other algorithms: the default ones do not route it."""
    if part.family != "ecp5":
        return False
    used = count_cells(Counter(cell["type"] for cell in cells.values()), part).resources
    return used.lut > LARGE * part.available.lut


def place_and_route(part: Part, out_dir: Path, run: Run, clock_mhz: float, report: str, progress: Progress) -> None:
    """Place ``out_dir``/netlist.json with sites for its hard blocks, and route it for ``clock_mhz`` if that can be."""
    # From a pin that the static placer chose itself router2 did not reach the clock network of smaller parts.
    (out_dir / PINS).write_text(f'LOCATE COMP "clk" SITE "{part.clock_pin}";\n', encoding="utf-8")
    try:
        sites = _sites(part, out_dir, run)
        progress("placement from which block RAMs and multipliers get their sites")
        run("netlist.json", *PLACE)
        chosen = hard_blocks.best_sites(out_dir / PLACED, sites)
        hard_blocks.fix_sites(out_dir / "netlist.json", chosen, out_dir / NETLIST)
        progress("placement with these sites")
        estimates = ESTIMATE.findall(run(NETLIST, *PLACE))
        _route(out_dir / PLACED, run, clock_mhz, float(estimates[-1]) if estimates else clock_mhz, report, progress)
    finally:
        (out_dir / PLACED).unlink(missing_ok=True)


def _sites(part: Part, out_dir: Path, run: Run) -> hard_blocks.Sites:
    everything = out_dir / SITES
    hard_blocks.write_all_blocks(everything, part.available)
    try:
        # The other placers want nets.
        run(SITES, "--placer", "sa", "--no-route", "--write", PLACED)
        return hard_blocks.read_sites(out_dir / PLACED)
    finally:
        everything.unlink(missing_ok=True)


def _route(placed: Path, run: Run, target: float, estimate: float, report: str, progress: Progress) -> None:
    """Route for the target; if that is not met for less, down to 0.9 of nextpnr's estimate of the placement, and at
    last for no clock at all.

    router2 alone does not look at time: 64 to 71 MHz became 81 with the same placements.
    """
    lower = (clock_mhz for clock_mhz in ((target + estimate) / 2, estimate, 0.9 * estimate) if clock_mhz < target)
    for clock_mhz in (target, *lower):
        progress(f"routing for {clock_mhz:.1f} MHz")
        placed.write_bytes(TARGET.sub(rb"\g<1>%d" % round(clock_mhz * 1e6), placed.read_bytes(), count=1))
        try:
            run(placed.name, *ROUTE, "--tmg-ripup", "--report", report, hopeless=_hopeless)
            return
        except GaveUp:
            progress(f"{clock_mhz:.1f} MHz not met in {ROUNDS} rounds")
    run(placed.name, *ROUTE, "--report", report)


def _hopeless(log: str) -> bool:
    return len(ROUND.findall(log)) > ROUNDS
