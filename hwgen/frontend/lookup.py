"""What a node's inputs are: constants of the file, or activations read so far."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
import math

import numpy as np
from onnx import NodeProto

from hwgen.frontend.copies import padded
from hwgen.frontend.grids import Grid
from hwgen.frontend.join import Joined, common_grid, realize
from hwgen.frontend.layers import Layer
from hwgen.frontend.model_file import ModelFile, exact, node_name
from hwgen.frontend.network import HostValue, Network, Problem
from hwgen.frontend.picked import Picked, copied
from hwgen.frontend.quantizers import Quantizer
from hwgen.frontend.settle import check_layer, on_grid, scaled_codes, settled, unscaled
from hwgen.frontend.values import Codes, Factors, Image, Pending, Refusal, pending_codes

UNKNOWN = object()


class Skipped(Exception):
    """A node's input comes from a refused node: nothing can be said about it."""


class Lookup:
    """A value per tensor name, and the rules by which a node may use it."""

    def __init__(self, file: ModelFile):
        self.file = file
        self.network = Network(file)
        self.values: dict[str, object] = {}
        self.noted: list[Problem] = []
        self.copies: dict[tuple[str, bytes], Codes] = {}
        """Tensors of some channels of others, by :attr:`Picked.key`."""
        self.readers: dict[str, list[str]] = {}
        """Operators that read a tensor, in order."""
        for node in file.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node.op_type)

    def note(self, node: NodeProto, refusal: Refusal) -> None:
        """Lists a problem of the node at hand while the walk goes on as if it were not there."""
        self.noted.append(Problem(node_name(node), node.op_type, refusal.reason, refusal.help))

    def problem(self, node: str, op: str, reason: str, help: str = "") -> None:
        """Lists a problem that belongs to no node."""
        self.network.problems.append(Problem(node, op, reason, help))

    # -- constants ---------------------------------------------------------------------

    def constant(self, name: str, what: str) -> np.ndarray:
        """A constant array, finite."""
        if name not in self.file.constants:
            raise Refusal(f"{what} is not a constant of the file", "export the model with folded constants")
        array = self.file.constants[name]
        if array.dtype.kind not in "fiub":
            raise Refusal(f"{what} has the type {array.dtype}", "store it as float32")
        if array.size == 0:
            raise Refusal(f"{what} is empty (shape {array.shape})", "remove the layer")
        if not np.isfinite(array).all():
            raise Refusal(f"{what} holds NaN or infinity", "train or export the model again")
        return array

    def numbers(self, name: str, what: str) -> tuple[list[Fraction], tuple[int, ...]]:
        """A constant's exact values and its shape; it may have passed a Quant node."""
        value = self.values.get(name)
        if isinstance(value, Grid):
            return value.values(), value.integers.shape
        if name in self.values:
            self.codes_or_skip(name)
            raise Refusal(f"{what} is computed from the network's input", "only constants are possible here")
        array = self.constant(name, what)
        return exact(array), array.shape

    def per_channel(self, name: str, what: str, x: "Codes | Pending | Joined",
                    axis: int | None = None) -> list[Fraction]:
        """A constant that broadcasts over a tensor, one number per channel.

        axis: where its shape begins, in files up to opset 6; by default shapes end together.
        """
        numbers, shape = self.numbers(name, what)
        rank = 2 if x.flat else 1 + len(x.axes)
        if axis is not None:
            shape = tuple(shape) + (1,) * (rank - axis % rank - len(shape))
        if len(numbers) == 1 and len(shape) <= rank:
            return numbers * x.channels
        full = (1,) * (rank - len(shape)) + tuple(shape)
        wanted = [1] * rank
        if "C" in x.axes:
            wanted[1 if x.flat else 1 + x.axes.index("C")] = x.channels
        if list(full) != wanted or (x.flat and x.shape[1:] != (1, 1)):
            if len(set(numbers)) == 1 and len(full) == rank:
                return numbers[:1] * x.channels
            raise Refusal(f"{what} of shape {tuple(shape)} is not one number per tensor or per channel",
                          f"{x.channels} channels need shape {tuple(wanted)}")
        return numbers

    def vector(self, name: str, what: str, channels: int) -> list[Fraction]:
        """A constant of one number per channel, of shape (channels,)."""
        numbers, shape = self.numbers(name, what)
        if math.prod(shape) != channels:
            raise Refusal(f"{what} has {math.prod(shape)} numbers for {channels} channels", "export the model again")
        return numbers

    # -- activations -------------------------------------------------------------------

    @property
    def quantizing(self) -> str:
        """What quantizes a tensor in this file, for messages."""
        return "QuantizeLinear and DequantizeLinear" if self.file.qdq else "a Quant node"

    def codes_or_skip(self, name: str, raw: bool = False) -> object:
        """The value of an activation; Skipped where it is not known.  ``raw``: integers will do, too."""
        value = self.values.get(name, UNKNOWN)
        codes = value.codes if isinstance(value, Picked) else value
        if isinstance(codes, Codes) and codes.raw and not raw:
            raise Refusal(f"its input {name!r} is integers", "put DequantizeLinear before it")
        if value is UNKNOWN:
            if name in self.file.constants:
                raise Refusal(f"the constant {name!r} stands where an activation is expected", "export the model again")
            if name not in self.values:
                raise Refusal(f"its input {name!r} is made by no node before it", "export the model again")
            raise Skipped
        return value

    def codes(self, node: NodeProto, name: str, border: bool = False, raw: bool = False) -> Codes:
        """A quantized activation; where it is not quantized that is noted.

        border: the caller takes the zeros of a Pad node over; otherwise they become a layer.
        raw: integers will do, too.
        """
        value = self.codes_or_skip(name, raw)
        if isinstance(value, Pending):
            value = scaled_codes(value) or self.regained(name, value)
        if isinstance(value, (Image, Pending)):
            self.note(node, self._not_quantized(name, value))
            return Codes(name, value.shape, Quantizer(Fraction(1)), value.flat, value.axes)
        if isinstance(value, Joined):
            value = self.joined(value, common_grid(value), value.tensor, value.name)
            self.values[name] = value
        if isinstance(value, Picked):
            value = self.copy(value)
            self.values[name] = value
        if isinstance(value, HostValue):
            op = value.steps[-1].op_type
            raise Refusal(f"its input comes from {op}, which is not supported inside the network",
                          f"end the network before {op}; the host computes it from the output")
        if not isinstance(value, Codes):
            raise Refusal(f"its input {name!r} is a weight", "export the model again")
        if value.border is not None and not border:
            layer, value = padded(value)
            self.network.layers.append(layer)
            self.values[name] = value
        return value

    def _not_quantized(self, name: str, value: Image | Pending) -> Refusal:
        if isinstance(value, Pending):
            return Refusal(f"its input {name!r} is not quantized", f"put {self.quantizing} before it")
        means = f"{self.file.path.name}@bits=8,scale=1/255,zero=0"
        return Refusal("the network's input is not quantized",
                       f"start the network with {self.quantizing}, or say what its codes mean: {means}")

    def copy(self, value: Picked) -> Codes:
        """A tensor of some channels of another, made once."""
        if value.key not in self.copies:
            layer, codes = copied(value)
            self.network.layers.append(layer)
            self.copies[value.key] = codes
        return replace(self.copies[value.key], raw=value.codes.raw)

    def regained(self, name: str, value: Pending) -> Codes | Pending:
        """Codes where the values are on their codes' grid without a quantizer (Relu of a quantized tensor)."""
        plain, factors = unscaled(value)
        quantizer = on_grid(plain)
        if quantizer is None:
            return value
        layer = Layer(plain, quantizer, name, value.source.name, factors=factors)
        self.network.layers.append(layer)
        self.values[name] = layer.codes
        return layer.codes

    def real(self, node: NodeProto, name: str) -> Pending:
        """An activation as real values."""
        value = self.codes_or_skip(name)
        if isinstance(value, Pending):
            return value
        return pending_codes(node_name(node), self.codes(node, name, border=True))

    def real_or_joined(self, node: NodeProto, name: str) -> "Pending | Joined":
        """The same, where every channel may have a branch of its own."""
        value = self.codes_or_skip(name)
        return value if isinstance(value, Joined) else self.real(node, name)

    def joined(self, value: Joined, quantizer: Quantizer, output: str, node: str, factors: Factors = None) -> Codes:
        """Adds the layers of a concatenation."""
        def quantize(part: Pending, name: str) -> tuple[Sequence[Layer], Codes]:
            part = settled(part, quantizer)
            check_layer(part, quantizer)
            layer = Layer(part, quantizer, name, node, internal=True)
            return [layer], layer.codes

        whole = value if factors is None else value.divided(factors)
        *before, last = realize(whole, quantizer, output, node, quantize)
        last = replace(last, factors=factors)
        self.network.layers += [*before, last]
        return last.codes
