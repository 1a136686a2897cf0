"""The integer network as two files: ``graph.json`` (structure) and ``graph.npz`` (arrays).

Loading gives back exactly what was saved: every integer, every float bit for bit, every
dtype and shape.  The same graph always gives the same bytes.
"""

from dataclasses import fields, is_dataclass
import io
import json
import zipfile

import numpy as np

from hwgen.graph import ir

_CLASSES = {cls.__name__: cls for cls in (
    ir.Graph, ir.Tensor, ir.Conv, ir.MaxPool, ir.AvgPool, ir.Add, ir.Requant, ir.Rescale)}


class GraphFormatError(ValueError):
    """The two files do not describe a graph."""


def dump_graph(graph: ir.Graph) -> tuple[bytes, bytes]:
    """The contents of graph.json and graph.npz."""
    arrays: dict[str, np.ndarray] = {}
    tree = _encode(graph, "graph", arrays)
    return json_bytes(tree), npz_bytes(arrays)


def parse_graph(structure: bytes, arrays: bytes) -> ir.Graph:
    """The opposite of :func:`dump_graph`.  Raises GraphFormatError."""
    try:
        graph = _decode(json.loads(structure), parse_npz(arrays))
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise GraphFormatError(str(error)) from error
    if not isinstance(graph, ir.Graph):
        raise GraphFormatError("the outermost object is not a graph")
    return graph


def json_bytes(tree) -> bytes:
    """JSON in one fixed form: sorted keys, indented, finite numbers only, newline at the end."""
    return (json.dumps(tree, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def compact_json(tree) -> bytes:
    """JSON without spaces, for long files that people do not read."""
    return (json.dumps(tree, separators=(",", ":"), allow_nan=False) + "\n").encode()


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """A compressed .npz whose bytes depend on the arrays only (numpy stamps every member 1980-01-01)."""
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{k: arrays[k] for k in sorted(arrays)})
    return buffer.getvalue()


def parse_npz(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _encode(value, path: str, arrays: dict[str, np.ndarray]):
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {"array": path}
    if is_dataclass(value) and type(value).__name__ in _CLASSES:
        pairs = {f.name: _encode(getattr(value, f.name), f"{path}.{f.name}", arrays) for f in fields(value)}
        return {"class": type(value).__name__, "fields": pairs}
    if isinstance(value, dict):
        # a list of pairs: the order of tensors is part of the graph, and names may be any text
        return {"dict": [[key, _encode(item, f"{path}[{i}]", arrays)] for i, (key, item) in enumerate(value.items())]}
    if isinstance(value, tuple | list):
        return [_encode(item, f"{path}[{i}]", arrays) for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{path}: cannot save a {type(value).__name__}")


def _decode(value, arrays: dict[str, np.ndarray]):
    if isinstance(value, list):
        return tuple(_decode(item, arrays) for item in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        array = arrays[value["array"]]
        array.flags.writeable = False
        return array
    if "class" in value:
        return _CLASSES[value["class"]](**{k: _decode(v, arrays) for k, v in value["fields"].items()})
    return {key: _decode(item, arrays) for key, item in value["dict"]}
