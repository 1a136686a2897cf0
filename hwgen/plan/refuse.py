"""What no engine on a part can do, found before any engine is laid out."""

from ..device.costs import memory_blocks
from ..device.parts import PARTS, Part
from ..errors import HwgenError
from ..graph.groups import weight_count
from ..graph.ir import Graph, Tensor
from .layout import MAX_WORDS
from .lower import Network, lower

MOST_CHANNELS = 16
"""Largest ``ki`` that is tried."""
SMALL = {"lut": 0.56, "ff": 0.57, "dsp": 1.0, "bram": 1.0}
"""Of an iCE40: a logic cell holds a LUT and a flip-flop, but only 37 to 42 % of an engine's flip-flops stand behind
their own LUT, so that cells are used up when both are at 58 to 60 %."""
PLACED = {"lut": 0.85, "ff": 0.85, "dsp": 1.0, "bram": 0.95}
UNPLACED = PLACED | {"lut": 0.75, "ff": 0.75}


def fill(part: Part) -> dict[str, float]:
    """Share of a part that a plan may use: routing needs air, and more where no open tool can try it."""
    if part.small:
        return SMALL
    return UNPLACED if part.pnr is None else PLACED


def refuse_early(graph: Graph, part: Part) -> None:
    """Raises HwgenError, with numbers, for a network that is too large for every engine on the part."""
    network = lower(graph, MOST_CHANNELS)
    for layer in network.layers:
        _, channels, kh, kw = layer.conv.weight.shape
        words = kh * kw * -(-channels // MOST_CHANNELS)
        if words > MAX_WORDS and layer.sparse is None:
            raise HwgenError(f"network {graph.name!r}: layer {layer.name!r} has {kh * kw * channels:,} weights per "
                             f"row, {words:,} words of {MOST_CHANNELS}; at most {MAX_WORDS:,} words are possible. "
                             "Pool or stride before this layer, or use fewer channels")
    if part.ports or _fits(network, part):
        return
    weights, blocks = _weights(network), memory_floor(network, part)
    enough = [other.name for other in PARTS.values() if other.ports or _fits(network, other)]
    raise HwgenError(f"network {graph.name!r} does not fit {part.name}: its {weights:,} weights and its largest maps "
                     f"need at least {blocks:,} block RAMs ({part.bram_name}), and the part has {part.bram:,}; "
                     + (f"parts with enough: {', '.join(enough)}" if enough else "no known part has enough"))


def memory_floor(network: Network, part: Part) -> int:
    """Block RAMs that the weights, at 4 bits, and the largest pair of maps take at least."""
    maps = max(_map_bits(network.tensors[layer.input]) + _map_bits(network.tensors[layer.output])
               for layer in network.layers)
    return int(memory_blocks(-(-_weights(network) // 16), 64, part) + maps // part.bram_bits)


def _fits(network: Network, part: Part) -> bool:
    return memory_floor(network, part) <= part.bram * fill(part)["bram"]


def _weights(network: Network) -> int:
    return sum(weight_count(layer.conv.weight, layer.conv.sparse) for layer in network.layers)


def _map_bits(tensor: Tensor) -> int:
    channels, height, width = tensor.shape
    return channels * height * width * (4 if tensor.bits <= 4 else 8)
