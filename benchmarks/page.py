"""docs/benchmarks.md from the reports of the experiments."""

from benchmarks.experiments import PUBLISHED
from benchmarks.markdown import table
from hwgen.plan.load import EXTERNAL

INTRODUCTION = f"""# Benchmarks

Made by `make bench`; `build/bench/NAME/report.json` has every figure, layer by layer. Planned cycles come from the
cycle model, simulated ones from the emitted Verilog in Verilator, both through the engine's AXI ports with a memory
that answers after {EXTERNAL.latency} cycles. The bound is what the engine could do if nothing ever waited
(`hwgen/plan/ideal.py`). Networks have generated weights (`models/resnet18`): cycles and resources do not depend on what
a network has learnt, and accuracy is not part of this page.
"""
NETWORKS = {"resnet18": "ResNet-18", "resnet50": "ResNet-50", "vgg16": "VGG-16", "mobilenet_v2": "MobileNet-v2"}
PUBLISHED_NOTE = """All at 100 MHz. Figures of others are as published, not measured here; figures of hwgen are planned
or simulated with the first bandwidth above, and did not run on a board.
"""
NOTES = """* **RMSMP's rows** are slower than three SP2 rows to one fixed. Five in a hundred are 8-bit rows, which only
  multipliers with 8-bit weights run, and these hold two products per DSP48E1 instead of four: nearly all other rows
  need LUT lanes, and the LUTs last for four pixels instead of five. DSP blocks that are left over would not help:
  layers of 64 rows take two tiles of 32, and two they stay until an engine has 64 rows.
* **Threshold mode**, which four layers of that network were compiled to before 19-bit multipliers were tried, had cost
  it more than half of its time: 24.5 ms.
"""
FIELDS = ("lut", "ff", "dsp", "bram")


def page(reports: list[dict]) -> str:
    """The page; ``reports`` as bench.py writes them, in the order in which they are shown."""
    return "\n".join([INTRODUCTION, *_latency(reports), *_resources(reports), *_clocks(reports), *_published(reports),
                      *_targets(reports), *_tools(reports), ""])


def _latency(reports: list[dict]) -> list[str]:
    rows = [["experiment", "engine", "MAC per cycle", "bytes per cycle", "cycles planned", "simulated", "ms at clock",
             "bound / cycles", "MACs used", "codes that differ"]]
    for report in reports:
        for width, row in report["memory"].items():
            rows.append([report["title"], report["engine"], f"{report['macs_per_cycle']:,}", width,
                         f"{row['planned']:,}", _count(row["simulated"]), f"{row['ms']:.2f}",
                         f"{100 * row['bound_share']:.0f} %", f"{100 * row['utilization']:.0f} %",
                         "not simulated" if row["mismatches"] is None else
                         f"{row['mismatches']:,} in {row['images']} images"])
    return ["## Cycles", "", *table(*rows)]


def _resources(reports: list[dict]) -> list[str]:
    rows = [["experiment", "part", *(name.upper() for name in FIELDS), ""]]
    for report in reports:
        for kind in ("estimated", "synthesized"):
            if report[kind]:
                share = [f"{report[kind][name]:,} ({report[kind][name] / report['available'][name]:.0%})"
                         for name in FIELDS]
                rows.append([report["title"], report["part"], *share, kind])
    return ["## Resources of the engine with its AXI ports", "", *table(*rows)]


def _clocks(reports: list[dict]) -> list[str]:
    """Clocks after place and route, every seed; nothing where nothing was placed."""
    rows = [["experiment", "part", "LUT", "target, MHz", "seed", "MHz", "longest path", "of it routing"]]
    for report in reports:
        for run in (report.get("placed") or {"runs": []})["runs"]:
            path, used = run["critical"], run["resources"]["lut"]
            rows.append([report["title"], report["part"], f"{used:,} ({used / report['available']['lut']:.0%})",
                         f"{run['target_mhz']:g}", run["seed"], f"{run['fmax_mhz']:.1f}",
                         f"`{path['from']}` to `{path['to']}`",
                         f"{path['routing_ns'] / (path['logic_ns'] + path['routing_ns']):.0%}"])
    return ["## Clock after place and route", "", "With the program memory, nextpnr; ECP5 at speed grade 6.", "",
            *table(*rows)] if len(rows) > 1 else []


def _published(reports: list[dict]) -> list[str]:
    """Figures of others and, network by network, ours on the engines that were found or chosen for the part."""
    head = ["network", "part", "design", "ms", "LUT", "DSP", "block RAM", "source"]
    rows = [[network, part, who, f"{ms:g}", _count(lut), _count(dsp), bram or "-", f"published: {source}"]
            for network, part, who, ms, lut, dsp, bram, source in PUBLISHED]
    for report in reports:
        if not report["memory"]:
            continue
        network, _, mix = report["model"].partition("@")
        used, row = report["synthesized"] or report["estimated"], next(iter(report["memory"].values()))
        cycles = "planned" if row["simulated"] is None else "simulated"
        resources = "synthesized" if report["synthesized"] else "estimated"
        design = f"hwgen, {report['name']}: {mix}, {report['macs_per_cycle']:,} MAC per cycle"
        rows.append([NETWORKS[network], report["part"], design, f"{row['ms']:.2f}", _count(used["lut"]),
                     _count(used["dsp"]), used["bram"], f"here: cycles {cycles}, resources {resources}"])
    order = list(NETWORKS.values())
    rows.sort(key=lambda row: (order.index(row[0]), row[1]))
    return ["## Beside published figures", "", PUBLISHED_NOTE, *table(head, *rows), NOTES]


def _targets(reports: list[dict]) -> list[str]:
    rows = [["experiment", "what", "at most", "value", "met"]]
    for report in reports:
        rows += [[report["title"], name, f"{target['most']:g}", f"{target['value']:.3g}",
                  "yes" if target["met"] else "no"] for name, target in report["targets"].items()]
    return ["## Targets", "", *table(*rows)] if len(rows) > 1 else []


def _tools(reports: list[dict]) -> list[str]:
    rows = [["experiment", "date", "seconds by step (of CPU, where other work shared the machine)", "peak memory, GB"]]
    for report in reports:
        rows.append([report["title"], report["date"],
                     ", ".join(_step(name, step) for name, step in report["steps"].items()),
                     max(step["peak_gb"] for step in report["steps"].values())])
    versions = sorted({f"{name} {version}" for report in reports for name, version in report["versions"].items()})
    return ["## The tool", "", *table(*rows), f"Versions: {', '.join(versions)}."]


def _step(name: str, step: dict) -> str:
    shared = "cpu" in step and step["cpu"] < 0.9 * step["seconds"]
    return f"{name} {step['seconds']:g}" + (f" ({step['cpu']:g})" if shared else "")


def _count(value) -> str:
    return "-" if value is None else f"{value:,}"
