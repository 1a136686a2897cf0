"""Random networks for an engine: odd shapes, mixed schemes, every kind of layer, codes that vary.

``random_network(seed, engine)`` gives a graph and the codes of its input images; the same seed and engine give the
same network.  The generator runs the golden operations while it builds, only to choose
requantizers whose outputs vary.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from hwgen.golden.operations import add, avg_pool, conv, conv_accumulators, max_pool, pool_sums
from hwgen.graph.check import check
from hwgen.graph.ir import Add, AvgPool, Conv, Graph, MaxPool, Requant, Rescale, Tensor
from hwgen.graph.shapes import output_shape
from hwgen.engine import Engine
from random_rules import Dice, requant, rescale, schemes_of, weights_of

MAX_CYCLES = 5000
"""Of one layer, roughly, so that hundreds of programs take minutes."""
MAX_WORDS = 3000
"""Memory words of one layer's weights."""


@dataclass
class _Draft(Dice):
    """A network under construction with the codes of its tensors on the test images."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    ops: list = field(default_factory=list)
    readers: dict[str, int] = field(default_factory=dict)

    def put(self, tensor: Tensor, codes: np.ndarray) -> str:
        self.tensors[tensor.name] = tensor
        self.maps[tensor.name] = codes
        self.readers[tensor.name] = 0
        return tensor.name

    def emit(self, op, tensor: Tensor, codes: np.ndarray) -> str:
        self.ops.append(op)
        for name in {op.input, getattr(op, "other", None), getattr(op, "residual", None)} - {None}:
            self.readers[name] += 1
        return self.put(tensor, codes)

    def name(self, kind: str) -> str:
        return f"{kind}{len(self.ops)}"


def random_network(seed: int, engine: Engine, n_images: int = 2) -> tuple[Graph, np.ndarray]:
    """A checked graph of 1 to 4 steps that suits ``engine``'s features, and codes (images, C, H, W)."""
    draft = _Draft(np.random.default_rng([seed, engine.id]), engine)
    bits = draft.pick([1, 2, 4, 4, 5, 8, 8])
    shape = (draft.pick([1, 3, draft.upto(1, 16), draft.upto(1, 40)]), draft.upto(1, 20), draft.upto(1, 20))
    draft.put(_tensor(draft, "input", shape, bits), _images(draft, n_images, shape, bits))
    for _ in range(draft.upto(1, 4)):
        _grow(draft)
    unread = [op.output for op in draft.ops if not draft.readers[op.output]]
    more = [op.output for op in draft.ops if draft.readers[op.output] and draft.chance(0.15)]
    graph = Graph(f"random_{seed}", draft.tensors, tuple(draft.ops), "input", tuple(unread + more))
    check(graph)
    return graph, draft.maps["input"]


def _tensor(draft: _Draft, name: str, shape, bits: int, zero_point: int | None = None) -> Tensor:
    if zero_point is None:
        zero_point = draft.upto(0, 2**bits - 1) if draft.chance(0.5) else 0
    return Tensor(name, tuple(shape), bits, 1.0, zero_point)


def _images(draft: _Draft, n: int, shape, bits: int) -> np.ndarray:
    """Random codes; sometimes an extreme image: all 0, all at the top, or only these two."""
    top = 2**bits - 1
    images = draft.rng.integers(0, top + 1, (n, *shape))
    for image in images[1:]:
        kind = draft.upto(0, 5)
        if kind < 2:
            image[:] = (0, top)[kind]
        elif kind == 2:
            image[:] = draft.rng.integers(0, 2, shape) * top
    return images.astype(np.uint8)


