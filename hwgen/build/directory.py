"""The build directory: written whole or not at all, checked whenever it is read.

=============  =====================================================================
engine.v       the generated hardware, with AXI ports where the part has external memory
program.bin    memory image: instructions and packed weights
plan.json      the planner's result
graph.json/npz the integer network (:mod:`hwgen.build.graph_io`)
golden.npz     ``inputs`` (n, c, h, w), ``labels`` (n,) or none, ``outputs`` (n, ...), ``known``
timeline.json  what every unit does when, planned: a trace for ui.perfetto.dev
facts.json     what the build knows for the report
manifest.json  versions, options, SHA-256 of every file above
report.json    facts.json with the results of simulation and synthesis, also as report.html
sim.json ...   results of later steps; these and the reports are not in the manifest
=============  =====================================================================

No file holds a time, a host or a path: the same inputs give the same bytes.
"""

from dataclasses import dataclass
from functools import cached_property
import hashlib
import json
import os
from pathlib import Path
import shutil
import tempfile

import numpy as np

from hwgen.build.graph_io import GraphFormatError, json_bytes, parse_graph, parse_npz
from hwgen.errors import HwgenError
from hwgen.graph.ir import Graph
from hwgen.engine import TOP, Engine
from hwgen.version import __version__

MANIFEST = "manifest.json"
FILES = ("engine.v", "program.bin", "plan.json", "graph.json", "graph.npz", "golden.npz", "facts.json",
         "timeline.json")


@dataclass(frozen=True)
class Build:
    """A build directory that has been read and found whole."""

    path: Path
    manifest: dict
    files: dict[str, bytes]

    @property
    def digest(self) -> str:
        """Names this build; results of later steps carry it."""
        return self.manifest["digest"]

    @property
    def verilog(self) -> Path:
        return self.path / "engine.v"

    @property
    def image(self) -> bytes:
        return self.files["program.bin"]

    @cached_property
    def facts(self) -> dict:
        return json.loads(self.files["facts.json"])

    @cached_property
    def plan(self) -> dict:
        return json.loads(self.files["plan.json"])

    @cached_property
    def engine(self) -> Engine:
        return Engine(**self.facts["engine_parameters"])

    @property
    def top(self) -> str:
        """Top module of engine.v."""
        return self.facts["engine"].get("top", TOP)

    @property
    def protocol(self) -> str | None:
        """Protocol of the engine's ports to external memory; None: its memory is on the chip."""
        return self.facts["engine"].get("protocol")

    @cached_property
    def graph(self) -> Graph:
        try:
            return parse_graph(self.files["graph.json"], self.files["graph.npz"])
        except GraphFormatError as error:
            raise HwgenError(f"{self.path}/graph.json cannot be read ({error}); run 'hwgen build' again") from error

    @cached_property
    def golden(self) -> dict[str, np.ndarray]:
        return parse_npz(self.files["golden.npz"])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_manifest(files: dict[str, bytes], options: dict, tools: dict[str, str]) -> dict:
    """The manifest of these files; its ``digest`` covers all the rest of it."""
    manifest = {
        "generator": "hwgen",
        "hwgen": __version__,
        "tools": tools,
        "options": options,
        "files": {name: {"bytes": len(data), "sha256": sha256(data)} for name, data in sorted(files.items())},
    }
    return {**manifest, "digest": sha256(json_bytes(manifest))}


# ---- writing ------------------------------------------------------------------------------


