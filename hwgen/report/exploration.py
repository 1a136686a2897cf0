"""What ``hwgen explore`` found: tables for the terminal, a picture for a page."""

import io

from rich.console import Console, Group
from rich.table import Table

from hwgen.report.tables import numbers, plain_table
from hwgen.report.text import count

AXES = {"lut": "LUT", "dsp": "DSP", "bram": "block RAM", "bandwidth": "bytes per cycle of the memory ports"}
ROWS = 24
"""Engines in the terminal's table at most; all are in the JSON."""
TRIED, FRONT, BEST = "#9dbfca", "#1f6f8b", "#c2541a"


def print_exploration(found: dict, console: Console) -> None:
    """Tables of an exploration as :meth:`hwgen.plan.explore.Exploration.to_json` gives it."""
    console.print(Group(front_table(found), ratio_table(found)))


def front_table(found: dict) -> Table:
    """Engines that are best in latency against one axis; thinned out where there are many."""
    table = plain_table(*numbers("ms", "fps", "LUT", "DSP", "BRAM", "B/cycle"),
                        "channels x pixels x rows, drain lanes; full first",
                        title=f"{found['model']} on {found['part']} at {found['clock_mhz']:g} MHz: engines that none "
                              "beats")
    front = [point for point in found["pareto"] if point["fronts"]]
    step = max(1.0, (len(front) - 1) / (ROWS - 1))
    for index in sorted({round(step * i) for i in range(ROWS)} & set(range(len(front)))):
        point = front[index]
        table.add_row(f"{point['latency_ms']:.3f}", f"{point['fps']:,.1f}", count(point["lut"]), count(point["dsp"]),
                      count(point["bram"]), count(point["bandwidth"]), f"{shape(point)}; {point['bound'].upper()}")
    return table


def ratio_table(found: dict) -> Table:
    """Frame rate by share of SP2 rows, with a bar."""
    table = plain_table(*numbers("SP2", "fps", "LUT", "DSP"), "", "channels x pixels x rows, drain lanes",
                        title="frame rate by share of SP2 rows, the others fixed4")
    most = max(ratio["fps"] for ratio in found["ratios"])
    for ratio in found["ratios"]:
        bar = "#" * round(20 * ratio["fps"] / most)
        if ratio["sp2_percent"] == found["best_sp2_percent"]:
            bar += " best"
        if "lut" in ratio:
            table.add_row(f"{ratio['sp2_percent']} %", f"{ratio['fps']:,.1f}", count(ratio["lut"]), count(ratio["dsp"]),
                          bar, shape(ratio))
        else:
            table.add_row(f"{ratio['sp2_percent']} %", "-", "-", "-", "does not fit", "")
    return table


def shape(point: dict) -> str:
    """``16 x 6 x (8 dsp + 24 sp2), 8``."""
    values = point["parameters"]
    rows = " + ".join(f"{n} {name.removesuffix('_rows')}" for name, n in values.items() if name.endswith("_rows") and n)
    return f"{values['ki']} x {values['px']} x ({rows}), {values['drain_lanes']}"




def draw(found: dict) -> bytes:
    """A PNG: latency against every axis, and the ratio curve."""
    # Without a display, and not loaded by commands that draw nothing.
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    for panel, (axis, title) in zip(panels, AXES.items(), strict=False):
        _front(panel, found, axis, title)
    _ratios(panels[4], found)
    panels[5].axis("off")
    panels[5].text(0, 1, _words(found), va="top", fontsize=9)
    figure.suptitle(f"{found['model']} on {found['part']}, {found['clock_mhz']:g} MHz (planned)")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": "hwgen"})
    return buffer.getvalue()


def _front(panel, found: dict, axis: str, title: str) -> None:
    points = found["pareto"]
    panel.scatter([p[axis] for p in points], [p["latency_ms"] for p in points], s=14, color=TRIED,
                  label="best in all four together")
    front = sorted((p for p in points if axis in p["fronts"]), key=lambda p: p["latency_ms"])
    panel.step([p[axis] for p in front], [p["latency_ms"] for p in front], where="pre", color=FRONT, linewidth=1.2)
    panel.scatter([p[axis] for p in front], [p["latency_ms"] for p in front], s=18, color=FRONT,
                  label="best in this one")
    available = found["available"][axis]
    if available:
        panel.axvline(available, color=BEST, linewidth=1, linestyle=":", label=f"the part has {count(available)}")
    panel.set(xlabel=title, ylabel="latency, ms", yscale="log")
    panel.set_xlim(left=0)
    panel.grid(alpha=0.25)
    panel.legend(fontsize=7)


def _ratios(panel, found: dict) -> None:
    ratios = [ratio for ratio in found["ratios"] if ratio["fps"]]
    panel.plot([r["sp2_percent"] for r in ratios], [r["fps"] for r in ratios], "o-", color=FRONT, markersize=4)
    best = next(r for r in ratios if r["sp2_percent"] == found["best_sp2_percent"])
    panel.plot(best["sp2_percent"], best["fps"], "o", color=BEST, label=f"best: {best['sp2_percent']} % SP2")
    panel.set(xlabel="SP2 rows, % (the others fixed4)", ylabel="frames per second")
    panel.set_ylim(0, 1.08 * best["fps"])
    panel.grid(alpha=0.25)
    panel.legend(fontsize=7, loc="lower right")


def _words(found: dict) -> str:
    fastest = found["pareto"][0]
    best = next(r for r in found["ratios"] if r["sp2_percent"] == found["best_sp2_percent"])
    return "\n".join((
        "fastest engine for the network as it is:",
        f"  {shape(fastest)} drain lanes", f"  {fastest['latency_ms']:.3f} ms, {fastest['fps']:,.1f} fps",
        f"  LUT {count(fastest['lut'])}, DSP {count(fastest['dsp'])}, block RAM {count(fastest['bram'])}",
        f"  fullest: {fastest['bound'].upper()}", "",
        f"best ratio: {best['sp2_percent']} % SP2, {best['fps']:,.1f} fps", f"  {shape(best)} drain lanes"))
