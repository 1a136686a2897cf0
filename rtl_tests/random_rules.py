"""Random rows and rules for a layer: schemes, weights, requantizers and rescales whose codes vary."""

from dataclasses import dataclass

import numpy as np

from hwgen.graph.ir import Requant, Rescale, Tensor
from hwgen.engine import Engine

ROUNDINGS = ("half_up", "half_even", "floor")
GRIDS = {
    "sp2": [0, 1, -1, 2, -2, 4, -4, 5, -5, 6, -6, 8, -8],
    "binary": [1, -1],
    "fixed4": list(range(-8, 8)),
    "fixed8": list(range(-128, 128)),
    "pot4": [0] + [sign << i for i in range(7) for sign in (1, -1)],
}
EXTREMES = {"sp2": [8, -8], "binary": [1, -1], "fixed4": [-8, 7], "fixed8": [-128, 127], "pot4": [64, -64]}


@dataclass
class Dice:
    """Seeded choices for one engine."""

    rng: np.random.Generator
    engine: Engine

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def upto(self, low: int, high: int) -> int:
        """An integer in [low, high], both ends included."""
        return int(self.rng.integers(low, high + 1))

    def pick(self, values):
        return values[int(self.rng.integers(len(values)))]


def schemes_of(dice: Dice, rows: int) -> tuple[str, ...]:
    """Schemes of the rows, interleaved at random, of the kinds that the engine's lanes compute."""
    e = dice.engine
    known = (["sp2"] if e.sp2_rows or e.dsp_rows and e.wide else []) + ["binary"]
    known += ["fixed4"] if e.dsp_rows or e.int4_rows else []
    known += ["pot4"] if e.pot_rows or e.dsp_rows and e.wide else []
    known += ["fixed8"] if e.dsp_rows and e.wide else []
    kinds = dice.pick([known, known[:1], [known[0], dice.pick(known)],
                        [dice.pick(known), dice.pick(known), dice.pick(known)]])
    return tuple(dice.pick(kinds) for _ in range(rows))


def weights_of(dice: Dice, scheme: str, shape) -> np.ndarray:
    kind = dice.rng.random()
    grid = EXTREMES[scheme] if kind < 0.15 else GRIDS[scheme]
    weights = dice.rng.choice(np.array(grid, np.int64), (1, 1, 1) if kind < 0.06 else shape)
    return np.broadcast_to(weights, shape).copy()


def requant(dice: Dice, acc: np.ndarray, bits: int, residual: Tensor | None, m_bits: int) -> Requant:
    rows, top = acc.shape[1], 2**bits - 1
    low, high = (0, top) if dice.chance(0.7) else sorted((dice.upto(0, top), dice.upto(0, top)))
    zero = dice.upto(0, top) if dice.chance(0.5) else 0
    by_row = acc.transpose(1, 0, 2, 3).reshape(rows, -1)
    if bits <= 4 and dice.engine.thresholds and residual is None and dice.chance(0.25):
        return _thresholds(dice, by_row, low, high)
    rounding = dice.pick(ROUNDINGS)
    reach = 2**(residual.bits) - 1 if residual else 0
    m, c, s, r = (np.zeros(rows, np.int64) for _ in range(4))
    for row, values in enumerate(by_row):
        m[row], c[row], s[row], r[row] = _affine(dice, values, high - low + 1, (low + high) / 2 - zero, reach, m_bits)
    if bits == 8 and dice.engine.wrap and dice.chance(0.5):
        shorter = np.maximum(s - dice.upto(0, 8), 1)
        return Requant(m, c, shorter, rounding, 0, 0, 255, r if residual else None, wrap=True)
    return Requant(m, c, s, rounding, zero, low, high, r if residual else None)


