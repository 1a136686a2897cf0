"""Carry chains of ECP5 without the cells that nextpnr would put around them.

A CCU2C holds two bits of a chain.  Where a chain begins with a constant or a wire, nextpnr puts a whole cell before it,
and a whole cell behind it where its last carry is connected, even if nobody reads it; zeros at C and D become wires.
One bit is enough for each, so the bits of a chain are dealt to cells again: one that makes the first carry, those that
are there, and one that shows the last carry if it is read.

A bit computes (cells_sim.v of Yosys) ``t = INIT[D, C, B, A]``, ``S = t ^ carry`` and the next carry
``t ? carry : INIT[0, 0, B, A]``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

from .loads import Loads, loads_of

INPUTS = "ABCD"
NOWHERE = "x"
"""What an unused pin is connected to.  nextpnr wants the pins of a chain to be there."""
Wire = int | str


@dataclass(frozen=True)
class Bit:
    """Half a CCU2C."""

    init: int
    inputs: tuple[Wire, ...]
    """A, B, C, D."""
    output: tuple[Wire, ...] = ()
    """S; nothing where nobody reads it."""


def constant_carry(value: bool) -> Bit:
    """A bit whose next carry is a constant, whatever comes before it."""
    return Bit(0xF if value else 0, ("1",) * 4)


def carry_from(wire: Wire) -> Bit:
    """A bit whose next carry is a wire."""
    return Bit(0xA, (wire, "1", "1", "1"))


def carry_to(wire: Wire) -> Bit:
    """A bit whose S is the carry before it."""
    return Bit(0, ("1",) * 4, (wire,))


def repack_chains(module: dict) -> int:
    """Deal the carry chains of a module, as in Yosys' JSON, to fewer cells, in place.

    Returns how many cells less nextpnr will have.  Chains whose carries are read within, and those with injected
    carries, keep their cells.
    """
    cells = module["cells"]
    loads = loads_of(module)
    numbers = count(1 + max((bit for bits in _all_bits(module) for bit in bits if isinstance(bit, int)), default=1))
    carries = {bit for cell in cells.values() if cell["type"] == "CCU2C" for bit in cell["connections"]["COUT"]}
    saved = 0
    gone: set[Wire] = set()
    for first in [name for name, cell in cells.items() if cell["type"] == "CCU2C" and _cin(cell) not in carries]:
        chain = _chain(first, cells, loads)
        if chain is not None:
            saved += _deal(chain, cells, loads, numbers, gone)
    for cell in cells.values():
        if cell["type"] == "CCU2C":
            _tie_high(cell)
    for net in module["netnames"].values():
        net["bits"] = [NOWHERE if bit in gone else bit for bit in net["bits"]]
    return saved


def _all_bits(module: dict) -> Iterator[list[Wire]]:
    for cell in module["cells"].values():
        yield from cell["connections"].values()
    for group in ("ports", "netnames"):
        for wires in module[group].values():
            yield wires["bits"]


def _cin(cell: dict) -> Wire:
    bits: list[Wire] = cell["connections"].get("CIN") or [NOWHERE]
    return bits[0]


def _chain(first: str, cells: dict, loads: Loads) -> list[str] | None:
    """The cells that follow each other; None for chains that must stay as they are."""
    chain = [first]
    while True:
        cell = cells[chain[-1]]
        if any(cell["parameters"].get(f"INJECT1_{half}", "YES").strip() != "NO" for half in "01"):
            return None
        carry = cell["connections"]["COUT"][0]
        users = loads[carry] if carry != NOWHERE else []
        following = [name for name, port in users if port == "CIN" and cells[name]["type"] == "CCU2C"]
        if not following:
            return chain
        if len(users) > 1:
            return None
        chain += following


def _deal(chain: list[str], cells: dict, loads: Loads, numbers: Iterator[int], gone: set[Wire]) -> int:
    """The bits of one chain; how many cells are saved.  ``gone`` grows by the wires that are no more."""
    bits = [bit for name in chain for bit in _bits(cells[name], loads)]
    begin, [last] = _cin(cells[chain[0]]), cells[chain[-1]]["connections"]["COUT"]
    before = len(chain) + (begin != NOWHERE) + (last != NOWHERE)
    if last != NOWHERE and loads[last]:
        bits.append(carry_to(last))
    while len(bits) > 1 and not bits[-1].output:
        bits.pop()
    if begin != NOWHERE:
        bits.insert(0, constant_carry(begin == "1") if begin in ("0", "1") else carry_from(begin))
    if len(bits) % 2:
        bits.append(constant_carry(False))
    # Cells keep the names of those that most of their bits come from; one more is called after the last.
    olds = [cells.pop(name) for name in chain]
    names = [*chain, f"{chain[-1]}$carry"]
    carry: Wire = NOWHERE
    for index in range(len(bits) // 2):
        cell = olds[min(index, len(olds) - 1)]
        pair = bits[2 * index:2 * index + 2]
        following: Wire = next(numbers) if 2 * index + 2 < len(bits) else NOWHERE
        cell = cell | {"parameters": dict(cell["parameters"]), "connections": {"CIN": [carry], "COUT": [following]}}
        for half, bit in zip("01", pair, strict=True):
            _put(cell, half, replace(bit, output=bit.output or (next(numbers),)))
        cells[names[index]] = cell
        carry = following
    gone |= {old["connections"]["COUT"][0] for old in olds} - {*bits[-1].output, *bits[-2].output}
    return before - len(bits) // 2


def _bits(cell: dict, loads: Loads) -> list[Bit]:
    wires = cell["connections"]
    return [Bit(_init(cell, half), tuple(wires[f"{name}{half}"][0] for name in INPUTS),
                tuple(bit for bit in wires[f"S{half}"] if loads[bit])) for half in "01"]


def _init(cell: dict, half: str) -> int:
    return int(cell["parameters"][f"INIT{half}"], 2)


def _put(cell: dict, half: str, bit: Bit) -> None:
    cell["parameters"][f"INIT{half}"] = f"{bit.init:016b}"
    for name, wire in zip(INPUTS, bit.inputs, strict=True):
        cell["connections"][f"{name}{half}"] = [wire]
    cell["connections"][f"S{half}"] = list(bit.output)


def _tie_high(cell: dict) -> None:
    """Constants at C and D become ones, which need no wires.  The carry looks at INIT[3:0] whatever C and D are."""
    wires = cell["connections"]
    for half in "01":
        c, d = wires[f"C{half}"], wires[f"D{half}"]
        if c[0] in ("0", "1") and d[0] in ("0", "1"):
            init = _init(cell, half)
            chosen = init >> 4 * (2 * int(d[0]) + int(c[0])) & 0xF
            cell["parameters"][f"INIT{half}"] = f"{chosen << 12 | init & 0xFFF:016b}"
            wires[f"C{half}"] = wires[f"D{half}"] = ["1"]
