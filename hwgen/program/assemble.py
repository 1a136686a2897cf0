"""The assembler: a laid out network as the stream of packets that the engine reads."""

from dataclasses import dataclass

import numpy as np

from .. import isa
from ..engine import ENGINE_VERSION, Engine
from ..errors import HwgenError
from ..plan.layout import Layout, lacking
from ..plan.lower import Layer
from ..plan.packing import pack_codes
from ..plan.place import stored_order
from ..plan.tiles import Tile
from ..plan.stream import commands_of_tile, map_words, memory_map, program_words
from .commands import layer_words, tile_words
from .pack import arranged, parameter_records, threshold_words, weight_words


@dataclass(frozen=True, eq=False)
class Program:
    """A memory image and where its parts lie.

    The program is only read; the host writes the input map to ``input_address`` before a
    run and finds the results in memory after it.
    """

    image: bytes
    words: int
    """Memory words of the program, from address 0 on."""
    input_address: int
    """Memory word where the input map begins."""
    input_words: int
    """Memory words of the input map."""
    output_base: dict[str, int]
    """Scratchpad words from the beginning of memory to the first word of each map that is written to memory."""
    memory_words: int
    """Memory words of program, input and results."""


class _Stream:
    def __init__(self, mem_bits: int):
        self.bytes_per_word = mem_bits // 8
        self.parts: list[bytes] = []
        self.words = 0
        self.checksum = 0

    def packet(self, kind: int, payload: bytes = b"", **values: int) -> None:
        """Append a packet; the payload is filled up to whole memory words."""
        payload += bytes(-len(payload) % self.bytes_per_word)
        if kind not in (isa.START, isa.END):
            values["count"] = len(payload) // self.bytes_per_word
        header = isa.HEADERS[kind].encode(packet=kind, **values)
        data = header.to_bytes(self.bytes_per_word, "little") + payload
        if kind not in (isa.START, isa.END):
            self.checksum = isa.checksum(data, self.bytes_per_word, self.checksum)
        self.parts.append(data)
        self.words += len(data) // self.bytes_per_word

    def commands(self, words: list[int]) -> None:
        self.packet(isa.COMMANDS, _pieces(words), words=len(words))


def _pieces(words: list[int]) -> bytes:
    """64-bit words side by side."""
    return np.array(words, np.uint64).astype("<u8").tobytes()


def assemble_layout(layout: Layout) -> Program:
    """The whole program for one inference.

    Raises ValueError when a value does not fit the engine, HwgenError when the engine does not reach enough memory.
    """
    engine, graph = layout.engine, layout.network.graph
    if reason := lacking(layout):
        raise ValueError(f"the engine cannot run {graph.name!r}: {reason}")
    stream = _Stream(engine.mem_bits)
    stream.packet(isa.START, version=ENGINE_VERSION, engine=engine.id)
    addresses, memory_words = memory_map(layout, program_words(layout))
    if memory_words > 1 << engine.address_bits:
        raise HwgenError(f"network {graph.name!r} needs {memory_words:,} words of memory, and a small engine reaches "
                         f"{1 << engine.address_bits:,}; choose a larger part, or leave --engine out")
    bases = {name: address * engine.scratch_words for name, address in addresses.items()}
    _encode_steps(layout, stream, bases)
    stream.packet(isa.END, checksum=stream.checksum)
    assert stream.words == program_words(layout)
    return Program(b"".join(stream.parts), stream.words, addresses[graph.input], map_words(layout, graph.input),
                   {name: base for name, base in bases.items() if name != graph.input}, memory_words)