def _affine(dice: Dice, values: np.ndarray, codes: int, centre: float, reach: int,
            m_bits: int) -> tuple[int, int, int, int]:
    """M, C, S, R of one row so that its codes vary; now and then extremes, often exact ties."""
    largest, limit = 2**(m_bits - 1) - 1, 2**(dice.engine.c_bits - 4) - 1
    base = dice.engine.shift_base
    if dice.chance(0.04):
        s = dice.upto(1, 32 + base)
        largest, limit = (value >> max(0, base + 1 - s) for value in (largest, limit))
        m = dice.pick([largest, -largest, 0, 1, -1])
        return m, dice.upto(-limit // 8, limit // 8), s, dice.pick([largest, -largest, 0])
    low, high = np.percentile(values, [3, 97])
    slope = codes * dice.rng.uniform(0.5, 2.5) / (high - low + 1) * dice.pick([1, 1, -1])
    ties = dice.chance(0.3)
    bits = dice.upto(1, 3) if ties else dice.upto(3, m_bits - 1)
    s = int(np.clip(round(np.log2(2.0**bits / abs(slope))), 1, 32 + base))
    while s > 1 and 2**s * 600 > limit:
        s -= 1
    # The engine holds a row of a small S multiplied, so that S exceeds its base.
    largest, limit = (value >> max(0, base + 1 - s) for value in (largest, limit))
    m = int(np.clip(round(slope * 2**s), -largest, largest))
    r = 0
    if reach:
        ratio = codes * dice.rng.uniform(-0.8, 0.8) / reach
        r = int(np.clip(round(ratio * 2**s), -largest, largest))
    middle = float(np.median(values))
    c = round(centre * 2**s - m * middle - r * reach / 2)
    if ties:
        c = (c >> s - 1) << s - 1
    return m, int(np.clip(c, -limit, limit)), s, r


def _thresholds(dice: Dice, by_row: np.ndarray, low: int, high: int) -> Requant:
    rows, count = len(by_row), high - low
    negate = dice.rng.random(rows) < 0.4 if dice.chance(0.6) else None
    table = np.zeros((rows, count), np.int64)
    for row, values in enumerate(by_row):
        seen = -values - 1 if negate is not None and negate[row] else values
        chosen = dice.rng.choice(seen, count) + dice.rng.integers(-1, 2, count)
        wild = dice.rng.random(count) < 0.05
        bound = 2**(dice.engine.acc_bits - 2)
        table[row] = np.sort(np.where(wild, dice.rng.choice([-bound, bound, 0], count), chosen))
    zeros = np.zeros(rows, np.int64)
    return Requant(zeros, zeros, zeros + 1, "floor", 0, low, high, thresholds=table, negate=negate)


def rescale(dice: Dice, x: np.ndarray, y: np.ndarray | None, bits: int) -> Rescale:
    """One rule for a tensor whose codes vary, with x and maybe y; sometimes extremes."""
    e, top = dice.engine, 2**bits - 1
    low, high = (0, top) if dice.chance(0.7) else sorted((dice.upto(0, top), dice.upto(0, top)))
    zero = dice.upto(0, top) if dice.chance(0.5) else 0
    largest, rounding = 2**(e.m_bits - 1) - 1, dice.pick(ROUNDINGS)
    spread = max(1, int(x.max()) - int(x.min()))
    ties = dice.chance(0.3)
    a_real = (high - low + 1) / spread * dice.rng.uniform(0.4, 1.6) * dice.pick([1, 1, -1])
    size = dice.upto(1, 3) if ties else dice.upto(4, e.m_bits - 1)
    s = int(np.clip(round(np.log2(2.0**size / abs(a_real))), 1, min(32, e.m_bits + 8)))
    a = int(np.clip(round(a_real * 2**s), -largest, largest))
    b, centre_y = 0, 0.0
    if y is not None:
        b_real = (high - low + 1) / max(1, int(y.max()) - int(y.min())) * dice.rng.uniform(-1.2, 1.2)
        b = int(np.clip(round(b_real * 2**s), -largest, largest))
        centre_y = b * float(np.median(y))
    c = round(((low + high) / 2 - zero) * 2**s - a * float(np.median(x)) - centre_y)
    if ties:
        c = (c >> s - 1) << s - 1
    if dice.chance(0.03):
        a, b, s = -largest, largest if y is not None else 0, dice.upto(1, 32)
    limit = 2**(e.m_bits + 18)
    return Rescale(a, int(np.clip(c, -limit, limit)), s, b, rounding, zero, low, high)
