"""The build directory: whole or not there, checked when read, replaced with care."""

import json
import os
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

from hwgen.build import FILES, StagedDirectory, current_report, load_build, load_result, save_result
from hwgen.build import directory
from hwgen.build.results import refresh_report
from hwgen.errors import HwgenError

from fake_build import write_fake_build


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_same_inputs_same_bytes(tmp_path):
    write_fake_build(tmp_path / "a")
    write_fake_build(tmp_path / "deep" / "b")
    assert listing(tmp_path / "a") == listing(tmp_path / "deep" / "b")
    assert set(listing(tmp_path / "a")) == {*FILES, "manifest.json", "report.json", "report.html"}


def test_loaded_build_has_what_was_written(tmp_path):
    build = write_fake_build(tmp_path / "a")
    assert build.graph.name == "tiny"
    assert build.engine.ki == 4 and build.image == bytes(range(200))
    assert build.plan == {"cycles": 1000}
    assert build.golden["inputs"].shape == (5, 2, 4, 4) and bool(build.golden["known"])
    assert build.verilog.read_text().startswith("module hwgen_engine")


def test_no_path_host_or_time_in_any_file(tmp_path):
    build = write_fake_build(tmp_path / "a")
    for name, data in listing(build.path).items():
        assert str(tmp_path).encode() not in data, name
        assert os.uname().nodename.encode() not in data, name


# ---- writing -----------------------------------------------------------------------------


def test_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), StagedDirectory(tmp_path / "a") as stage:
        (stage / "engine.v").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_interrupt_keeps_the_old_build(tmp_path):
    write_fake_build(tmp_path / "a")
    before = listing(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt), StagedDirectory(tmp_path / "a") as stage:
        (stage / "engine.v").write_text("x")
        assert listing(tmp_path / "a") == before
        raise KeyboardInterrupt
    assert listing(tmp_path) == {f"a/{name}": data for name, data in before.items()}


def test_killed_build_leaves_nothing_under_the_name(tmp_path):
    code = ("import sys, time; from pathlib import Path; from hwgen.build import StagedDirectory\n"
            "with StagedDirectory(Path(sys.argv[1])) as stage:\n"
            "    (stage / 'manifest.json').write_text('{}'); print('ready', flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a")], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        child.kill()
    assert not (tmp_path / "a").exists()
    assert write_fake_build(tmp_path / "a").image  # what was left over is in nobody's way


def test_success_replaces_the_old_build_and_its_results(tmp_path):
    build = write_fake_build(tmp_path / "a")
    save_result(build, "synth", {"resources": {"lut": 1, "ff": 2, "dsp": 3, "bram": 4}, "carry": 5, "levels": None,
                                 "deepest": None})
    write_fake_build(tmp_path / "a", images=3)
    assert not (tmp_path / "a" / "synth.json").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a")
    write_fake_build(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "a" / "engine.v").is_file()


@pytest.mark.parametrize("content", [None, {}, {"notes.txt": "mine"}, {"manifest.json": "{"},
                                     {"manifest.json": '{"generator": "other"}'}, {"manifest.json": "[]"}])
def test_what_hwgen_did_not_make_is_not_replaced(tmp_path, content):
    path = tmp_path / "a"
    if content is None:
        path.write_text("a file")
    else:
        path.mkdir()
        for name, text in content.items():
            (path / name).write_text(text)
    before = listing(tmp_path)
    message = "exists and (was not made by hwgen build|is not a directory); choose another -o"
    with pytest.raises(HwgenError, match=message):
        StagedDirectory(path)
    assert listing(tmp_path) == before


def test_something_that_came_in_the_meantime_is_not_replaced(tmp_path):
    with pytest.raises(HwgenError, match="was not made by hwgen"), StagedDirectory(tmp_path / "a"):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "mine").write_text("x")
    assert listing(tmp_path) == {"a/mine": b"x"}


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(HwgenError, match="cannot make output folder .*/file/sub/a: .*choose another -o DIR"):
        StagedDirectory(tmp_path / "file" / "sub" / "a")


def test_no_space_left(tmp_path):
    with pytest.raises(HwgenError, match="cannot write output folder .*/a: No space left on device"):
        with StagedDirectory(tmp_path / "a"):
            raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_only_the_known_files_are_written(tmp_path):
    with pytest.raises(ValueError, match="a build directory holds"):
        directory.write_files(tmp_path, {"engine.v": b""}, {}, {})


def test_failed_rename_restores_the_old_build(tmp_path, monkeypatch):
    write_fake_build(tmp_path / "a")
    before = listing(tmp_path)
    rename = Path.rename

    def fail_second(self, target):
        if self.suffix == ".part":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    with pytest.raises(HwgenError, match="Input/output error"), StagedDirectory(tmp_path / "a"):
        monkeypatch.setattr(Path, "rename", fail_second)
    assert listing(tmp_path) == before


# ---- reading -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_missing_file(tmp_path, name):
    build = write_fake_build(tmp_path / "a")
    (build.path / name).unlink()
    with pytest.raises(HwgenError, match=f"is incomplete: {name} is missing; run 'hwgen build' again"):
        load_build(build.path)


