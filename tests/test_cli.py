"""The commands on a build whose planner and simulator only pretend: output, files, exit codes."""

import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from hwgen.build import save_result
from hwgen.device import Resources
from hwgen.plan.cycles import count_cycles
from hwgen.plan.layout import lay_out
from hwgen.version import __version__

from commands import run
from fake_build import (
    AXI_VERILOG, VERILOG, FakePlan, FakeProgram, FakeResult, fake_simulation, tiny_graph, write_fake_build)


@pytest.fixture
def fakes(monkeypatch):
    """Planner, assembler, RTL generator and simulator replaced; the importer too, for any file that exists."""
    import hwgen.frontend
    import hwgen.plan
    import hwgen.program
    import hwgen.rtl
    import hwgen.rtl.axi
    import hwgen.sim

    asked = {}

    def plan(graph, part, *, clock_mhz, fps=None, engine=None, progress):
        asked.update(part=part.name, clock_mhz=clock_mhz, fps=fps, engine=engine)
        return FakePlan()

    monkeypatch.setattr(hwgen.frontend, "load", lambda path, data=None: tiny_graph())
    monkeypatch.setattr(hwgen.plan, "make_plan", plan, raising=False)
    monkeypatch.setattr(hwgen.program, "assemble", lambda graph, plan: FakeProgram(), raising=False)
    monkeypatch.setattr(hwgen.rtl.axi, "emit_top",
                        lambda engine, protocol: f"// {protocol}\n{AXI_VERILOG}" if protocol else VERILOG)
    monkeypatch.setattr(hwgen.sim, "simulate", fake_simulation, raising=False)
    return asked


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"pretended")
    codes = np.random.default_rng(5).integers(0, 16, (20, 2, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "test_images.npz", codes=codes, labels=np.arange(20) % 3)
    return path


# ---- build -------------------------------------------------------------------------------


def test_build_writes_a_directory_and_says_what(fakes, model, tmp_path, capsys):
    code, out, err = run(capsys, "build", model, "--board", "ulx3s_85f", "--fps", 2000, "-o", tmp_path / "a")
    assert code == 0
    assert fakes == {"part": "LFE5U-85F", "clock_mhz": 50.0, "fps": 2000.0, "engine": None}
    assert "tiny on ulx3s_85f" in out and "bound by nothing" in out
    assert "next: hwgen simulate" in err
    report = json.loads((tmp_path / "a" / "report.json").read_bytes())
    assert report["verification"]["float_accuracy"] == 0.75
    assert report["verification"]["golden_images"] == 20
    # two convolution rows of three and the pooling are proven
    assert (report["verification"]["requantizers_proven"], report["verification"]["requantizers"]) == (3, 4)
    # 3 rows of 18 weights on a 2 x 2 map; sp2 and fixed4 codes have four bits
    assert report["network"] == {"macs": 216, "params": 54, "rows": {"fixed4": 2, "sp2": 1}, "weight_bits": 216}
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_bytes())
    assert manifest["options"]["fps"] == 2000.0 and manifest["hwgen"] == __version__


def test_build_json_is_the_report(fakes, model, tmp_path, capsys):
    code, out, _ = run(capsys, "build", model, "--part", "xc7z020", "--clock-mhz", 80, "-o", tmp_path / "a", "--json")
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "a" / "report.json").read_bytes())
    assert fakes == {"part": "XC7Z020", "clock_mhz": 80.0, "fps": None, "engine": None}
    assert json.loads(out)["board"] is None


def test_parts_with_ports_get_an_engine_with_axi_ports(fakes, model, tmp_path, capsys):
    code, out, _ = run(capsys, "build", model, "--board", "arty_z7_20", "-o", tmp_path / "a")
    assert code == 0
    assert "1 AXI3 port; planned with an ideal memory" in " ".join(out.split())
    assert "resources of XC7Z020 (engine with its AXI3 ports)" in out
    assert (tmp_path / "a" / "engine.v").read_text().startswith("// axi3\nmodule hwgen_axi_engine(")
    wanted = {"top": "hwgen_axi_engine", "protocol": "axi3", "ports": 1}
    for name, place in (("facts", "engine"), ("manifest", "options"), ("report", "engine")):
        found = json.loads((tmp_path / "a" / f"{name}.json").read_bytes())[place]
        assert {key: found.get(key) for key in wanted} == wanted


