"""Trunc of QONNX files, both versions, against qonnx's executor."""

import numpy as np
from onnx_graphs import MODES, QONNX, Hand
import pytest
from qonnx_reference import assert_equals_qonnx

from hwgen.golden import run


def saved(tmp_path, hand, y):
    """With the second version of QONNX's operators."""
    model = hand.model(y)
    for entry in model.opset_import:
        entry.version = 2 if entry.domain == QONNX else entry.version
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "net.onnx"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("signed, zero", [(0, 0.0), (1, 0.0), (0, 4.0)])
def test_first_version(tmp_path, mode, signed, zero):
    """An average pool as Brevitas exports it: the sum, then Trunc; scales are no powers of two."""
    hand = Hand()
    scale = 0.3071
    x = hand.quant("image", scale, zero, 4.0, signed)
    y = hand.node("Mul", hand.node("AveragePool", x, kernel_shape=[2, 2]), hand.const(np.float32(4.0)))
    bits = (7.0, 5.0) if zero else (6.0, 4.0)
    constants = [hand.const(np.float32(value)) for value in (scale, zero, *bits)]
    y = hand.node("Trunc", y, *constants, domain=QONNX, rounding_mode=mode)
    assert_equals_qonnx(hand.save(tmp_path / "net.onnx", y))


@pytest.mark.parametrize("kernel", [(2, 4), (3, 3)])
def test_width_that_the_file_computes(tmp_path, kernel):
    """As Brevitas writes adaptive pools: ceil(log2(sum's range)) bits before, in nodes between constants."""
    hand = Hand()
    x = hand.quant("image", 0.25, 0.0, 4.0)
    count = hand.const(np.float32(kernel[0] * kernel[1]))
    y = hand.node("Mul", hand.node("AveragePool", x, kernel_shape=kernel), count)
    reach = hand.node("Mul", hand.node("Sub", hand.node("Pow", hand.const(np.float32(2)), hand.const(np.float32(4))),
                                       hand.const(np.float32(1))), count)
    wide = hand.node("Max", hand.const(np.float32(2)),
                     hand.node("Ceil", hand.node("Div", hand.node("Log", reach), hand.const(np.float32(np.log(2))))))
    y = hand.node("Trunc", y, hand.const(np.float32(0.25)), hand.const(np.float32(0)), wide, hand.const(np.float32(4)),
                  domain=QONNX, rounding_mode="FLOOR")
    assert_equals_qonnx(hand.save(tmp_path / "net.onnx", y))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("signed, narrow, bits", [(0, 0, 4.0), (1, 0, 5.0), (1, 1, 3.0)])
def test_second_version(tmp_path, mode, signed, narrow, bits):
    """Version 2 clamps, and names its output's scale."""
    hand = Hand()
    scale = 0.3071
    x = hand.quant("image", scale, 0.0, 6.0, signed)
    constants = [hand.const(np.float32(value)) for value in (scale, 0.0, 6.0, np.float32(scale) * 4, bits)]
    y = hand.node("Trunc", hand.node("Relu", x) if narrow else x, *constants, domain=QONNX, rounding_mode=mode,
                  signed=signed, narrow=narrow)
    assert_equals_qonnx(saved(tmp_path, hand, y))


def test_widening(tmp_path):
    """Sums of 6 bits in codes of 8, as Brevitas's TruncAvgPool2d writes them: the output's scale is a quarter."""
    hand = Hand()
    x = hand.quant("image", 0.3071, 0.0, 4.0)
    step = np.float32(0.3071) / 4
    constants = [hand.const(np.float32(value)) for value in (step, 0.0, 6.0, step / 4, 8.0)]
    y = hand.node("Trunc", hand.node("AveragePool", x, kernel_shape=[2, 2]), *constants, domain=QONNX,
                  rounding_mode="ROUND", signed=0, narrow=0)
    graph = assert_equals_qonnx(saved(tmp_path, hand, y))
    assert max(int(array.max()) for array in run(graph, np.full((1, 2, 6, 6), 15)).values()) == 240
