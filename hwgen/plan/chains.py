"""Chains: layers that follow each other strip by strip, so that the maps between them are never there as a whole.

For a strip of the last layer's rows the layers before it compute the rows that it reads, one after the other; rows
that two strips read are computed twice.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ..engine import Engine
from .geometry import Walk, input_rows, walk
from .heights import STEP_OVERHEAD, Heights
from .lower import Layer, Network
from .memory import Region


@dataclass(frozen=True)
class Load:
    """What a layer's steps cost, about."""

    group_cycles: int
    """Cycles of a group of pixels over all row tiles."""
    tiles: int
    storable: bool
    """The store queue holds the words of a tile."""
    load_words: int
    """Memory words of its weights, which every step loads again."""


def chains_of(layers: tuple[Layer, ...], chained: set[str]) -> list[range]:
    """Layers in their order, those together between which only ``chained`` tensors lie."""
    result: list[range] = []
    begin = 0
    for index, layer in enumerate(layers):
        if layer.output not in chained:
            result.append(range(begin, index + 1))
            begin = index + 1
    return result


def can_chain(network: Network, name: str, made: dict[str, int], read: dict[str, list[int]]) -> bool:
    """Whether the one reader of a tensor inside the network is the next layer, which reads it as its input only.

    All rows of it: what no strip reads would never be there for a trace to compare.
    """
    readers = read[name]
    if made[name] < 0 or readers != [made[name] + 1] or name in network.graph.outputs:
        return False
    reader = network.layers[readers[0]]
    shape, window = reader.footprint, reader.window
    steps = walk(reader, 1, 0)
    height = network.tensors[name].shape[1]
    return (reader.input == name and reader.residual != name and shape.kernel[0] >= shape.strides[0]
            and window.kernel[0] >= window.strides[0] and input_rows(shape, steps, height) == (0, height))


def walks_of(layers: list[Layer], strip: tuple[int, int], maps: dict[str, Region], engine: Engine) -> list[Walk]:
    """Per layer of a chain the walk over the rows that a strip of the last one's output rows needs."""
    result: list[Walk] = []
    for layer in reversed(layers):
        result.append(walk(layer, engine.px, engine.pool_columns, strip))
        strip = input_rows(layer.footprint, result[-1], maps[layer.input].height)
    return result[::-1]


def tallest(rows: int, room: float, sizes_of: Callable[[tuple[int, int]], list[int]]) -> Heights | None:
    """The fewest strips of a chain with ``rows`` output rows that ``room`` words per bank hold; None if none do.

    ``sizes_of``: of a strip, per layer the words per bank that it reads of maps that are not there as a whole.
    """
    tried = 0
    for number in range(1, rows + 1):
        height = -(-rows // number)
        if height == tried:
            continue
        tried = height
        # A strip in the middle reads most.
        first = (rows - height) // 2
        sizes = sizes_of((first, first + height))
        if max(a + b for a, b in zip(sizes, (*sizes[1:], 0), strict=True)) <= room:
            return Heights(height, height, True)
    return None


def cost(layers: tuple[Layer, ...], index: int, maps: dict[str, Region], loads: dict[str, Load], engine: Engine,
         number: int) -> float:
    """Cycles, about, that it costs to run layer ``index`` and the next one in ``number`` strips."""
    maker, reader = layers[index], layers[index + 1]
    overlap = max(0, reader.footprint.kernel[0] - reader.footprint.strides[0])
    again = overlap * maker.conv_shape[2] / engine.px * loads[maker.name].group_cycles
    return (number - 1) * (again + sum(STEP_OVERHEAD + loads[layer.name].load_words for layer in (maker, reader)))
