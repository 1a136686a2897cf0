"""Engines that could run a network, with a quick lower bound of their cycles."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..device.parts import Part
from ..engine import Engine, EngineError
from .geometry import pooled_shape
from .lower import Layer, Network
from .place import SP2_LANE_SCHEMES
from .timing import THRESHOLD_STEP


@dataclass(frozen=True)
class Work:
    """What a layer asks of any engine."""

    evaluations: int
    channels: int
    taps: int
    planes: int
    soft_rows: int
    """Rows that shift-add lanes can run."""
    hard_rows: int
    """Rows that need multipliers."""
    step: int

    @property
    def rows(self) -> int:
        return self.soft_rows + self.hard_rows

    def words(self, ki: int) -> int:
        """Words of a row tile per plane."""
        return self.taps * -(-self.channels // ki)


def work_of(network: Network) -> list[Work]:
    result = []
    for layer in network.layers:
        soft = sum(scheme in SP2_LANE_SCHEMES for scheme in layer.conv.schemes)
        out_h, out_w = pooled_shape(layer)
        window = layer.window.kernel
        _, channels, kh, kw = layer.conv.weight.shape
        result.append(Work(out_h * out_w * window[0] * window[1], channels, kh * kw,
                           2 if network.tensors[layer.input].bits > 4 else 1, soft, len(layer.conv.schemes) - soft,
                           _step(network, layer)))
    return result


def _step(network: Network, layer: Layer) -> int:
    if layer.conv.requant.thresholds is not None:
        return THRESHOLD_STEP
    return 2 if network.tensors[layer.output].bits > 4 else 1


def bound(work: list[Work], engine: Engine) -> int:
    """Cycles that the layers take at least.

    Per layer the larger of its words and its drain; or the loading of all weights, which
    goes on beside the computing of earlier layers, if that takes longer.
    """
    compute = sum(_computing(layer, engine) for layer in work)
    return max(compute, weight_words(work, engine))


def weight_words(work: list[Work], engine: Engine) -> int:
    """Memory words that the weights take at least, in the program."""
    return sum(layer.words(engine.ki) * -(-layer.rows * engine.word_bits // engine.mem_bits) for layer in work)


def guess(work: list[Work], engine: Engine) -> int:
    """Cycles that the layers take about, to rank engines: each layer waits for its own weights, tiles are full."""
    total = 0
    beats = -(-engine.rows * engine.word_bits // engine.mem_bits)
    for layer in work:
        total += max(_computing(layer, engine), _tiles(layer, engine) * layer.words(engine.ki) * beats)
    return total


def _tiles(layer: Work, engine: Engine) -> int:
    """Row tiles at least."""
    return max(-(-layer.rows // engine.rows), -(-layer.hard_rows // engine.dsp_rows) if engine.dsp_rows else 0, 1)


def _computing(layer: Work, engine: Engine) -> int:
    """Cycles of all groups of all tiles: words read, or rows drained."""
    groups = -(-layer.evaluations // engine.px)
    drain = -(-layer.rows // engine.drain_lanes) * engine.px * layer.step
    return groups * max(_tiles(layer, engine) * layer.words(engine.ki) * layer.planes, drain)


def candidates(work: list[Work], part: Part, idle_blocks: bool = False) -> Iterator[Engine]:
    """Every engine within the part's arithmetic, in a fixed order.

    Multipliers are made of logic where the part has too few blocks for a useful number of
    rows; with ``idle_blocks`` also where more rows than the blocks can hold may be faster.
    """
    hard = any(layer.hard_rows for layer in work)
    soft = any(layer.soft_rows for layer in work)
    most = max(layer.rows for layer in work)
    share = float(np.mean([layer.soft_rows / layer.rows for layer in work]))
    lane_luts = 12 if part.lut_inputs == 6 else 24
    for ki in (2, 4, 8, 16):
        for px in range(1, 9):
            for drain in (d for d in (1, 2, 4, 8, 16) if ki % d == 0 and d * 8 >= ki):
                for rows in range(drain, min(96, most + drain) + 1, drain):
                    if ki * px * rows * lane_luts // 2 > part.lut:
                        break
                    for sp2 in _splits(rows, drain, share, soft, hard):
                        multipliers = ki * px * (rows - sp2)
                        weights = "dsp" if multipliers <= part.dsp else "lut"
                        if weights == "lut" and part.dsp > 2 * ki * px and not idle_blocks:
                            continue
                        try:
                            yield Engine(ki=ki, px=px, sp2_rows=sp2, dsp_rows=rows - sp2, drain_lanes=drain,
                                         dsp_weights=weights)
                        except EngineError:
                            continue


def _splits(rows: int, drain: int, share: float, soft: bool, hard: bool) -> list[int]:
    """Shift-add rows to try: near the network's share, and the extremes."""
    if not soft:
        return [0]
    near = round(rows * share / drain) * drain
    options = {0, near - drain, near, near + drain} | ({rows} if not hard else set())
    return sorted(n for n in options if 0 <= n <= rows and (n < rows or not hard))
