"""Elaborate a component once, however often it is instantiated.

Amaranth elaborates and writes every instance of a component.  Of the lanes there are hundreds, all alike: an
engine's emission would take minutes.  While an :class:`Once` is the platform, they are instances of one module.
"""

from collections.abc import Callable

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Elaboratable, Instance, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In


class Once:
    """A platform for ``rtlil.convert`` that remembers the components to be written once, by module name."""

    def __init__(self) -> None:
        self.components: dict[str, wiring.Component] = {}


def place(platform, name: str, make: Callable[[], wiring.Component]) -> tuple[Elaboratable, dict[str, Value]]:
    """The submodule to add and its ports, for the component that ``make`` builds.

    ``name`` must say everything that distinguishes it from others.  Without a :class:`Once` (simulation in
    Python) it is the component itself.  Clocked by "sync".
    """
    if not isinstance(platform, Once):
        component = make()
        return component, {port: Value.cast(getattr(component, port)) for port in component.signature.members}
    if name not in platform.components:
        platform.components[name] = make()
    members = platform.components[name].signature.members
    ports: dict[str, Value] = {port: Signal(member.shape) for port, member in members.items()}
    pins = {("i_" if member.flow == In else "o_") + port: ports[port] for port, member in members.items()}
    return Instance(name, i_clk=ClockSignal(), i_rst=ResetSignal(), **pins), ports


def convert(component: wiring.Component, name: str, **keywords) -> str:
    """``component`` as RTLIL with top module ``name``, every placed component written once behind it."""
    once = Once()
    parts = [rtlil.convert(component, name=name, platform=once, emit_src=False, **keywords)]
    written: set[str] = set()
    while waiting := [module for module in once.components if module not in written]:
        for module in waiting:
            text = rtlil.convert(once.components[module], name=module, platform=once, emit_src=False)
            parts.append(text.replace("attribute \\top 1\n", ""))
            written.add(module)
    return "".join(parts)
