"""Placement: which row runs in which slot of which tile, and in which order channels are stored."""

from dataclasses import dataclass

import numpy as np

from ..engine import Engine
from .lower import Layer, Network

SP2_LANE_SCHEMES = frozenset({"sp2", "binary"})
"""Schemes that the shift-add lanes compute; the multiplier lanes compute every scheme."""


class Unplaceable(Exception):
    """The engine's lane groups cannot run a layer's rows in the order that an add asks for."""


@dataclass(frozen=True, eq=False)
class Tile:
    """Rows that are computed together: ``rows[i]`` is the row at position i (-1: none), ``slots[i]`` its slot."""

    rows: np.ndarray
    slots: np.ndarray
    sp2_slots: int
    """Leading shift-add slots whose weights are fetched."""
    dsp_slots: int
    wide: bool
    """A weight on the multiplier lanes does not fit 4 bits."""

    def chunks(self, lanes: int) -> int:
        return len(self.rows) // lanes


@dataclass(frozen=True, eq=False)
class Placement:
    tiles: tuple[Tile, ...]
    order: np.ndarray
    """Channel at each stored position of the output, -1 for none."""


def place(network: Network, engine: Engine) -> dict[str, Placement]:
    """Tiles of every layer, by layer name; tensors that an add joins share one order of channels."""
    groups = _shared_orders(network)
    orders: dict[str, np.ndarray] = {}
    result = {}
    for layer in network.layers:
        root = groups[layer.output]
        flexible = np.array([scheme in SP2_LANE_SCHEMES for scheme in layer.conv.schemes])
        if root not in orders:
            partners = [other for other in network.layers if groups[other.output] == root]
            if len(partners) > 1 or root == groups[network.graph.input]:
                orders[root] = _common_order(partners, engine)
        if root in orders:
            tiles = _tiles_in_order(layer, orders[root], flexible, engine)
        else:
            tiles = _free_tiles(layer, flexible, engine)
            orders[root] = np.concatenate([tile.rows for tile in tiles])
        result[layer.name] = Placement(tuple(tiles), orders[root])
    return result


def input_order(network: Network, placements: dict[str, Placement]) -> np.ndarray:
    """Channel at each stored position of the graph's input: as it comes, unless a residual shares its order."""
    groups = _shared_orders(network)
    for layer in network.layers:
        if groups[layer.output] == groups[network.graph.input]:
            return np.concatenate([tile.rows for tile in placements[layer.name].tiles])
    return np.arange(network.tensors[network.graph.input].shape[0])


def _shared_orders(network: Network) -> dict[str, str]:
    """For every tensor the representative of the tensors that must share its order."""
    parent = {name: name for name in network.tensors}

    def root(name):
        while parent[name] != name:
            name = parent[name]
        return name

    for layer in network.layers:
        if layer.residual:
            parent[root(layer.output)] = root(layer.residual)
    return {name: root(name) for name in parent}


