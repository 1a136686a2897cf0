"""Where the cycles go: what every unit does when, as spans and as sums per layer."""

from dataclasses import dataclass, fields
from typing import NamedTuple

UNITS = ("load", "compute", "drain")
"""The load unit; window reader and array; requantizers, pool and store."""


class Span(NamedTuple):
    """A unit is occupied with one thing from cycle ``begin`` to before cycle ``end``."""

    unit: str
    layer: str
    what: str
    begin: int
    end: int


@dataclass
class Split:
    """The cycles of the array from a layer's beginning to the next one's; they add up to all of them."""

    busy: int = 0
    """A word of weights and activations is multiplied."""
    weights: int = 0
    """A tile's weights or parameters are not loaded yet."""
    activations: int = 0
    """Reading residual operands, bank collisions, a layer's beginning."""
    drain: int = 0
    """A tile's last word waits for the drain of the one before; a layer's results are not all written yet."""
    memory: int = 0
    """A map that is fetched from memory is not there yet."""

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))

    def __add__(self, other: "Split") -> "Split":
        return Split(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


@dataclass(frozen=True)
class Cycles:
    """Cycles from start to done, and per layer from its beginning to the next one's."""

    total: int
    layers: tuple[int, ...]
    first_load: int
    """Before the first layer begins."""
    splits: tuple[Split, ...]
    """Per layer, what its cycles went into."""
    collisions: tuple[int, ...]
    """Per layer, extra cycles because pixels of a step lie in one bank."""
    last_word: int
    """Cycle after the last word was multiplied; what follows is the last drain."""
    program_words: int
    """Memory words of the program."""
    load: tuple[int, int]
    """Cycles in which the load unit took something, and in which it waited for room."""
    drain: int
    """Cycles in which the drain was at work."""


def chrome_trace(spans: list[Span], network: str, clock_mhz: float) -> dict:
    """The timeline as a trace that Perfetto (ui.perfetto.dev) and chrome://tracing show.

    One process, a thread per unit; times in microseconds at the engine's clock, cycles in the arguments.
    Source of the format: the Trace Event Format of the Chromium project, complete events ("ph": "X").
    """
    events: list[dict] = [{"ph": "M", "pid": 1, "tid": 0, "name": "process_name", "args": {"name": network}}]
    for tid, unit in enumerate(UNITS, 1):
        events.append({"ph": "M", "pid": 1, "tid": tid, "name": "thread_name", "args": {"name": unit}})
    for span in sorted(spans, key=lambda span: (span.begin, UNITS.index(span.unit), span.end)):
        events.append({"ph": "X", "pid": 1, "tid": UNITS.index(span.unit) + 1, "cat": span.unit,
                       "name": f"{span.layer}: {span.what}", "ts": span.begin / clock_mhz,
                       "dur": (span.end - span.begin) / clock_mhz,
                       "args": {"layer": span.layer, "begin": span.begin, "end": span.end}})
    return {"displayTimeUnit": "ns", "traceEvents": events}
