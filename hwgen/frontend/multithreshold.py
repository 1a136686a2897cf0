"""MultiThreshold nodes: uniform or not, per tensor or per channel.

``y = out_scale * #{k : x >= threshold[k]} + out_bias``.  Source of the formula: the QONNX operator description.
"""

from fractions import Fraction

from onnx import NodeProto

from hwgen.frontend.copies import as_convolution
from hwgen.frontend.importer import Importer
from hwgen.frontend.join import Joined
from hwgen.frontend.layers import Layer
from hwgen.frontend.model_file import exact, node_name
from hwgen.frontend.quantize_nodes import activation
from hwgen.frontend.quantizers import Quantizer
from hwgen.frontend.steps import counted_by
from hwgen.frontend.values import Image, Pending, Refusal

LAYOUTS = {3: "NWC", 4: "NCHW"}
"""What the operator assumes by rank where nothing is said."""


def multi_threshold(importer: Importer, node: NodeProto, options: dict):
    value = importer.codes_or_skip(node.input[0])
    if isinstance(value, Image):
        raise Refusal("the network's input passes MultiThreshold", "start the network with a Quant node")
    if isinstance(value, Joined):
        raise Refusal("MultiThreshold of a concatenation", "quantize the branches before it")
    x = importer.real(node, node.input[0])
    if x.border is not None:
        raise Refusal("MultiThreshold of a padded tensor", "put Pad behind it")
    table = importer.constant(node.input[1], "its thresholds")
    if table.ndim != 2 or len(table) not in (1, x.channels):
        raise Refusal(f"thresholds of shape {table.shape} for {x.channels} channels", "use one row per channel")
    _check_layout(x, options, len(table))
    rows = [tuple(sorted(exact(row))) for row in table]
    rows *= x.channels // len(rows)
    scale = Fraction(options.get("out_scale", 1.0))
    bias = Fraction(options.get("out_bias", 0.0))
    if scale <= 0:
        raise Refusal(f"an out_scale of {float(scale):g}", "use a positive one")
    count = table.shape[1]
    if count == 1 and bias == -scale / 2:
        y = x.scaled([Fraction(1)] * x.channels, [-row[0] for row in rows])
        return activation(importer, node, Quantizer(scale / 2, bits=1, bipolar=True), y)
    zero = -bias / scale
    if count > 255 or zero.denominator != 1 or not 0 <= zero <= 255:
        raise Refusal(f"{count} thresholds with out_scale {float(scale):g} and out_bias {float(bias):g}",
                      "use at most 255, and an out_bias that is a whole number of steps from -255 to 0")
    quantizer = Quantizer(scale, int(zero), max(count, int(zero), 1).bit_length())
    if x.pools and x.bend is not None:
        raise Refusal("MultiThreshold of a max pool of a leaky ReLU", "quantize before the max pool")
    layer = Layer(as_convolution(x), quantizer, node.output[0], node_name(node), tuple(rows))
    layers = counted_by(layer) if quantizer.bits > 4 else 1
    importer.network.layers.append(layer)
    how = f", counted by {layers} layers" if layers > 1 else ""
    words = f"{quantizer.bits}-bit codes of {count} thresholds{how}"
    return words, layer.codes


def _check_layout(x: Pending, options: dict, rows: int) -> None:
    """The axis that the operator takes for the channels must be that of the map."""
    rank = 2 if x.flat else 1 + len(x.axes)
    layout = options.get("data_layout") or LAYOUTS.get(rank, "NC")
    position = layout.index("C") if "C" in layout else 1
    actual = 1 if x.flat else 1 + x.axes.index("C") if "C" in x.axes else None
    if rows > 1 and (position != actual or (x.flat and x.shape[1:] != (1, 1))):
        raise Refusal(f"data_layout {layout} of a tensor with the axes N{x.axes}", "export the model again")
