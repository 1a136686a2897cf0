"""Seeded images with the statistics of photographs: large smooth areas, some texture."""

import numpy as np


def smooth_images(count: int, size: int, seed: int, channels: int = 3) -> np.ndarray:
    """uint8 (count, channels, size, size): random grids of several coarsenesses, enlarged and added up.

    A grid of n x n random numbers enlarged to the image gives structures of size/n pixels; amplitudes fall
    as 1/n, like the spectrum of natural images.
    """
    rng = np.random.default_rng([seed, count, size])
    total = np.zeros((count, channels, size, size))
    for cells in (2, 4, 8, 16, 32, size):
        grid = rng.standard_normal((count, channels, cells + 1, cells + 1))
        # Colours vary less than brightness.
        grid = 0.5 * grid + grid.mean(axis=1, keepdims=True)
        position = np.arange(size) * cells / size
        low, part = position.astype(int), position % 1
        rows = grid[:, :, low] * (1 - part)[:, None] + grid[:, :, low + 1] * part[:, None]
        total += (rows[..., low] * (1 - part) + rows[..., low + 1] * part) * 2 / cells
    return np.clip(np.rint(118 + 42 * total), 0, 255).astype(np.uint8)
