# amaranth: UnusedElaboratable=no
"""AXI ports against the slave models of cocotbext-axi: small networks, random stalls on every channel, errors."""

from dataclasses import dataclass
import os
from pathlib import Path
import pickle
import subprocess
import sys

import numpy as np
import pytest

from hwgen.engine import AXI_TOP as TOP
from hwgen.engine import Engine
from hwgen.errors import HwgenError
from hwgen.golden import run
from hwgen.program.assemble import input_words, unpack_words
from hwgen.rtl.axi import AxiEngine, AxiMaster, emit_top
from hwgen.sim.run import environment
from hwgen.synth.wrapper import parse_ports
from program_bench import random_cases
from simulators import need_simulator

COMMON = {"scratch_depth": 2048, "ring_depth": 256, "acc_bits": 26}
ENGINES = {
    "axi4 64": ("axi4", Engine(ki=2, px=1, sp2_rows=0, dsp_rows=2, drain_lanes=1, wide=False, residual=False,
                               rescale=False, pool=False, thresholds=False, **COMMON)),
    "axi4 128": ("axi4", Engine(ki=4, px=2, sp2_rows=2, dsp_rows=2, drain_lanes=2, mem_bits=128, **COMMON)),
    "axi3 2 x 64": ("axi3", Engine(ki=4, px=3, sp2_rows=2, dsp_rows=1, drain_lanes=1, dsp_weights="lut", pool=False,
                                   mem_bits=128, ports=2, **COMMON)),
    "axi3 4 x 64": ("axi3", Engine(ki=4, px=2, sp2_rows=4, dsp_rows=0, drain_lanes=2, mem_bits=256, ports=4, **COMMON)),
    "axi4 4 x 128": ("axi4", Engine(ki=32, px=1, sp2_rows=2, dsp_rows=0, drain_lanes=2, pool=False, rescale=False,
                                    mem_bits=512, ports=4, **COMMON | {"acc_bits": 28})),
}
RUN = """
from pathlib import Path
import sys
from cocotb_tools.runner import get_runner
runner = get_runner("icarus")
top = sys.argv[1]
runner.build(sources=["engine.sv"], hdl_toplevel=top, build_dir=Path("build").resolve(), always=True,
             build_args=["-g2012"], timescale=("1ns", "1ns"))
found = runner.test(hdl_toplevel=top, hdl_toplevel_lang="verilog", test_module="axi_bench",
                    build_dir=Path("build").resolve(), test_dir=Path("build").resolve(),
                    results_xml=str(Path("build/results.xml").resolve()))
text = Path(found).read_text()
sys.exit("<failure" in text or "<error" in text or "<testcase" not in text)
"""


@dataclass(frozen=True)
class Outcome:
    cycles: int
    error: int
    outputs: dict[str, np.ndarray]


