"""The assembler: a laid out network as the stream of packets that the engine reads."""

from dataclasses import dataclass

import numpy as np

from ..plan.cycles import count_cycles
from ..engine import ENGINE_VERSION
from ..plan.layout import Layout, lacking, memory_words
from ..plan.lower import Layer, pack_codes
from ..plan.place import Tile
from .. import isa
from .pack import arranged, fit, parameter_words, stored_order, threshold_words, weight_words

C2_EXTRA_BITS = 20
"""The second stage's constant is this much wider than its multipliers (RequantLane)."""


@dataclass(frozen=True, eq=False)
class Program:
    """A memory image and where its parts lie.  Addresses and sizes count memory words."""

    image: bytes
    words: int
    input_address: int
    """First word of the input map; one scratchpad word per memory word."""
    input_words: int
    output_base: dict[str, int]
    """Address of word (bank, scratchpad address) is output_base + 16 * address + bank, modulo 2**32."""
    memory_words: int
    """Words of memory that program and results take."""


class _Stream:
    def __init__(self, mem_bits: int):
        self.bytes_per_word = mem_bits // 8
        self.parts: list[bytes] = []
        self.words = 0
        self.checksum = 0

    def _add(self, data: bytes, summed: bool) -> None:
        if summed:
            step = self.bytes_per_word
            self.checksum = isa.checksum((int.from_bytes(data[i:i + step], "little")
                                          for i in range(0, len(data), step)), self.checksum)
        self.parts.append(data)
        self.words += len(data) // self.bytes_per_word

    def packet(self, kind: int, payload: bytes = b"", *, summed: bool = True, **values: int) -> int:
        """Append a packet; returns the address of its payload."""
        count = len(payload) // self.bytes_per_word
        if kind not in (isa.START, isa.END):
            values["count"] = count
        header = isa.HEADERS[kind].encode(packet=kind, **values)
        self._add(header.to_bytes(self.bytes_per_word, "little"), kind not in (isa.START, isa.END))
        address = self.words
        self._add(payload, summed)
        return address

    def pack(self, words: list[int]) -> bytes:
        return b"".join(word.to_bytes(self.bytes_per_word, "little") for word in words)


def assemble_layout(layout: Layout) -> Program:
    """The whole program for one inference.  Raises ValueError when a value does not fit the engine."""
    engine, graph = layout.engine, layout.network.graph
    if reason := lacking(layout):
        raise ValueError(f"the engine cannot run {graph.name!r}: {reason}")
    stream = _Stream(engine.mem_bits)
    stream.packet(isa.START, version=ENGINE_VERSION, engine=engine.id)
    region = layout.regions[graph.input]
    input_words = region.blocks * region.planes * region.plane_step * engine.banks
    input_address = stream.packet(isa.INPUT, bytes(input_words * stream.bytes_per_word), summed=False,
                                  address=region.base)
    # Results lie behind the program, whose length the cycle model knows.
    program_words = count_cycles(layout).program_words
    base, outputs = program_words, {}
    for layer in layout.layers:
        if layout.stored(layer):
            place = layout.regions[layer.output]
            outputs[layer.output] = base - 16 * place.base
            base += 16 * place.size
    _encode_layers(layout, stream, outputs)
    stream.packet(isa.END, checksum=stream.checksum)
    assert stream.words == program_words and base == memory_words(layout, program_words)
    return Program(b"".join(stream.parts), stream.words, input_address, input_words, outputs, base)


def _encode_layers(layout: Layout, stream: _Stream, outputs: dict[str, int]) -> None:
    for index, layer in enumerate(layout.layers):
        stream.packet(isa.COMMANDS, stream.pack(layer_words(layout, layer, outputs.get(layer.output, 0))))
        weights = arranged(layout, layer)
        position = 0
        for tile in layout.tiles(layer):
            stream.packet(isa.PARAMS, stream.pack(parameter_words(layout, layer, tile, weights)))
            if layer.conv.requant.thresholds is not None:
                stream.packet(isa.THRESHOLDS, stream.pack(threshold_words(layout, layer, tile, weights)))
            data, counts = weight_words(layout, layer, tile, weights)
            slices = stream.pack([isa.SLICES.encode(**counts)])
            stream.packet(isa.WEIGHTS, slices + data, summed=True, words=layout.words(layer))
            commands = tile_words(layout, layer, tile, position)
            if index == len(layout.layers) - 1 and tile is layout.tiles(layer)[-1]:
                commands.append(isa.FINISH)
            stream.packet(isa.COMMANDS, stream.pack(commands))
            position += layout.out_words(tile)


def tile_words(layout: Layout, layer: Layer, tile: Tile, first_word: int) -> list[int]:
    """The two words of a TILE command; ``first_word`` is the index of the tile's first output word."""
    out = layout.regions[layer.output]
    stored = layout.out_words(tile) * out.planes * layout.engine.px if layout.stored(layer) else 0
    residual = layout.regions[layer.residual] if layer.residual else None
    return [
        isa.TILE_WORDS[0].encode(
            command=isa.TILE, words=layout.words(layer), chunks=tile.chunks(layout.engine.drain_lanes),
            interval=layout.interval(layer, tile), wide=tile.wide, res_words=layout.residual_words(layer, tile),
            store_words=stored),
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
    pool_mode = isa.POOL_NONE if layer.pool is None else isa.POOL_SUM if window.rescale else isa.POOL_MAX
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
        "evaluations": {"pool_h": window.kernel[0] - 1, "pool_w": window.kernel[1] - 1,
                        "out_h": walk.out_shape[0] - 1, "out_w": walk.out_shape[1] - 1, "out_step": target.plane_step},
        "clamp": {"zero": rule.zero_point, "low": rule.low, "high": rule.high},
        "store": {"store_base": store_base % (1 << 32)},
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
    window, conv = layer.window, layer.conv
    (kh, kw), (py, px) = window.kernel, window.strides
    out_w = walk.out_shape[1]

    def point(cy, cx, oy, ox):
        iy, ix = cy * conv.strides[0], cx * conv.strides[1]
        return np.array([iy * in_pitch + ix, cy * res_pitch + cx, oy * out_pitch + ox, ix, iy, cx, cy])

    start = point(-window.pads[0], -window.pads[1], 0, 0)
    start += np.array([-conv.pads[0] * in_pitch - conv.pads[1], 0, 0, -conv.pads[1], -conv.pads[0], 0, 0])
    deltas = [point(0, 1, 0, 0), point(1, -(kw - 1), 0, 0), point(-(kh - 1), px - (kw - 1), 0, 1),
              point(py - (kh - 1), -(out_w - 1) * px - (kw - 1), 1, -(out_w - 1)), start]
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
    """One input map (C, H, W) of codes as the payload of the program's INPUT packet."""
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
    data = data.reshape(-1, engine.ki // 2)
    return np.pad(data, ((0, 0), (0, engine.mem_bits // 8 - data.shape[1]))).tobytes()


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
