"""Random networks as QONNX files, shared by the tests of the model file."""

import math

import numpy as np

from hwgen.frontend.qonnx_writer import QonnxBuilder, Value

GRIDS = {
    "sp2": (-8, -6, -5, -4, -2, -1, 0, 1, 2, 4, 5, 6, 8),
    "fixed4": tuple(range(-8, 8)),
    "pot4": (-64, -32, -16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16, 32, 64),
    "fixed8": tuple(range(-128, 128)),
    "binary": (-1, 1),
}
MODES = ("ROUND", "HALF_EVEN", "FLOOR", "CEIL", "UP", "DOWN", "HALF_UP", "HALF_DOWN")


class RandomNetwork:
    """Builds layers with random options; ``dyadic`` keeps every float32 operation exact, so ties are hit exactly."""

    def __init__(self, seed: int, path, dyadic: bool = False, modes=("ROUND",), bits=(2, 3, 4, 8)):
        self.rng = np.random.default_rng(seed)
        self.dyadic, self.modes, self.bits, self.path = dyadic, modes, bits, path
        rng = self.rng
        shape = (int(rng.integers(1, 4)), int(rng.integers(5, 9)), int(rng.integers(5, 9)))
        self.input_bits = int(rng.choice((4, 8)))
        zero = int(rng.integers(0, 1 << self.input_bits)) if rng.random() < 0.5 else 0
        self.builder = QonnxBuilder(f"random{seed}", shape, self.input_bits, self.scale(0.02), zero)
        self.spread: dict[str, float] = {self.builder.input.name: 0.02 * (1 << self.input_bits) / 3}

    def scale(self, about: float) -> float:
        """A positive float32 near ``about``; a power of two where all has to be exact."""
        if self.dyadic:
            return float(2.0 ** np.round(np.log2(about)))
        return float(np.float32(about * self.rng.uniform(0.7, 1.4)))

    def weights(self, rows: int, shape: tuple[int, ...]) -> tuple[np.ndarray, list[str]]:
        schemes = [str(name) for name in self.rng.choice(list(GRIDS), rows)]
        return np.stack([self.rng.choice(GRIDS[name], shape) for name in schemes]), schemes

    def row_scales(self, integers: np.ndarray) -> np.ndarray:
        peaks = np.abs(integers).reshape(len(integers), -1).max(axis=1).clip(1)
        return np.array([self.scale(0.5 / peak) for peak in peaks])

    def conv(self, x: Value, rows: int | None = None, kernel=None, strides=None, pads=None) -> Value:
        """A convolution, perhaps with bias and batch norm (also of negative gamma)."""
        rng = self.rng
        rows = rows or int(rng.integers(1, 6))
        kernel = kernel or tuple(min(int(rng.integers(1, 4)), side) for side in x.shape[1:])
        strides = strides or tuple(int(step) for step in rng.integers(1, 3, 2))
        pads = tuple(int(rng.integers(0, side)) for side in kernel * 2) if pads is None else pads
        groups = math.gcd(rows, x.shape[0]) if rng.random() < 0.4 else 1
        integers, schemes = self.weights(rows, (x.shape[0] // groups, *kernel))
        spread = self.spread[x.name] * 0.3 * np.sqrt(x.shape[0] * kernel[0] * kernel[1])
        bias = None if rng.random() < 0.4 else self.real(rng.normal(0, spread, rows))
        y = self.builder.conv(x, integers, self.row_scales(integers), bias, strides, pads,
                              schemes=schemes if rng.random() < 0.5 else None, groups=groups)
        self.spread[y.name] = float(spread)
        return self.batchnorm(y) if not self.dyadic and rng.random() < 0.5 else y

    def real(self, values: np.ndarray) -> np.ndarray:
        return np.round(values * 64) / 64 if self.dyadic else values

    def batchnorm(self, y: Value) -> Value:
        rng, rows, spread = self.rng, y.shape[0], self.spread[y.name]
        var = rng.uniform(0.5, 2, rows) * spread**2
        gamma, beta, mean = rng.normal(0, 1, rows), rng.normal(0, 0.5, rows), rng.normal(0, spread, rows)
        z = self.builder.batchnorm(y, gamma, beta, mean, var)
        self.spread[z.name] = 1.0
        return z

    def quant(self, y: Value, bits: int | None = None, plain: bool = False) -> Value:
        """Perhaps Relu or Clip, then a Quant node of random range, zero point and rounding.

        Rounding of negative values to or from zero is only possible after a ``plain`` layer of up to 4 bits.
        """
        rng, spread = self.rng, self.spread[y.name]
        bits = bits or int(rng.choice(self.bits))
        kind = rng.choice(["relu", "clip", "signed", "narrow", "zero"])
        scale = self.scale(spread * 4 / (1 << bits))
        if kind == "relu":
            y = self.builder.relu(y)
        elif kind == "clip":
            y = self.builder.clip(y, self.real(np.array(-spread)), self.real(np.array(spread / 2)))
        zero = int(rng.integers(0, 1 << bits)) if kind in ("zero", "clip") else 0
        signed = kind in ("signed", "narrow")
        mode = str(rng.choice(self.modes))
        if signed and (bits > 4 or not plain) and mode in ("UP", "DOWN"):
            mode = "ROUND"
        q = self.builder.quant(y, scale, zero, bits, signed, kind == "narrow", mode)
        self.spread[q.name] = spread
        return q

    def residual(self, x: Value, fused: bool) -> Value:
        """Two branches from ``x`` that meet in an add."""
        rows = int(self.rng.integers(1, 6))
        one = self.conv(x, rows, (3, 3), (1, 1), (1, 1, 1, 1))
        two = self.quant(self.conv(x, rows, (1, 1), (1, 1), (0, 0, 0, 0)))
        one = one if fused else self.quant(one)
        operands = [one, two] if self.rng.random() < 0.5 else [two, one]
        y = self.builder.add(*operands)
        self.spread[y.name] = self.spread[one.name] + self.spread[two.name]
        return self.quant(y)

    def max_pool(self, x: Value) -> Value:
        kernel = tuple(min(2 + int(self.rng.integers(0, 2)), side) for side in x.shape[1:])
        pads = tuple(int(self.rng.integers(0, side)) for side in kernel * 2)
        y = self.builder.max_pool(x, kernel, int(self.rng.integers(1, 3)), pads)
        self.spread[y.name] = self.spread[x.name]
        return y

    def avg_pool(self, x: Value) -> Value:
        if self.rng.random() < 0.4:
            y = self.builder.global_avg_pool(x)
        else:
            kernel = tuple(min(2, side) for side in x.shape[1:])
            y = self.builder.avg_pool(x, kernel, 1, tuple(int(self.rng.integers(0, side)) for side in kernel * 2))
        self.spread[y.name] = self.spread[x.name] / 2
        return self.quant(y)

    def linear(self, x: Value, rows: int = 5) -> Value:
        features = int(np.prod(x.shape))
        integers, schemes = self.weights(rows, (features,))
        y = self.builder.linear(x, integers, self.row_scales(integers), self.real(self.rng.normal(0, 0.1, rows)),
                                schemes=schemes)
        self.spread[y.name] = self.spread[x.name] * 0.3 * np.sqrt(features)
        return self.quant(y, 8)

    def save(self, x: Value):
        self.builder.output(x)
        return self.builder.save(self.path)

    def codes(self, images: int) -> np.ndarray:
        shape = self.builder._image.shape
        return self.rng.integers(0, 1 << self.input_bits, (images, *shape))


def random_network(seed: int, path, **options) -> RandomNetwork:
    """A whole network of random layers, saved to ``path``."""
    net = RandomNetwork(seed, path, **options)
    x = net.quant(net.conv(net.builder.input))
    for _ in range(int(net.rng.integers(1, 4))):
        kind = net.rng.choice(["conv", "fused", "two", "max", "max_first", "avg"])
        if kind == "conv":
            x = net.quant(net.conv(x), plain=True)
        elif kind in ("fused", "two"):
            x = net.residual(x, kind == "fused")
        elif kind == "max":
            x = net.max_pool(x)
        elif kind == "max_first":
            x = net.quant(net.max_pool(net.conv(x)))
        else:
            x = net.avg_pool(x)
    net.save(net.linear(x))
    return net
