"""Bytes that a layer moves through the memory ports."""

from dataclasses import dataclass, fields

from .layout import Layout
from .lower import Layer
from .stream import command_words, commands_of_tile, parameter_words, threshold_words
from .steps import Step
from .. import isa


@dataclass(frozen=True)
class Traffic:
    """Bytes, headers of packets included; whole memory words, because that is what the ports carry."""

    weights: int = 0
    parameters: int = 0
    """Requantizer constants, thresholds."""
    commands: int = 0
    maps_in: int = 0
    """Fetched into the scratchpad."""
    maps_out: int = 0
    """Results, and maps that the scratchpad does not hold."""

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


def traffic(layout: Layout, layer: Layer) -> Traffic:
    """What all steps of ``layer`` move; commands and fetches before a step count as its own."""
    return sum((_step(layout, step) for step in layout.steps if step.layer is layer), Traffic())


def _step(layout: Layout, step: Step) -> Traffic:
    layer = step.layer
    engine, words = layout.engine, {"weights": 0, "parameters": 0, "maps_in": 0}
    fetched = [fetch for place in step.fetches for fetch in place]
    commands = 1 + command_words(engine, len(isa.LAYER_WORDS)) + 2 * len(fetched)
    for fetch in fetched:
        # Runs of scratchpad words that may begin and end within a memory word.
        first = fetch.first % engine.scratch_words
        words["maps_in"] += -(-(first + fetch.words) // engine.scratch_words)
    for tile in layout.tiles(layer):
        words["parameters"] += 1 + parameter_words(engine, tile)
        if layer.conv.requant.thresholds is not None:
            words["parameters"] += 1 + threshold_words(engine, tile)
        # A header, and the numbers of slices of each kind.
        words["weights"] += 2 + sum(tile.beats(engine).values()) * layout.words(layer, tile)
        commands += 1 + command_words(engine, commands_of_tile(layout, step, tile))
    # Every word goes out alone, in a memory word of its own or together with its neighbours.
    rows = step.target.height * step.target.pitch * step.target.blocks * step.target.planes
    out = -(-rows // engine.scratch_words) if step.store else 0
    size = engine.mem_bits // 8
    return Traffic(commands=commands * size, maps_out=out * size, **{name: n * size for name, n in words.items()})
