"""Float operations behind the last Quant node: the host computes them from the output's codes."""

from onnx import NodeProto

from hwgen.frontend.lookup import Lookup
from hwgen.frontend.model_file import attributes, node_name
from hwgen.frontend.network import HostStep, HostValue
from hwgen.frontend.values import Pending

def on_host(importer: Lookup, node: NodeProto, options: dict):
    """Softmax, ArgMax and their like; a layer of the engine that reads the result is refused."""
    value = importer.codes_or_skip(node.input[0])
    if isinstance(value, HostValue):
        return "left to the host", *([HostValue(value.codes, (*value.steps, node))] * len(node.output))
    codes = value if isinstance(value, Pending) else importer.codes(node, node.input[0])
    return "left to the host", *([HostValue(codes, (node,))] * len(node.output))


def host_step(node: NodeProto, output: str) -> HostStep:
    options = {key: value for key, value in attributes(node).items() if isinstance(value, (int, float, str))}
    return HostStep(node_name(node), node.op_type, output, node.output[0], options)
