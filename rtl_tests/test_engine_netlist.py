"""A whole engine after synthesis: the netlist computes what the golden model computes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwgen.frontend import load
from hwgen.golden import run
from hwgen.engine import Engine
from hwgen.plan.layout import lay_out
from hwgen.program.assemble import assemble_layout
from hwgen.rtl import emit_verilog
from hwgen.sim.run import compile_engine
from hwgen.sim.simulate import Comparison, Job, run_traces
from simulators import need_simulator
from netlist import cell_library, map_design
from test_networks import MODELS, fitted


@pytest.mark.parametrize("family", ["xilinx7", "ecp5"])
def test_digits_after_synthesis(family, tmp_path):
    need_simulator("icarus")
    graph = load(MODELS / "digits_mlp" / "digits_mlp.onnx")
    images = np.load(MODELS / "digits_mlp" / "test_images.npz")["codes"][:2]
    engine = replace(fitted(graph, Engine(ki=4, px=1, sp2_rows=4, dsp_rows=4, drain_lanes=2)), ring_depth=512)
    layout = lay_out(graph, engine)
    program = assemble_layout(layout)
    source = tmp_path / "engine.sv"
    source.write_text(emit_verilog(engine))
    netlist, _ = map_design([f"read_verilog -sv {source}"], "hwgen_engine", family, tmp_path)
    cells = tuple(Path(file).read_text() for file in cell_library(family, tmp_path))
    simulator = compile_engine(netlist.read_text(), engine, program.memory_words, tmp_path / "sim", "icarus", cells)
    golden = run(graph, images, keep=True)
    comparison = Comparison(graph, engine)
    for index, trace in enumerate(run_traces(simulator, [Job(layout, program, images)])):
        comparison.add(layout, trace, {name: codes[index] for name, codes in golden.items()}, index)
    assert comparison.first is None
    assert comparison.images == 2
