"""report.html: one file with inline SVG, no script, nothing loaded from elsewhere."""

from importlib import resources
from typing import NamedTuple

import jinja2

from hwgen.device.resources import FIELDS
from hwgen.report.terminal import SPLIT, summary_rows
from hwgen.report.text import count, percent, signed_percent

WIDTH = 420
"""Pixels of a full bar."""
KINDS = {"estimated": "weak", "synthesized": "strong", "placed": "strong"}
"""Amounts of a resource, and the look of their bars."""


class Bar(NamedTuple):
    """One row of a picture: label, parts of the bar (width in pixels, class in the style sheet), text behind it."""

    label: str
    parts: list[tuple[float, str]]
    text: str

    @property
    def width(self) -> float:
        return sum(width for width, _ in self.parts)


def render_html(report: dict) -> str:
    """The page for a report as :func:`hwgen.report.data.make_report` makes it."""
    source = resources.files("hwgen.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters.update(count=count, percent=percent, signed_percent=signed_percent)
    return environment.from_string(source).render(
        report=report, summary=summary_rows(report), cycle_bars=cycle_bars(report), resource_bars=resource_bars(report),
        fields=FIELDS, split=SPLIT, width=WIDTH)


def cycle_bars(report: dict) -> list[Bar]:
    """Cycles per layer and what they went into, the longest layer filling the width."""
    layers = report["cycles"]["layers"]
    longest = max((layer["planned"] for layer in layers), default=1) or 1
    return [Bar(layer["name"], [(WIDTH * layer["split"][part] / longest, part) for part in SPLIT],
                f"{count(layer['planned'])} cycles, {percent(layer['utilization'], 0)} utilized")
            for layer in layers]


def resource_bars(report: dict) -> list[Bar]:
    """Share of the part, one bar per resource and step that has run; cut at the full width."""
    amounts = report["resources"]
    bars = []
    for name in FIELDS:
        for kind in KINDS:
            if amounts[kind] is None:
                continue
            share = amounts[kind][name] / amounts["available"][name]
            bars.append(Bar(f"{name.upper()} {kind}", [(WIDTH * min(share, 1.0), KINDS[kind])],
                            f"{count(amounts[kind][name])} of {count(amounts['available'][name])} ({percent(share)})"))
    return bars
