"""The assembler: a laid out network as the stream of packets that the engine reads."""

from dataclasses import dataclass

import numpy as np

from .. import isa
from ..engine import ENGINE_VERSION, Engine
from ..plan.layout import Layout, lacking
from ..plan.lower import Layer, pack_codes
from ..plan.place import Tile
from ..plan.stream import commands_of_tile, fetches, map_words, memory_map, program_words
from .pack import arranged, fit, parameter_records, stored_order, threshold_words, weight_words

C2_EXTRA_BITS = 20
"""The second stage's constant is this much wider than its multipliers (RequantLane)."""


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
    """Scratchpad word where scratchpad address 0 of bank 0 would lie in memory, modulo 2**32: the word of bank b at
    address a lies ``output_base + a * banks + b`` scratchpad words from the beginning of memory."""
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
    """The whole program for one inference.  Raises ValueError when a value does not fit the engine."""
    engine, graph = layout.engine, layout.network.graph
    if reason := lacking(layout):
        raise ValueError(f"the engine cannot run {graph.name!r}: {reason}")
    stream = _Stream(engine.mem_bits)
    stream.packet(isa.START, version=ENGINE_VERSION, engine=engine.id)
    addresses, memory_words = memory_map(layout, program_words(layout))
    outputs = {}
    for layer in layout.layers:
        if layout.stored(layer):
            first = addresses[layer.output] * engine.scratch_words - layout.regions[layer.output].base * engine.banks
            outputs[layer.output] = first % (1 << 32)
    _encode_layers(layout, stream, addresses, outputs)
    stream.packet(isa.END, checksum=stream.checksum)
    assert stream.words == program_words(layout)
    return Program(b"".join(stream.parts), stream.words, addresses[graph.input], map_words(layout, graph.input),
                   outputs, memory_words)


def _encode_layers(layout: Layout, stream: _Stream, addresses: dict[str, int], outputs: dict[str, int]) -> None:
    """Order is synchronisation: a FETCH stands behind all that the layers need for which it waits."""
    engine = layout.engine
    for layer in layout.layers:
        for fetch in fetches(layout, layer):
            source = addresses[fetch.tensor] * engine.scratch_words + fetch.first
            stream.packet(isa.FETCH, _pieces([isa.FETCH_WORD.encode(memory=source, words=fetch.words)]),
                          address=fetch.address, bank=fetch.bank, wait=fetch.wait)
        stream.commands(layer_words(layout, layer, outputs.get(layer.output, 0)))
        weights = arranged(layout, layer)
        position = 0
        for tile in layout.tiles(layer):
            stream.packet(isa.PARAMS, _records(engine, parameter_records(layout, layer, tile, weights)))
            if layer.conv.requant.thresholds is not None:
                stream.packet(isa.THRESHOLDS, _pieces(threshold_words(layout, layer, tile, weights)))
            data, counts = weight_words(layout, layer, tile, weights)
            stream.packet(isa.WEIGHTS, data, words=layout.words(layer), **counts)
            commands = tile_words(layout, layer, tile, position)
            if commands_of_tile(layout, layer, tile) > len(commands):
                commands.append(isa.FINISH)
            stream.commands(commands)
            position += layout.out_words(tile)


def _records(engine: Engine, records: list[int]) -> bytes:
    """Parameter records in groups, each in as many memory words as it takes."""
    group, bits = engine.records_per_word, engine.mem_bits // engine.records_per_word
    size = engine.record_words * engine.mem_bits // 8
    return b"".join(sum(record << i * bits for i, record in enumerate(records[at:at + group])).to_bytes(size, "little")
                    for at in range(0, len(records), group))


def tile_words(layout: Layout, layer: Layer, tile: Tile, first_word: int) -> list[int]:
    """The two words of a TILE command; ``first_word`` is the index of the tile's first output word."""
    out = layout.regions[layer.output]
    stored = layout.out_words(tile) * out.planes * layout.engine.px if layout.stored(layer) else 0
    residual = layout.regions[layer.residual] if layer.residual else None
    return [
        isa.TILE_WORDS[0].encode(
            command=isa.TILE, words=layout.words(layer), chunks=tile.chunks(layout.engine.drain_lanes),
            interval=layout.interval(layer, tile), wide=tile.wide, res_words=layout.residual_words(layer, tile),
            store_words=stored, end=tile is layout.tiles(layer)[-1]),
        isa.TILE_WORDS[1].encode(
            out_address=out.base + first_word * out.planes * out.plane_step,
            res_address=residual.base + first_word * residual.planes * residual.plane_step if residual else 0),
    ]