def _grow(draft: _Draft) -> None:
    """One more step: a convolution most of the time, else an addition or a pool; now and then a whole block."""
    engine, kind = draft.engine, draft.rng.random()
    names = list(draft.tensors)
    source = names[-1] if draft.chance(0.75) else draft.pick(names)
    if kind < 0.15 and engine.residual and engine.rescale:
        _add_block(draft, source)
    elif kind < 0.25 and engine.residual and engine.rescale:
        _add(draft, source, source if draft.chance(0.3) else _same_shape(draft, source))
    elif kind < 0.45 and engine.pool:
        _pool(draft, source)
    elif kind < 0.6 and engine.residual and engine.fused:
        _conv(draft, source, partner=source if draft.chance(0.5) else draft.pick(names))
    else:
        out = _conv(draft, source)
        if engine.pool and draft.chance(0.3):
            _pool(draft, out)


def _same_shape(draft: _Draft, name: str) -> str:
    return draft.pick([other for other, tensor in draft.tensors.items() if tensor.shape == draft.tensors[name].shape])


def _add_block(draft: _Draft, source: str) -> None:
    """Two branches of equal shape that meet in an Add; either order of operands."""
    left = _conv(draft, source, residual=False)
    right = source if draft.tensors[source].shape == draft.tensors[left].shape else None
    if right is None or draft.chance(0.3):
        right = _conv(draft, source, partner=left, residual=False)
    if draft.tensors[left].shape == draft.tensors[right].shape:
        pair = (left, right) if draft.chance(0.5) else (right, left)
        _add(draft, *pair)


# Convolutions


