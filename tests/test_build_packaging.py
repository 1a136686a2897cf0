"""pyproject.toml: every package is shipped, every version is pinned and explained."""

from pathlib import Path
import re
import tomllib

import pytest

from hwgen import data
from hwgen.cli.doctor import requirements

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_listed():
    folders = {p.parent for p in (ROOT / "hwgen").rglob("*.py")}
    found = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    assert listed == found | {"hwgen._boards", "hwgen._models"}


def test_every_data_file_is_shipped():
    """Files beside the code that are no Python are covered by package-data."""
    patterns = PROJECT["tool"]["setuptools"]["package-data"]
    for path in (ROOT / "hwgen").rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            package = ".".join(path.parent.relative_to(ROOT).parts)
            assert any(path.match(pattern) for pattern in patterns.get(package, ())), path
    shipped = patterns["hwgen._models"]
    for name in ("fmnist_cnn/fmnist_cnn.onnx", "fmnist_cnn/test_images.npz"):
        assert (ROOT / "models" / name).is_file()
        assert any(Path(name).match(pattern) for pattern in shipped)


def test_every_version_is_pinned_with_a_reason():
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    pinned = [i for i, line in enumerate(lines) if re.fullmatch(r'    "[a-z0-9-]+==[^"]+",', line)]
    names = {re.split("==", lines[i].strip(' ",'))[0] for i in pinned}
    wanted = list(PROJECT["project"]["dependencies"])
    for extra in PROJECT["project"]["optional-dependencies"].values():
        wanted += extra
    assert names == {line.split("==")[0] for line in wanted}
    # a reason stands above each, or above a group of a tool and its companion
    for i in pinned:
        above = next(line for line in reversed(lines[:i]) if "==" not in line)
        assert above.strip().startswith("#") or above.strip() in ('"hypothesis==6.170.15",', "dev = ["), lines[i]
    assert "torch" not in {line.split("==")[0] for line in PROJECT["project"]["dependencies"]}


def test_doctor_knows_the_requirements():
    assert {name for name, _, extra in requirements() if extra is None} == {
        line.split("==")[0] for line in PROJECT["project"]["dependencies"]}
    assert len({name for name, _, _ in requirements()}) == len(requirements())


@pytest.mark.parametrize("name", ["boards", "models"])
def test_checkout_folders_are_used_in_a_checkout(name):
    assert data.data_folder(name) == ROOT / name


def test_installed_folders_are_used_elsewhere(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "hwgen"
    (package / "_boards" / "b").mkdir(parents=True)
    (package / "_boards" / "b" / "board.toml").write_text("")
    # a folder of that name beside an installed package is somebody else's
    (tmp_path / "site-packages" / "boards" / "other").mkdir(parents=True)
    (tmp_path / "site-packages" / "boards" / "other" / "board.toml").write_text("")
    monkeypatch.setattr(data, "_PACKAGE", package)
    assert data.entries("boards", "board.toml") == {"b": package / "_boards" / "b" / "board.toml"}
    assert data.entries("models", "{0}.onnx") == {}
