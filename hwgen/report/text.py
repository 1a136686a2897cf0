"""How numbers are written, in the terminal and in HTML alike."""


def count(value: float | None) -> str:
    """A whole number with thin groups of three, halves kept; a dash for null."""
    if value is None:
        return "-"
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.1f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share from 0 to 1."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def signed_percent(value: float | None) -> str:
    """A value that is already in percent, with its sign."""
    return "-" if value is None else f"{value:+.1f} %"


def clock_state(report: dict) -> str:
    """Whether the frame rate is more than a plan."""
    confirmed = report["performance"]["clock_confirmed"]
    if confirmed is None:
        return "planned; not placed and routed yet"
    fmax = report["resources"]["placed"]["fmax_mhz"]
    return f"{'confirmed' if confirmed else 'NOT reached'} by place and route: {fmax:.1f} MHz"


def critical_path(report: dict) -> str:
    """The path that sets the clock of a placed engine, and what place and route was asked for."""
    used = report["resources"]
    return ("{from} to {to}: {logic_ns:.1f} ns of logic, {routing_ns:.1f} ns of routing".format(**used["critical"])
            + f" (target {used['target_mhz']:g} MHz, seed {used['seed']})")


def cycles_pair(report: dict) -> str:
    """Planned and simulated cycles in one cell, with AXI ports the plan's error too."""
    cycles = report["cycles"]
    error = cycles.get("error_percent")
    return (f"{count(cycles['planned'])} planned, {count(cycles['simulated'])} simulated"
            + ("" if error is None else f" ({error:+.2f} %)"))


def memory_state(report: dict) -> str:
    """The memory behind the AXI ports that the cycles are for."""
    engine, memory = report["engine"], report["cycles"]["memory"]
    ports = f"{engine['ports']} {engine['protocol'].upper()} port{'s' * (engine['ports'] > 1)}"
    if memory is None:
        return f"{ports}; planned with an ideal memory, not simulated yet"
    return (f"{ports}; first word after {count(memory['latency'])} cycles, {count(memory['bytes_per_cycle'])} bytes "
            "per cycle")


def rows_text(rows: dict[str, int]) -> str:
    return ", ".join(f"{name} {count(n)}" for name, n in sorted(rows.items()) if n)
