"""qonnx's own executor on a file in any layout, beside the golden model."""

import warnings

import numpy as np
import onnx

from hwgen.frontend import load, read_network
from hwgen.frontend.execute import compare
from hwgen.frontend.executors import with_batch
from hwgen.golden import run


def executed(network, codes: np.ndarray) -> dict[str, np.ndarray]:
    """The file's outputs, real, computed by qonnx from input codes (images, channels, height, width)."""
    source = network.input
    factor, offset = (float(value) for value in network.before)
    real = float(source.quantizer.scale) * (codes.astype(float) - source.quantizer.code_zero)
    image = np.float32((real - offset) / factor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx
        from qonnx.transformation.infer_shapes import InferShapes

        proto = onnx.load(str(network.file.path))
        fixed = any(item.name == "allowzero" and item.i for node in proto.graph.node for item in node.attribute)
        parts = []
        for part in source.from_map(image)[:, None] if fixed else [source.from_map(image)]:
            # a Reshape with allowzero states the batch, so those files run as they are
            model = ModelWrapper(proto if fixed else with_batch(proto, len(part))).transform(InferShapes())
            shape = model.get_tensor_shape(network.file.input)
            inputs = {network.file.input: part.reshape(shape)}
            parts.append(execute_onnx(model, inputs, return_full_exec_context=True))
    names = {value.tensor for value in (*network.outputs, *network.floats)} & set(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def reference(path, codes: np.ndarray) -> dict[str, np.ndarray]:
    """Codes of the outputs as qonnx computes them, (images, channels, height, width)."""
    network = read_network(path)
    found = executed(network, codes)
    results = {}
    for value in network.outputs:
        real = value.to_map(found[value.tensor]).astype(float) / float(value.quantizer.scale)
        results[value.tensor] = np.round(real).astype(int) + value.quantizer.code_zero
    return results


def assert_equals_qonnx(path, images: int = 20, seed: int = 7, proven: bool = True):
    """Every code of every output is qonnx's, on random images; returns the graph."""
    graph = load(path)
    tensor = graph.tensors[graph.input]
    codes = np.random.default_rng(seed).integers(0, 1 << tensor.bits, (images, *tensor.shape))
    got, wanted = run(graph, codes), reference(path, codes)
    assert set(got) == set(wanted)
    for name in got:
        assert np.array_equal(got[name], wanted[name]), (
            name, int((got[name] != wanted[name]).sum()), got[name].size, got[name][got[name] != wanted[name]][:5],
            wanted[name][got[name] != wanted[name]][:5])
        assert len(np.unique(got[name])) > 1
    result = compare(path, graph, codes[:5], every_layer=True)
    assert result.ok and result.different == 0, result
    if proven:
        for op in graph.ops:
            if hasattr(op, "requant"):
                assert op.requant.proven == len(op.weight), op.name
            elif hasattr(op, "rescale"):
                assert op.rescale.proven, op.name
    return graph
