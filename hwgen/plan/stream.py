"""What the program stream and the memory around it look like: sizes of packets, fetched maps, addresses of maps.

Cycle model and assembler take these from here, so that they speak of the same stream.
"""

from .. import isa
from ..engine import Engine
from .layout import Layout
from .tiles import Tile
from .steps import Step


def map_words(layout: Layout, tensor: str) -> int:
    """Memory words of a tensor's linear map."""
    return -(-layout.regions[tensor].size * layout.engine.banks // layout.engine.scratch_words)


def memory_map(layout: Layout, program: int) -> tuple[dict[str, int], int]:
    """First memory word of the input and of every map in memory, behind ``program`` words, and the words of all.

    Maps begin at multiples of a read request's longest run.
    """
    result, end = {}, program
    for name in layout.in_memory:
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


def commands_of_tile(layout: Layout, step: Step, tile: Tile) -> int:
    """64-bit words behind a tile's weights: TILE, and FINISH after the last one."""
    last = step is layout.steps[-1] and tile is layout.tiles(step.layer)[-1]
    return len(isa.TILE_WORDS) + last


def program_words(layout: Layout) -> int:
    """Memory words of the whole program."""
    engine, total = layout.engine, 2
    for step in layout.steps:
        layer = step.layer
        total += 2 * sum(len(place) for place in step.fetches) + 1 + command_words(engine, len(isa.LAYER_WORDS))
        for tile in layout.tiles(layer):
            total += 1 + parameter_words(engine, tile)
            if layer.conv.requant.thresholds is not None:
                total += 1 + threshold_words(engine, tile)
            total += 2 + sum(tile.beats(engine).values()) * layout.words(layer, tile)
            total += 1 + command_words(engine, commands_of_tile(layout, step, tile))
    return total
