"""Quant and BipolarQuant nodes: of constants, of the image, and of a layer's result."""

from fractions import Fraction

import numpy as np
from onnx import NodeProto

from hwgen.frontend.importer import Importer
from hwgen.frontend.join import Joined
from hwgen.frontend.model_file import node_name
from hwgen.frontend.network import HostValue
from hwgen.frontend.picked import Picked
from hwgen.frontend.quantizers import MODES, Quantizer, bipolar_constant, quantize_constant
from hwgen.frontend.settle import check_layer, settled
from hwgen.frontend.values import Codes, Image, Layer, Pending, Refusal


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
    if (scale != scale.flat[0]).any() or (zero != zero.flat[0]).any():
        raise Refusal("an activation with one scale or zero point per channel", "use one per tensor")
    if bits > 8:
        raise Refusal(f"an activation of {bits} bits", "use at most 8")
    step, origin = Fraction(scale.flat[0].item()), int(zero.flat[0])
    if bits == 1 and signed:  # QONNX executes this as the sign of x/scale + zero
        if origin:
            raise Refusal("a signed 1-bit activation with a zero point", "use zero point 0")
        return activation(importer, node, Quantizer(step, bits=1, bipolar=True))
    quantizer = Quantizer(step, origin, bits, signed, narrow, mode)
    if not 0 <= quantizer.code_zero < 1 << bits:
        raise Refusal(f"the zero point {origin} is outside the range of its {bits} bits",
                      "use a range that contains the real value 0")
    return activation(importer, node, quantizer)


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
    if (scale != scale.flat[0]).any():
        raise Refusal("an activation with one scale per channel", "use one per tensor")
    return activation(importer, node, Quantizer(Fraction(scale.flat[0].item()), bits=1, bipolar=True))


def activation(importer: Importer, node: NodeProto, quantizer: Quantizer, x: Pending | None = None):
    """Ends a layer: the codes of ``x`` (by default the node's input) on the grid of ``quantizer``."""
    words = f"{quantizer.code_bits}-bit codes"
    if x is None:
        value = importer.codes_or_skip(node.input[0])
        if isinstance(value, HostValue):
            return "left to the host", value
        if isinstance(value, Image):
            return _image(importer, node, quantizer, value)
        if isinstance(value, Joined):
            return words, importer.joined(value, quantizer, node.output[0], node_name(node))
        if isinstance(value, Codes) and _keeps(value.quantizer, quantizer):
            return "nothing: the codes are on this grid already", value
        if isinstance(value, Picked) and _keeps(value.codes.quantizer, quantizer):
            return "nothing: the codes are on this grid already", value
        x = importer.real(node, node.input[0])
    if x.border is not None and quantizer.bipolar:
        raise Refusal("1-bit signed activations of a padded tensor", "put Pad behind the Quant node")
    x = settled(x, quantizer)
    check_layer(x, quantizer)
    importer.network.layers.append(Layer(x, quantizer, node.output[0], node_name(node)))
    return words, Codes(node.output[0], x.shape, quantizer, x.flat, x.axes, x.border)


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