def test_parts_without_ports_say_nothing_of_them(fakes, model, tmp_path, capsys):
    assert run(capsys, "build", model, "--board", "ulx3s_85f", "-o", tmp_path / "a")[0] == 0
    assert (tmp_path / "a" / "engine.v").read_text() == VERILOG
    for name in ("facts", "manifest", "report"):
        text = (tmp_path / "a" / f"{name}.json").read_text()
        assert not any(f'"{key}"' in text for key in ("top", "protocol", "planned_ideal"))


def test_same_build_twice_same_bytes(fakes, model, tmp_path, capsys):
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        assert run(capsys, "build", model, "--board", "ulx3s_85f", "-o", folder)[0] == 0
    contents = [{p.name: p.read_bytes() for p in folder.iterdir()} for folder in folders]
    assert contents[0] == contents[1]


def test_default_folder_is_named_after_the_model(fakes, model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "build", model.name, "--board", "icebreaker")[0] == 0
    assert (tmp_path / "build" / "net" / "engine.v").is_file()


def test_model_without_images_gets_seeded_codes(fakes, model, tmp_path, capsys):
    (tmp_path / "test_images.npz").unlink()
    for folder in ("a", "b"):
        code, out, _ = run(capsys, "build", model, "--board", "ulx3s_85f", "-o", tmp_path / folder, "--json")
        assert code == 0 and json.loads(out)["verification"]["golden_accuracy"] is None
    assert (tmp_path / "a" / "golden.npz").read_bytes() == (tmp_path / "b" / "golden.npz").read_bytes()
    code, out, _ = run(capsys, "simulate", tmp_path / "a", "--images", 30, "--json")
    assert code == 0
    check = json.loads(out)["verification"]
    assert (check["images"], check["mismatches"], check["accuracy"]) == (30, 0, None)


# ---- simulate, synth, report -------------------------------------------------------------


@pytest.mark.parametrize("words, images", [([], 5), (["--images", "2"], 2)])
def test_simulate_known_images(fakes, tmp_path, capsys, words, images):
    build = write_fake_build(tmp_path / "a")
    code, out, _ = run(capsys, "simulate", build.path, *words, "--json")
    check = json.loads(out)["verification"]
    wanted = build.golden["outputs"][:images].reshape(images, 3).argmax(1) == build.golden["labels"][:images]
    assert code == 0
    assert (check["images"], check["mismatches"], check["accuracy"]) == (images, 0, sum(wanted.tolist()) / images)
    assert json.loads((build.path / "report.json").read_bytes()) == json.loads(out)


@pytest.mark.parametrize("shape", [(3, 2, 4, 4), (3, 32), (2, 4, 4)])
def test_simulate_own_inputs(fakes, tmp_path, capsys, shape):
    build = write_fake_build(tmp_path / "a")
    np.save(tmp_path / "x.npy", np.zeros(shape, np.int64))
    code, out, _ = run(capsys, "simulate", build.path, "--inputs", tmp_path / "x.npy", "--json")
    check = json.loads(out)["verification"]
    assert (code, check["images"], check["accuracy"]) == (0, 1 if len(shape) == 3 else 3, None)


@pytest.mark.parametrize("words, memory", [
    ([], {"latency": 30, "bytes_per_cycle": 8.0, "queue": 8}),
    (["--memory-latency", 7, "--bytes-per-cycle", 3], {"latency": 7, "bytes_per_cycle": 8 / 3, "queue": 8}),
    # Never more than the ports give.
    (["--bytes-per-cycle", 64], {"latency": 30, "bytes_per_cycle": 8.0, "queue": 8}),
])
def test_simulate_through_axi_ports(tmp_path, capsys, monkeypatch, words, memory):
    """Planned cycles are counted anew for the memory of the simulation."""
    import hwgen.sim
    asked = []

    def simulate(build, codes, **rest):
        asked.append((rest["memory"], rest["protocol"]))
        return FakeResult(images=len(codes), outputs=np.zeros((len(codes), 3)), cycles=800)

    monkeypatch.setattr(hwgen.sim, "simulate", simulate)
    build = write_fake_build(tmp_path / "a", board="arty_z7_20")
    code, out, _ = run(capsys, "simulate", build.path, *words, "--json")
    report, (used, protocol) = json.loads(out), asked[0]
    planned = count_cycles(lay_out(build.graph, build.engine), used.behind_axi())
    cycles = report["cycles"]
    assert (code, protocol, used.latency, used.queue) == (0, "axi3", memory["latency"], 8)
    assert (cycles["memory"], cycles["planned"], cycles["simulated"]) == (memory, planned.total, 800)
    assert cycles["planned_ideal"] == 1000
    assert [layer["planned"] for layer in cycles["layers"]] == list(planned.layers)
    assert cycles["error_percent"] == pytest.approx((planned.total / 800 - 1) * 100)
    code, out, _ = run(capsys, "report", build.path)
    shown = f"{planned.total:,} planned, 800 simulated ({cycles['error_percent']:+.2f} %)"
    assert shown in " ".join(out.split()) and shown in (build.path / "report.html").read_text()
    assert f"first word after {memory['latency']} cycles" in " ".join(out.split())
    assert all(len(line) <= 80 for line in out.splitlines()[:-1])


