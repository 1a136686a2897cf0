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


def cycles_pair(report: dict) -> str:
    """Planned and simulated cycles in one cell."""
    cycles = report["cycles"]
    return f"{count(cycles['planned'])} planned, {count(cycles['simulated'])} simulated"


def rows_text(rows: dict[str, int]) -> str:
    return ", ".join(f"{name} {count(n)}" for name, n in sorted(rows.items()) if n)
