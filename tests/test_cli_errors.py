"""One negative test for every error a user can cause: exit code, one message, no traceback."""

from importlib.util import find_spec
import json
import re

import numpy as np
import pytest

from hwgen.cli.main import main
from hwgen.errors import HwgenError

from fake_build import write_fake_build
from test_cli import fakes, model  # fixtures

__all__ = ["fakes", "model"]


def fails(capsys, code, pattern, *words):
    """The command must end with ``code`` and exactly one message, which ``pattern`` describes."""
    got = main([str(word) for word in words])
    _, err = capsys.readouterr()
    assert got == code, err
    assert "Traceback" not in err
    messages = [line for line in err.splitlines() if line.startswith("hwgen: ")]
    assert len(messages) == 1, err
    assert re.search(pattern, err.replace("\n", " ")), err
    return err


# ---- wrong use of the command line -------------------------------------------------------


@pytest.mark.parametrize("words, pattern", [
    ([], "Missing command"),
    (["compile"], "No such command 'compile'"),
    (["build"], "Missing argument 'MODEL'"),
    (["build", "x", "--bord", "y"], "No such option"),
    (["build", "x", "--fps", "many"], "Invalid value for '--fps': Input should be a valid number"),
    (["simulate", "x", "--images", "1.5"], "Invalid value for '--images': Input should be a valid integer"),
    (["synth"], "Missing argument 'DIR'"),
    (["report", "a", "b"], "unexpected extra argument"),
])
def test_usage(capsys, words, pattern):
    err = fails(capsys, 2, pattern, *words)
    assert "--help'" in err


# ---- build -------------------------------------------------------------------------------