def test_differences_are_a_failure(fakes, tmp_path, capsys, monkeypatch):
    import hwgen.sim
    build = write_fake_build(tmp_path / "a")
    monkeypatch.setattr(hwgen.sim, "simulate", lambda build, codes, **rest: FakeResult(
        images=5, outputs=np.zeros((5, 3)), mismatches=7, first_difference="conv, row 2, expected 3, got 4"))
    code, out, err = run(capsys, "simulate", build.path)
    assert code == 1
    assert err.splitlines()[-1] == ("hwgen: 7 codes differ from the golden model in 5 images; "
                                    "first difference: conv, row 2, expected 3, got 4")
    assert "conv, row 2, expected 3, got 4" in out
    assert json.loads((build.path / "report.json").read_bytes())["verification"]["mismatches"] == 7


def test_synth_counts_the_engine(tmp_path, capsys):
    build = write_fake_build(tmp_path / "a")
    code, out, err = run(capsys, "synth", build.path)
    report = json.loads((build.path / "report.json").read_bytes())
    assert code == 0
    assert report["resources"]["synthesized"] == {"lut": 4, "ff": 4, "dsp": 0, "bram": 0}
    assert report["resources"]["error_percent"] == {"lut": 100.0, "ff": 0.0, "dsp": 0.0, "bram": 0.0}
    assert "+100.0 %" in out and "synthesizing" in err


def test_synth_counts_the_axi_ports(tmp_path, capsys):
    """The top module is the one that the build's facts name."""
    build = write_fake_build(tmp_path / "a", board="arty_z7_20")
    assert (build.top, build.protocol) == ("hwgen_axi_engine", "axi3")
    code, out, _ = run(capsys, "synth", build.path)
    assert code == 0 and "resources of XC7Z020 (engine with its AXI3 ports)" in out
    assert "-top hwgen_axi_engine" in (build.path / "synth" / "passes.txt").read_text()


def test_place_and_route_takes_the_top_of_the_build(tmp_path, capsys, monkeypatch):
    from hwgen.build import steps
    from hwgen.synth import CriticalPath, Placement
    asked = []

    def place(verilog, top, part, folder, **rest):
        asked.append((verilog.name, top, part.name, rest["memory_words"], rest["clock_mhz"], rest["seed"]))
        return Placement(Resources(lut=4, ff=4, dsp=0, bram=1), 60.0, {}, "nextpnr",
                         CriticalPath("reader.point", "ring.slice_0", 2.5, 5.25), rest["clock_mhz"], rest["seed"])

    monkeypatch.setattr(steps, "place_and_route", place)
    build = write_fake_build(tmp_path / "a")
    code, out, _ = run(capsys, "synth", build.path, "--pnr")
    assert code == 0 and "reader.point to ring.slice_0: 2.5 ns of logic, 5.2 ns of routing" in " ".join(out.split())
    assert run(capsys, "synth", build.path, "--pnr", "--target", "125", "--seed", "3")[0] == 0
    assert asked == [("engine.v", "hwgen_engine", "LFE5U-85F", 30, clock, seed) for clock, seed in ((50, 1), (125, 3))]
    code, _, err = run(capsys, "synth", build.path, "--target", "125")
    assert code == 1 and "--target is for place and route: give --pnr too" in err


