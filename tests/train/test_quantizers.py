"""Quantizers against grids and gradients written out by hand."""

import numpy as np
import pytest
import torch

from hwgen import schemes
from hwgen.errors import HwgenError
from hwgen.quantize.quantizers import ActQuant, AverageQuant, InputQuant, WeightQuant, nearest

SP2 = [0, 1, 2, 4, 5, 6, 8]
FIXED4 = [0, 1, 2, 3, 4, 5, 6, 7]


def magnitudes(name):
    return torch.tensor(np.unique(np.abs(schemes.get(name).levels)), dtype=torch.float32)


@pytest.mark.parametrize("name", schemes.NAMES[:5])
def test_nearest_is_the_scheme_s(name):
    top = schemes.get(name).max_abs
    # quarters are exact in float32 and hit every middle of two levels
    reals = np.arange(-4 * top - 20, 4 * top + 21) / 4
    found = nearest(torch.tensor(reals, dtype=torch.float32), magnitudes(name))
    assert np.array_equal(found.numpy().astype(np.int64), schemes.get(name).nearest(reals))


@pytest.mark.parametrize(("name", "sizes"), [("sp2", SP2), ("fixed4", FIXED4)])
def test_a_row_on_its_grid_stays(name, sizes):
    ints = np.array([*sizes, *(-np.array(sizes))])
    weight = torch.tensor(ints * 0.031, dtype=torch.float32)[None]
    quantizer = WeightQuant([name], weight)
    assert quantizer.integers(weight)[0].tolist() == ints.tolist()
    assert float(quantizer.scale().detach()[0]) == pytest.approx(0.031, rel=0.02)


def test_rows_land_on_their_own_grids():
    torch.manual_seed(5)
    weight = torch.randn(6, 3, 3, 3)
    names = ["sp2", "fixed4", "fixed4", "sp2", "binary", "sp2"]
    quantizer = WeightQuant(names, weight)
    allowed = {"sp2": SP2, "fixed4": FIXED4, "binary": [1]}
    real, ints = quantizer(weight), quantizer.integers(weight)
    for row, name in enumerate(names):
        assert set(np.abs(ints[row]).flat) <= set(allowed[name])
        assert torch.equal(real[row], quantizer.scale()[row] * torch.tensor(ints[row], dtype=torch.float32))


def test_weight_gradients():
    weight = torch.tensor([[0.26, -1.4, 9.0, -3.2]], requires_grad=True)
    quantizer = WeightQuant(["sp2"], weight)
    with torch.no_grad():
        quantizer.log_scale.zero_()  # alpha = 1, d alpha / d log_scale = 1
    quantizer(weight).sum().backward()
    assert weight.grad.tolist() == [[1.0, 1.0, 0.0, 1.0]]
    # rounded - real inside, the clip outside: (0 - 0.26) + (-1 + 1.4) + 8 + (-4 + 3.2)
    assert float(quantizer.log_scale.grad[0]) == pytest.approx(-0.26 + 0.4 + 8 - 0.8, abs=1e-5)


def test_a_row_of_zeros():
    quantizer = WeightQuant(["sp2", "fixed4"], torch.zeros(2, 4))
    assert not quantizer.integers(torch.zeros(2, 4)).any()
    assert (quantizer.scale() > 0).all()


def test_schemes_and_rows_must_match():
    with pytest.raises(HwgenError, match="2 schemes for 3 rows"):
        WeightQuant(["sp2", "sp2"], torch.zeros(3, 4))


@pytest.mark.parametrize(("signed", "expected"), [
    (False, [0, 0, 0, 0, 2, 2, 4, 15, 15]),
    (True, [-8, -2, 0, 0, 2, 2, 4, 7, 7]),
])
def test_activations_round_half_to_even_and_clip(signed, expected):
    quantizer = ActQuant(4, signed)
    reals = torch.tensor([-99.0, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 15.5, 99.0])
    assert quantizer(reals).tolist() == expected


def test_activation_gradients():
    quantizer = ActQuant(4, False)
    x = torch.tensor([-1.0, 0.25, 3.75, 20.0], requires_grad=True)
    quantizer(x).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]
    assert float(quantizer.log_scale.grad) == 0 - 0.25 + 0.25 + 15


def test_observing_finds_the_scale():
    quantizer = ActQuant(4, False)
    quantizer.observing = True
    codes = torch.arange(16).repeat(50).float()
    assert torch.allclose(quantizer(codes * 0.2), codes * 0.2, atol=0.02)


def test_the_input_keeps_its_codes():
    codes = torch.arange(256).float()
    assert torch.equal(InputQuant(8)(codes / 255), codes * np.float32(1 / 255))


@pytest.mark.parametrize(("count", "bits", "factor"), [(16, 8, 1 / 16), (4, 4, 1.0), (49, 8, 15 / 255)])
def test_the_average_keeps_the_range(count, bits, factor):
    source = ActQuant(4, False)
    average = AverageQuant(source, count, bits)
    assert float(average.scale().detach()) == pytest.approx(factor)
    assert float((average(torch.tensor(15.0)) / average.scale()).detach()) == pytest.approx(15 / factor)
    assert not list(average.parameters())
