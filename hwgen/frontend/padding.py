"""Pad and Concat.

A handler is ``(importer, node, options) -> (words, value)``.
"""

from dataclasses import replace

from onnx import NodeProto

from hwgen.frontend.importer import Importer
from hwgen.frontend.join import Joined
from hwgen.frontend.model_file import QDQ_OPS, QUANT_OPS, node_name
from hwgen.frontend.picked import Picked, selected
from hwgen.frontend.values import Border, Codes, Image, Pending, Refusal
from hwgen.frontend.windows import MAX_PAD, sides


def pad(importer: Importer, node: NodeProto, options: dict):
    """Zeros around a map; the layer that reads it takes them over."""
    if options.get("mode", "constant") != "constant":
        raise Refusal(f"padding of the mode {options['mode']!r}", "pad with zeros")
    value = importer.codes_or_skip(node.input[0])
    if not isinstance(value, (Codes, Image, Pending)):
        value = importer.codes(node, node.input[0], border=True)
    if isinstance(value, Pending) and value.pools:
        raise Refusal("Pad between a max pool and its Quant node", "put it behind the Quant node")
    fill = [options.get("value", 0.0)]
    if len(node.input) > 2 and node.input[2]:
        fill = importer.constant(node.input[2], "its value").reshape(-1).tolist()
    if any(fill):
        raise Refusal(f"padding with {fill[0]}", "pad with zeros")
    listed = _listed(importer, node, options)
    letters = "N" + ("F" if value.flat else value.axes)
    if len(node.input) > 3 and node.input[3]:
        chosen = [int(axis) % len(letters) for axis in importer.constant(node.input[3], "its axes").reshape(-1)]
        letters = "".join(letters[axis] for axis in chosen)
    if len(listed) != 2 * len(letters) or min(listed) < 0 or max(listed) > MAX_PAD:
        raise Refusal(f"pads {tuple(listed)}", f"use {2 * len(letters)} numbers from 0 to {MAX_PAD}")
    if not any(listed):
        return "nothing", value
    if any(size for axis, size in zip(letters * 2, listed, strict=True) if axis not in "HW"):
        raise Refusal("padding of the batch or of channels", "pad height and width only")
    top, left, bottom, right = sides(listed, letters)
    more = (0, 0, 0, 0) if value.border is None else value.border.pads
    pads = top + more[0], left + more[1], bottom + more[2], right + more[3]
    return "padding of the layer that reads it", replace(value, border=Border(pads, node.output[0]))


def _listed(importer: Importer, node: NodeProto, options: dict) -> list[int]:
    """Attribute ``paddings`` in opset 1, ``pads`` up to 10, an input since."""
    if len(node.input) > 1 and node.input[1]:
        return [int(size) for size in importer.constant(node.input[1], "its pads").reshape(-1)]
    return [int(size) for size in options.get("pads") or options["paddings"]]


def concat(importer: Importer, node: NodeProto, options: dict):
    parts: list[Codes | Pending] = []
    readers = importer.readers.get(node.output[0], [])
    quantized = bool(readers) and all(op in (*QUANT_OPS, *QDQ_OPS) for op in readers)
    for name in node.input:
        value = importer.codes_or_skip(name)
        if isinstance(value, Pending) and not quantized:
            value = importer.regained(name, value)
        if isinstance(value, Joined):
            parts += value.parts
        elif isinstance(value, Pending):
            if value.border is not None:
                raise Refusal("a padded branch that is not quantized", "put a Quant node before Pad")
            parts.append(value)
        elif isinstance(value, Picked) and quantized:
            parts.append(selected(f"{node_name(node)}.{name}", value))
        else:
            parts.append(importer.codes(node, name))
    first = parts[0]
    rank = 2 if first.flat else 1 + len(first.axes)
    axis = int(options.get("axis", 1)) % rank
    over_channels = axis == 1 if first.flat else axis > 0 and first.axes[axis - 1] == "C"
    if any((part.shape[1:], part.axes, part.flat) != (first.shape[1:], first.axes, first.flat) for part in parts):
        raise Refusal(f"its inputs have the shapes {', '.join(str(part.shape) for part in parts)} and axes "
                      f"{', '.join(part.axes for part in parts)}", "only maps of one size can be concatenated")
    if not over_channels or (first.flat and first.shape[1:] != (1, 1)):
        raise Refusal(f"a concatenation along axis {axis}", "concatenate channels, before Flatten")
    if len(parts) == 1:
        return "nothing", first
    return f"concatenation of {len(parts)} branches", Joined(node_name(node), node.output[0], tuple(parts))
