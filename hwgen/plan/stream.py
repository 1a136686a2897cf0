"""What the program stream and the memory around it look like: sizes of packets, fetched maps, addresses of maps.

Cycle model and assembler take these from here, so that they speak of the same stream.
"""

from dataclasses import dataclass

from .. import isa
from ..engine import Engine
from .layout import Layout
from .lower import Layer
from .place import Tile


@dataclass(frozen=True)
class Fetch:
    """Part of a map that the load unit copies from memory into the scratchpad before a layer."""

    tensor: str
    first: int
    """First word within the tensor's linear map (block, plane, point), in scratchpad words."""
    words: int
    address: int
    """Scratchpad address of the first word, and its bank."""
    bank: int = 0
    wait: int = 0
    """Layers that must be drained and stored before: those that read what is overwritten or write what is read."""


def fetches(layout: Layout, layer: Layer) -> tuple[Fetch, ...]:
    """What is fetched before ``layer``: the network's input, before the first layer."""
    if layer is not layout.layers[0]:
        return ()
    region = layout.regions[layout.network.graph.input]
    return (Fetch(layout.network.graph.input, 0, region.size * layout.engine.banks, region.base),)


def map_words(layout: Layout, tensor: str) -> int:
    """Memory words of a tensor's linear map."""
    return -(-layout.regions[tensor].size * layout.engine.banks // layout.engine.scratch_words)


def memory_map(layout: Layout, program: int) -> tuple[dict[str, int], int]:
    """First memory word of the input and of every result behind a program of ``program`` words, and the words of all.

    Maps begin at multiples of a read request's longest run.
    """
    names = [layout.network.graph.input] + [layer.output for layer in layout.layers if layout.stored(layer)]
    result, end = {}, program
    for name in names:
        result[name] = -(-end // isa.RUN) * isa.RUN
        end = result[name] + map_words(layout, name)
    return result, end


def memory_words(layout: Layout, program: int) -> int:
    """Words of the memory that holds a program of ``program`` words, the input and the results."""
    return memory_map(layout, program)[1]


def parameter_words(engine: Engine, tile: Tile) -> int:
    """Payload of PARAMS."""
    return len(tile.rows) // engine.records_per_word * engine.record_words


def threshold_words(engine: Engine, tile: Tile) -> int:
    """Payload of THRESHOLDS: 64 bytes per row."""
    return -(-len(tile.rows) * 512 // engine.mem_bits)


def command_words(engine: Engine, commands: int) -> int:
    """Payload of COMMANDS."""
    return -(-commands * isa.WORD_BITS // engine.mem_bits)


def commands_of_tile(layout: Layout, layer: Layer, tile: Tile) -> int:
    """64-bit words behind a tile's weights: TILE, and FINISH after the last one."""
    last = layer is layout.layers[-1] and tile is layout.tiles(layer)[-1]
    return len(isa.TILE_WORDS) + last


def program_words(layout: Layout) -> int:
    """Memory words of the whole program."""
    engine, total = layout.engine, 2
    for layer in layout.layers:
        total += 2 * len(fetches(layout, layer)) + 1 + command_words(engine, len(isa.LAYER_WORDS))
        for tile in layout.tiles(layer):
            total += 1 + parameter_words(engine, tile)
            if layer.conv.requant.thresholds is not None:
                total += 1 + threshold_words(engine, tile)
            total += 2 + sum(tile.beats(engine).values()) * layout.words(layer)
            total += 1 + command_words(engine, commands_of_tile(layout, layer, tile))
    return total
