"""Weight rows: bell-shaped, with a variance per row, on the grid of each row's scheme."""

import numpy as np

from hwgen.schemes import get
from hwgen.schemes.mix import Mix, by_chance

CLIP = {"fixed4": 2.6, "fixed8": 4.0, "sp2": 2.9, "pot4": 3.0}
"""Largest level in standard deviations of the row: near the least squared error for a bell curve."""

SPREAD = 0.35
"""Of the logarithm of the rows' standard deviations."""


def draw_rows(shape: tuple[int, ...], mix: Mix, rng: np.random.Generator
              ) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Integers int8 of ``shape`` (rows first), float32 scales and schemes per row."""
    rows, taps = shape[0], int(np.prod(shape[1:]))
    deviation = np.exp(SPREAD * rng.standard_normal(rows)) * np.sqrt(2.0 / taps)
    schemes = mix.assign(deviation, by_chance(rows, rng))
    scales = (deviation * [CLIP[name] / get(name).max_abs for name in schemes]).astype(np.float32)
    integers = np.empty((rows, taps), np.int8)
    for row, name in enumerate(schemes):
        real = rng.standard_normal(taps) * (deviation[row] / float(scales[row]))
        integers[row] = get(name).nearest(real)
    return integers.reshape(shape), scales, schemes
