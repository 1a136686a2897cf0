"""Walks an ONNX graph once and reads every node, or lists why it cannot be read."""

from fractions import Fraction
import json
from math import prod

from onnx import NodeProto

from hwgen.errors import HwgenError
from hwgen.frontend.folding import fold
from hwgen.frontend.host import host_step
from hwgen.frontend.join import Joined, common_grid
from hwgen.frontend.lookup import UNKNOWN, Skipped
from hwgen.frontend.model_file import INPUT, QDQ_OPS, QUANT_OPS, attributes, node_name
from hwgen.frontend.network import HostValue, Network, NodeReport, Problem
from hwgen.frontend.picked import Picked
from hwgen.frontend.quantizers import Quantizer
from hwgen.frontend.values import Codes, Image, Pending, Refusal, pending_codes
from hwgen.frontend.weights import Weights
from hwgen.frontend.wide import float_output

__all__ = ["DOMAINS", "Importer", "Network", "NodeReport", "Problem"]

DOMAINS = ("", "ai.onnx", "qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
"""Operator domains whose names are understood."""

CONTRIB = "com.microsoft"
"""onnxruntime's own domain, in which only QuantizeLinear and DequantizeLinear are."""

POINTWISE = ("LeakyRelu", "Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Elu", "HardSwish", "HardSigmoid", "PRelu",
             "Selu", "Relu", "Clip", "Mul", "Div", "BatchNormalization", "Dropout", "Cast", "Identity",
             "InstanceNormalization")
"""Operators whose output has the shape of their first input."""

LOWERED = ("finn.custom_op.fpgadataflow", "finn.custom_op.fpgadataflow.hls", "finn.custom_op.fpgadataflow.rtl",
           "finnlite")
"""Domains of networks that FINN has lowered to its hardware."""

CONTROL = ("If", "Loop", "Scan", "SequenceMap")


class Importer(Weights):
    """State of one walk."""

    def run(self, handlers: dict) -> Network:
        """Reads every node; problems are collected, none stops the walk."""
        network = self.network
        self.values[self.file.input] = self._image()
        for node in self.file.nodes:
            network.reports.append(self._node(node, handlers))
            network.problems += network.reports[-1].problems
        if not network.problems:
            self._outputs()
        for key in sorted(set(self.schemes) - self.used_schemes) if not network.problems else ():
            self.problem(key, "metadata hwgen.schemes", "no layer has this name", "name the Conv, Gemm or MatMul node")
        return network

    def _node(self, node: NodeProto, handlers: dict) -> NodeReport:
        name, op = node_name(node), node.op_type
        known = node.domain in DOMAINS or (node.domain == CONTRIB and op in QDQ_OPS)
        handler = handlers.get(op) if known else handlers.get(f"{node.domain}.{op}")
        self.noted = []
        layers = len(self.network.layers)
        try:
            # nodes that read a Shape are constant, which was not known when the file was opened
            if fold(self.file.path, node, attributes, self.file.constants):
                return NodeReport(name, op, "a constant")
            if handler is None:
                raise _unknown(node, all(name in self.file.constants for name in node.input))
            becomes, *values = handler(self, node, attributes(node))
        except Skipped:
            becomes, values = "not examined: its input comes from a refused node", [UNKNOWN]
        except Refusal as refusal:
            self.note(node, refusal)
            values = [self._guess(node)]
        except HwgenError as error:
            self.note(node, Refusal(str(error), "export the model again"))
            values = [UNKNOWN]
        except (ArithmeticError, IndexError, KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
            # inputs or attributes that ONNX's rules ask for are missing or of another kind
            self.note(node, Refusal(f"the node is malformed ({error})", "export the model again"))
            values = [UNKNOWN]
        if self.noted:
            del self.network.layers[layers:]
        self._bind(node, values)
        return NodeReport(name, op, "refused" if self.noted else becomes, tuple(self.noted))

    def _guess(self, node: NodeProto) -> object:
        """What a refused node's output would be, so that what follows it is examined too."""
        value = self.values.get(node.input[0], UNKNOWN) if node.input and node.output else UNKNOWN
        if node.op_type in (*QUANT_OPS, *QDQ_OPS) and isinstance(value, (Codes, Pending, Joined, Image)):
            return Codes(node.output[0], value.shape, Quantizer(Fraction(1)), value.flat, value.axes,
                         raw=node.op_type == "QuantizeLinear", guessed=True)
        if node.op_type not in POINTWISE or isinstance(value, Picked):
            return UNKNOWN
        others = [self.values.get(name) for name in node.input[1:]]
        return max([value, *(other for other in others if isinstance(other, (Codes, Pending, Joined)))],
                   key=lambda operand: prod(getattr(operand, "shape", ())))  # operands are broadcast

    def _bind(self, node: NodeProto, values: list) -> None:
        for index, output in enumerate(node.output):
            if output not in self.file.constants:
                self.values[output] = values[index] if index < len(values) else UNKNOWN

    def _image(self) -> object:
        """The graph's input: an image to quantize, or codes that metadata or an annotation describes."""
        file = self.file
        flat = file.input_rank == 2
        text = file.metadata.get(INPUT)
        if text is None:
            if file.input_type is None:
                return Image(file.input_shape, flat, file.input_axes)
            bits, signed = file.input_type
            quantizer = Quantizer(Fraction(1), 0, bits, signed)
        else:
            try:
                fields = json.loads(text)
                scale, zero, bits = Fraction(fields["scale"]), int(fields.get("zero_point", 0)), int(fields["bits"])
            except (ArithmeticError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
                self.problem(file.input, f"metadata {INPUT}", f"cannot be read: {text!r}",
                             'write JSON like {"bits": 8, "scale": 0.0039, "zero_point": 0}')
                return UNKNOWN
            if not (scale > 0 and 1 <= bits <= 8 and 0 <= zero < 1 << bits):
                self.problem(file.input, f"metadata {INPUT}", "scale, bits or zero_point is out of range",
                             "bits are 1 to 8, the scale is positive, the zero point is a code")
                return UNKNOWN
            quantizer = Quantizer(scale, zero, bits)
        self.network.input = Codes(file.input, file.input_shape, quantizer, flat, file.input_axes)
        if text is None and any(node.op_type in QUANT_OPS and file.input in node.input for node in file.nodes):
            self.network.input = None  # the file quantizes it, whatever the annotation says
            return Image(file.input_shape, flat, file.input_axes)
        return self.network.input

    def _outputs(self) -> None:
        network = self.network
        for name in self.file.outputs:
            value = self.values.get(name)
            steps: tuple[NodeProto, ...] = ()
            if isinstance(value, HostValue):
                steps = value.steps
                value = value.codes
            try:
                if isinstance(value, Codes) and value.factors is not None:
                    value = pending_codes(value.tensor, value)
                elif isinstance(value, Pending):
                    value = self.regained(steps[0].input[0] if steps else name, value)
                if isinstance(value, Pending):
                    value = self._float_output(value, steps[0].input[0] if steps else name)
                if isinstance(value, Joined):
                    value = self.joined(value, common_grid(value), value.tensor, value.name)
                if isinstance(value, Picked):
                    value = self.copy(value)
                if isinstance(value, Codes) and value.border is not None:
                    raise Refusal("the output is padded", "leave the Pad node out")
            except Refusal as refusal:
                self.problem(name, "output", refusal.reason, refusal.help)
                continue
            if isinstance(value, Codes):
                network.host += [host_step(step, value.tensor) for step in steps]
            if not isinstance(value, Codes):
                self.problem(name, "output", "the output is not quantized", f"end the network with {self.quantizing}")
            elif value.tensor == (network.input.tensor if network.input else None):
                self.problem(name, "output", "the output is the network's input", "the network has no layer")
            elif all(value.tensor != other.tensor for other in network.outputs):
                network.outputs.append(value)


    def _float_output(self, value: Pending, name: str) -> Codes:
        """Adds the codes that hold a real output; the last of them."""
        network = self.network
        output = float_output(value, name)
        if all(output.tensor != other.tensor for other in network.floats):
            network.floats.append(output)
            network.layers += output.layers
            network.host.append(output.step())
            network.outputs += [codes for codes in output.codes[:-1] if codes not in network.outputs]
        return output.codes[-1]


def _unknown(node: NodeProto, constant: bool) -> Refusal:
    """Why an operator is not taken; ``constant``: all its inputs are constants of the file."""
    op = node.op_type
    if any(node.domain == domain or node.domain.startswith(domain + ".") for domain in LOWERED):
        return Refusal(f"{op} is a node of a network that FINN has lowered to its own hardware",
                       "give the QONNX file from before FINN's transformations")
    if op in CONTROL and node.domain in ("", "ai.onnx"):
        return Refusal(f"control flow ({op})", "export the model without branches and loops, with fixed shapes")
    if constant and node.input and node.domain in ("", "ai.onnx"):
        return Refusal(f"{op} of constants, which not every executor computes alike",
                       "fold the constants of the file, for example with qonnx-cleanup")
    where = f" of the domain {node.domain}" if node.domain not in ("", "ai.onnx") else ""
    return Refusal(f"the operation {op}{where} is not supported", "see docs/model-file.md for what is")
