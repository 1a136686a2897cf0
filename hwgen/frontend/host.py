"""Operators at a network's end that the host computes from the engine's codes."""

from onnx import NodeProto

from hwgen.frontend.importer import Importer
from hwgen.frontend.model_file import node_name
from hwgen.frontend.values import Hosted


def hosted(importer: Importer, node: NodeProto, options: dict):
    """Softmax, LogSoftmax, ArgMax: the network ends with the codes that they read."""
    value = importer.values.get(node.input[0])
    if isinstance(value, Hosted):
        return "left to the host", value
    return "left to the host: the network ends with its input", Hosted(importer.codes(node, node.input[0]),
                                                                     node_name(node))
