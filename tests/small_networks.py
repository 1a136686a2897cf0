"""Small random networks for tests of plan and program: odd shapes, mixed schemes, adds, pools, stored branches."""

import numpy as np

from hwgen.graph.check import check
from hwgen.graph.ir import Add, AvgPool, Conv, Graph, MaxPool, Requant, Rescale, Tensor
from hwgen.graph.shapes import output_shape

GRIDS = {
    "sp2": [0, 1, -1, 2, -2, 4, -4, 5, -5, 6, -6, 8, -8],
    "binary": [1, -1],
    "fixed4": list(range(-8, 8)),
    "fixed8": list(range(-128, 128)),
    "pot4": [0] + [sign << i for i in range(7) for sign in (1, -1)],
}


class Builder:
    """Adds operations to a network; every method returns the name of its output tensor."""

    def __init__(self, seed, shape=(3, 6, 7), bits=8, schemes=tuple(GRIDS)):
        self.rng = np.random.default_rng(seed)
        self.schemes = schemes
        self.tensors = {"input": Tensor("input", shape, bits, 1.0, int(self.rng.integers(0, 2**bits)))}
        self.ops = []

    def _put(self, op, shape, bits, zero=None):
        if zero is None:
            zero = int(self.rng.integers(0, 2**bits)) if self.rng.random() < 0.5 else 0
        self.tensors[op.output] = Tensor(op.output, tuple(shape), bits, 1.0, zero)
        self.ops.append(op)
        return op.output

    def _name(self, kind):
        return f"{kind}{len(self.ops)}"

    def conv(self, source, rows, kernel=(1, 1), strides=(1, 1), pads=(0, 0, 0, 0), bits=4, residual=None,
             thresholds=False, schemes=None, groups=1, reads=None):
        """``schemes``: one for every row, in order, or a shorter list to choose from.

        ``reads``: the channels of each row, whose scheme then has a zero.
        """
        channels = self.tensors[source].shape[0] // groups
        if reads:
            schemes = [scheme for scheme in schemes or self.schemes if 0 in GRIDS[scheme]]
        picked = tuple(schemes or ())
        if len(picked) != rows:
            picked = tuple(self.rng.choice(schemes or self.schemes, rows).tolist())
        weight = np.stack([self.rng.choice(np.array(GRIDS[s]), (channels, *kernel)) for s in picked])
        for row, some in enumerate(reads or ()):
            weight[row, [channel not in some for channel in range(channels)]] = 0
        flat, top = weight.reshape(rows, -1), 2**bits - 1
        reach = np.abs(flat).sum(axis=1) * (2**self.tensors[source].bits - 1) + 1
        shift = np.full(rows, 16)
        m = np.clip(self.rng.choice([-3, 3], rows) * (top << 16) // reach, -2**17, 2**17 - 1)
        c = (top << 15) - m * flat.sum(axis=1) * (2**self.tensors[source].bits - 1) // 2
        r = self.rng.integers(-2**12, 2**12, rows) if residual else None
        rule = Requant(m, c, shift, str(self.rng.choice(["half_up", "half_even", "floor"])), 0, 0, top, r)
        if thresholds:
            zeros = np.zeros(rows, np.int64)
            values = np.sort(self.rng.integers(-reach[:, None], reach[:, None], (rows, top)), axis=1)
            rule = Requant(zeros, zeros, zeros + 1, "floor", 0, 0, top, thresholds=values,
                           negate=self.rng.random(rows) < 0.5)
        name = self._name("conv")
        op = Conv(name, source, f"{name}_out", weight, picked, np.ones(rows), rule, strides, pads, residual,
                  groups)
        return self._put(op, output_shape(op, self.tensors[source].shape), bits)

    def _rescale(self, top_in, bits, b=False):
        a = int(self.rng.integers(2**12, 2**14)) * (2**bits - 1) // top_in
        return Rescale(a, int(self.rng.integers(-2**12, 2**12)), 14, int(self.rng.integers(-2**13, 2**13)) if b else 0,
                       str(self.rng.choice(["half_up", "half_even", "floor"])), 0, 0, 2**bits - 1)

    def add(self, x, y, bits=4):
        name = self._name("add")
        op = Add(name, x, y, f"{name}_out", self._rescale(2**self.tensors[x].bits - 1, bits, b=True))
        return self._put(op, self.tensors[x].shape, bits)

    def pool(self, source, kind="max", kernel=(2, 2), strides=(2, 2), pads=(0, 0, 0, 0), bits=None):
        name, tensor = self._name(kind), self.tensors[source]
        bits = bits or tensor.bits
        if kind == "max":
            op = MaxPool(name, source, f"{name}_out", kernel, strides, pads)
            return self._put(op, output_shape(op, tensor.shape), tensor.bits, tensor.zero_point)
        rule = self._rescale((2**tensor.bits - 1) * kernel[0] * kernel[1], bits)
        op = AvgPool(name, source, f"{name}_out", kernel, strides, rule, pads)
        return self._put(op, output_shape(op, tensor.shape), bits)

    def graph(self, *outputs):
        graph = Graph("small", self.tensors, tuple(self.ops), "input", outputs)
        check(graph)
        return graph

    def images(self, n=2):
        tensor = self.tensors["input"]
        return self.rng.integers(0, 2**tensor.bits, (n, *tensor.shape)).astype(np.uint8)


def residual_network(seed, schemes=tuple(GRIDS), rows=13):
    """A stem, a block with a projection that meets in an Add, a fused residual, pools, a linear layer."""
    b = Builder(seed, (3, 8, 9), 8, schemes)
    stem = b.conv("input", 7, (3, 3), (1, 1), (1, 1, 1, 1))
    pooled = b.pool(stem, "max", (3, 2), (2, 2), (1, 0, 1, 1))
    left = b.conv(pooled, rows, (3, 1), (1, 1), (0, 0, 2, 0))
    right = b.conv(pooled, rows)
    joined = b.add(right, left) if seed % 2 else b.add(left, right)
    fused = b.conv(joined, rows, (1, 3), (1, 1), (0, 2, 0, 0), bits=5, residual=joined)
    mean = b.pool(fused, "avg", b.tensors[fused].shape[1:], (1, 1), bits=8)
    out = b.conv(mean, 10, bits=8)
    return b.graph(out, joined), b.images()


def odd_network(seed, schemes=tuple(GRIDS)):
    """Everything that cannot be fused: pool of the input, add of a tensor with itself, pool of a pool, two readers."""
    b = Builder(seed, (2, 9, 5), 4, schemes)
    first = b.pool("input", "avg", (2, 1), (1, 1))
    twice = b.add(first, first, bits=4)
    top = b.pool(twice, "max", (3, 3), (1, 2), (1, 1, 1, 1))
    again = b.pool(top, "max", (2, 2), (2, 1))
    side = b.conv(again, 2, thresholds=True)
    main = b.conv(again, 5, (2, 2), (1, 1), (0, 0, 1, 1), bits=3)
    back = b.conv(main, 2, bits=1)
    joined = b.add(side, back, bits=8)
    return b.graph(joined, main), b.images()


def chain_network(seed, schemes=tuple(GRIDS)):
    """Three convolutions with strides and a linear layer over the whole map; the input is also a residual."""
    b = Builder(seed, (5, 7, 6), 4, schemes)
    first = b.conv("input", 5, (3, 3), (1, 1), (1, 1, 1, 1), residual="input")
    second = b.conv(first, 19, (2, 3), (2, 1), (0, 1, 1, 0), bits=6)
    third = b.conv(second, 4, (3, 2), (1, 3), bits=4, thresholds=True)
    out = b.conv(third, 6, b.tensors[third].shape[1:], bits=8)
    return b.graph(out), b.images()


def grouped_network(seed, schemes=tuple(GRIDS)):
    """Inverted residuals with depthwise layers of both strides, and groups of several channels and rows."""
    b = Builder(seed, (5, 9, 7), 8, schemes)
    first = b.conv("input", 5, (3, 2), (1, 1), (1, 0, 1, 1), groups=5)
    wide = b.conv(first, 37)
    middle = b.conv(wide, 37, (3, 3), (1, 1), (1, 1, 1, 1), bits=5, groups=37)
    narrow = b.conv(middle, 5)
    joined = b.add(narrow, first)
    again = b.conv(b.conv(joined, 24), 24, (3, 3), (2, 2), (1, 1, 1, 1), groups=24)
    parts = b.conv(again, 40, (2, 1), (1, 2), (0, 0, 1, 0), groups=8, thresholds=True)
    out = b.conv(b.conv(parts, 20, groups=4), 40, groups=20, bits=8)
    return b.graph(out, narrow), b.images()


def sparse_network(seed, schemes=tuple(GRIDS)):
    """Branches that are put side by side by copies with a residual, and rows that read few channels, or none."""
    b = Builder(seed, (6, 7, 5), 4, schemes)
    left, right = b.conv("input", 21), b.conv("input", 26, (3, 3), (1, 1), (1, 1, 1, 1))
    first = b.conv(left, 47, reads=[[row] if row < 21 else [] for row in range(47)])
    both = b.conv(right, 47, bits=5, residual=first, reads=[[row - 21] if row >= 21 else [] for row in range(47)])
    some = [b.rng.choice(47, b.rng.integers(0, 9), replace=False).tolist() for _ in range(33)]
    out = b.conv(b.conv(both, 33, (2, 2), reads=some), 9, bits=8)
    return b.graph(out, both), b.images()


NETWORKS = {"residual": residual_network, "odd": odd_network, "chain": chain_network, "grouped": grouped_network,
            "sparse": sparse_network}
