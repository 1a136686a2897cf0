"""Weights and requantizer parameters of a tile as the bytes that the lanes take."""

import numpy as np

from ..engine import GROUPS, KINDS, SHIFT_BITS, Engine
from ..graph.groups import first_channels
from ..lanes import DSP_WIDE, LaneKind
from ..lanes import KINDS as LANES
from ..plan.layout import Layout
from ..plan.lower import Layer
from ..plan.place import stored_order
from ..plan.tiles import Tile
from ..plan.shifts import stored


def arranged(layout: Layout, layer: Layer, tile: Tile) -> np.ndarray:
    """Weights of a tile in the order in which the engine meets them: (positions, words * ki).

    0 where there is no row, where there is no channel, and where a channel is not of the row's group.
    """
    weight, ki = layer.conv.weight, layout.engine.ki
    channels = weight.shape[1]
    order = stored_order(layout.network, layout.placements, layer.input)
    order = order[tile.first_block * ki:(tile.first_block + tile.blocks) * ki]
    full = np.zeros((len(tile.rows), tile.blocks * ki, *weight.shape[2:]), np.int64)
    firsts = first_channels(len(weight), channels, layer.conv.groups)
    for position in np.flatnonzero(tile.rows >= 0):
        row = tile.rows[position]
        own = np.flatnonzero((order >= firsts[row]) & (order < firsts[row] + channels))
        full[position, own] = weight[row, order[own] - firsts[row]]
    return full.transpose(0, 2, 3, 1).reshape(len(full), -1)[:, :layout.words(layer, tile) * ki]


def weight_words(layout: Layout, layer: Layer, tile: Tile, weights: np.ndarray) -> tuple[bytes, dict[str, int]]:
    """The ring words of a tile, and how many memory words of each kind one of them has."""
    engine = layout.engine
    codes: dict[str, np.ndarray] = {
        group: np.zeros((rows, weights.shape[1]), np.uint8)
        for group, rows in zip(GROUPS, tile.fetched, strict=True)}
    for group, at in positions_by_group(engine, tile):
        codes[group][tile.slots[at] - engine.first_slot(group)] = lanes_of(group, tile).encode(weights[at])
    codes["high"] = codes["dsp"] >> 4 if tile.wide else codes["dsp"][:0]
    codes["dsp"] = codes["dsp"] & 15
    counts = tile.beats(engine)
    parts = [_slices(codes[kind], engine) for kind in KINDS if counts[kind]]
    assert [part.shape[1] for part in parts] == [n for n in counts.values() if n]
    return np.concatenate(parts, axis=1).tobytes(), counts


def positions_by_group(engine: Engine, tile: Tile) -> list[tuple[str, np.ndarray]]:
    """(group, positions in the tile) of every lane group that has a row."""
    groups = np.array([engine.group_of(int(slot)) for slot in tile.slots])
    found = []
    for group in GROUPS:
        at = np.flatnonzero((groups == group) & (tile.rows >= 0))
        if len(at):
            found.append((group, at))
    return found


def lanes_of(group: str, tile: Tile) -> LaneKind:
    """How a group's lanes take the weights of a tile."""
    return DSP_WIDE if group == "dsp" and tile.wide else LANES[group]


def _slices(nibbles: np.ndarray, engine: Engine) -> np.ndarray:
    """(rows, words*ki) nibbles as (words, slices, bytes of a memory word), row 0 in the lowest bits."""
    words = nibbles.shape[1] // engine.ki
    flat = nibbles.reshape(len(nibbles), words, engine.ki).transpose(1, 0, 2).reshape(words, -1)
    per_slice = engine.mem_bits // 4
    flat = np.pad(flat, ((0, 0), (0, -flat.shape[1] % per_slice))).astype(np.uint8)
    return (flat[:, 0::2] | flat[:, 1::2] << 4).reshape(words, -1, engine.mem_bits // 8)


def corrections(layout: Layout, layer: Layer, tile: Tile, weights: np.ndarray) -> np.ndarray:
    """K per position of the tile: what the lane adds to the accumulator beyond the share of S_p."""
    planes = 17 if layout.planes(layer.input) == 2 else 1
    excess = np.zeros(len(tile.rows), np.int64)
    for group, at in positions_by_group(layout.engine, tile):
        excess[at] = lanes_of(group, tile).correction(weights[at]) * planes
    return excess


def parameter_records(layout: Layout, layer: Layer, tile: Tile, weights: np.ndarray) -> list[int]:
    """A record per position, fields as in ``Engine.record_fields``: C with its corrections, R if the engine has it."""
    engine = layout.engine
    rule = stored(layer.conv.requant, engine.shift_base)
    records = []
    excess = corrections(layout, layer, tile, weights)
    for row, slot, k in zip(tile.rows.tolist(), tile.slots.tolist(), excess.tolist(), strict=True):
        m, c, shift, negate, r = 0, 0, engine.shift_base + 1, 0, 0
        if row >= 0 and rule.thresholds is None:
            m, c, shift = int(rule.multiplier[row]), int(rule.constant[row]), int(rule.shift[row])
            c += (0 if rule.rounding == "floor" else 1 << shift - 1) - k * m
            if rule.residual_multiplier is not None:
                r = int(rule.residual_multiplier[row])
        elif row >= 0:
            negate = int(rule.negate[row]) if rule.negate is not None else 0
        fit(m, engine.m_bits, layer, "multiplier M")
        fit(r, engine.m_bits, layer, "residual multiplier R")
        fit(c, engine.c_bits, layer, "constant C")
        if shift > engine.shift_base + (1 << SHIFT_BITS):
            raise ValueError(f"layer {layer.name!r}: shift S = {shift} is more than the engine's "
                             f"{engine.shift_base + (1 << SHIFT_BITS)}")
        values = {"m": m, "c": c, "shift": shift - 1 - engine.shift_base, "slot": slot // engine.drain_lanes,
                  "negate": negate, "r": r}
        record = position = 0
        for name, bits in engine.record_fields.items():
            record |= (values[name] & (1 << bits) - 1) << position
            position += bits
        records.append(record)
    return records


def threshold_words(layout: Layout, layer: Layer, tile: Tile, weights: np.ndarray) -> list[int]:
    """Fifteen thresholds per position, two to a word, shifted by the lane's correction."""
    engine, rule = layout.engine, layer.conv.requant
    assert rule.thresholds is not None
    largest, words = (1 << engine.acc_bits) - 1, []
    for row, k in zip(tile.rows.tolist(), corrections(layout, layer, tile, weights).tolist(), strict=True):
        values = []
        if row >= 0:
            negate = rule.negate is not None and bool(rule.negate[row])
            values = [int(t) + (-k if negate else k) for t in rule.thresholds[row]]
            values = [min(max(t, -largest - 1), largest) for t in values]
        values += [largest] * (16 - len(values))
        words += [values[i] & 0xFFFFFFFF | (values[i + 1] & 0xFFFFFFFF) << 32 for i in range(0, 16, 2)]
    return words


def fit(value: int, bits: int, layer: Layer, what: str) -> None:
    """ValueError when a signed value does not fit the engine."""
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise ValueError(f"layer {layer.name!r}: {what} = {value} needs more than {bits} bits")