def test_report_shows_what_there_is(tmp_path, capsys):
    build = write_fake_build(tmp_path / "a")
    save_result(build, "synth", {"resources": {"lut": 10, "ff": 4, "dsp": 0, "bram": 0}, "carry": 0, "levels": None,
                                 "deepest": None})
    code, out, err = run(capsys, "report", build.path)
    assert (code, err) == (0, "")
    assert "tiny on ulx3s_85f" in out and "report.html" in out and "-20.0 %" in out
    code, out, _ = run(capsys, "report", build.path, "--json")
    assert code == 0 and json.loads(out) == json.loads((build.path / "report.json").read_bytes())


# ---- check, doctor, version, help --------------------------------------------------------


def test_check_of_a_model(capsys):
    code, out, err = run(capsys, "check", "digits_mlp")
    assert code == 0 and out.splitlines()[-1] == "no problems"
    assert err.startswith("checking digits_mlp")
    code, out, _ = run(capsys, "check", "digits_mlp", "--json")
    assert code == 0 and json.loads(out)["ok"] is True


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"hwgen {__version__}\n", "")


@pytest.mark.parametrize("command", ["build", "simulate", "synth", "report", "check", "doctor"])
def test_every_help_has_an_example(capsys, command):
    code, out, _ = run(capsys, command, "--help")
    assert code == 0 and f"Example:  hwgen {command}" in out
    assert "--json" in out


def test_help_says_what_memory_is_simulated(capsys):
    words = " ".join(run(capsys, "simulate", "--help")[1].split())
    assert "--memory-latency" in words and "default 30" in words and "--bytes-per-cycle" in words


def test_help_lists_boards_and_parts(capsys):
    _, out, _ = run(capsys, "build", "--help")
    words = " ".join(out.split())
    assert "ulx3s_85f" in words and "XC7Z045" in words


def test_doctor(capsys):
    code, out, _ = run(capsys, "doctor", "--json")
    tree = json.loads(out)
    tools = {tool["tool"]: tool for tool in tree["tools"]}
    assert code == 0 and tree["ok"] is True
    assert {"python", "yosys", "verilator", "g++", "make", "perl", "nextpnr-ecp5", "iverilog", "torch"} <= set(tools)
    assert tools["yosys"]["version"] == "Yosys 0.70"
    assert tools["torch"]["needed"] is False
    code, out, _ = run(capsys, "doctor")
    assert code == 0 and "pyosys" in out


def test_doctor_says_what_is_missing(capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    code, out, err = run(capsys, "doctor")
    assert code == 1
    assert "apt-get install g++" in out and "MISSING" in out
    assert err.splitlines()[-1] == "hwgen: missing: verilator, g++, make, perl"


# ---- signals -----------------------------------------------------------------------------

SLEEPER = """
import sys, time
import hwgen.plan
from hwgen.cli.main import main
import hwgen.frontend, hwgen.program, hwgen.rtl.axi
def plan(graph, part, **rest):
    print('planning', flush=True)
    time.sleep(60)
hwgen.plan.make_plan = plan
hwgen.program.assemble = hwgen.rtl.axi.emit_top = None
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_build_leaves_nothing(tmp_path, number, code):
    command = [sys.executable, "-c", SLEEPER, "build", "digits_mlp", "--board", "ulx3s_85f", "-o", str(tmp_path / "a")]
    # A shell's background job, from which the tests may have been started, ignores SIGINT, and so would its children.
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
               "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], **options) as child:
        assert child.stdout.readline() == b"planning\n"
        assert list(tmp_path.iterdir()) != []
        child.send_signal(number)
        errors = child.communicate(timeout=20)[1].decode()
    assert child.returncode == code
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_reader_that_goes_away_is_no_error(tmp_path):
    command = [sys.executable, "-m", "hwgen", "build", "--help"]
    read, write = os.pipe()
    with subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, cwd=Path(__file__).parents[1]) as child:
        os.close(write)
        os.close(read)
        errors = child.communicate(timeout=20)[1].decode()
    assert "Traceback" not in errors and "Exception" not in errors


def test_plain_progress_is_sparing(capsys):
    from rich.console import Console

    from hwgen.cli.progress import show
    start = time.monotonic()
    with show("working", Console(file=sys.stderr)) as progress:
        for i in range(1000):
            progress(str(i))
    assert time.monotonic() - start < 5
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "working ..." and lines[-1].startswith("working: done in") and len(lines) == 2
