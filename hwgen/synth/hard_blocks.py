"""Sites for the block RAMs and multipliers of engines that fill much of an ECP5, from placements without routing.

nextpnr's static placer moves all cells as if they could lie anywhere, and then gives each of the few hundred hard
blocks a site nearby, at random: in an engine of 60 % of an LFE5U-85F that adds a third to the length of all wires at
once, and 8 % remain when the logic has followed.  Here the blocks are dealt to all sites of the part at once, for the
least wire to the logic of the placement before; in the next one they keep them from the beginning.
"""

from collections import defaultdict
import json
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from hwgen.device.resources import Resources

TYPES = ("DP16KD", "MULT18X18D")
"""nextpnr's names of block RAM and multiplier."""
ROUNDS = 12
"""At most; every round takes the places that the other blocks have found in the round before."""
Sites = dict[str, list[str]]
"""Names of a part's sites (bels) by type of cell."""
Point = tuple[int, int]


def write_all_blocks(path: Path, available: Resources) -> None:
    """A netlist of as many unconnected hard blocks as the part has: placed, it names their sites."""
    blank = {"hide_name": 0, "parameters": {}, "attributes": {}, "port_directions": {}, "connections": {}}
    counts = dict(zip(TYPES, (int(available.bram), int(available.dsp)), strict=True))
    cells = {f"{kind}_{index}": {**blank, "type": kind} for kind, count in counts.items() for index in range(count)}
    module = {"attributes": {"top": "1"}, "ports": {}, "cells": cells, "netnames": {}}
    path.write_text(json.dumps({"creator": "hwgen", "modules": {"sites": module}}), encoding="utf-8")


def read_sites(path: Path) -> Sites:
    """The sites that the blocks of :func:`write_all_blocks` have been given, in the order of the part's rows."""
    found: Sites = {kind: [] for kind in TYPES}
    for cell in _placed_cells(path).values():
        found[cell["type"]].append(cell["attributes"]["NEXTPNR_BEL"])
    for sites in found.values():
        sites.sort(key=lambda name: (_point(name)[1], _point(name)[0], name))
    return found


def best_sites(placed: Path, sites: Sites) -> dict[str, str]:
    """A site for every hard block of a placed design (nextpnr's JSON) so that the wires to the placed logic are short.

    The length of a net is half the border of the rectangle around its pins.  All blocks of a type are dealt to the
    sites at once, as an assignment problem with the others held, in turns until no wire is saved.
    """
    cells = _placed_cells(placed)
    at = {name: _point(cell["attributes"]["NEXTPNR_BEL"]) for name, cell in cells.items()}
    chosen = {name: cell["attributes"]["NEXTPNR_BEL"] for name, cell in cells.items() if cell["type"] in TYPES}
    kinds = {kind: [name for name in chosen if cells[name]["type"] == kind] for kind in TYPES}
    nets = _nets_of(cells, set(chosen))
    pins: dict[str, list[int]] = defaultdict(list)
    for index, net in enumerate(nets):
        for name in net & chosen.keys():
            pins[name].append(index)
    best, least = dict(chosen), _length(nets, at)
    for _ in range(ROUNDS):
        for kind, names in kinds.items():
            points = np.array([_point(site) for site in sites[kind]]).reshape(-1, 2)
            cost = np.array([_costs(name, [nets[i] for i in pins[name]], at, points) for name in names])
            for row, column in zip(*linear_sum_assignment(cost.reshape(len(names), len(points))), strict=True):
                chosen[names[row]] = sites[kind][column]
                at[names[row]] = _point(sites[kind][column])
        length = _length(nets, at)
        if length >= least:
            break
        best, least = dict(chosen), length
    return best


def fix_sites(netlist: Path, chosen: dict[str, str], result: Path) -> None:
    """The netlist (Yosys' JSON) with the attribute that nextpnr takes as the order to place a cell there."""
    design = json.loads(netlist.read_bytes())
    for module in design["modules"].values():
        for name in module["cells"].keys() & chosen.keys():
            module["cells"][name]["attributes"]["BEL"] = chosen[name]
    result.write_text(json.dumps(design), encoding="utf-8")


def _placed_cells(path: Path) -> dict[str, dict]:
    (module,) = json.loads(path.read_bytes())["modules"].values()
    return {name: cell for name, cell in module["cells"].items() if "NEXTPNR_BEL" in cell["attributes"]}


def _point(site: str) -> Point:
    """Column and row of X12/Y34/... in a name."""
    x, y, _ = site.split("/", 2)
    return int(x[1:]), int(y[1:])


def _nets_of(cells: dict[str, dict], blocks: set[str]) -> list[set[str]]:
    """The cells of every net that a hard block is on, nets of clock buffers left out: they have wires of their own."""
    on: dict[int, set[str]] = defaultdict(set)
    clocks: set[int] = set()
    for name, cell in cells.items():
        bits = {bit for pin in cell["connections"].values() for bit in pin if isinstance(bit, int)}
        if cell["type"] == "DCCA":
            clocks |= bits
        for bit in bits:
            on[bit].add(name)
    return [names for bit, names in on.items() if bit not in clocks and len(names) > 1 and names & blocks]


def _costs(name: str, nets: list[set[str]], at: dict[str, Point], points: np.ndarray) -> np.ndarray:
    """By how much each point would stretch the rectangles around the other pins of a block's nets."""
    total = np.zeros(len(points))
    for names in nets:
        others = np.array([at[other] for other in names if other != name])
        low, high = others.min(axis=0), others.max(axis=0)
        total += (np.maximum(low - points, 0) + np.maximum(points - high, 0)).sum(axis=1)
    return total


def _length(nets: list[set[str]], at: dict[str, Point]) -> int:
    total = 0
    for names in nets:
        xs, ys = zip(*(at[name] for name in names), strict=True)
        total += max(xs) - min(xs) + max(ys) - min(ys)
    return total
