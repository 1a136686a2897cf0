"""Rounding and quantizers against their definitions."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
from onnx_graphs import Hand
import pytest

from hwgen.frontend import load
from hwgen.frontend.grids import quantize_constant
from hwgen.frontend.quantizers import Quantizer, round_array, round_exact
from hwgen.golden import run

HALF = Fraction(1, 2)
DEFINITIONS = {
    "FLOOR": floor, "CEIL": ceil, "HALF_EVEN": round,
    "UP": lambda v: ceil(v) if v >= 0 else floor(v),
    "DOWN": lambda v: floor(v) if v >= 0 else ceil(v),
    "HALF_UP": lambda v: floor(v + HALF) if v >= 0 else ceil(v - HALF),
    "HALF_DOWN": lambda v: ceil(v - HALF) if v >= 0 else floor(v + HALF),
}


@pytest.mark.parametrize("mode", DEFINITIONS)
def test_round_exact(mode):
    for eighths in range(-64, 65):
        value = Fraction(eighths, 8)
        assert round_exact(value, mode) == DEFINITIONS[mode](value)


@pytest.mark.parametrize("mode", DEFINITIONS)
def test_round_array_near_boundaries(mode):
    """Values one float step around every half and whole multiple of scales that float64 cannot divide exactly."""
    rng = np.random.default_rng(3)
    scales = rng.uniform(0.01, 3, 200).astype(np.float32)
    real = (rng.integers(-20, 21, 200) / 2 * scales).astype(np.float32)
    for step in (-np.inf, np.inf, None):
        values = real if step is None else np.nextafter(real, np.float32(step))
        got = round_array(values, scales, np.ones(200), mode)
        for value, scale, integer in zip(values.tolist(), scales.tolist(), got.tolist(), strict=True):
            assert integer == DEFINITIONS[mode](Fraction(value) / Fraction(scale) + 1)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
def test_ranges(bits, signed, narrow):
    """The integer ranges of QONNX's Quant, for constants and activations alike."""
    low = (-(2 ** (bits - 1)) + narrow if signed else 0)
    high = (2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow)
    if bits == 1 and signed:
        low, high = -1, 1
    far = np.array([-1e4, 1e4])
    grid = quantize_constant(far, np.array(1.0), np.array(0.0), bits, signed, narrow, "HALF_EVEN", "w")
    assert grid.integers.tolist() == [low, high]
    quantizer = Quantizer(Fraction(1), 0, bits, signed, narrow, bipolar=bits == 1 and signed)
    assert [quantizer.code(Fraction(v)) - quantizer.offset for v in (-10000, 10000)] == [low, high]


@pytest.mark.parametrize("slope", [1.0, -1.0])
@pytest.mark.parametrize("offset", [-3.0, 0.0, 0.25, 100.0, -100.0])
def test_bipolar_switches_at_zero(tmp_path, slope, offset):
    """Code 2 where the value is at least 0: all 16 inputs of a 1x1 convolution with one weight."""
    hand = Hand((1, 1, 1, 16))
    y = hand.conv(hand.quant("image", 1.0, 0.0, 4.0), np.array([[[[int(slope)]]]]))
    y = hand.node("Add", y, hand.const(offset))
    graph = load(hand.save(tmp_path / "net.onnx", hand.node("BipolarQuant", y, hand.const(1.0),
                                                            domain="qonnx.custom_op.general")))
    got = run(graph, np.arange(16).reshape(1, 1, 1, 16))[graph.outputs[0]].reshape(-1)
    assert got.tolist() == [2 if slope * q * 0.5 + offset >= 0 else 0 for q in range(16)]
    assert graph.ops[0].requant.proven == 1