def _conv(draft: _Draft, source: str, partner: str | None = None, residual: bool = True) -> str:
    """A convolution; with ``partner`` one that gives the partner's shape, and with ``residual`` adds it."""
    shape = draft.tensors[source].shape
    for attempt in range(60):
        window = _matching_window(draft, shape, draft.tensors[partner].shape) if partner else _window(draft, shape)
        if window is None:
            return _conv(draft, source)
        kernel, strides, pads = window
        rows = draft.tensors[partner].shape[0] if partner else draft.pick([1, draft.upto(1, 12), draft.upto(1, 40)])
        groups = _groups(draft, shape[0], rows)
        if draft.chance(0.1) and not partner:
            rows = groups = shape[0]
        if attempt > 40 and not partner:
            rows, groups, kernel = 1, 1, kernel if attempt < 50 else (1, 1)
            pads = pads if attempt < 50 else (0, 0, 0, 0)
        probe = Conv("probe", source, "", np.zeros((rows, shape[0] // groups, *kernel), np.int64), (), np.ones(rows),
                     Requant(*[np.zeros(rows, np.int64)] * 3), strides, pads, groups=groups)
        out_shape = output_shape(probe, shape)
        if _affordable(draft, probe, out_shape):
            break
    else:
        if partner:
            return _conv(draft, source)
    with_residual = partner is not None and residual and draft.engine.residual and draft.engine.fused
    with_residual = with_residual and (draft.engine.wide_residual or draft.tensors[partner].bits <= 4)
    return _finish_conv(draft, probe, out_shape, partner if with_residual else None)


def _groups(draft: _Draft, channels: int, rows: int) -> int:
    """Equal parts of a layer's channels and rows; as many as can be is depthwise where the two are equal."""
    common = [n for n in range(2, min(channels, rows) + 1) if channels % n == rows % n == 0]
    if not common or not draft.chance(0.4):
        return 1
    return common[-1] if draft.chance(0.5) else draft.pick(common)


def _window(draft: _Draft, shape):
    """Kernel, strides and pads of a random convolution that fits the map."""
    _, height, width = shape
    if draft.chance(0.12):
        return (height, width), (1, 1), (0, 0, 0, 0)
    sizes = [1, 1, 2, 3, 3, 3, draft.upto(1, 5), draft.upto(1, 11)]
    kernel = draft.pick(sizes), draft.pick(sizes)
    if draft.chance(0.5):
        kernel = (kernel[0], kernel[0])
    strides = draft.pick([1, 1, 1, 2, 2, 3, 4]), draft.pick([1, 1, 1, 2, 2, 3, 4])
    pads = _pads(draft, kernel, (height, width))
    return kernel, strides, pads


def _pads(draft: _Draft, kernel, size) -> tuple[int, int, int, int]:
    """Asymmetric pads of 0..k-1, large enough for the kernel to fit; sometimes none."""
    if draft.chance(0.25):
        kernel_fits = all(k <= s for k, s in zip(kernel, size, strict=True))
        if kernel_fits:
            return 0, 0, 0, 0
    pads = [0, 0, 0, 0]
    for axis in (0, 1):
        while True:
            first, second = draft.upto(0, kernel[axis] - 1), draft.upto(0, kernel[axis] - 1)
            if first + second + size[axis] >= kernel[axis]:
                break
        pads[axis], pads[axis + 2] = first, second
    return tuple(pads)


def _matching_window(draft: _Draft, shape, target):
    """Kernel, strides and pads that lead from a map's size to the target's, or None."""
    sides = []
    for size, wanted in zip(shape[1:], target[1:], strict=True):
        options = [(k, s, before, after) for k in (1, 2, 3, 4, 5, 7) for s in (1, 2, 3, 4)
                   for before in range(k) for after in range(k)
                   if size + before + after >= k and (size + before + after - k) // s + 1 == wanted]
        if not options:
            return None
        sides.append(draft.pick(options))
    (kh, sh, top, bottom), (kw, sw, left, right) = sides
    return (kh, kw), (sh, sw), (top, left, bottom, right)


def _affordable(draft: _Draft, op: Conv, out_shape) -> bool:
    """Whether the layer's words fit the ring and its cycles and weights the budget."""
    e, (rows, channels, kh, kw) = draft.engine, op.weight.shape
    channels *= op.groups
    words = kh * kw * -(-channels // e.ki)
    tiles = 2 * -(-rows // e.rows)
    planes = 2 if draft.tensors[op.input].bits > 4 else 1
    positions = -(-out_shape[1] * out_shape[2] // e.px)
    positive = channels * kh * kw * (255 * 15 * planes**4 if e.wide else 155 * planes**4)
    return (words <= min(e.ring_depth, 1000) and words * tiles * planes * positions <= MAX_CYCLES
            and words * tiles * e.rows * e.word_bits // e.mem_bits <= MAX_WORDS
            and positive.bit_length() <= e.acc_bits)


def _finish_conv(draft: _Draft, probe: Conv, out_shape, residual: str | None) -> str:
    name, rows = draft.name("conv"), len(probe.weight)
    schemes = schemes_of(draft, rows)
    weight = _thinned(np.stack([weights_of(draft, scheme, probe.weight.shape[1:]) for scheme in schemes]), schemes)
    bits = draft.pick([1, 2, 3, 4, 4, 4, 5, 8])
    probe = replace(probe, name=name, output=f"{name}_out", weight=weight, schemes=schemes, residual=residual)
    codes = draft.maps[probe.input]
    acc = conv_accumulators(probe, codes, draft.tensors[probe.input].zero_point)
    other = draft.tensors[residual] if residual else None
    m_bits = draft.engine.m_bits
    if draft.engine.swap and _largest_sum(draft, probe) >= 1 << 17:
        m_bits = 18
    rule = requant(draft, acc, bits, other, m_bits)
    op = replace(probe, requant=rule)
    result = conv(op, codes, draft.tensors[op.input].zero_point, draft.maps[residual] if residual else None)
    return draft.emit(op, _tensor(draft, op.output, out_shape, bits), result)


def _thinned(weight: np.ndarray, schemes: tuple[str, ...]) -> np.ndarray:
    """Now and then a layer with few weights: rows that read one channel each, as copies do, a few of them, or none."""
    rng = np.random.default_rng(int(np.abs(weight).sum()))
    rows, channels = weight.shape[:2]
    if rng.random() < 0.8:
        return weight
    first = rng.integers(0, channels) + np.arange(rows) * rng.integers(0, 2)
    reach = rng.integers(0, 1 + max(1, channels // 4), rows)
    away = (np.arange(channels) - first[:, None]) % channels >= reach[:, None]
    away[[scheme == "binary" for scheme in schemes]] = False
    return np.where(away[:, :, None, None], 0, weight)


def _largest_sum(draft: _Draft, op: Conv) -> int:
    """Of a lane, corrections included: 15 * 255 at most, 255 with narrow weights."""
    ki = draft.engine.ki
    positions = op.weight[0, 0].size * -(-op.weight.shape[1] * op.groups // ki) * ki
    planes = 17 if draft.tensors[op.input].bits > 4 else 1
    return positions * planes * (255 if set(op.schemes) <= {"sp2", "fixed4"} else 15 * 255)


def _add(draft: _Draft, x: str, y: str) -> str:
    if not draft.engine.wide_residual and max(draft.tensors[name].bits for name in (x, y)) > 4:
        return _conv(draft, x)
    name, bits = draft.name("add"), draft.pick([1, 3, 4, 4, 8])
    op = Add(name, x, y, f"{name}_out", rescale(draft, draft.maps[x], draft.maps[y], bits))
    return draft.emit(op, _tensor(draft, op.output, draft.tensors[x].shape, bits),
                      add(op, draft.maps[x], draft.maps[y]))


def _overlapping(draft: _Draft, size):
    """Kernel, strides and pads of which the windows overlap, mostly few at a time, as the row buffer takes them."""
    kernel, strides = draft.pick([((3, 3), (2, 2)), ((3, 3), (2, 2)), ((3, 3), (1, 1)), ((2, 2), (1, 1)),
                                  ((5, 4), (2, 3)), ((1, 3), (1, 2)), ((7, 2), (3, 1)), ((4, 4), (1, 2))])
    if draft.chance(0.3):
        kernel, strides = kernel[::-1], strides[::-1]
    kernel = min(kernel[0], size[0]), min(kernel[1], size[1])
    return kernel, strides, _pads(draft, kernel, size) if draft.chance(0.7) else (0, 0, 0, 0)


def _pool(draft: _Draft, source: str) -> str:
    """Maximum or average; overlapping, padded, whole-map."""
    tensor, codes = draft.tensors[source], draft.maps[source]
    size = tensor.shape[1:]
    if draft.chance(0.25):
        kernel, pads = size, (0, 0, 0, 0)
    else:
        kernel = tuple(min(draft.pick([1, 2, 2, 3, 4, 5]), side) for side in size)
        pads = _pads(draft, kernel, size) if draft.chance(0.5) else (0, 0, 0, 0)
    strides = draft.pick([1, 2, 2, 3, 4]), draft.pick([1, 2, 2, 3, 4])
    overlapping = draft.engine.pool_columns > 0 and draft.chance(0.5)
    if overlapping:
        kernel, strides, pads = _overlapping(draft, size)
    if kernel[0] * kernel[1] > 250:
        kernel = (2, 2)
    out_of = MaxPool("probe", source, "", kernel, strides, pads)
    shape = output_shape(out_of, tensor.shape)
    evaluations = shape[1] * shape[2] * kernel[0] * kernel[1] * -(-shape[0] // draft.engine.drain_lanes)
    if evaluations > MAX_CYCLES:
        strides = kernel
        shape = output_shape(MaxPool("probe", source, "", kernel, strides, pads), tensor.shape)
    if not draft.engine.rescale or overlapping or draft.chance(0.5):
        name = draft.name("max")
        op = MaxPool(name, source, f"{name}_out", kernel, strides, pads)
        target = Tensor(op.output, shape, min(8, tensor.bits + draft.pick([0, 0, 0, 1])), tensor.scale,
                        tensor.zero_point)
        return draft.emit(op, target, max_pool(op, codes))
    name, bits = draft.name("avg"), draft.pick([1, 2, 4, 4, 5, 8])
    probe = AvgPool(name, source, f"{name}_out", kernel, strides, Rescale(1, 0, 1), pads)
    rule = rescale(draft, pool_sums(probe, codes, tensor.zero_point), None, bits)
    op = AvgPool(name, source, probe.output, kernel, strides, rule, pads)
    return draft.emit(op, _tensor(draft, op.output, shape, bits), avg_pool(op, codes, tensor.zero_point))
