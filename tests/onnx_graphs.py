"""Hand-made ONNX graphs in the QONNX dialect, node by node, for the tests of the reader."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

QONNX = "qonnx.custom_op.general"
MODES = ("ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN")
"""Roundings of a Quant node."""


class Hand:
    """Collects nodes and initializers; every method returns the name of the tensor it makes."""

    def __init__(self, shape=(1, 2, 6, 6), name="hand"):
        self.nodes, self.initializers, self.count = [], [], 0
        self.name, self.shape, self.metadata = name, shape, {}

    def const(self, array, name=None) -> str:
        self.count += 1
        name = name or f"const{self.count}"
        array = np.asarray(array)
        self.initializers.append(numpy_helper.from_array(array.astype(np.float32) if array.dtype.kind == "f" else array,
                                                         name))
        return name

    def node(self, op, *inputs, name=None, domain="", outputs=1, **attributes) -> str:
        self.count += 1
        name = name or f"{op.lower()}{self.count}"
        outs = [f"{name}_out", *(f"{name}_out{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, list(inputs), outs, name=name, domain=domain, **attributes))
        return outs[0]

    def quant(self, x, scale=1.0, zero=0.0, bits=8.0, signed=0, narrow=0, mode="ROUND", name=None, op="Quant",
              domain=QONNX) -> str:
        constants = [self.const(np.asarray(value, np.float64)) for value in (scale, zero, bits)]
        return self.node(op, x, *constants, name=name, domain=domain, signed=signed, narrow=narrow, rounding_mode=mode)

    def weight(self, integers, scale=0.5, bits=4.0) -> str:
        integers = np.asarray(integers)
        scale = np.asarray(scale, np.float64)
        return self.quant(self.const(integers * scale), scale, 0.0, bits, signed=1)

    def conv(self, x, integers=None, name=None, rows=3, channels=2, kernel=3, **attributes) -> str:
        if integers is None:
            integers = (np.arange(rows * channels * kernel * kernel) % 15 - 7).reshape(rows, channels, kernel, kernel)
        return self.node("Conv", x, self.weight(integers), name=name, **attributes)

    def model(self, *outputs):
        info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, self.shape)
        graph = helper.make_graph(self.nodes, self.name, [image], info, self.initializers)
        model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13),
                                                                      helper.make_opsetid(QONNX, 1)])
        helper.set_model_props(model, self.metadata)
        return model

    def save(self, path, *outputs):
        path.write_bytes(self.model(*outputs).SerializeToString())
        return path
