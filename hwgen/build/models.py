"""Networks by name or by path, and the images that come with them."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from importlib.util import module_from_spec, spec_from_file_location
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING
import zipfile

import numpy as np

from hwgen.build.graph_io import parse_npz
from hwgen.data import GENERATOR, entries
from hwgen.errors import HwgenError
from hwgen.golden import check_codes
from hwgen.graph.ir import Graph
from hwgen.graph.shapes import macs
from hwgen.synthetic import Options, smooth_images

if TYPE_CHECKING:
    from hwgen.frontend import Network

IMAGES = "test_images.npz"
FILE = "{0}.onnx"
GENERATED_IMAGES = 3
RANDOM_IMAGES = 16
"""Images that are made up for a small network that comes without any."""
RANDOM_MACS = 8_000_000_000
"""Multiply-accumulates of all images that are made up."""


@dataclass(frozen=True)
class Model:
    """A network file, or with ``options`` the generator of one."""

    name: str
    path: Path
    options: Options | None = None
    input_codes: str | None = None
    """What the user says of the input's codes, as metadata of the file has it."""

    @cached_property
    def data(self) -> bytes:
        """The ONNX file.  Generating a large one takes some seconds."""
        if self.options is not None:
            return _generator(self.path)(self.name, self.options).model()
        data = self.path.read_bytes()
        if self.input_codes is None:
            return data
        from hwgen.frontend.model_file import annotated

        return annotated(data, self.input_codes)

    @property
    def file(self) -> tuple[Path | str, bytes | None]:
        """Path, or name, and contents where these are not what lies at the path: for all that reads model files."""
        if self.options is not None:
            return self.name, self.data
        return self.path, None if self.input_codes is None else self.data

    def read(self) -> "Network":
        """The exact network of the file, with its problems.  Raises HwgenError where it cannot be opened."""
        from hwgen.frontend import read_network

        path, data = self.file
        return read_network(path, data)

    def load(self) -> Graph:
        """The integer network.  Raises HwgenError."""
        from hwgen.frontend import load

        path, data = self.file
        return load(path, data=data)

    def inputs(self, graph: Graph) -> tuple[np.ndarray, np.ndarray | None, bool]:
        """Codes (n, channels, height, width), labels (n,) or None, and whether the images belong to the network.

        Those beside the file; a generated network's own, which its scales were not chosen with; else
        seeded random codes, fewer for large networks.
        """
        beside = self.path.with_name(IMAGES)
        if self.options is not None:
            images = smooth_images(GENERATED_IMAGES, self.options.size, self.options.seed + 1)
            return shape_codes(images, graph, self.name), None, True
        if beside.is_file():
            return *load_images(beside, graph), True
        images_ = max(1, min(RANDOM_IMAGES, RANDOM_MACS // sum(macs(graph).values())))
        return random_codes(graph, images_), None, False


def _generator(path: Path):
    spec = spec_from_file_location(f"hwgen_model_{path.parent.name}", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make


def list_models() -> list[str]:
    """Networks that come as files."""
    return list(entries("models", FILE))


def list_generated() -> list[str]:
    """Networks that are generated from a seed."""
    return list(entries("models", GENERATOR))


def find_model(name: str) -> Model:
    """A name in models/, a generated one's with options (``resnet18@fixed4``), or a path to an .onnx file.

    A file whose input is not quantized takes what its codes mean: ``net.onnx@bits=8,scale=1/255,zero=0``.  Raises
    HwgenError with the known names.
    """
    files, generators = entries("models", FILE), entries("models", GENERATOR)
    base, _, options = name.rpartition("@") if "@" in name else (name, "", "")
    if base in generators:
        return Model(name, generators[base], Options.parse(options))
    if name in files:
        return Model(name, files[name])
    path = Path(name)
    if options and Path(base).is_file() and not path.exists():
        return Model(Path(base).stem, Path(base), input_codes=input_codes(options))
    if not path.exists():
        known = ", ".join((*files, *generators))
        raise HwgenError(f"no model {name!r}: there is no such file, and models/ has {known or 'none'}")
    if path.is_dir():
        raise HwgenError(f"model {name!r} is a folder; give the .onnx file in it")
    return Model(path.stem, path)


def input_codes(text: str) -> str:
    """Metadata ``hwgen.input`` from ``bits=8,scale=1/255,zero=0``; HwgenError for anything else."""
    fields = dict(word.partition("=")[::2] for word in text.split(","))
    try:
        values = {"bits": int(fields.pop("bits")), "scale": str(Fraction(fields.pop("scale", "1"))),
                  "zero_point": int(fields.pop("zero", "0"))}
    except (KeyError, ValueError, ZeroDivisionError):
        fields = {"": ""}
    if fields:
        raise HwgenError(f"model option {text!r}: write what the codes of the file's input mean, as in "
                         "net.onnx@bits=8,scale=1/255,zero=0")
    return json.dumps(values)


def load_images(path: Path, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """``codes`` as (n, channels, height, width) and ``labels`` (n,) of a test_images.npz.

    Raises HwgenError when the file is damaged or does not fit the network.
    """
    try:
        arrays = parse_npz(path.read_bytes())
        codes, labels = arrays["codes"], arrays["labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise HwgenError(f"test images {path} cannot be read ({error}); "
                         "it must be an .npz with 'codes' and 'labels'") from error
    codes = shape_codes(codes, graph, str(path))
    if labels.shape != (len(codes),) or not np.issubdtype(labels.dtype, np.integer):
        raise HwgenError(f"test images {path}: labels must be {len(codes)} integers, not {labels.dtype} {labels.shape}")
    return codes, labels


def load_inputs(path: Path, graph: Graph, real: bool = False) -> np.ndarray:
    """Input codes of a .npy file as (n, channels, height, width).  Raises HwgenError.

    With ``real`` floats are taken, too, as float32: the values that the codes are made of.
    """
    try:
        codes = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except FileNotFoundError:
        raise HwgenError(f"inputs {path}: there is no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise HwgenError(f"inputs {path} cannot be read as a .npy array of numbers ({error})") from error
    if not isinstance(codes, np.ndarray):
        raise HwgenError(f"inputs {path} is an .npz archive; save one array with numpy.save")
    if real and codes.dtype.kind == "f":
        return _shape_real(codes, graph, f"inputs {path}")
    return shape_codes(codes, graph, f"inputs {path}")


def _shape_real(values: np.ndarray, graph: Graph, what: str) -> np.ndarray:
    images = _as_batch(values, graph, what)
    if images.ndim != 4 or images.shape[1:] != graph.tensors[graph.input].shape:
        raise HwgenError(f"{what}: images must have the shape {graph.tensors[graph.input].shape}, "
                         f"the file has {values.shape}")
    if not np.isfinite(images).all():
        raise HwgenError(f"{what}: it holds NaN or infinity")
    return images.astype(np.float32)


def shape_codes(codes: np.ndarray, graph: Graph, what: str) -> np.ndarray:
    """Codes as uint8 (n, channels, height, width); one image and flat images are taken too."""
    codes = _as_batch(codes, graph, what)
    try:
        return check_codes(graph, codes)
    except HwgenError as error:
        raise HwgenError(f"{what}: {error}") from error


def _as_batch(array: np.ndarray, graph: Graph, what: str) -> np.ndarray:
    """One image and flat images as (n, channels, height, width), where their size allows it."""
    shape = graph.tensors[graph.input].shape
    if array.ndim == 3 and array.shape == shape:
        array = array[None]
    elif array.ndim in (2, 3) and len(array) and array[0].size == int(np.prod(shape)):
        array = array.reshape(len(array), *shape)
    if not len(array.shape) or not len(array):
        raise HwgenError(f"{what}: there are no images in it")
    return array


def random_codes(graph: Graph, images: int, seed: int = 0) -> np.ndarray:
    """Seeded random input codes, for networks without known images."""
    tensor = graph.tensors[graph.input]
    return np.random.default_rng(seed).integers(0, 1 << tensor.bits, (images, *tensor.shape), dtype=np.uint8)
