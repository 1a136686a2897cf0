"""Runs cocotb's build and test steps in a process of their own: ``python -m hwgen.sim.compile``."""

from pathlib import Path
import sys

from cocotb_tools.runner import Icarus, Runner, VerilatorControlFile, Verilator

from .testbench import NAME


class FastVerilator(Verilator):
    """cocotb's Verilator runner without ``--public-flat-rw``.

    That flag makes every signal of the design public and stops most optimisation; the
    control file makes public just what the test reads.
    """

    def _build_command(self):
        return [[part for part in command if str(part) != "--public-flat-rw"] for command in super()._build_command()]


def runner(name: str) -> Runner:
    return FastVerilator() if name == "verilator" else Icarus()


def build(name: str, sources: list[str]) -> None:
    arguments = ["-g2012"]
    files: list = list(sources)
    if name == "verilator":
        arguments = ["-Wno-fatal", "-Wno-WIDTH", "--timing", "-O3", "--x-assign", "fast", "--x-initial", "fast",
                     "--noassert", "--output-split", "20000", "-CFLAGS", "-O2", "--build-jobs", "2"]
        files = [VerilatorControlFile("public.vlt"), *files]
    runner(name).build(sources=files, hdl_toplevel=NAME, build_dir=Path("build").resolve(), build_args=arguments,
                       always=True, timescale=("1ns", "1ns"))


def run(name: str, plusargs: list[str]) -> None:
    simulator = runner(name)
    folder = Path("build").resolve()
    results = simulator.test(hdl_toplevel=NAME, hdl_toplevel_lang="verilog", test_module="hwgen.sim.cocotb_run",
                             build_dir=folder, test_dir=folder, plusargs=plusargs,
                             results_xml=str(folder / "results.xml"))
    text = Path(results).read_text()
    if "<failure" in text or "<error" in text or "<testcase" not in text:
        raise SystemExit("the cocotb test failed")


if __name__ == "__main__":
    if sys.argv[1] == "--run":
        run(sys.argv[2], sys.argv[3:])
    else:
        build(sys.argv[1], sys.argv[2:])
