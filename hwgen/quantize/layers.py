"""Weight layers whose weight passes a quantizer, and the check of every module's settings."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from hwgen.quantize.quantizers import WeightQuant

MAX_KERNEL, MAX_STRIDE = 11, 4


class QuantConv2d(nn.Conv2d):
    """A convolution that multiplies with quantized weights; ``weight`` keeps the real ones."""

    weight_quant: WeightQuant

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight_quant(self.weight), self.bias)


class QuantConv1d(nn.Conv1d):
    """The same over one dimension."""

    weight_quant: WeightQuant

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight_quant(self.weight), self.bias)


class QuantLinear(nn.Linear):
    """A linear layer that multiplies with quantized weights; ``weight`` keeps the real ones."""

    weight_quant: WeightQuant

    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, self.weight_quant(self.weight), self.bias)


QUANTIZED: dict[type, type] = {nn.Conv2d: QuantConv2d, nn.Conv1d: QuantConv1d, nn.Linear: QuantLinear}
FLAT = (nn.Conv1d, nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d)
"""Modules over one dimension: the hardware sees maps of height 1."""


def quantized(layer: nn.Module, schemes: Sequence[str]) -> nn.Module:
    """``layer`` itself, with quantized weights from now on."""
    layer.weight_quant = WeightQuant(schemes, layer.weight)
    layer.__class__ = next(new for old, new in QUANTIZED.items() if isinstance(layer, old))
    return layer


def weight_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Convolutions and linear layers by path, quantized or not, in the order of definition."""
    return {name: module for name, module in network.named_modules() if isinstance(module, tuple(QUANTIZED))}


def pair(value: int | tuple[int, ...], flat: int | None = None) -> tuple[int, int]:
    """(vertical, horizontal) of a module's setting; ``flat`` is the vertical one of a module over one dimension."""
    if flat is not None:
        return flat, value if isinstance(value, int) else value[0]
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def plane(module: nn.Module, value: int | tuple[int, ...], flat: int) -> tuple[int, int]:
    """:func:`pair` of a setting of ``module``."""
    return pair(value, flat if isinstance(module, FLAT) else None)


def pads(module: nn.Module) -> np.ndarray:
    """(top, left, bottom, right) of a layer's own padding, or of a module that pads."""
    if isinstance(module, (nn.ConstantPad2d, nn.ConstantPad1d)):
        left, right, top, bottom = (*module.padding, 0, 0)[:4]
        return np.array([top, left, bottom, right])
    return np.array(plane(module, module.padding, 0) * 2)  # type: ignore[arg-type]


def _conv(m: nn.Conv2d | nn.Conv1d) -> str | None:
    if max(m.dilation) != 1:
        return f"dilation is not supported (dilation={m.dilation})"
    if m.padding_mode != "zeros" or isinstance(m.padding, str):
        return "padding must be numbers of zeros; write padding=(vertical, horizontal)"
    if max(m.kernel_size) > MAX_KERNEL or max(m.stride) > MAX_STRIDE:
        return f"kernels up to {MAX_KERNEL} and strides up to {MAX_STRIDE} are supported"
    return None


def _pad(m: nn.ConstantPad2d | nn.ConstantPad1d) -> str | None:
    if m.value != 0 or min(m.padding) < 0:
        return f"only padding with zeros that takes nothing away is supported, not {tuple(m.padding)} with {m.value:g}"
    return None


def _norm(m: nn.BatchNorm1d | nn.BatchNorm2d) -> str | None:
    return None if m.track_running_stats else "batch norm needs running statistics"


def _max_pool(m: nn.MaxPool2d | nn.MaxPool1d) -> str | None:
    if m.return_indices or m.dilation not in (1, (1,), (1, 1)):
        return "return_indices and dilation are not supported"
    return None


def _average(m: nn.AvgPool2d | nn.AvgPool1d) -> str | None:
    if m.ceil_mode or getattr(m, "divisor_override", None) is not None:
        return "ceil_mode and divisor_override are not supported"
    if max(plane(m, m.padding, 0)) and not m.count_include_pad:
        return "padding that does not count (count_include_pad=False) is not supported"
    return None


def _adaptive(m: nn.AdaptiveAvgPool2d | nn.AdaptiveAvgPool1d) -> str | None:
    return None if m.output_size in (1, (1,), (1, 1)) else f"only output size 1 is supported, not {m.output_size}"


def _flatten(m: nn.Flatten) -> str | None:
    return None if (m.start_dim, m.end_dim) == (1, -1) else "only Flatten() of everything but the batch is supported"


MODULES: dict[type, tuple[str, Callable]] = {
    nn.Conv2d: ("conv", _conv),
    nn.Conv1d: ("conv", _conv),
    nn.Linear: ("linear", lambda m: None),
    nn.ConstantPad2d: ("pad", _pad),
    nn.ConstantPad1d: ("pad", _pad),
    nn.BatchNorm1d: ("norm", _norm),
    nn.BatchNorm2d: ("norm", _norm),
    nn.ReLU: ("relu", lambda m: None),
    nn.ReLU6: ("relu6", lambda m: None),
    nn.MaxPool2d: ("max_pool", _max_pool),
    nn.MaxPool1d: ("max_pool", _max_pool),
    nn.AvgPool2d: ("avg_pool", _average),
    nn.AvgPool1d: ("avg_pool", _average),
    nn.AdaptiveAvgPool2d: ("avg_pool", _adaptive),
    nn.AdaptiveAvgPool1d: ("avg_pool", _adaptive),
    nn.Flatten: ("flatten", _flatten),
    nn.Dropout: ("same", lambda m: None),
    nn.Identity: ("same", lambda m: None),
}
"""What each supported module is, and the check that returns why its settings are not supported (or None)."""
