"""Weight layers whose weight passes a quantizer, and the check of every module's settings."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from hwgen.quantize.policy import Policy
from hwgen.quantize.quantizers import WeightQuant

MAX_KERNEL, MAX_STRIDE = 11, 4


class QuantConv2d(nn.Conv2d):
    """A convolution that multiplies with quantized weights; ``weight`` keeps the real ones."""

    weight_quant: WeightQuant

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight_quant(self.weight), self.bias)


class QuantLinear(nn.Linear):
    """A linear layer that multiplies with quantized weights; ``weight`` keeps the real ones."""

    weight_quant: WeightQuant

    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, self.weight_quant(self.weight), self.bias)


def quantized(layer: nn.Conv2d | nn.Linear, policy: Policy) -> nn.Module:
    """``layer`` itself, with quantized weights from now on."""
    schemes = policy.assign(layer.weight.detach().cpu().numpy())
    layer.weight_quant = WeightQuant(schemes, layer.weight)
    layer.__class__ = QuantConv2d if isinstance(layer, nn.Conv2d) else QuantLinear
    return layer


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """(vertical, horizontal) of a module's setting."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _conv(m: nn.Conv2d) -> str | None:
    if m.groups != 1:
        return f"grouped and depthwise convolution is not supported (groups={m.groups})"
    if pair(m.dilation) != (1, 1):
        return f"dilation is not supported (dilation={pair(m.dilation)})"
    if m.padding_mode != "zeros" or isinstance(m.padding, str):
        return "padding must be numbers of zeros; write padding=(vertical, horizontal)"
    if max(pair(m.kernel_size)) > MAX_KERNEL or max(pair(m.stride)) > MAX_STRIDE:
        return f"kernels up to {MAX_KERNEL} and strides up to {MAX_STRIDE} are supported"
    return None


def _norm(m: nn.BatchNorm1d | nn.BatchNorm2d) -> str | None:
    return None if m.track_running_stats else "batch norm needs running statistics"


def _max_pool(m: nn.MaxPool2d) -> str | None:
    if m.ceil_mode or m.return_indices or pair(m.dilation) != (1, 1):
        return "ceil_mode, return_indices and dilation are not supported"
    return None


def _average(m: nn.AvgPool2d) -> str | None:
    if m.ceil_mode or m.divisor_override is not None:
        return "ceil_mode and divisor_override are not supported"
    if max(pair(m.padding)) and not m.count_include_pad:
        return "padding that does not count (count_include_pad=False) is not supported"
    return None


def _adaptive(m: nn.AdaptiveAvgPool2d) -> str | None:
    return None if m.output_size in (1, (1, 1)) else f"only output size 1 is supported, not {m.output_size}"


def _flatten(m: nn.Flatten) -> str | None:
    return None if (m.start_dim, m.end_dim) == (1, -1) else "only Flatten() of everything but the batch is supported"


MODULES: dict[type, tuple[str, Callable]] = {
    nn.Conv2d: ("conv", _conv),
    nn.Linear: ("linear", lambda m: None),
    nn.BatchNorm1d: ("norm", _norm),
    nn.BatchNorm2d: ("norm", _norm),
    nn.ReLU: ("relu", lambda m: None),
    nn.MaxPool2d: ("max_pool", _max_pool),
    nn.AvgPool2d: ("avg_pool", _average),
    nn.AdaptiveAvgPool2d: ("avg_pool", _adaptive),
    nn.Flatten: ("flatten", _flatten),
    nn.Dropout: ("same", lambda m: None),
    nn.Identity: ("same", lambda m: None),
}
"""What each supported module is, and the check that returns why its settings are not supported (or None)."""
