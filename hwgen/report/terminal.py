"""The report as tables in a terminal; readable without colour too."""

from rich.console import Console, Group
from rich.table import Table

from hwgen.device.resources import FIELDS
from hwgen.report.tables import numbers, plain_table
from hwgen.report.text import (clock_state, count, critical_path, cycles_pair, memory_state, percent, rows_text,
                               signed_percent)


SPLIT = {"busy": "busy", "weights": "waiting for weights", "activations": "for activations", "drain": "for the drain",
         "memory": "for maps in memory"}
"""What an array's cycles go into, and in words."""


def print_report(report: dict, console: Console, *, layers: bool = True) -> None:
    """Print the short table, the resources and, if asked for, the layers."""
    parts = [summary_table(report), resource_table(report)]
    if layers:
        parts += [layer_table(report), split_table(report)]
    console.print(Group(*parts))


def summary_table(report: dict) -> Table:
    """Accuracy, mismatches, cycles, frame rate."""
    where = report["board"] or report["part"]
    table = plain_table(title=f"{report['model']} on {where}")
    table.show_header = False
    table.add_column("what")
    table.add_column("value")
    for row in summary_rows(report):
        table.add_row(*row)
    return table


def summary_rows(report: dict) -> list[tuple[str, str]]:
    """The short table's rows, shared with report.html."""
    engine, check, speed = report["engine"], report["verification"], report["performance"]
    rows = [
        ("engine", f"{engine['ki']} channels x {engine['px']} pixels x {sum(engine['rows'].values())} rows "
                   f"({rows_text(engine['rows'])}), {engine['drain_lanes']} drain lanes, "
                   f"{count(engine['macs_per_cycle'])} MAC per cycle"),
        ("network", f"{count(report['network']['macs'])} MAC, {count(report['network']['params'])} weights, "
                    f"rows: {rows_text(report['network']['rows'])}"),
        ("accuracy", _accuracy(check)),
        ("mismatches", "not simulated yet" if check["images"] is None else
         f"{count(check['mismatches'])} in {count(check['images'])} images, every layer"),
        ("requantizers", f"{count(check['requantizers_proven'])} of {count(check['requantizers'])} proven equal"),
        *([("memory", memory_state(report))] if "protocol" in engine else []),
        ("cycles", cycles_pair(report)),
        ("latency", f"{speed['latency_ms']:.3f} ms"),
        ("frame rate", f"{speed['fps']:,.0f} fps at {engine['clock_mhz']:g} MHz ({clock_state(report)})"),
        ("speed", f"{speed['gops']:.2f} GOP/s, {percent(speed['mac_utilization'])} of the multipliers' cycles used"),
    ]
    used = report["resources"]
    if used["levels"] is not None:
        where = "" if used["deepest"]["from"] is None else ", from {from} to {to}".format(**used["deepest"])
        rows.append(("logic depth", f"{used['levels']} levels after synthesis{where}"))
    if used["critical"] is not None:
        rows.append(("longest path", critical_path(report)))
    if check["first_difference"]:
        rows.insert(4, ("first difference", str(check["first_difference"])))
    return rows


def _accuracy(check: dict) -> str:
    simulated = "not simulated yet" if check["images"] is None else (
        f"{percent(check['accuracy'])} of {count(check['images'])} simulated images"
        if check["accuracy"] is not None else "inputs without labels")
    golden = ""
    if check["golden_accuracy"] is not None:
        golden = f"; golden model {percent(check['golden_accuracy'])} of {count(check['golden_images'])}"
    real = f"; float network {percent(check['float_accuracy'])}" if check["float_accuracy"] is not None else ""
    return simulated + golden + real


def resource_table(report: dict) -> Table:
    """Used of available, estimated beside synthesized."""
    resources = report["resources"]
    protocol = report["engine"].get("protocol")
    ports = f"(engine with its {protocol.upper()} ports)" if protocol else "(engine; placed: with its program memory)"
    table = plain_table("", *numbers("available", "estimate", "synthesis", "used", "error", "placed"),
                        title=f"resources of {report['part']} {ports}")
    for name in FIELDS:
        cells = [resources[kind][name] if resources[kind] else None
                 for kind in ("available", "estimated", "synthesized", "placed")]
        used = cells[1] if cells[2] is None else cells[2]
        share = None if used is None else used / cells[0]
        error = resources["error_percent"][name] if resources["error_percent"] else None
        table.add_row(f"{name.upper()} ({resources['units'][name]})", count(cells[0]), count(cells[1]), count(cells[2]),
                      percent(share), signed_percent(error), count(cells[3]))
    return table


def layer_table(report: dict) -> Table:
    table = plain_table("layer", *numbers("MAC", "planned", "simulated", "utilization"), title="layers")
    for layer in report["cycles"]["layers"]:
        table.add_row(layer["name"], count(layer["macs"]), count(layer["planned"]), count(layer["simulated"]),
                      percent(layer["utilization"]))
    return table


def split_table(report: dict) -> Table:
    """What the array's cycles go into, and what every layer moves."""
    table = plain_table("layer", *numbers(*SPLIT, "kB"),
                        title="cycles planned: busy, or waiting for; kB through the memory ports")
    for layer in report["cycles"]["layers"]:
        table.add_row(layer["name"], *(count(layer["split"][part]) for part in SPLIT),
                      f"{sum(layer['bytes'].values()) / 1000:,.1f}")
    return table
