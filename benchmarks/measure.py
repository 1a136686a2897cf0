"""Synthesize blocks and engines, and remember what came out.

Results are kept in a folder by a digest of family, Yosys version and Verilog text, so a second
run repeats only what has changed in between.
"""

import hashlib
import importlib.metadata
import json
from pathlib import Path
import tempfile
import time

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.device import get_part
from hwgen.engine import GROUPS, Engine
from hwgen.rtl.emit import TOP, emit_verilog, verilog
from hwgen.synth import synthesize

PARTS = {"ecp5": "LFE5U-85F", "xilinx7": "XC7Z020", "ice40": "iCE40UP5K"}
"""The part that stands for its family: only cell types matter here."""


SLOW_STEPS = 40
"""Of the path beside a block; longer than any path of an engine."""


class Shell(wiring.Component):
    """A component beside a long path that has nothing to do with it.

    Mapping trades area against depth up to the longest path of a design.  Alone, a lane
    would be that path and be mapped for speed, 5 to 10 % larger than in an engine.
    """

    def __init__(self, inner: wiring.Component | None):
        self.inner = inner
        members = dict(inner.signature.members) if inner is not None else {}
        super().__init__({**members, "slow_i": In(2 * SLOW_STEPS + 1), "slow_o": Out(1)})

    def elaborate(self, platform):
        m = Module()
        value = self.slow_i[0]
        for step in range(SLOW_STEPS):
            value = (value & self.slow_i[2 * step + 1]) ^ self.slow_i[2 * step + 2]
        m.d.sync += self.slow_o.eq(value)
        if self.inner is not None:
            m.submodules.inner = self.inner
            for name, member in self.inner.signature.members.items():
                mine, its = getattr(self, name), getattr(self.inner, name)
                if member.is_port and member.flow is In:
                    m.d.comb += its.eq(mine)
                else:
                    m.d.comb += mine.eq(its)
        return m


class Bench:
    """Measures for one family, with the folder of what was measured before."""

    def __init__(self, family: str, folder: Path):
        self.family = family
        self.folder = folder / family
        self.folder.mkdir(parents=True, exist_ok=True)
        self.yosys = importlib.metadata.version("pyosys")
        self.seconds = 0.0

    def block(self, component: wiring.Component, *, name: str = "", options: str = "") -> dict:
        """LUT, FF, DSP and BRAM of a component on its own; ``options`` for Yosys' flow."""
        found = self._measure(verilog(Shell(component), "block"), "block", name or type(component).__name__, options)
        empty = self._measure(verilog(Shell(None), "block"), "block", "empty")
        return {field: found[field] - empty[field] for field in ("lut", "ff", "dsp", "bram")}

    def engine(self, engine: Engine) -> dict:
        """The same of a whole engine."""
        return self._measure(emit_verilog(engine), TOP, describe(engine))

    def _measure(self, text: str, top: str, name: str, options: str = "") -> dict:
        flow = f"{self.family} {self.yosys} {options}".rstrip()
        digest = hashlib.sha256(f"{flow}\n{text}".encode()).hexdigest()[:24]
        known = self.folder / f"{digest}.json"
        if known.exists():
            return json.loads(known.read_text())
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source.sv"
            source.write_text(text)
            made = synthesize(source, top, get_part(PARTS[self.family]), Path(folder) / "out", options=options)
        self.seconds += time.monotonic() - start
        found = {**made.resources.to_json(), "lutram": made.lutram, "carry": made.carry, "yosys": made.yosys,
                 "cells": made.cells}
        known.write_text(json.dumps(found))
        print(f"{self.family:8} {name}: LUT {found['lut']}, FF {found['ff']}, DSP {found['dsp']}, "
              f"BRAM {found['bram']} ({time.monotonic() - start:.0f} s)", flush=True)
        return found


def describe(engine: Engine) -> str:
    """An engine in one line."""
    flags = "".join(letter for letter, on in (("w", engine.wide), ("r", engine.residual), ("s", engine.rescale),
                                              ("p", engine.pool), ("t", engine.thresholds)) if on)
    rows = "+".join(str(engine.rows_of(group)) for group in GROUPS)
    return (f"ki{engine.ki} px{engine.px} {rows} D{engine.drain_lanes} a{engine.acc_bits} "
            f"m{engine.m_bits} ring{engine.ring_depth} scratch{engine.scratch_depth} {flags} {engine.dsp_weights}")
