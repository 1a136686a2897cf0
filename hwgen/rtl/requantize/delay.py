"""Delay lines of plain registers."""

from amaranth.hdl import Module, Signal, Value


def delay(m: Module, value: Value, cycles: int, name: str, *, reset: bool = False) -> Value:
    """``value`` as it was ``cycles`` cycles ago; with ``reset`` the registers start and restart at 0."""
    for step in range(cycles):
        stage = Signal(value.shape(), reset_less=not reset, name=f"{name}_{step + 1}")
        m.d.sync += stage.eq(value)
        value = stage
    return value
