"""Row assignment, the structure of the prepared network, and everything that is refused."""

import pytest
import torch
from torch import nn
from networks import tiny

from hwgen.errors import HwgenError
from hwgen.quantize import Policy, accuracy, fit, prepare
from hwgen.quantize.fit import average_norms
from hwgen.quantize.quantizers import ActQuant


def test_names_stay_and_the_model_too():
    network = tiny(1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    prepared = prepare(network, Policy.msq(), torch.rand(16, 2, 9, 8))
    names = dict(prepared.named_modules())
    layers = [name for name, module in network.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    assert all(hasattr(names[name], "weight_quant") for name in layers)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(hasattr(module, "weight_quant") for module in network.modules())


@pytest.mark.parametrize(("residual", "signed"), [("two_step", 5), ("fused", 4)])
def test_where_the_quantizers_are(residual, signed):
    prepared = prepare(tiny(2), Policy.msq(residual=residual), torch.rand(16, 2, 9, 8))
    found = [module.signed for module in prepared.modules() if isinstance(module, ActQuant)]
    # unsigned after three ReLUs; signed at the add's operands, the two linear layers (and none for pools)
    assert (found.count(False), found.count(True)) == (3, signed - 1)


def test_fit_learns():
    torch.manual_seed(3)
    labels = torch.arange(64) % 2
    images = (torch.rand(64, 2, 9, 8) + labels.view(-1, 1, 1, 1)) / 2
    batches = [(images[i:i + 16], labels[i:i + 16]) for i in range(0, 64, 16)]
    prepared = prepare(tiny(3), Policy.msq(), images)
    seen: list[tuple[int, int]] = []
    history = fit(prepared, batches, 20, 5e-3, norm_batches=4, progress=lambda d, n, loss: seen.append((d, n)))
    assert seen == [(step, 80) for step in range(1, 81)]
    assert history[-1] < history[0]
    assert not prepared.training
    assert accuracy(prepared, batches) > 0.9


class Refused(nn.Module):
    def __init__(self):
        super().__init__()
        self.reflected = nn.Conv2d(2, 2, 3, padding_mode="reflect", padding=1)
        self.dilated = nn.Sequential(nn.Conv2d(2, 3, 3, dilation=2), nn.Sigmoid())
        self.up = nn.ConvTranspose2d(3, 3, 2)
        self.norm = nn.BatchNorm2d(3)
        self.relu = nn.ReLU()

    def forward(self, x):
        x = self.relu(self.norm(self.up(self.dilated(self.reflected(x)))))
        return torch.tanh(x).view(-1)


def test_everything_unsupported_is_named_at_once():
    with pytest.raises(HwgenError) as caught:
        prepare(Refused(), Policy.msq(), torch.rand(2, 2, 9, 9))
    text = str(caught.value)
    for path, reason in [("reflected", "padding must be numbers"), ("dilated.0", "dilation is not"),
                         ("dilated.1", "Sigmoid"), ("up", "ConvTranspose2d"), ("norm", "must directly follow"),
                         ("tanh", "tanh is not"), ("view", "view is not")]:
        assert any(line.startswith(f"  {path}: ") and reason in line for line in text.splitlines()), (path, text)


def chain(*layers):
    return nn.Sequential(*layers)


@pytest.mark.parametrize(("network", "message"), [
    (chain(nn.Conv2d(2, 2, 3, padding="same")), "padding must be numbers"),
    (chain(nn.Conv2d(2, 2, 3, stride=5)), "strides up to 4"),
    (chain(nn.ConstantPad2d(1, 0.5), nn.Conv2d(2, 2, 3)), "only padding with zeros"),
    (chain(nn.ZeroPad2d((1, -1, 0, 0)), nn.Conv2d(2, 2, 3)), "only padding with zeros"),
    (chain(nn.Conv2d(2, 2, 3), nn.ZeroPad2d(1), nn.ReLU()), "in front of convolutions only"),
    (chain(nn.Conv2d(2, 2, 3), nn.ZeroPad2d(1), nn.MaxPool2d(2)), "in front of convolutions only"),
    (chain(nn.Conv2d(2, 2, 1), nn.MaxPool2d(2), nn.ReLU()), "ReLU after max_pool"),
    (chain(nn.Conv2d(2, 2, 1), nn.AvgPool2d(2, padding=1, count_include_pad=False)), "count_include_pad"),
    (chain(nn.Conv2d(2, 2, 1), nn.AvgPool2d(2, ceil_mode=True)), "ceil_mode"),
    (chain(nn.MaxPool2d(2, dilation=2)), "dilation"),
    (chain(nn.AdaptiveAvgPool2d(2)), "only output size 1"),
    (chain(nn.Flatten(2)), "everything but the batch"),
    (chain(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)), "running statistics"),
    (chain(nn.Linear(8, 3)), "put Flatten"),
])
def test_refused_settings(network, message):
    with pytest.raises(HwgenError, match=message):
        prepare(network, Policy.msq(), torch.rand(2, 2, 8, 8))


def test_a_layer_used_twice():
    layer = nn.Conv2d(2, 2, 1)
    with pytest.raises(HwgenError, match="used more than once"):
        prepare(chain(layer, nn.ReLU(), layer), Policy.msq(), torch.rand(2, 2, 8, 8))


class Branches(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_forward_that_branches():
    with pytest.raises(HwgenError, match="must not branch"):
        prepare(Branches(), Policy.msq(), torch.rand(2, 2, 8, 8))


def test_an_input_that_does_not_fit():
    with pytest.raises(HwgenError, match=r"does not run on an input of shape \(2, 3, 8, 8\)"):
        prepare(chain(nn.Conv2d(2, 2, 1)), Policy.msq(), torch.rand(2, 3, 8, 8))


class Broadcast(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return x + self.pool(x)


def test_an_add_that_broadcasts():
    with pytest.raises(HwgenError, match="make them equal"):
        prepare(Broadcast(), Policy.msq(), torch.rand(2, 2, 8, 8))


def test_a_saved_network_keeps_its_schemes():
    images = torch.rand(16, 2, 9, 8)
    saved = prepare(tiny(4), Policy.msq(), images)
    other = prepare(tiny(5), Policy.fixed4(), images)
    other.load_state_dict(saved.state_dict())
    assert torch.equal(other(images), saved(images))


def test_norms_are_averaged():
    images = [torch.randn(8, 3, 4, 4) + shift for shift in (1.0, 3.0, 50.0)]
    network = chain(nn.BatchNorm2d(3))
    average_norms(network, [(x, None) for x in images], 2)
    expected = (images[0].mean(dim=(0, 2, 3)) + images[1].mean(dim=(0, 2, 3))) / 2
    assert torch.allclose(network[0].running_mean, expected, atol=1e-5)
    assert network[0].momentum == 0.1
    assert not network[0].training