def _free_tiles(layer: Layer, flexible: np.ndarray, engine: Engine) -> list[Tile]:
    """Fill tiles with as many rows as fit; every tile but the last holds whole words of ki channels."""
    soft, hard = list(np.flatnonzero(flexible)), list(np.flatnonzero(~flexible))
    tiles = []
    while soft or hard:
        on_dsp = hard[:engine.dsp_rows]
        on_sp2 = soft[:engine.sp2_rows]
        spare = engine.dsp_rows - len(on_dsp)
        # Shift-add rows overflow to multipliers only when they would otherwise cost a tile more.
        rest_soft, rest_hard = len(soft) - len(on_sp2), len(hard) - len(on_dsp)
        needed = -(-rest_hard // engine.dsp_rows) if engine.dsp_rows and rest_hard else 0
        overflow = min(spare, max(0, rest_soft - needed * engine.sp2_rows)) if spare else 0
        extra = soft[len(on_sp2):len(on_sp2) + overflow]
        ragged = (len(on_sp2) + len(on_dsp) + len(extra)) % engine.ki
        if rest_soft + rest_hard - len(extra) and ragged:
            for part in (extra, on_sp2, on_dsp):
                cut = min(ragged, len(part))
                if cut == len(part) == len(on_sp2) + len(on_dsp) + len(extra):
                    cut = 0
                del part[len(part) - cut:]
                ragged -= cut
        chosen = on_sp2 + on_dsp + extra
        if not chosen:
            raise Unplaceable(f"layer {layer.name!r}: no lane group takes its rows")
        gone = set(chosen)
        soft, hard = [r for r in soft if r not in gone], [r for r in hard if r not in gone]
        padding = -len(chosen) % (engine.ki if soft or hard else engine.drain_lanes)
        rows = np.array(chosen + [-1] * padding)
        tiles.append(_tile(layer, rows, flexible, engine, prefer_dsp=gone & set(extra)))
    return tiles


def _tiles_in_order(layer: Layer, order: np.ndarray, flexible: np.ndarray, engine: Engine) -> list[Tile]:
    """Consecutive words of the given order, as many per tile as the lane groups take."""
    padded = np.concatenate([order, np.full(-len(order) % engine.drain_lanes, -1)])
    begin, tiles = 0, []
    while begin < len(padded):
        best = None
        for end in range(begin + engine.ki, begin + engine.rows + engine.ki, engine.ki):
            rows = padded[begin:min(end, len(padded))]
            if _fits(rows, flexible, engine):
                best = rows
            if best is None or end >= len(padded) or len(best) < len(rows):
                break
        if best is None:
            raise Unplaceable(f"layer {layer.name!r}: {engine.dsp_rows} multiplier rows are too few for the "
                              "order of channels that a residual asks for")
        tiles.append(_tile(layer, best, flexible, engine))
        begin += len(best)
    return tiles


def _counts(rows: np.ndarray, flexible: np.ndarray, lane: int, engine: Engine) -> tuple[int, int]:
    mine = rows[lane::engine.drain_lanes]
    mine = mine[mine >= 0]
    return int(flexible[mine].sum()), int((~flexible[mine]).sum())


def _fits(rows: np.ndarray, flexible: np.ndarray, engine: Engine) -> bool:
    if len(rows) > max(engine.rows, engine.ki):
        return False
    dsp = engine.dsp_rows // engine.drain_lanes
    return all(hard <= dsp and soft + hard <= engine.chunks
               for soft, hard in (_counts(rows, flexible, lane, engine) for lane in range(engine.drain_lanes)))


def _tile(layer: Layer, rows: np.ndarray, flexible: np.ndarray, engine: Engine, prefer_dsp=frozenset()) -> Tile:
    lanes, sp2 = engine.drain_lanes, engine.sp2_rows // engine.drain_lanes
    slots = np.zeros(len(rows), np.int64)
    next_sp2, next_dsp = [0] * lanes, [sp2] * lanes
    for position, row in enumerate(rows):
        lane = position % lanes
        if row < 0:
            continue
        if flexible[row] and row not in prefer_dsp and next_sp2[lane] < sp2:
            slots[position] = next_sp2[lane] * lanes + lane
            next_sp2[lane] += 1
        else:
            slots[position] = next_dsp[lane] * lanes + lane
            next_dsp[lane] += 1
    if max(next_dsp) > engine.chunks:
        raise Unplaceable(f"layer {layer.name!r}: a tile needs more multiplier rows than {engine.dsp_rows}")
    on_dsp = rows[(slots >= engine.sp2_rows) & (rows >= 0)]
    weight = layer.conv.weight[on_dsp]
    wide = bool(weight.size and (weight.min() < -8 or weight.max() > 7))
    return Tile(rows, slots, max(next_sp2) * lanes, (max(next_dsp) - sp2) * lanes, wide)


def _common_order(partners: list[Layer], engine: Engine) -> np.ndarray:
    """One order for several producers: chunks of channels alike in every producer, mixed in proportion.

    A chunk of D channels that all need multipliers (or none) loads the lanes evenly;
    taking next the kind of chunk that is furthest behind its share keeps every
    producer's tiles near its average mix.
    """
    kinds: dict[tuple, list[int]] = {}
    for channel in range(partners[0].conv.weight.shape[0]):
        kind = tuple(layer.conv.schemes[channel] in SP2_LANE_SCHEMES for layer in partners)
        kinds.setdefault(kind, []).append(channel)
    lanes, whole, rest = engine.drain_lanes, {}, []
    for kind, channels in sorted(kinds.items()):
        cut = len(channels) - len(channels) % lanes
        whole[kind] = [channels[i:i + lanes] for i in range(0, cut, lanes)]
        rest += channels[cut:]
    total = sum(len(chunks) for chunks in whole.values())
    order: list[int] = []
    taken = {kind: 0 for kind in whole}
    for step in range(1, total + 1):
        behind = {kind: len(chunks) * step / total - taken[kind]
                  for kind, chunks in whole.items() if taken[kind] < len(chunks)}
        kind = max(sorted(behind), key=lambda k: behind[k])
        order += whole[kind][taken[kind]]
        taken[kind] += 1
    return _words_that_fit(order + rest, partners, engine)


def _words_that_fit(channels: list[int], partners: list[Layer], engine: Engine) -> np.ndarray:
    """The channels word by word, each word within what the lanes of every producer take; holes (-1) where it must be.

    A tile is at least one word, so that every order made here can be placed.
    """
    hard = np.array([[scheme not in SP2_LANE_SCHEMES for scheme in layer.conv.schemes] for layer in partners])
    lanes, most, most_hard = engine.drain_lanes, engine.chunks, engine.dsp_rows // engine.drain_lanes
    waiting, order = list(channels), []
    while waiting:
        used, used_hard = np.zeros(lanes, int), np.zeros((lanes, len(partners)), int)
        word = []
        for lane in [position % lanes for position in range(engine.ki)]:
            fitting = (i for i, channel in enumerate(waiting)
                       if used[lane] < most and (used_hard[lane] + hard[:, channel] <= most_hard).all())
            chosen = next(fitting, None)
            word.append(-1 if chosen is None else waiting.pop(chosen))
            if chosen is not None:
                used[lane] += 1
                used_hard[lane] += hard[:, word[-1]]
        if max(word) < 0:
            raise Unplaceable(f"layer {partners[0].name!r}: {engine.dsp_rows} multiplier rows take none of its rows")
        order += word
    while order[-1] < 0:
        order.pop()
    return np.array(order)