def _encode_steps(layout: Layout, stream: _Stream, bases: dict[str, int]) -> None:
    """Order is synchronisation: a FETCH stands behind all that the layers need for which it waits."""
    def fetch(place: int) -> None:
        for part in step.fetches[place]:
            stream.packet(isa.FETCH, _pieces([isa.FETCH_WORD.encode(memory=bases[part.tensor] + part.first,
                                                                    words=part.words)]),
                          address=part.address, bank=part.bank, wait=part.wait)

    packed: dict[str, list[list[tuple[int, bytes, dict[str, int]]]]] = {}
    for step in layout.steps:
        layer = step.layer
        if layer.name not in packed:
            # The tiles of all strips are the same; layers that are done need no room any more.
            packed = {layer.name: [_tile_packets(layout, layer, tile) for tile in layout.tiles(layer)]}
        fetch(0)
        stream.commands(layer_words(layout, step, bases.get(layer.output, 0)))
        position = 0
        for index, (tile, packets) in enumerate(zip(layout.tiles(layer), packed[layer.name], strict=True)):
            for kind, payload, values in packets:
                stream.packet(kind, payload, **values)
            commands = tile_words(layout, step, tile, position)
            if commands_of_tile(layout, step, tile) > len(commands):
                commands.append(isa.FINISH)
            stream.commands(commands)
            fetch(index + 1)
            position += layout.out_words(tile)


def _tile_packets(layout: Layout, layer: Layer, tile: Tile) -> list[tuple[int, bytes, dict[str, int]]]:
    """Kind, payload and fields of the packets before a TILE command."""
    weights = arranged(layout, layer, tile)
    result: list[tuple[int, bytes, dict[str, int]]] = [
        (isa.PARAMS, _records(layout.engine, parameter_records(layout, layer, tile, weights)), {})]
    if layer.conv.requant.thresholds is not None:
        result.append((isa.THRESHOLDS, _pieces(threshold_words(layout, layer, tile, weights)), {}))
    data, counts = weight_words(layout, layer, tile, weights)
    slices = isa.SLICES.encode(**counts).to_bytes(layout.engine.mem_bits // 8, "little")
    result.append((isa.WEIGHTS, slices + data, {"words": layout.words(layer, tile)}))
    return result


def _records(engine: Engine, records: list[int]) -> bytes:
    """Parameter records in groups, each in as many memory words as it takes."""
    group, bits = engine.records_per_word, engine.mem_bits // engine.records_per_word
    size = engine.record_words * engine.mem_bits // 8
    return b"".join(sum(record << i * bits for i, record in enumerate(records[at:at + group])).to_bytes(size, "little")
                    for at in range(0, len(records), group))


def input_words(layout: Layout, codes: np.ndarray) -> bytes:
    """One input map (C, H, W) of codes as the memory words at the program's ``input_address``."""
    engine, network = layout.engine, layout.network
    region = layout.regions[network.graph.input]
    packed = pack_codes(codes, network.packing, network.graph.tensors[network.graph.input].zero_point)
    full = np.zeros((region.blocks * engine.ki, region.height, region.pitch), np.uint8)
    order = stored_order(network, layout.placements, network.graph.input)
    present = order >= 0
    full[:len(order)][present, :, :region.width] = packed[order[present]]
    full = full.reshape(region.blocks, engine.ki, -1).transpose(0, 2, 1)
    planes = np.stack([full >> 4, full & 15], axis=1) if region.planes == 2 else full[:, None]
    points = region.plane_step * engine.banks
    planes = np.pad(planes, ((0, 0), (0, 0), (0, points - planes.shape[2]), (0, 0)))
    data = planes[..., 0::2] | planes[..., 1::2] << 4
    return data.tobytes() + bytes(-data.size % (engine.mem_bits // 8))


def unpack_words(layout: Layout, tensor: str, words: np.ndarray) -> np.ndarray:
    """Scratchpad words of a tensor as its map of codes (C, H, W).

    ``words``: (blocks, planes, plane_step * banks, ki) nibbles in the order of linear points.
    """
    region = layout.regions[tensor]
    codes = words[:, 0] if region.planes == 1 else words[:, 0] << 4 | words[:, 1]
    points = codes[:, :region.height * region.pitch].reshape(region.blocks, region.height, region.pitch, -1)
    maps = points.transpose(0, 3, 1, 2).reshape(-1, region.height, region.pitch)[:, :, :region.width]
    order = stored_order(layout.network, layout.placements, tensor)
    channels = layout.tensor(tensor).shape[0]
    result = np.zeros((channels, region.height, region.width), np.uint8)
    present = order >= 0
    result[order[present]] = maps[:len(order)][present]
    return result
