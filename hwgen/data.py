"""Where boards/ and models/ are: in the checkout, or installed below the package."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent

GENERATOR = "network.py"
"""File in a folder of ``models`` that makes a network of generated weights."""


def data_folder(name: str) -> Path:
    """The folder ``boards`` or ``models``.

    Beside the package in a checkout (known by its pyproject.toml), else ``hwgen/_boards`` and
    ``hwgen/_models``, which pyproject.toml maps the same folders to.
    """
    if (_PACKAGE.parent / "pyproject.toml").is_file() and (_PACKAGE.parent / name).is_dir():
        return _PACKAGE.parent / name
    return _PACKAGE / f"_{name}"


def entries(name: str, pattern: str) -> dict[str, Path]:
    """Folders of ``boards`` or ``models`` that hold a file ``pattern`` (``{}`` is the folder's name)."""
    root = data_folder(name)
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return {path.name: path / pattern.format(path.name) for path in folders
            if (path / pattern.format(path.name)).is_file()}
