"""Quant and BipolarQuant nodes: of constants, of the image, and of a layer's result."""

from fractions import Fraction

import numpy as np
from onnx import NodeProto

from hwgen.frontend.curves import Curved, quantized
from hwgen.frontend.importer import Importer
from hwgen.frontend.join import Joined
from hwgen.frontend.layers import Layer
from hwgen.frontend.model_file import node_name
from hwgen.frontend.network import HostValue
from hwgen.frontend.picked import Picked
from hwgen.frontend.grids import bipolar_constant, quantize_constant
from hwgen.frontend.quantizers import MODES, Quantizer
from hwgen.frontend.settle import check_layer, settled
from hwgen.frontend.values import Codes, Factors, Image, Pending, Refusal


def quant_fields(importer: Importer, node: NodeProto,
                 options: dict) -> tuple[np.ndarray, np.ndarray, int, bool, bool, str]:
    """(scale, zero, bits, signed, narrow, mode) of a Quant node, checked."""
    if len(node.input) != 4:
        raise Refusal(f"a Quant node has 4 inputs, this one has {len(node.input)}", "export the model again")
    scale = importer.constant(node.input[1], "its scale")
    zero = importer.constant(node.input[2], "its zero point")
    width = importer.constant(node.input[3], "its bit width")
    if (scale <= 0).any():
        raise Refusal(f"its scale must be positive, not {scale.min():g}", "train or export the model again")
    if not np.array_equal(zero, np.round(zero)) or np.abs(zero).max() > 1 << 24:
        raise Refusal("its zero point is not an integer", "use integer zero points")
    if (width != width.flat[0]).any() or float(width.flat[0]) not in range(1, 33):
        raise Refusal(f"its bit width must be one integer of 1 to 32, not {width.reshape(-1)[:4].tolist()}",
                      "use 1 to 8 bits")
    mode = MODES.get(str(options.get("rounding_mode", "ROUND")).upper())
    if mode is None:
        raise Refusal(f"unknown rounding mode {options['rounding_mode']!r}", f"use one of {', '.join(MODES)}")
    return (scale, zero, int(width.reshape(-1)[0]), bool(options.get("signed", 1)), bool(options.get("narrow", 1)),
            mode)


def quant(importer: Importer, node: NodeProto, options: dict):
    scale, zero, bits, signed, narrow, mode = quant_fields(importer, node, options)
    name = node.input[0]
    if name in importer.file.constants:
        real = importer.constant(name, "the constant it quantizes")
        try:
            grid = quantize_constant(real, scale, zero, bits, signed, narrow, mode, name)
        except ValueError as error:
            raise Refusal(str(error), "export the model again") from error
        return f"{bits}-bit constant", grid
    if (zero != zero.flat[0]).any():
        raise Refusal("an activation with one zero point per channel", "use one per tensor")
    if bits > 8:
        raise Refusal(f"an activation of {bits} bits", "use at most 8")
    (step, factors), origin = activation_scale(importer, node), int(zero.flat[0])
    if bits == 1 and signed:  # QONNX executes this as the sign of x/scale + zero
        if origin:
            raise Refusal("a signed 1-bit activation with a zero point", "use zero point 0")
        return activation(importer, node, Quantizer(step, bits=1, bipolar=True), factors=factors)
    quantizer = Quantizer(step, origin, bits, signed, narrow, mode)
    if not 0 <= quantizer.code_zero < 1 << bits:
        raise Refusal(f"the zero point {origin} is outside the range of its {bits} bits",
                      "use a range that contains the real value 0")
    return activation(importer, node, quantizer, factors=factors)


def bipolar_quant(importer: Importer, node: NodeProto, options: dict):
    if len(node.input) != 2:
        raise Refusal(f"a BipolarQuant node has 2 inputs, this one has {len(node.input)}", "export the model again")
    scale = importer.constant(node.input[1], "its scale")
    if (scale <= 0).any():
        raise Refusal(f"its scale must be positive, not {scale.min():g}", "train or export the model again")
    name = node.input[0]
    if name in importer.file.constants:
        real = importer.constant(name, "the constant it quantizes")
        try:
            return "1-bit constant", bipolar_constant(real, scale, name)
        except ValueError as error:
            raise Refusal(str(error), "export the model again") from error
    step, factors = activation_scale(importer, node)
    return activation(importer, node, Quantizer(step, bits=1, bipolar=True), factors=factors)


def activation_scale(importer: Importer, node: NodeProto, axis: int | None = None) -> tuple[Fraction, Factors]:
    """The scale of an activation's quantizer; 1 and factors where every channel has its own.

    axis: the one along which it lies; by default shapes end together.
    """
    numbers, _ = importer.numbers(node.input[1], "its scale")
    if len(set(numbers)) == 1:
        return numbers[0], None
    value = importer.codes_or_skip(node.input[0], raw=True)
    if isinstance(value, (Image, Curved)):
        what = "the network's input" if isinstance(value, Image) else f"a {value.curve.name}"
        raise Refusal(f"one scale per channel of {what}", "use one per tensor")
    seen = value.one_axis().seen if isinstance(value, Picked) else value
    if not isinstance(seen, (Codes, Pending, Joined)):
        return Fraction(1), None
    return Fraction(1), tuple(importer.per_channel(node.input[1], "its scale", seen, axis))


def activation(importer: Importer, node: NodeProto, quantizer: Quantizer, x: Pending | None = None,
               factors: Factors = None):
    """Ends a layer: the codes of ``x`` (by default the node's input) on the grid of ``quantizer``.

    factors: steps of the grid per channel, in units of the quantizer's scale.
    """
    words = f"{quantizer.code_bits}-bit codes{', a scale per channel' if factors else ''}"
    if x is None:
        value = importer.codes_or_skip(node.input[0])
        if isinstance(value, HostValue):
            return "left to the host", value
        if isinstance(value, Image):
            return _image(importer, node, quantizer, value)
        if isinstance(value, Curved):
            return quantized(importer, node, quantizer, value)
        if isinstance(value, Joined):
            return words, importer.joined(value, quantizer, node.output[0], node_name(node), factors)
        codes = value.seen if isinstance(value, Picked) else value
        if isinstance(codes, Codes) and codes.factors == factors and _keeps(codes.quantizer, quantizer):
            return "nothing: the codes are on this grid already", value
        x = importer.real(node, node.input[0])
    if x.border is not None and quantizer.bipolar:
        raise Refusal("1-bit signed activations of a padded tensor", "put Pad behind the Quant node")
    x = settled(x if factors is None else x.divided(factors), quantizer)
    check_layer(x, quantizer)
    layer = Layer(x, quantizer, node.output[0], node_name(node), factors=factors)
    importer.network.layers.append(layer)
    return words, layer.codes


def _keeps(old: Quantizer, new: Quantizer) -> bool:
    """Whether every value on the old grid passes the new quantizer unchanged."""
    return (not old.bipolar and not new.bipolar and old.same_grid(new)
            and new.low <= old.low and old.high <= new.high and old.code_bits == new.code_bits)


def _image(importer: Importer, node: NodeProto, quantizer: Quantizer, image: Image):
    if importer.network.input is not None:
        raise Refusal("the network's input is quantized twice", "share one Quant node")
    if image.border is not None and quantizer.bipolar:
        raise Refusal("a 1-bit signed input that is padded", "put Pad behind the Quant node")
    codes = Codes(node.output[0], image.shape, quantizer, image.flat, image.axes, image.border)
    importer.network.input = codes
    importer.network.before = image.factor, image.offset
    return f"the input, {quantizer.code_bits}-bit codes", codes