def run_axi(case, protocol: str, runs: list[dict], folder: Path) -> tuple[list[Outcome], dict]:
    """Run a case's first image as often as there are ``runs``; what came out, and what was seen on the ports."""
    engine, program = case.layout.engine, case.program
    size = engine.mem_bits // 8
    memory = bytearray(program.memory_words * size)
    memory[:len(program.image)] = program.image
    data = input_words(case.layout, case.images[0])
    memory[program.input_address * size:program.input_address * size + len(data)] = data
    job = {"protocol": protocol, "ports": engine.ports, "port_bytes": engine.port_bits // 8, "length": program.words,
           "bases": [0x1000_0000 * (port + 1) + 0x400 * port for port in range(engine.ports)],
           "memory": bytes(memory), "runs": runs, "limit": 60_000}
    (folder / "job").write_bytes(pickle.dumps(job))
    text, top = emit_top(engine, protocol), TOP
    if protocol == "axi3":
        text, top = text + as_axi4(text), "as_axi4"
    (folder / "engine.sv").write_text(text)
    env = environment() | {"AXI_JOB": str(folder / "job"), "AXI_RESULT": str(folder / "result"),
                           "COCOTB_LOG_LEVEL": "WARNING"}
    env["PYTHONPATH"] = os.pathsep.join((str(Path(__file__).parent), env["PYTHONPATH"]))
    done = subprocess.run([sys.executable, "-c", RUN, top], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    results, seen = pickle.loads((folder / "result").read_bytes())
    return [Outcome(r["cycles"], r["error"], stored(case, r["memory"])) for r in results], seen


def as_axi4(verilog: str) -> str:
    """A top around an AXI3 engine with the widths that the slave models know; the numbers are the same."""
    ports, lines, links = parse_ports(verilog, TOP), [], []
    for port in ports:
        width = 8 if port.name.endswith("len") and "_axi_" in port.name else port.width
        width = 1 if port.name.endswith("lock") else width
        lines.append(f"{'output' if port.output else 'input'} [{width - 1}:0] {port.name}")
        links.append(f".{port.name}({port.name}{'[3:0]' if width == 8 and port.width == 4 else ''})")
    zeros = "".join(f"  assign {port.name}[7:4] = 0;\n" for port in ports
                    if port.name.endswith("len") and port.width == 4)
    return f"module as_axi4({', '.join(lines)});\n  {TOP} engine({', '.join(links)});\n{zeros}endmodule\n"


def stored(case, memory: bytes) -> dict[str, np.ndarray]:
    """Codes of every result as they lie in memory."""
    layout, found = case.layout, {}
    for name, base in case.program.output_base.items():
        region, engine = layout.regions[name], layout.engine
        n_words, half = region.size * engine.banks, engine.ki // 2
        begin = base * half
        part = np.frombuffer(memory, np.uint8)[begin:begin + n_words * half].reshape(n_words, half)
        nibbles = np.stack([part & 15, part >> 4], axis=-1).reshape(n_words, engine.ki)
        found[name] = unpack_words(layout, name, nibbles.reshape(region.blocks, region.planes, -1, engine.ki))
    return found


def small_case(engine: Engine, seed: int = 40):
    """A network with few cycles, several layers and, if there is one, results of several memory words."""
    cases, _ = random_cases(engine, seed, 12, 1 << 14)

    def results(case):
        return min(case.layout.regions[name].size * engine.banks for name in case.graph.outputs)

    return min((case for case in cases if len(case.layout.layers) > 1),
               key=lambda case: (results(case) < 4 * engine.scratch_words, case.program.words))


@pytest.mark.parametrize("name", ENGINES)
def test_networks_under_stalls_and_errors(name, tmp_path):
    """The golden model's codes whatever the memory does; SLVERR and DECERR stop the engine, which then runs again."""
    need_simulator("icarus")
    protocol, engine = ENGINES[name]
    case = small_case(engine)
    words, last = case.program.words, engine.ports - 1
    plan = [
        ({"stall": 0}, 0), ({"stall": 30}, 0), ({"stall": 70}, 0),
        ({"stall": 0, "fail": "read", "port": 0, "at": 0}, 5), ({"stall": 0}, 0),
        ({"stall": 20, "fail": "read", "port": last, "at": words // 2, "response": "DECERR"}, 5), ({"stall": 20}, 0),
        ({"stall": 40, "fail": "read", "port": last, "at": words - 1, "response": "SLVERR"}, 5), ({"stall": 10}, 0),
        ({"stall": 10, "fail": "write", "port": 0, "at": 0, "response": "SLVERR"}, 5), ({"stall": 0}, 0),
        ({"stall": 50, "fail": "write", "port": 0, "at": 1, "response": "DECERR"}, 5), ({"stall": 50}, 0),
    ]
    runs = [options | {"seed": f"{name} {i}"} for i, (options, _) in enumerate(plan)]
    found, seen = run_axi(case, protocol, runs, tmp_path)
    expected = {output: codes[0] for output, codes in run(case.graph, case.images, keep=True).items()}
    for index, ((_, error), outcome) in enumerate(zip(plan, found, strict=True)):
        assert outcome.error == error, index
        if not error:
            for output, codes in outcome.outputs.items():
                assert np.array_equal(codes, expected[output]), (index, output)
    assert found[0].cycles == found[4].cycles == found[10].cycles < found[1].cycles < found[2].cycles
    assert seen["most"] >= 2


@pytest.mark.parametrize("protocol,bits,message", [
    ("axi5", 64, "protocol must be one of axi3, axi4, not 'axi5'"),
    ("axi3", 128, "an axi3 port must have 64 bits, not 128"),
    ("axi4", 256, "an axi4 port must have 64 or 128 bits, not 256")])
def test_illegal_ports(protocol, bits, message):
    with pytest.raises(HwgenError, match=message):
        AxiMaster(data_bits=bits, protocol=protocol)


def test_an_engine_with_one_wide_port_is_for_on_chip_memory_only():
    with pytest.raises(HwgenError, match="an axi4 port must have 64 or 128 bits, not 256"):
        AxiEngine(engine=Engine(ki=4, px=1, sp2_rows=2, dsp_rows=2, drain_lanes=2, mem_bits=256))
