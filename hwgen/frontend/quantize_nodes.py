"""Quant and BipolarQuant nodes: of constants, of the image, and of a layer's result."""

from fractions import Fraction

from onnx import NodeProto

from hwgen.frontend.importer import Image, Importer
from hwgen.frontend.model_file import node_name
from hwgen.frontend.moves import by_channel
from hwgen.frontend.quantizers import Quantizer, bipolar_constant, quantize_constant
from hwgen.frontend.values import Codes, CodeSource, ConvSource, Layer, Pending, Refusal


def quant(importer: Importer, node: NodeProto, options: dict):
    scale, zero, bits, signed, narrow, mode = importer.quant_fields(node, options)
    name = node.input[0]
    if name in importer.file.constants:
        real = importer.constant(name, "the constant it quantizes")
        try:
            grid = quantize_constant(real, scale, zero, bits, signed, narrow, mode, name)
        except ValueError as error:
            raise Refusal(str(error), "export the model again") from error
        return f"{bits}-bit constant", grid
    if scale.size != 1 or zero.size != 1:
        raise Refusal("an activation with one scale or zero point per channel", "use one per tensor")
    if bits > 8:
        raise Refusal(f"an activation of {bits} bits", "use at most 8")
    step, origin = Fraction(scale.reshape(-1)[0].item()), int(zero.reshape(-1)[0])
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
    if scale.size != 1:
        raise Refusal("an activation with one scale per channel", "use one per tensor")
    return activation(importer, node, Quantizer(Fraction(scale.reshape(-1)[0].item()), bits=1, bipolar=True))


def activation(importer: Importer, node: NodeProto, quantizer: Quantizer) -> tuple[str, Codes]:
    """A quantizer of the image, or of a layer's result, which completes the layer."""
    value = importer.codes_or_skip(node.input[0])
    if isinstance(value, Image):
        return _image(importer, node, quantizer, value)
    words = f"{quantizer.code_bits}-bit codes"
    if isinstance(value, Codes) and _keeps(value.quantizer, quantizer):
        return "nothing: the codes are on this grid already", value
    x = by_channel(importer.real(node, node.input[0]))
    check_layer(x, quantizer)
    importer.network.layers.append(Layer(x, quantizer, node.output[0], node_name(node)))
    return words, Codes(node.output[0], x.shape, quantizer, x.flat)


def _keeps(old: Quantizer, new: Quantizer) -> bool:
    """Whether every value on the old grid passes the new quantizer unchanged."""
    return (not old.bipolar and not new.bipolar and old.same_grid(new)
            and new.low <= old.low and old.high <= new.high and old.code_bits == new.code_bits)


def _image(importer: Importer, node: NodeProto, quantizer: Quantizer, image: Image):
    if importer.network.input is not None:
        raise Refusal("the network's input is quantized twice", "share one Quant node")
    codes = Codes(node.output[0], image.shape, quantizer, image.flat)
    importer.network.input = codes
    return f"the input, {quantizer.code_bits}-bit codes", codes


def code_limits(x: Pending, quantizer: Quantizer) -> tuple[list[int], list[int]]:
    """Smallest and largest code per channel: the quantizer's range cut by ReLU and clips."""
    low = [quantizer.low if limit is None else quantizer.code(limit) for limit in x.low]
    high = [quantizer.high if limit is None else quantizer.code(limit) for limit in x.high]
    return low, high


def check_layer(x: Pending, quantizer: Quantizer) -> None:
    """Refuses what no requantizer of the engine computes."""
    low, high = code_limits(x, quantizer)
    if len(set(low)) > 1 or len(set(high)) > 1:
        raise Refusal("a limit (Relu or Clip) that is scaled differently per channel before it is quantized",
                      "put batch norm and factors before the Relu or Clip")
    if x.pools and any(value < 0 for value in x.coefficient):
        raise Refusal("a max pool after a difference", "quantize before the max pool")
    if quantizer.bipolar and (x.clipped or x.residual is not None or not isinstance(x.source, ConvSource)):
        raise Refusal("1-bit activations of anything but a convolution or linear layer", "use at least 2 bits")
    plain = isinstance(x.source, ConvSource) and x.residual is None and quantizer.code_bits <= 4
    if quantizer.mode in ("UP", "DOWN") and low[0] < quantizer.offset and not plain:
        raise Refusal(f"rounding {'away from' if quantizer.mode == 'UP' else 'towards'} zero of negative values",
                      "use ROUND or FLOOR; it is possible only after a layer without residual and up to 4 bits")
    if isinstance(x.source, ConvSource):
        return
    parts = (x.slope, x.intercept, x.coefficient)
    if any(value != part[0] for part in parts for value in part):
        what = "an add" if x.residual else "a pool" if not isinstance(x.source, CodeSource) else "codes"
        raise Refusal(f"a factor or offset per channel after {what}", "use one per tensor, or move it into a layer")