def layer_words(layout: Layout, layer: Layer, store_base: int) -> list[int]:
    """The words of a LAYER command."""
    conv, rule, window = layer.conv, layer.conv.requant, layer.window
    source, target = layout.regions[layer.input], layout.regions[layer.output]
    residual = layout.regions[layer.residual] if layer.residual else None
    banks = layout.engine.banks
    _, _, kh, kw = conv.weight.shape
    walk = layout.walks[layer.name]
    row_q, row_r = divmod(source.pitch - (kw - 1), banks)
    scale = layer.add or window.rescale
    pool_mode = (isa.POOL_NONE if layer.pool is None else isa.POOL_SUM if window.rescale
                 else isa.POOL_RASTER if walk.raster else isa.POOL_MAX)
    second = isa.RESCALE_ADD if layer.add else isa.RESCALE_AVERAGE if window.rescale else isa.RESCALE_OFF
    values = {
        "layer": {
            "command": isa.LAYER, "kernel_h": kh - 1, "kernel_w": kw - 1, "blocks": source.blocks - 1,
            "two_planes": source.planes - 1, "res_on": residual is not None,
            "res_two_planes": residual.planes - 1 if residual else 0, "out_two_planes": target.planes - 1,
            "half_even": rule.rounding == "half_even", "threshold_mode": rule.thresholds is not None,
            "store": layout.stored(layer), "pool_mode": pool_mode, "rescale": second,
            "half_even2": scale is not None and scale.rounding == "half_even", "step": layout.step(layer) - 1,
            "pad": layout.tensor(layer.input).zero_point, "pool_pad": window.pad_code,
        },
        "input_map": {"base": source.base, "block_step": source.planes * source.plane_step,
                      "plane_step": source.plane_step, "row_q": row_q, "row_r": row_r},
        "input_size": {"height": source.height, "width": source.width, "conv_h": walk.conv_shape[0],
                       "conv_w": walk.conv_shape[1], "res_step": residual.plane_step if residual else 0},
        "evaluations": {"pool_h": walk.inner[0] - 1, "pool_w": walk.inner[1] - 1, "out_h": walk.rows - 1,
                        "out_w": walk.columns - 1, "out_step": target.plane_step},
        "clamp": {"zero": rule.zero_point, "low": rule.low, "high": rule.high},
        "store": {"store_base": store_base},
        "raster": {f"{name}_{axis}": value for name in ("begin", "ahead", "lead")
                   for axis, value in zip("hw", getattr(walk, name), strict=True)} if walk.raster else {},
    }
    if scale is not None:
        values["clamp"] |= {"zero2": scale.zero_point, "low2": scale.low, "high2": scale.high,
                            "shift2": scale.shift - 1}
        c2 = scale.constant + (0 if scale.rounding == "floor" else 1 << scale.shift - 1)
        m_bits = layout.engine.m_bits
        for value, bits, what in ((scale.a, m_bits, "multiplier A"), (scale.b, m_bits, "multiplier B"),
                                  (c2, layout.engine.c2_bits, "constant C2")):
            fit(value, bits, layer, what)
        values["rescale_ab"] = {"a": scale.a, "b": scale.b}
        values["rescale_c"] = {"c2": c2}
    steps, moves = _walker_words(layer, source.pitch, residual.pitch if residual else 0, target.pitch, walk, banks)
    settings = isa.LAYER_WORDS[:len(isa.LAYER_WORDS) - 2 * len(isa.STEPS)]
    words = [word.encode(**values.get(word.name, {})) for word in settings]
    return words + steps + moves


def _walker_words(layer: Layer, in_pitch: int, res_pitch: int, out_pitch: int, walk, banks: int):
    """Where the walk begins and how far each of its four kinds of step goes."""
    strides, pads = layer.conv.strides, layer.conv.pads
    h, w = walk.inner
    columns = walk.columns

    def point(oy, pi, ox, pj):
        """Linear points and coordinates of the evaluation with these loop counters."""
        cy, cx = (walk.origin[0] + oy * walk.strides[0] + pi, walk.origin[1] + ox * walk.strides[1] + pj)
        iy, ix = cy * strides[0] - pads[0], cx * strides[1] - pads[1]
        out = (oy - walk.lead[0] + walk.first_row) * out_pitch + ox - walk.lead[1]
        return np.array([iy * in_pitch + ix, cy * res_pitch + cx, out, ix, iy, cx, cy])

    start = point(0, 0, 0, 0)
    # Where a step leads, from the loops' beginning; a loop inside another one ends before it steps.
    moves_to: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((0, 0, 0, 1), (0, 0, 0, 0))]
    if walk.raster:
        moves_to += [((0, 1, 0, 0), (0, 0, columns - 1, w - 1)), ((0, 0, 1, 0), (0, 0, 0, w - 1))]
    else:
        moves_to += [((0, 1, 0, 0), (0, 0, 0, w - 1)), ((0, 0, 1, 0), (0, h - 1, 0, w - 1))]
    moves_to.append(((1, 0, 0, 0), (0, h - 1, columns - 1, w - 1)))
    deltas = [point(*after) - point(*before) for after, before in moves_to] + [start]
    steps, moves = [], []
    for delta in deltas:
        linear, move = delta[:3].tolist(), delta[3:].tolist()
        parts = {}
        for name, value in zip(("in", "res", "out"), linear, strict=True):
            parts[f"{name}_q"], parts[f"{name}_r"] = divmod(value, banks)
        steps.append(isa._STEP.encode(**parts))
        moves.append(isa._MOVE.encode(ix=move[0], iy=move[1], cx=move[2], cy=move[3]))
    return steps, moves


def input_words(layout: Layout, codes: np.ndarray) -> bytes:
    """One input map (C, H, W) of codes as the memory words at the program's ``input_address``."""
    engine, network = layout.engine, layout.network
    region = layout.regions[network.graph.input]
    packed = pack_codes(codes, network.packing, network.graph.tensors[network.graph.input].zero_point)
    full = np.zeros((region.blocks * engine.ki, region.height, region.pitch), np.uint8)
    order = stored_order(layout, network.graph.input)
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
    order = stored_order(layout, tensor)
    channels = layout.tensor(tensor).shape[0]
    result = np.zeros((channels, region.height, region.width), np.uint8)
    present = order >= 0
    result[order[present]] = maps[:len(order)][present]
    return result
