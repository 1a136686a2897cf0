"""Engines by name or by their parameters, instead of a search."""

from dataclasses import replace
from typing import Any

from ..device.costs import requantizer_dsp
from ..device.parts import PORT_BITS, Part
from ..engine import GROUPS, Engine, EngineError
from ..errors import HwgenError
from ..graph.ir import Graph
from .tiles import Unplaceable
from .sizing import Sized, size

_D1 = {"ki": 16, "px": 1, "dsp_rows": 16, "drain_lanes": 4, "dsp_weights": "single", "wide": False}
PRESETS: dict[str, dict] = {
    "d1-1": _D1,
    "d1-2": _D1 | {"sp2_rows": 16},
    "d1-3": _D1 | {"sp2_rows": 24},
}
"""The designs of MSQ (HPCA 2021) on XC7Z020: 16 channels, one pixel, 16 fixed rows and 0, 16 or 24 SP2 rows; one
product per DSP block, and what exceeds the blocks in multipliers of LUTs."""

NAMES = {"ki": "ki", "px": "px", "drain": "drain_lanes", "mem": "mem_bits", "ports": "ports", "ring": "ring_depth",
         "scratch": "scratch_depth", "wide": "wide", "upper": "upper_blocks",
         "weights": "dsp_weights", **{group: f"{group}_rows" for group in GROUPS}}
"""Names in an engine's free form, and what they stand for."""
SWITCHES = ("wide", "upper")


def parse_engine(text: str, part: Part) -> Engine:
    """The engine of a preset's name or of a free form like ``ki=16,px=6,sp2=24,dsp=8,drain=8``.

    Its lanes are made of the part's primitives.  HwgenError when the text says no engine, and when the part has
    no ports for its memory word.
    """
    if "=" not in text:
        if text.lower() not in PRESETS:
            raise HwgenError(f"unknown engine {text!r}; known are {', '.join(PRESETS)}, and parameters like "
                             "ki=16,px=6,sp2=24,dsp=8,drain=8")
        values: dict[str, Any] = dict(PRESETS[text.lower()])
    else:
        values = dict(_pair(item, text) for item in text.split(","))
    try:
        values = {"wide": False, "drain_lanes": 1} | values | {"family": part.family, "small": part.small}
        engine = Engine(**values)
    except (EngineError, TypeError) as error:
        raise HwgenError(f"--engine {text}: {error}") from error
    _check_ports(engine, part, text)
    return replace(engine, dsp_products=_most_products(engine, part.dsp))


def _check_ports(engine: Engine, part: Part, text: str) -> None:
    """Programs in external memory come through the part's own ports; an on-chip memory is as wide as it must be."""
    if part.ports and (engine.port_bits != PORT_BITS or engine.ports > part.ports):
        raise HwgenError(f"--engine {text}: {part.name} has {part.ports} memory ports of {PORT_BITS} bits, not "
                         f"{engine.ports} of {engine.port_bits}; mem must be {PORT_BITS} times ports")


def engine_text(engine: Engine) -> str:
    """The free form of an engine: what :func:`parse_engine` reads."""
    values = {short: getattr(engine, name) for short, name in NAMES.items()}
    return ",".join(f"{short}={int(value) if isinstance(value, bool) else value}" for short, value in values.items()
                    if value not in (0, ""))


def _pair(item: str, text: str) -> tuple[str, object]:
    name, _, value = item.strip().partition("=")
    if name not in NAMES:
        raise HwgenError(f"--engine {text}: unknown parameter {name!r}; known are {', '.join(NAMES)}")
    if name == "weights":
        return NAMES[name], value
    try:
        number = int(value)
    except ValueError:
        raise HwgenError(f"--engine {text}: {name} must be a whole number, not {value!r}") from None
    return NAMES[name], bool(number) if name in SWITCHES else number


def size_engine(graph: Graph, engine: Engine, part: Part) -> Sized:
    """The network on the given engine, which gets the widths and depths that it asks for.

    Single products get the blocks that the requantizers leave.  HwgenError when the lanes cannot run it.
    """
    try:
        sized = size(graph, engine, part)
        if engine.dsp_weights == "single":
            left = part.dsp - engine.drain_lanes * requantizer_dsp(sized.engine, part.family)
            sized = size(graph, replace(engine, dsp_products=_most_products(engine, left)), part)
    except Unplaceable as reason:
        raise HwgenError(f"network {graph.name!r} does not run on this engine: {reason}; give it other lane groups "
                         "or leave --engine out") from reason
    return sized


def _most_products(engine: Engine, blocks: int) -> int:
    if engine.dsp_weights != "single":
        return 0
    return max(0, min(engine.dsp_rows * engine.ki * engine.px, blocks))
