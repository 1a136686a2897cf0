"""Levels of logic of a mapped 7-series netlist: what a clock can be said about where no open tool places the part.

LUTs, MUXF7 and MUXF8, carry blocks (four bits each), reads of LUT memories and DSP blocks without registers count
one level each; flip-flops, block RAM, shift registers and registered DSP blocks end a path.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
import json
from pathlib import Path

from hwgen.errors import HwgenError
from hwgen.synth.names import Names

ENDS = ("FD", "LD", "RAMB", "SRL", "BUF", "IBUF", "OBUF")
"""Beginnings of the types of cells that end a path."""
REGISTERS = ("MREG", "PREG")
"""Of a DSP48E1: either one ends every path through it."""


@dataclass(frozen=True)
class Depth:
    """The most levels of any path, and where one of that many begins and ends; the same path for the same netlist."""

    levels: int
    source: str | None
    """Register, memory or port; None where there is no logic at all."""
    sink: str | None


def logic_depth(netlist: Path, top: str, sources: Iterable[Path] = ()) -> Depth:
    """The deepest path of module ``top`` of a flat netlist, Yosys' JSON of ``synth_xilinx``.

    ``sources``: the Verilog that it was made of, for the names of registers.  Raises HwgenError when the netlist
    cannot be read or holds a loop.
    """
    try:
        module = json.loads(netlist.read_bytes())["modules"][top]
        cells, ports = module["cells"], module["ports"]
    except (OSError, ValueError, KeyError) as error:
        raise HwgenError(f"cannot read the netlist {netlist}: {error}") from error
    driver = {bit: inputs for cell in cells.values() for inputs, outputs in _arcs(cell) for bit in outputs}
    level = _levels(driver)
    starts, ends = _ends(cells, ports)
    if not ends.keys() & level.keys():
        return Depth(0, None, None)
    last = max(ends.keys() & level.keys(), key=lambda bit: (level[bit], -bit))
    first = last
    while driver.get(first):
        first = max(driver[first], key=lambda bit: (level.get(bit, 0), -bit))
    names = Names(cells, sources)
    return Depth(level[last], names(starts[first]), names(ends[last]))


def _ends(cells: dict, ports: dict) -> tuple[dict[int, str], dict[int, str]]:
    """For every wire the cell or port that drives it, and for those that end somewhere what they end in."""
    starts = {bit: name for name, port in ports.items() if port["direction"] == "input" for bit in port["bits"]}
    ends = {bit: name for name, port in ports.items() if port["direction"] == "output" for bit in port["bits"]}
    for name, cell in cells.items():
        passing = {wire for inputs, outputs in _arcs(cell) if outputs for wire in inputs}
        for port, bits in cell["connections"].items():
            output = cell["port_directions"][port] == "output"
            for bit in _wires(bits):
                if output:
                    starts[bit] = name
                elif bit not in passing:
                    ends[bit] = name
    return starts, ends


def _arcs(cell: dict) -> Iterator[tuple[list[int], list[int]]]:
    """(inputs, outputs) of the cell that a signal passes without waiting for a clock."""
    kind = cell["type"]
    if kind.startswith(ENDS) or kind == "DSP48E1" and _registered(cell):
        return
    if kind == "CARRY4":
        yield from _carry_arcs(cell["connections"])
        return
    ways = cell["port_directions"]
    inputs, outputs = [], []
    for port, bits in cell["connections"].items():
        wires = _wires(bits)
        if ways[port] == "output":
            outputs += wires
        elif not kind.startswith("RAM") or port.startswith(("ADDR", "DPRA", "A")):
            # Write data and enables of a LUT memory wait for the clock.
            inputs += wires
    yield inputs, outputs


def _carry_arcs(pins: dict[str, list]) -> Iterator[tuple[list[int], list[int]]]:
    """Output i of a carry block depends on the inputs up to i alone."""
    before = [*pins.get("CI", []), *pins.get("CYINIT", [])]
    for i in range(4):
        before = [*before, pins["S"][i]]
        yield _wires(before), _wires(pins.get("O", [])[i:i + 1])
        before = [*before, pins["DI"][i]]
        yield _wires(before), _wires(pins.get("CO", [])[i:i + 1])


def _wires(bits: list) -> list[int]:
    """Without constants."""
    return [bit for bit in bits if isinstance(bit, int)]


def _registered(cell: dict) -> bool:
    return any(int(str(cell.get("parameters", {}).get(name, "0")), 2) for name in REGISTERS)


def _levels(driver: dict[int, list[int]]) -> dict[int, int]:
    """Level of every driven wire: one more than the highest of its cell's inputs."""
    level: dict[int, int] = {}
    for root in driver:
        stack, open_ = [root], set()
        while stack:
            bit = stack[-1]
            if bit in level:
                stack.pop()
                continue
            missing = [source for source in driver[bit] if source in driver and source not in level]
            if not missing:
                level[bit] = 1 + max((level.get(source, 0) for source in driver[bit]), default=0)
                stack.pop()
            elif bit in open_:
                raise HwgenError("the netlist has a loop of logic without a register")
            else:
                open_.add(bit)
                stack += missing
    return level
