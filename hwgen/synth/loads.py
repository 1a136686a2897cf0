"""What reads each wire of a netlist."""

from collections import defaultdict

Loads = dict[int | str, list[tuple[str, str]]]
"""Cells and ports that read a bit, by its number in Yosys' JSON; a module's own ports are cells without a name."""


def loads_of(module: dict) -> Loads:
    """The loads of every bit in a module, as in Yosys' JSON."""
    loads: Loads = defaultdict(list)
    for name, cell in module["cells"].items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"].get(port) != "output":
                for bit in bits:
                    loads[bit].append((name, port))
    for port in module["ports"].values():
        for bit in port["bits"]:
            loads[bit].append(("", ""))
    return loads
