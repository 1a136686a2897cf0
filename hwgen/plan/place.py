"""Placement: which row runs in which slot of which tile, and in which order channels are stored."""

from weakref import WeakKeyDictionary
from dataclasses import dataclass, replace

import numpy as np

from ..engine import Engine
from ..graph.groups import first_channels
from ..graph.ir import Graph
from .assign import kinds_of
from .cells import packed_order
from .lower import Layer, Network
from .orders import common_order
from .tiles import Tile, Unplaceable, describe_rows, free_tiles, tiles_in_order


@dataclass(frozen=True, eq=False)
class Placement:
    tiles: tuple[Tile, ...]
    order: np.ndarray
    """Channel at each stored position of the output, -1 for none."""


_KNOWN: WeakKeyDictionary[Graph, dict[tuple, dict[str, Placement]]] = WeakKeyDictionary()


def place(network: Network, engine: Engine) -> dict[str, Placement]:
    """Tiles of every layer, by layer name; tensors that an add joins share one order of channels.

    Remembered per graph: engines of a search often differ in other things than their lane groups.
    """
    known = _KNOWN.setdefault(network.graph, {})
    key = engine.group_rows, engine.drain_lanes, engine.ki, engine.wide, network.packing
    if key not in known:
        known[key] = _place(network, engine)
    return known[key]


def _place(network: Network, engine: Engine) -> dict[str, Placement]:
    groups = _shared_orders(network)
    kinds = {layer.name: kinds_of(layer, engine) for layer in network.layers}
    orders: dict[str, np.ndarray] = {}
    result = {}
    for layer in network.layers:
        for row, kind in enumerate(kinds[layer.name]):
            if not kind.all:
                raise Unplaceable(f"layer {layer.name!r}: no lane group takes its rows ({layer.conv.schemes[row]} "
                                  f"in row {row}; the engine has {describe_rows(engine)})")
        root = groups[layer.output]
        if root not in orders:
            partners = [other for other in network.layers if groups[other.output] == root]
            if len(partners) > 1 or root == groups[network.graph.input]:
                rows = [kinds[other.name] for other in partners]
                packed = packed_order(rows, engine)
                order = common_order(rows, engine) if packed is None else packed
                if order is None:
                    raise Unplaceable(f"layer {partners[0].name!r}: {describe_rows(engine)} take none of its rows")
                orders[root] = order
        if root in orders:
            tiles = tiles_in_order(layer, orders[root], kinds[layer.name], engine)
        else:
            tiles = free_tiles(layer, kinds[layer.name], engine, _ranks(layer, orders.get(groups[layer.input])))
            orders[root] = np.concatenate([tile.rows for tile in tiles])
        result[layer.name] = Placement(tuple(tiles), orders[root])
    return {layer.name: _reading(layer, result[layer.name], stored_order(network, result, layer.input), engine.ki)
            for layer in network.layers}


def input_order(network: Network, placements: dict[str, Placement]) -> np.ndarray:
    """Channel at each stored position of the graph's input: as it comes, unless a residual shares its order."""
    groups = _shared_orders(network)
    for layer in network.layers:
        if groups[layer.output] == groups[network.graph.input]:
            return np.concatenate([tile.rows for tile in placements[layer.name].tiles])
    return np.arange(network.tensors[network.graph.input].shape[0])


def stored_order(network: Network, placements: dict[str, Placement], tensor: str) -> np.ndarray:
    """Channel at each stored position of a tensor, -1 for none."""
    for layer in network.layers:
        if layer.output == tensor:
            return np.concatenate([tile.rows for tile in placements[layer.name].tiles])
    return input_order(network, placements)


def _shared_orders(network: Network) -> dict[str, str]:
    """For every tensor the representative of the tensors that share its order.

    Those that an add joins must.  Depthwise layers store their rows as their input's channels lie: so the rows
    of a tile read no more channel blocks than they make.
    """
    parent = {name: name for name in network.tensors}

    def root(name):
        while parent[name] != name:
            name = parent[name]
        return name

    for layer in network.layers:
        if layer.residual:
            parent[root(layer.output)] = root(layer.residual)
        if layer.depthwise:
            parent[root(layer.output)] = root(layer.input)
    return {name: root(name) for name in parent}


# Which channels the rows of a tile read


def _ranks(layer: Layer, order: np.ndarray | None) -> np.ndarray | None:
    """Where in its input each row of a layer with groups or few weights reads, at the least; None for others.

    ``order``: channels of the input as they are stored, None if that follows from layers behind.
    """
    conv, sparse = layer.conv, layer.sparse
    rows, channels = conv.weight.shape[:2]
    if conv.groups == 1 and sparse is None:
        return None
    firsts = first_channels(rows, channels, conv.groups)
    places = np.arange(channels * conv.groups) if order is None else _places(order)
    read = places[firsts[:, None] + np.arange(channels)]
    return (read if sparse is None else np.where(sparse, read, len(places))).min(axis=1)


def _places(order: np.ndarray) -> np.ndarray:
    """Stored position of each channel."""
    places = np.empty(int(order.max()) + 1, np.int64)
    places[order[order >= 0]] = np.flatnonzero(order >= 0)
    return places


def _reading(layer: Layer, placement: Placement, order: np.ndarray, ki: int) -> Placement:
    """The same with the channel blocks that each tile reads of an input that is stored in ``order``."""
    conv, sparse = layer.conv, layer.sparse
    rows, channels = conv.weight.shape[:2]
    if conv.groups == 1 and sparse is None:
        return replace(placement, tiles=tuple(replace(tile, blocks=-(-len(order) // ki)) for tile in placement.tiles))
    firsts = first_channels(rows, channels, conv.groups)
    block_of = _places(order) // ki
    tiles = []
    for tile in placement.tiles:
        own = tile.rows[tile.rows >= 0]
        if sparse is None:
            read = block_of[firsts[own, None] + np.arange(channels)]
        else:
            # rows without any weight, as those that only pass on a residual, are content with any block
            read = block_of[sparse[own].any(axis=0)]
        first, last = (int(read.min()), int(read.max())) if read.size else (0, 0)
        tiles.append(replace(tile, first_block=first, blocks=last - first + 1))
    return replace(placement, tiles=tuple(tiles))