def check_target(path: Path) -> Path:
    """Where a build to ``path`` would go, links resolved.

    Raises HwgenError when something is there that hwgen did not make, or when the folder
    above cannot be made.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not _made_by_hwgen(target):
        what = "exists and was not made by hwgen build" if target.is_dir() else "exists and is not a directory"
        raise HwgenError(f"output folder {path} {what}; choose another -o DIR or remove it yourself")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HwgenError(f"cannot make output folder {path}: {error.strerror or error}; "
                         "choose another -o DIR") from error
    return target


def _made_by_hwgen(path: Path) -> bool:
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("generator") == "hwgen"


class StagedDirectory:
    """A directory that appears under its name only when complete.

    ``with StagedDirectory(path) as stage:`` gives a folder beside ``path``; leaving the block
    renames it to ``path`` (replacing an older build), any exception removes it.
    """

    def __init__(self, path: Path):
        self.shown = path
        self.target = check_target(path)

    def __enter__(self) -> Path:
        try:
            self.stage = Path(tempfile.mkdtemp(prefix=f".{self.target.name}.", suffix=".part", dir=self.target.parent))
            self.stage.chmod(0o755)
        except OSError as error:
            raise self._unwritable(error) from error
        return self.stage

    def __exit__(self, kind, error, trace):
        try:
            if kind is None:
                self._publish()
            elif isinstance(error, OSError):
                raise self._unwritable(error) from error
        finally:
            shutil.rmtree(self.stage, ignore_errors=True)

    def _publish(self):
        check_target(self.target)  # something may have come there since
        old = None
        try:
            if self.target.exists():
                old = self.stage.with_suffix(".old")
                self.target.rename(old)
            self.stage.rename(self.target)
        except OSError as error:
            if old is not None and old.exists() and not self.target.exists():
                old.rename(self.target)
            raise self._unwritable(error) from error
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)

    def _unwritable(self, error: OSError) -> HwgenError:
        return HwgenError(f"cannot write output folder {self.shown}: {error.strerror or error}; choose another -o DIR")


def write_files(folder: Path, files: dict[str, bytes], options: dict, tools: dict[str, str]) -> dict:
    """Write ``files`` (exactly FILES) and their manifest, the manifest last; returns it."""
    if set(files) != set(FILES):
        raise ValueError(f"a build directory holds {', '.join(FILES)}; got {', '.join(sorted(files))}")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    manifest = make_manifest(files, options, tools)
    (folder / MANIFEST).write_bytes(json_bytes(manifest))
    return manifest


def write_atomically(path: Path, data: bytes) -> None:
    """Replace one file so that a reader sees the old or the new bytes, never a part."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


# ---- reading ------------------------------------------------------------------------------


def load_build(path: Path) -> Build:
    """Read a build directory and check every byte.

    Raises HwgenError when it is missing, from another version of hwgen, cut short or changed.
    """
    manifest = load_manifest(path)
    files = {}
    for name in FILES:
        try:
            data = (path / name).read_bytes()
        except FileNotFoundError:
            raise HwgenError(f"build directory {path} is incomplete: {name} is missing; "
                             "run 'hwgen build' again") from None
        except OSError as error:
            raise HwgenError(f"cannot read {path / name}: {error.strerror or error}") from error
        entry = manifest["files"][name]
        if len(data) != entry["bytes"]:
            raise HwgenError(f"{path / name} has {len(data)} bytes, the manifest says {entry['bytes']}: "
                             "it was cut short or changed after the build; run 'hwgen build' again")
        if sha256(data) != entry["sha256"]:
            raise HwgenError(f"{path / name} was changed after the build (its SHA-256 is not the manifest's); "
                             "run 'hwgen build' again")
        files[name] = data
    return Build(path=path, manifest=manifest, files=files)


def load_manifest(path: Path) -> dict:
    """The manifest of a build directory of this version.  Raises HwgenError."""
    if not path.is_dir():
        what = "is not a directory" if path.exists() else "does not exist"
        raise HwgenError(f"build directory {path} {what}; make one with 'hwgen build MODEL --board BOARD -o {path}'")
    try:
        data = (path / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise HwgenError(f"{path} is not a build directory (it has no {MANIFEST}); "
                         "make one with 'hwgen build MODEL --board BOARD -o DIR'") from None
    except OSError as error:
        raise HwgenError(f"cannot read {path / MANIFEST}: {error.strerror or error}") from error
    damaged = HwgenError(f"{path / MANIFEST} is damaged; run 'hwgen build' again")
    try:
        manifest = json.loads(data)
    except ValueError:
        raise damaged from None
    if not isinstance(manifest, dict) or manifest.get("generator") != "hwgen":
        raise HwgenError(f"{path} is not a build directory ({MANIFEST} is not hwgen's)")
    if manifest.get("hwgen") != __version__:
        raise HwgenError(f"build directory {path} was made by hwgen {manifest.get('hwgen')}, "
                         f"this is hwgen {__version__}; run 'hwgen build' again")
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    if manifest.get("digest") != sha256(json_bytes(rest)) or set(manifest.get("files", ())) != set(FILES):
        raise damaged
    return manifest