@pytest.mark.parametrize("name", FILES)
def test_file_cut_short(tmp_path, name):
    build = write_fake_build(tmp_path / "a")
    data = (build.path / name).read_bytes()
    (build.path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(HwgenError, match=f"{name} has {len(data) // 2} bytes, the manifest says {len(data)}"):
        load_build(build.path)


@pytest.mark.parametrize("name", FILES)
def test_one_changed_bit(tmp_path, name):
    build = write_fake_build(tmp_path / "a")
    data = bytearray((build.path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (build.path / name).write_bytes(data)
    with pytest.raises(HwgenError, match=f"{name} was changed after the build"):
        load_build(build.path)


def edit_manifest(build, **changes):
    manifest = json.loads((build.path / "manifest.json").read_bytes())
    (build.path / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def test_manifest_cut_short(tmp_path):
    build = write_fake_build(tmp_path / "a")
    data = (build.path / "manifest.json").read_bytes()
    (build.path / "manifest.json").write_bytes(data[: len(data) // 2])
    with pytest.raises(HwgenError, match="manifest.json is damaged; run 'hwgen build' again"):
        load_build(build.path)


@pytest.mark.parametrize("changes", [{"options": {"fps": 1}}, {"files": {}}, {"digest": None}])
def test_manifest_edited(tmp_path, changes):
    build = write_fake_build(tmp_path / "a")
    edit_manifest(build, **changes)
    with pytest.raises(HwgenError, match="manifest.json is damaged"):
        load_build(build.path)


def test_other_version(tmp_path):
    build = write_fake_build(tmp_path / "a")
    edit_manifest(build, hwgen="0.0.9")
    with pytest.raises(HwgenError, match=r"was made by hwgen 0.0.9, this is hwgen \d.*; run 'hwgen build' again"):
        load_build(build.path)


def test_a_build_of_another_version_may_be_replaced(tmp_path):
    build = write_fake_build(tmp_path / "a")
    edit_manifest(build, hwgen="0.0.9")
    assert write_fake_build(tmp_path / "a").digest == build.digest


def test_not_a_build_directory(tmp_path):
    with pytest.raises(HwgenError, match="does not exist; make one with 'hwgen build MODEL --board BOARD -o"):
        load_build(tmp_path / "none")
    with pytest.raises(HwgenError, match="is not a build directory .it has no manifest.json."):
        load_build(tmp_path)
    (tmp_path / "manifest.json").write_text('{"name": "web app"}')
    with pytest.raises(HwgenError, match="is not a build directory .manifest.json is not hwgen's."):
        load_build(tmp_path)
    with pytest.raises(HwgenError, match="is not a directory"):
        load_build(tmp_path / "manifest.json")


# ---- results -----------------------------------------------------------------------------

SYNTH = {"resources": {"lut": 16, "ff": 4, "dsp": 0, "bram": 0}, "carry": 0, "levels": None,
         "deepest": None}
SIM = {"images": 5, "mismatches": 0, "cycles": 1000, "layers": {"conv": 900, "pool": 100}, "accuracy": 0.5,
       "first_difference": None}


def test_results_join_the_report(tmp_path):
    build = write_fake_build(tmp_path / "a")
    assert current_report(build)["resources"]["synthesized"] is None
    save_result(build, "synth", SYNTH)
    report = save_result(build, "sim", SIM)
    assert report["resources"]["synthesized"] == SYNTH["resources"]
    assert report["cycles"]["simulated"] == 1000
    assert report == json.loads((build.path / "report.json").read_bytes()) == current_report(load_build(build.path))
    assert sorted(p.name for p in build.path.iterdir()) == sorted(
        [*FILES, "manifest.json", "report.json", "report.html", "sim.json", "synth.json", ".lock"])


def test_results_of_another_build_do_not_count(tmp_path):
    one, two = write_fake_build(tmp_path / "a"), write_fake_build(tmp_path / "b", images=3)
    save_result(one, "synth", SYNTH)
    (two.path / "synth.json").write_bytes((one.path / "synth.json").read_bytes())
    assert load_result(one, "synth") == SYNTH
    assert load_result(two, "synth") is None
    (one.path / "synth.json").write_text("{")
    assert load_result(one, "synth") is None


def test_result_for_a_directory_that_was_built_again(tmp_path):
    build = write_fake_build(tmp_path / "a")
    write_fake_build(tmp_path / "a", images=3)
    with pytest.raises(HwgenError, match="was built again while this step ran"):
        save_result(build, "sim", SIM)


def test_unknown_step(tmp_path):
    with pytest.raises(ValueError, match="step must be one of sim, synth, pnr, not 'other'"):
        save_result(write_fake_build(tmp_path / "a"), "other", {})


def test_deleted_or_edited_reports_are_made_anew(tmp_path):
    build = write_fake_build(tmp_path / "a")
    before = listing(build.path)
    (build.path / "report.html").unlink()
    (build.path / "report.json").write_text("{}")
    refresh_report(build)
    after = listing(build.path)
    assert {name: after[name] for name in before} == before


def test_two_steps_at_once_lose_nothing(tmp_path):
    """Simulation and synthesis end together: the last report has both."""
    build = write_fake_build(tmp_path / "a")
    code = ("import json, sys; from pathlib import Path; from hwgen.build import load_build, save_result\n"
            "build = load_build(Path(sys.argv[1])); print('ready', flush=True); sys.stdin.readline()\n"
            "for i in range(20): save_result(build, sys.argv[2], json.loads(sys.argv[3]))")
    children = [subprocess.Popen([sys.executable, "-c", code, str(build.path), step, json.dumps(result)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                for step, result in (("sim", SIM), ("synth", SYNTH))]
    for child in children:
        assert child.stdout.readline() == b"ready\n"
    for child in children:
        child.communicate(b"go\n")
        assert child.returncode == 0
    report = json.loads((build.path / "report.json").read_bytes())
    assert report["resources"]["synthesized"] == SYNTH["resources"]
    assert report["verification"]["images"] == 5


def test_golden_vectors_are_those_of_the_graph(tmp_path):
    from hwgen.golden import run
    build = write_fake_build(tmp_path / "a")
    assert np.array_equal(run(build.graph, build.golden["inputs"])["z"], build.golden["outputs"])
