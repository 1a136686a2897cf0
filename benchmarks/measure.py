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
from amaranth.lib.wiring import connect, flipped

from hwgen.device import get_part
from hwgen.engine import Engine
from hwgen.rtl.emit import TOP, emit_verilog, verilog
from hwgen.synth import synthesize

PARTS = {"ecp5": "LFE5U-85F", "xilinx7": "XC7Z020", "ice40": "iCE40UP5K"}
"""The part that stands for its family: only cell types matter here."""


class Shell(wiring.Component):
    """A component inside another: Yosys' ``abc9`` stumbles over the port names of some blocks as a top."""

    def __init__(self, inner: wiring.Component):
        self.inner = inner
        super().__init__(inner.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = self.inner
        connect(m, flipped(self), self.inner)
        return m


class Bench:
    """Measures for one family, with the folder of what was measured before."""

    def __init__(self, family: str, folder: Path):
        self.family = family
        self.folder = folder / family
        self.folder.mkdir(parents=True, exist_ok=True)
        self.yosys = importlib.metadata.version("pyosys")
        self.seconds = 0.0

    def block(self, component: wiring.Component) -> dict:
        """LUT, FF, DSP, BRAM and LUT memory sites of a component on its own."""
        return self._measure(verilog(Shell(component), "block"), "block", type(component).__name__)

    def engine(self, engine: Engine) -> dict:
        """The same of a whole engine."""
        return self._measure(emit_verilog(engine), TOP, describe(engine))

    def _measure(self, text: str, top: str, name: str) -> dict:
        digest = hashlib.sha256(f"{self.family} {self.yosys}\n{text}".encode()).hexdigest()[:24]
        known = self.folder / f"{digest}.json"
        if known.exists():
            return json.loads(known.read_text())
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source.sv"
            source.write_text(text)
            made = synthesize(source, top, get_part(PARTS[self.family]), Path(folder) / "out")
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
    return (f"ki{engine.ki} px{engine.px} {engine.sp2_rows}+{engine.dsp_rows} D{engine.drain_lanes} a{engine.acc_bits} "
            f"m{engine.m_bits} ring{engine.ring_depth} scratch{engine.scratch_depth} {flags} {engine.dsp_weights}")
