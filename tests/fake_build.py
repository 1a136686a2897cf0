"""A tiny network, and a planner and assembler that only pretend, for tests of what is around them."""

from dataclasses import dataclass, field

import numpy as np

from hwgen.build.directory import StagedDirectory, load_build, write_files
from hwgen.build.create import make_facts, make_target
from hwgen.build.graph_io import dump_graph, json_bytes, npz_bytes
from hwgen.build.results import write_report
from hwgen.device import Resources
from hwgen.golden import run
from hwgen.graph.ir import AvgPool, Conv, Graph, Requant, Rescale, Tensor
from hwgen.engine import Engine

VERILOG = """module hwgen_engine(clk, rst, a, p);
  input clk;
  wire clk;
  input rst;
  input [3:0] a;
  output [3:0] p;
  reg [3:0] p;
  always @(posedge clk) p <= ~a;
endmodule
"""
AXI_VERILOG = VERILOG.replace("hwgen_engine", "hwgen_axi_engine").replace("~a", "a + p")

SPLIT = {"busy": 1, "weights": 2, "activations": 3, "drain": 4, "memory": 5}
BYTES = {"weights": 6, "parameters": 7, "commands": 8, "maps_in": 9, "maps_out": 10}


def tiny_graph() -> Graph:
    """2 x 4 x 4 codes -> 3 rows of 3x3 -> average of the 2x2 map.  Weights and constants by hand."""
    weight = (np.arange(54).reshape(3, 2, 3, 3) % 15 - 7).astype(np.int64)
    weight[1] = np.array([-8, 5, 0, 1, 2, -4, 6, 8, -1] * 2).reshape(2, 3, 3)
    requant = Requant(multiplier=np.array([3, -1, 2]), constant=np.array([5, 100, -7]), shift=np.array([6, 5, 4]),
                      rounding="half_even", proven=2, worst=1)
    return Graph(
        name="tiny",
        tensors={"x": Tensor("x", (2, 4, 4), 4, 0.1, 8), "y": Tensor("y", (3, 2, 2), 4, 1 / 3),
                 "z": Tensor("z", (3, 1, 1), 4, 1 / 3)},
        ops=(Conv("conv", "x", "y", weight, ("fixed4", "sp2", "fixed4"), np.array([0.1, 1e-300, 2 / 3]), requant),
             AvgPool("pool", "y", "z", (2, 2), (2, 2), Rescale(a=1, constant=0, shift=2, proven=True))),
        input="x", outputs=("z",), metadata={"hwgen.float_accuracy": "0.75", "note": "\u00e4\n"})


@dataclass
class FakePlan:
    engine: Engine = Engine(ki=4, px=2, sp2_rows=4, dsp_rows=4, drain_lanes=2)
    cycles: int = 1000
    layers: list = field(default_factory=lambda: [
        {"name": "conv", "planned": 900, "macs": 216, "utilization": 0.0075, "split": SPLIT, "bytes": BYTES},
        {"name": "pool", "planned": 100, "macs": 0, "utilization": 0.0, "split": SPLIT, "bytes": BYTES}])
    units: dict = field(default_factory=lambda: {"array": SPLIT, "load": {"busy": 7}, "drain": {"busy": 8}})
    explanation: list = field(default_factory=lambda: ["bound by nothing"])
    estimate: Resources = Resources(lut=8, ff=4, dsp=0, bram=0)

    def to_json(self):
        return {"cycles": self.cycles}

    def timeline(self):
        return {"traceEvents": []}


@dataclass
class FakeProgram:
    image: bytes = bytes(range(200))
    memory_words: int = 30


def fake_simulation(build, codes, *, memory, protocol, progress):
    """What hwgen.sim.simulate returns, without a simulator."""
    assert (memory is None) == (protocol is None)
    return FakeResult(images=len(codes), outputs=run(build.graph, codes)["z"])


@dataclass
class FakeResult:
    images: int
    outputs: np.ndarray
    mismatches: int = 0
    cycles: int = 1000
    layers: dict = field(default_factory=lambda: {"conv": 900, "pool": 100})
    first_difference: str | None = None


def write_fake_build(path, *, known: bool = True, images: int = 5, board: str = "ulx3s_85f"):
    """A complete build directory without planner, assembler and RTL generator."""
    graph, plan, target = tiny_graph(), FakePlan(), make_target(board, None)
    codes = np.random.default_rng(7).integers(0, 16, (images, 2, 4, 4), dtype=np.uint8)
    outputs = run(graph, codes)["z"]
    labels = np.arange(images, dtype=np.uint8) % 3 if known else None
    facts = make_facts(graph, plan, target, 2000.0, program=FakeProgram(), outputs=outputs, labels=labels)
    golden = {"inputs": codes, "outputs": outputs, "known": np.array(known)}
    if known:
        golden["labels"] = labels
    structure, arrays = dump_graph(graph)
    with StagedDirectory(path) as stage:
        write_files(stage, {
            "engine.v": (AXI_VERILOG if target.part.protocol else VERILOG).encode(),
            "program.bin": FakeProgram().image, "plan.json": json_bytes(plan.to_json()),
            "graph.json": structure, "graph.npz": arrays, "golden.npz": npz_bytes(golden),
            "facts.json": json_bytes(facts), "timeline.json": b"{}\n",
        }, options={"fps": 2000.0}, tools={"python": "3"})
        write_report(load_build(stage))
    return load_build(path)
