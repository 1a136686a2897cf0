"""Network files by name or by path, and the labelled images beside them."""

from dataclasses import dataclass
import io
from pathlib import Path
import zipfile

import numpy as np

from hwgen.build.graph_io import parse_npz
from hwgen.data import entries
from hwgen.errors import HwgenError
from hwgen.golden import check_codes
from hwgen.graph.ir import Graph

IMAGES = "test_images.npz"


@dataclass(frozen=True)
class Model:
    """A network file; ``images`` is the file of labelled test images beside it, if there is one."""

    name: str
    path: Path
    images: Path | None


def list_models() -> list[str]:
    return list(entries("models", "{0}.onnx"))


def find_model(name: str) -> Model:
    """A name in models/, or a path to an .onnx file.  Raises HwgenError with the known names."""
    known = entries("models", "{0}.onnx")
    if name in known:
        path = known[name]
    else:
        path = Path(name)
        if not path.exists():
            raise HwgenError(f"no model {name!r}: there is no such file, and models/ has {', '.join(known) or 'none'}")
        if path.is_dir():
            raise HwgenError(f"model {name!r} is a folder; give the .onnx file in it")
    images = path.with_name(IMAGES)
    return Model(name=path.stem, path=path, images=images if images.is_file() else None)


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


def load_inputs(path: Path, graph: Graph) -> np.ndarray:
    """Input codes of a .npy file as (n, channels, height, width).  Raises HwgenError."""
    try:
        codes = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except FileNotFoundError:
        raise HwgenError(f"inputs {path}: there is no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise HwgenError(f"inputs {path} cannot be read as a .npy array of numbers ({error})") from error
    if not isinstance(codes, np.ndarray):
        raise HwgenError(f"inputs {path} is an .npz archive; save one array with numpy.save")
    return shape_codes(codes, graph, f"inputs {path}")


def shape_codes(codes: np.ndarray, graph: Graph, what: str) -> np.ndarray:
    """Codes as uint8 (n, channels, height, width); one image and flat images are taken too."""
    shape = graph.tensors[graph.input].shape
    size = int(np.prod(shape))
    if codes.ndim == 3 and codes.shape == shape:
        codes = codes[None]
    elif codes.ndim in (2, 3) and len(codes) and codes[0].size == size:
        codes = codes.reshape(len(codes), *shape)
    if not len(codes.shape) or not len(codes):
        raise HwgenError(f"{what}: there are no images in it")
    try:
        return check_codes(graph, codes)
    except HwgenError as error:
        raise HwgenError(f"{what}: {error}") from error


def random_codes(graph: Graph, images: int, seed: int = 0) -> np.ndarray:
    """Seeded random input codes, for networks without known images."""
    tensor = graph.tensors[graph.input]
    return np.random.default_rng(seed).integers(0, 1 << tensor.bits, (images, *tensor.shape), dtype=np.uint8)
