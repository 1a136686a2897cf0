"""Blocks of ECP5 take the registers behind them.

A DP16KD and a MULT18X18D have a register at each output.  With it, the time from clock to output of a block RAM is that
of a flip-flop, without it more than half of a cycle at 120 MHz; a product needs no way from the block to a flip-flop.
Neither Yosys nor nextpnr uses them, so the netlist is changed between the two.
"""

from .loads import Loads, loads_of

RAM_PINS = [f"DO{port}{index}" for port in "AB" for index in range(18)]
PRODUCT_PINS = [f"P{index}" for index in range(36)]
PLAIN = {"REGSET": "RESET", "LSRMUX": "LSR", "CLKMUX": "CLK"}
"""Of the flip-flops that can be taken.  Their constant set or reset has to be 0 as well."""


def take_output_registers(module: dict) -> int:
    """Move flip-flops behind the blocks of a module, as in Yosys' JSON, into them; how many were moved.

    A block's flip-flops are moved where there is one behind every output that is used, and nothing else, all with the
    same clock, one clock enable (multipliers: none) and no reset.  The module's cells and names of nets are changed in
    place.
    """
    cells = module["cells"]
    loads = loads_of(module)
    moved = 0
    gone: set[int | str] = set()
    for block in [cell for cell in cells.values() if cell["type"] in ("DP16KD", "MULT18X18D")]:
        ram = block["type"] == "DP16KD"
        registers = _registers(block, RAM_PINS if ram else PRODUCT_PINS, cells, loads)
        if not registers:
            continue
        first = cells[next(iter(registers.values()))]
        clock, enable = first["connections"]["CLK"], _enable(first)
        if not (_into_ram(block, clock, enable) if ram else _into_multiplier(block, clock, enable)):
            continue
        for pin, name in registers.items():
            gone.update(block["connections"][pin])
            block["connections"][pin] = cells.pop(name)["connections"]["Q"]
        moved += len(registers)
    for net in module["netnames"].values():
        net["bits"] = ["x" if bit in gone else bit for bit in net["bits"]]
    return moved


def _registers(block: dict, pins: list[str], cells: dict[str, dict], loads: Loads) -> dict[str, str]:
    """Flip-flops behind a block's outputs, by its pins; none where it cannot take all."""
    found: dict[str, str] = {}
    controls = set()
    for pin in pins:
        users = [user for bit in block["connections"].get(pin, []) for user in loads[bit]]
        if not users:
            continue
        name, port = users[0]
        if len(users) != 1 or port != "DI" or not _plain(cells[name]):
            return {}
        found[pin] = name
        controls.add((*cells[name]["connections"]["CLK"], _enable(cells[name])))
    return found if len(controls) == 1 else {}


def _plain(cell: dict) -> bool:
    """A flip-flop that is never set or reset, with an enable that a block can have."""
    return (cell["type"] == "TRELLIS_FF" and cell["connections"].get("LSR", ["0"]) == ["0"]
            and all(cell["parameters"].get(name, value) == value for name, value in PLAIN.items())
            and _enable(cell) is not None)


def _enable(register: dict) -> int | str | None:
    """The bit that enables a register: "1" where it takes a value each cycle; None where no block can have that."""
    mux = register["parameters"].get("CEMUX", "CE").strip()
    if mux == "CE":
        bit: int | str = register["connections"].get("CE", ["1"])[0]
        return bit
    return "1" if mux == "1" else None


def _into_ram(block: dict, clock: list, enable: int | str | None) -> bool:
    """Switch on both ports' registers: a 36-bit word is read by port B with the pins of both."""
    connections, parameters = block["connections"], block["parameters"]
    if any(connections[f"CLK{port}"] != clock or parameters[f"CLK{port}MUX"] != f"CLK{port}" for port in "AB"):
        return False
    for port in "AB":
        parameters[f"REGMODE_{port}"] = "OUTREG"
        connections[f"OCE{port}"] = [enable]
    return True


def _into_multiplier(block: dict, clock: list, enable: int | str | None) -> bool:
    """Switch on the output register of a multiplier that has no register yet, and so no clock."""
    if enable != "1" or any(block["connections"].get(pin, ["0"]) != ["0"] for pin in ("CLK0", "CE0", "RST0")):
        return False
    for what, pin, bits in (("CLK", "CLK0", clock), ("CE", "CE0", ["1"]), ("RST", "RST0", ["0"])):
        block["parameters"][f"REG_OUTPUT_{what}"] = pin
        block["connections"][pin] = list(bits)
        block["port_directions"][pin] = "input"
    return True