@pytest.mark.parametrize("words, pattern", [
    (["--board", "nexys"], "unknown board 'nexys'; known boards: .*ulx3s_85f"),
    (["--part", "XC9"], "unknown part 'XC9'; known parts: .*XC7Z045"),
    ([], "give either --board BOARD or --part PART"),
    (["--board", "ulx3s_85f", "--part", "XC7Z020"], "give either --board BOARD or --part PART, not both"),
    (["--board", "ulx3s_85f", "--fps", "0"], "--fps must be above 0, not 0"),
    (["--board", "ulx3s_85f", "--fps", "nan"], "--fps must be above 0, not nan"),
    (["--board", "ulx3s_85f", "--clock-mhz", "-5"], "--clock-mhz must be above 0 and at most 1000, not -5"),
    (["--board", "ulx3s_85f", "--clock-mhz", "nan"], "--clock-mhz must be above 0 and at most 1000, not nan"),
])
def test_build_options(fakes, model, tmp_path, capsys, words, pattern):
    fails(capsys, 1, pattern, "build", model, "-o", tmp_path / "a", *words)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name, pattern", [
    ("no_such_model", "no model 'no_such_model': there is no such file, and models/ has .*fmnist_cnn"),
    ("missing/file.onnx", "no model 'missing/file.onnx'"),
    (".", "is a folder; give the .onnx file in it"),
])
@pytest.mark.parametrize("command", ["build", "check"])
def test_model_not_found(tmp_path, capsys, command, name, pattern):
    words = ["--board", "ulx3s_85f", "-o", tmp_path / "a"] if command == "build" else []
    fails(capsys, 1, pattern, command, name, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x07\x12\x00" * 3])
@pytest.mark.parametrize("command", ["build", "check"])
def test_not_onnx(tmp_path, capsys, command, content):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    words = ["--board", "ulx3s_85f", "-o", tmp_path / "a"] if command == "build" else []
    fails(capsys, 1, "net.onnx", command, path, *words)
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_model_cut_in_half(tmp_path, capsys):
    from hwgen.build.models import find_model
    data = find_model("digits_mlp").path.read_bytes()
    (tmp_path / "net.onnx").write_bytes(data[: len(data) // 2])
    fails(capsys, 1, "net.onnx", "check", tmp_path / "net.onnx")
    fails(capsys, 1, "net.onnx", "build", tmp_path / "net.onnx", "--board", "ulx3s_85f", "-o", tmp_path / "a")


@pytest.mark.parametrize("content, pattern", [
    (b"PK\x03\x04 cut", "cannot be read"),
    ({"codes": np.zeros((2, 2, 4, 4), np.uint8)}, "'labels'"),
    ({"codes": np.zeros((2, 3, 4, 4), np.uint8), "labels": np.zeros(2, np.uint8)},
     r"must have shape \(images, 2, 4, 4\)"),
    ({"codes": np.full((2, 2, 4, 4), 16), "labels": np.zeros(2, np.uint8)}, "codes of 0..15"),
    ({"codes": np.zeros((2, 2, 4, 4), np.uint8), "labels": np.zeros(3, np.uint8)}, "labels must be 2 integers"),
    ({"codes": np.zeros((2, 2, 4, 4), np.uint8), "labels": np.zeros(2)}, "labels must be 2 integers, not float64"),
])
def test_images_beside_the_model(fakes, model, tmp_path, capsys, content, pattern):
    path = tmp_path / "test_images.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, **content)
    fails(capsys, 1, f"test_images.npz.*{pattern}", "build", model, "--board", "ulx3s_85f", "-o", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_existing_folder_of_somebody_else(fakes, model, tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.tex").write_text("years of work")
    fails(capsys, 1, "exists and was not made by hwgen build; choose another -o DIR", "build", model, "--board",
          "ulx3s_85f", "-o", tmp_path / "a")
    assert (tmp_path / "a" / "thesis.tex").read_text() == "years of work"


def test_unwritable_output_folder(fakes, model, tmp_path, capsys):
    fails(capsys, 1, "cannot make output folder .*choose another -o DIR", "build", model, "--board", "ulx3s_85f",
          "-o", model / "a")


def test_network_that_does_not_fit_keeps_the_old_build(fakes, model, tmp_path, capsys, monkeypatch):
    import hwgen.plan
    assert main(["build", str(model), "--board", "ulx3s_85f", "-o", str(tmp_path / "a")]) == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()}
    capsys.readouterr()

    def refuse(graph, part, **rest):
        raise HwgenError("needs 900 of 208 block RAMs; XC7Z045 would do")

    monkeypatch.setattr(hwgen.plan, "make_plan", refuse)
    fails(capsys, 1, "needs 900 of 208 block RAMs", "build", model, "--board", "ulx3s_85f", "-o", tmp_path / "a")
    assert {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()} == before


# ---- later steps -------------------------------------------------------------------------

STEPS = [["simulate"], ["synth"], ["synth", "--pnr"], ["report"]]


@pytest.mark.parametrize("words", STEPS)
def test_no_build_directory(tmp_path, capsys, words):
    fails(capsys, 1, "build directory .*none does not exist; make one with 'hwgen build", *words, tmp_path / "none")
    fails(capsys, 1, "is not a build directory", *words, tmp_path)


@pytest.mark.parametrize("words", STEPS)
def test_build_of_another_version(tmp_path, capsys, words):
    build = write_fake_build(tmp_path / "a")
    manifest = json.loads((build.path / "manifest.json").read_bytes())
    (build.path / "manifest.json").write_text(json.dumps({**manifest, "hwgen": "9.9"}))
    fails(capsys, 1, "was made by hwgen 9.9, this is hwgen .*run 'hwgen build' again", *words, build.path)


@pytest.mark.parametrize("words", STEPS)
def test_build_cut_short(tmp_path, capsys, words):
    build = write_fake_build(tmp_path / "a")
    (build.path / "program.bin").write_bytes(build.image[:50])
    fails(capsys, 1, "program.bin has 50 bytes, the manifest says 200", *words, build.path)


@pytest.mark.parametrize("words, pattern", [
    (["--images", "0"], "--images must be at least 1, not 0"),
    (["--images", "6"], "--images 6: this build has 5 images; more can be given with --inputs"),
    (["--images", "2", "--inputs", "x.npy"], "give either --images or --inputs, not both"),
    (["--inputs", "missing.npy"], "inputs missing.npy: there is no such file"),
])
def test_simulate_options(fakes, tmp_path, capsys, words, pattern):
    build = write_fake_build(tmp_path / "a")
    fails(capsys, 1, pattern, "simulate", build.path, *words)


@pytest.mark.parametrize("option", ["--memory-latency", "--bytes-per-cycle"])
@pytest.mark.parametrize("board, value, pattern", [
    ("ulx3s_85f", 30, " is for parts with ports to external memory; LFE5U-85F has none"),
    ("ulx3s_85f", 0, " is for parts with ports to external memory; LFE5U-85F has none"),
    ("arty_z7_20", 0, " must be at least 1, not 0"),
    ("arty_z7_20", -8, " must be at least 1, not -8"),
])
def test_memory_options(fakes, tmp_path, capsys, option, board, value, pattern):
    build = write_fake_build(tmp_path / "a", board=board)
    fails(capsys, 1, option + pattern, "simulate", build.path, option, value)
    assert not (build.path / "sim.json").exists()


def test_memory_that_the_watchdog_takes_for_dead(fakes, tmp_path, capsys):
    build = write_fake_build(tmp_path / "a", board="arty_z7_20")
    fails(capsys, 1, "--memory-latency must be at most 1000000, not 1000001: the engine's watchdog takes a slower",
          "simulate", build.path, "--memory-latency", 1000001)


@pytest.mark.parametrize("option", ["--memory-latency", "--bytes-per-cycle"])
def test_memory_options_are_whole_numbers(tmp_path, capsys, option):
    pattern = f"Invalid value for '{option}': Input should be a valid integer"
    fails(capsys, 2, pattern, "simulate", tmp_path, option, "x")


@pytest.mark.parametrize("content, pattern", [
    (b"text", "cannot be read as a .npy array of numbers"),
    (b"", "cannot be read as a .npy array of numbers"),
    (np.zeros((1, 2, 4, 4)), "must hold integer codes, not float64; quantize it first"),
    (np.full((1, 2, 4, 4), 16), "must hold codes of 0..15, not 16..16"),
    (np.full((1, 2, 4, 4), -1), "must hold codes of 0..15, not -1..-1"),
    (np.zeros((1, 2, 5, 4), int), r"must have shape \(images, 2, 4, 4\), not \(1, 2, 5, 4\)"),
    (np.zeros((0, 2, 4, 4), int), "there are no images in it"),
    (np.array(3), "there are no images in it"),
    (np.array([None]), "cannot be read as a .npy array of numbers"),
])
def test_bad_inputs(fakes, tmp_path, capsys, content, pattern):
    build, path = write_fake_build(tmp_path / "a"), tmp_path / "x.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    fails(capsys, 1, f"x.npy.*{pattern}", "simulate", build.path, "--inputs", path)
    assert not (build.path / "sim.json").exists()


def test_archive_as_inputs(fakes, tmp_path, capsys):
    build = write_fake_build(tmp_path / "a")
    np.savez(tmp_path / "x.npz", a=np.zeros(1))
    fails(capsys, 1, "is an .npz archive; save one array with numpy.save", "simulate", build.path, "--inputs",
          tmp_path / "x.npz")


def test_place_and_route_of_a_part_without_a_tool(fakes, model, tmp_path, capsys):
    assert main(["build", str(model), "--part", "XC7Z020", "-o", str(tmp_path / "a")]) == 0
    capsys.readouterr()
    fails(capsys, 1, "no open tool places and routes XC7Z020", "synth", tmp_path / "a", "--pnr")


# ---- faults of hwgen itself --------------------------------------------------------------


@pytest.mark.parametrize("debug", [False, True])
def test_internal_error(fakes, model, tmp_path, capsys, monkeypatch, debug):
    import hwgen.plan

    def fault(graph, part, **rest):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(hwgen.plan, "make_plan", fault)
    words = ["--debug"] * debug + ["build", str(model), "--board", "ulx3s_85f", "-o", str(tmp_path / "a")]
    assert main(words) == 70
    err = capsys.readouterr().err
    assert "hwgen: internal error (ZeroDivisionError: division by zero); please report it" in err
    assert ("Traceback" in err) is debug
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("error, code, message", [
    (KeyboardInterrupt, 130, "interrupted"), (MemoryError, 1, "out of memory")])
def test_interrupt_and_memory(fakes, model, tmp_path, capsys, monkeypatch, error, code, message):
    import hwgen.plan

    def stop(graph, part, **rest):
        raise error

    monkeypatch.setattr(hwgen.plan, "make_plan", stop)
    fails(capsys, code, message, "build", model, "--board", "ulx3s_85f", "-o", tmp_path / "a")
    assert not (tmp_path / "a").exists()


# ---- training ----------------------------------------------------------------------------


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is there: tests/train has the other errors")
def test_training_without_torch(capsys):
    fails(capsys, 1, r'hwgen.quantize needs torch; install it with: pip install "hwgen\[train\]"', "quantize",
          "digits_mlp")
