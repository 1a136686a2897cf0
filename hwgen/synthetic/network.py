"""Builds a network layer by layer as a QONNX model, choosing scales by what calibration images do."""

from dataclasses import dataclass

import numpy as np

from hwgen.frontend.qonnx_writer import QonnxBuilder, Value
from hwgen.golden import conv_accumulators
from hwgen.graph.ir import Conv, Requant
from hwgen.synthetic.images import smooth_images
from hwgen.synthetic.options import Options
from hwgen.synthetic.rows import draw_rows

BITS = 4
"""Of activations inside the network."""
IMAGE_ZERO = 118
"""Code of a mid-grey pixel: what a normalized image has as zero."""
TOP_SHARE = 0.998
"""Share of an activation's values that are not cut off at its largest code."""
CALIBRATION = 2
"""Images that scales are chosen with."""


@dataclass(frozen=True, eq=False)
class Activation:
    """A tensor of the network with its codes on the calibration images."""

    value: Value
    codes: np.ndarray
    """uint8 (images, channels, height, width)."""
    scale: float
    zero: int
    """Code of the real value 0."""


class SyntheticNetwork:
    """The network under construction.

    Every convolution is followed by batch norm with the calibration images' own mean and variance, as in
    a trained network, then by ReLU and a quantizer of 4 bits whose scale leaves 0.2 % of the values cut off.
    """

    def __init__(self, name: str, options: Options):
        self.options = options
        self.images = smooth_images(CALIBRATION, options.size, options.seed)
        self.builder = QonnxBuilder(name, (3, options.size, options.size), 8, 1 / 58, IMAGE_ZERO)
        self.input = Activation(self.builder.input, self.images, float(np.float32(1 / 58)), IMAGE_ZERO)
        self.layers = 0

    def _rng(self) -> np.random.Generator:
        """A stream of its own for every layer, so that one layer's shape changes no other's weights."""
        self.layers += 1
        return np.random.default_rng([self.options.seed, self.layers])

    def conv(self, x: Activation, rows: int, kernel: int, stride: int = 1, *, groups: int = 1, name: str) -> Activation:
        """Convolution with padding for an unchanged size (at stride 1), batch norm, ReLU, quantizer."""
        return self._quantize(*self._normalized(x, rows, kernel, stride, name, groups), relu=True, name=name)

    def branch(self, x: Activation, rows: int, kernel: int, stride: int = 1, *, name: str) -> Activation:
        """The same without ReLU, in signed codes: an operand of :meth:`add`."""
        return self._quantize(*self._normalized(x, rows, kernel, stride, name), relu=False, name=name)

    def residual(self, x: Activation, shortcut: Activation, rows: int, kernel: int, *, relu: bool = True,
                 name: str) -> Activation:
        """The last convolution of a block and its add: rounded twice, or once where the options say ``fused``."""
        if not self.options.fused:
            return self.add(self.branch(x, rows, kernel, name=name), shortcut, relu=relu, name=f"{name}_add")
        value, real = self._normalized(x, rows, kernel, 1, name)
        value = self.builder.add(value, shortcut.value, name=f"{name}_add")
        return self._quantize(value, real + _real(shortcut), relu=relu, name=name)

    def add(self, x: Activation, y: Activation, *, relu: bool = True, name: str) -> Activation:
        """Sum of two activations, ReLU if it is wanted, quantizer."""
        value = self.builder.add(x.value, y.value, name=name)
        return self._quantize(value, _real(x) + _real(y), relu=relu, name=name)

    def max_pool(self, x: Activation, kernel: int, stride: int, pad: int = 0, *, name: str) -> Activation:
        value = self.builder.max_pool(x.value, kernel, stride, pad, name=name)
        padded = np.pad(x.codes, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
        return Activation(value, windows[:, :, ::stride, ::stride].max(axis=(4, 5)), x.scale, x.zero)

    def average(self, x: Activation, *, name: str) -> Activation:
        """Global average, quantizer."""
        value = self.builder.global_avg_pool(x.value, name=name)
        return self._quantize(value, _real(x).mean(axis=(2, 3), keepdims=True), relu=False, name=name, unsigned=True)

    def linear(self, x: Activation, rows: int, *, name: str) -> Activation:
        """Linear layer over the whole map, batch norm folded into its bias, ReLU, quantizer."""
        return self._quantize(*self._linear(x, rows, name), relu=True, name=name)

    def logits(self, x: Activation, rows: int, *, name: str) -> None:
        """The last linear layer: logits of 8 signed bits, the network's output."""
        value, real = self._linear(x, rows, name)
        # Other images reach a little further than the calibration images.
        scale = 1.25 * float(np.abs(real).max()) / 127
        self.builder.output(self.builder.quant(value, scale, 0, 8, signed=True, name=f"{name}_quant"))

    def model(self) -> bytes:
        """The network as an ONNX file."""
        return self.builder.model().SerializeToString(deterministic=True)

    # ---- steps ---------------------------------------------------------------------------

    def _normalized(self, x: Activation, rows: int, kernel: int, stride: int, name: str, groups: int = 1
                    ) -> tuple[Value, np.ndarray]:
        """Convolution and batch norm: the value, and its real numbers on the calibration images."""
        rng, pad = self._rng(), kernel // 2
        weight, scales, schemes = draw_rows((rows, x.codes.shape[1] // groups, kernel, kernel), self.options.mix, rng)
        value = self.builder.conv(x.value, weight, scales, None, stride, pad, name=name, schemes=schemes, groups=groups)
        acc = _accumulators(x, weight, stride, pad, groups)
        # Integer sums, so that every machine finds the same constants.
        count = acc[:, 0].size
        mean = acc.sum(axis=(0, 2, 3)) / count
        variance = (acc * acc).sum(axis=(0, 2, 3)) / count - mean * mean
        variance = np.maximum(variance, 1.0)
        gamma, beta = 1 + 0.2 * rng.standard_normal(rows), 0.3 * rng.standard_normal(rows)
        gamma = np.clip(gamma, 0.3, 2) * np.where(rng.random(rows) < 0.02, -1, 1)
        unit = x.scale * scales.astype(np.float64)
        sums = weight.astype(np.int64).sum(axis=(1, 2, 3))
        value = self.builder.batchnorm(value, gamma, beta, unit * (mean - x.zero * sums), unit * unit * variance,
                                       epsilon=0.0, name=f"{name}_bn")
        factor = gamma / np.sqrt(variance)
        real = acc * factor[:, None, None] + (beta - mean * factor)[:, None, None]
        return value, real

    def _linear(self, x: Activation, rows: int, name: str) -> tuple[Value, np.ndarray]:
        rng = self._rng()
        weight, scales, schemes = draw_rows((rows, *x.codes.shape[1:]), self.options.mix, rng)
        unit = x.scale * scales.astype(np.float64)
        acc = _accumulators(x, weight, 1, 0)
        sums = weight.astype(np.int64).sum(axis=(1, 2, 3))
        real = (acc - (x.zero * sums)[:, None, None]) * unit[:, None, None]
        size = float(np.sqrt((real * real).mean()))
        bias = (0.3 * size * rng.standard_normal(rows)).astype(np.float32)
        value = self.builder.linear(x.value, weight.reshape(rows, -1), scales, bias, name=name, schemes=schemes)
        return value, real + bias.astype(np.float64)[:, None, None]

    def _quantize(self, value: Value, real: np.ndarray, *, relu: bool, name: str, unsigned: bool = False) -> Activation:
        signed = not (relu or unsigned)
        zero = 1 << (BITS - 1) if signed else 0
        top = (1 << BITS) - 1 - zero
        if relu:
            value, real = self.builder.relu(value, name=f"{name}_relu"), np.maximum(real, 0)
        reach = np.abs(real[real != 0] if relu else real)
        scale = float(np.float32(np.quantile(reach, TOP_SHARE, method="lower") / (top + 0.5)))
        value = self.builder.quant(value, scale, 0, BITS, signed=signed, name=f"{name}_quant")
        codes = np.clip(np.rint(real / scale) + zero, 0, (1 << BITS) - 1).astype(np.uint8)
        return Activation(value, codes, scale, zero)


def _real(x: Activation) -> np.ndarray:
    return x.scale * (x.codes.astype(np.float64) - x.zero)


def _accumulators(x: Activation, weight: np.ndarray, stride: int, pad: int, groups: int = 1) -> np.ndarray:
    empty = np.zeros(0, np.int64)
    op = Conv("", "", "", weight, (), np.zeros(0), Requant(empty, empty, empty), (stride, stride), (pad,) * 4,
              groups=groups)
    return conv_accumulators(op, x.codes, x.zero)
