"""A layout's counted cycles as figures for reports."""

from dataclasses import asdict

from .ideal import layer_macs
from .layout import Layout
from .timeline import Cycles, Split
from .traffic import traffic


def layer_figures(layout: Layout, cycles: Cycles) -> list[dict]:
    """Per layer: name, operations, planned cycles and what they went into (:class:`hwgen.plan.timeline.Split`),
    MACs, utilization, bytes moved (:class:`hwgen.plan.traffic.Traffic`), tiles."""
    result = []
    for index, layer in enumerate(layout.layers):
        macs = layer_macs(layout, index)
        result.append({
            "name": layer.name, "operations": list(layer.ops), "planned": cycles.layers[index], "macs": macs,
            "utilization": macs / (cycles.layers[index] * layout.engine.macs_per_cycle),
            "split": asdict(cycles.splits[index]), "bank_collisions": cycles.collisions[index],
            "bytes": asdict(traffic(layout, layer)), "tiles": len(layout.tiles(layer)),
        })
    return result


def unit_figures(cycles: Cycles) -> dict[str, dict[str, int]]:
    """What every unit does in each of an image's cycles; a unit's numbers add up to all of them."""
    array = sum(cycles.splits, Split())
    (loading, room), drain = cycles.load, cycles.drain
    return {
        "array": {**asdict(array), "first_load": cycles.first_load},
        # Behind the last word of the program the load unit has nothing to do.
        "load": {"busy": loading, "room": room, "memory_or_done": cycles.total - loading - room},
        "drain": {"busy": drain, "array": cycles.total - drain},
    }
