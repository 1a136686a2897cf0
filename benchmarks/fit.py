"""Least squares with costs that are not negative."""

import numpy as np


def fit(terms: list[dict], targets: list[float], *, expected: dict | None = None, pull: float = 0.02) -> dict:
    """Weights w >= 0 with ``sum(w[k] * terms[i][k]) ~ targets[i]``, relative errors counted.

    ``expected`` are the weights of terms that the measurements do not decide; ``pull`` says how
    strongly they hold, against measurements of weight 1.  Found by coordinate descent, which
    for a convex problem with bounds ends in the optimum.
    """
    keys = list(terms[0])
    matrix = np.array([[float(row[key]) for key in keys] for row in terms])
    values = np.array(targets, dtype=float)
    scale = 1 / np.maximum(np.abs(values), 1.0)
    matrix, values = matrix * scale[:, None], values * scale
    wanted = np.array([float((expected or {}).get(key, 0.0)) for key in keys])
    size = np.abs(matrix).max(axis=0)
    keep = pull * size + 1e-12
    # One more equation per weight: it stays near what is expected.
    matrix = np.vstack([matrix, np.diag(keep)])
    values = np.concatenate([values, keep * wanted])
    weights, norms = wanted.copy(), (matrix ** 2).sum(axis=0)
    rest = values - matrix @ weights
    for _ in range(20000):
        largest = 0.0
        for k in range(len(keys)):
            new = max(0.0, weights[k] + matrix[:, k] @ rest / norms[k])
            if new != weights[k]:
                rest -= matrix[:, k] * (new - weights[k])
                largest = max(largest, abs(new - weights[k]) * size[k])
                weights[k] = new
        if largest < 1e-9:
            break
    return {key: round(float(weight), 3) for key, weight in zip(keys, weights, strict=False) if weight > 5e-4}


def rising(values: list[float]) -> list[float]:
    """The nearest sequence that never falls (pool adjacent violators)."""
    pools: list[list[float]] = []
    for value in values:
        pools.append([value, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, count = pools.pop()
            before, number = pools.pop()
            pools.append([(mean * count + before * number) / (count + number), count + number])
    return [round(mean, 3) for mean, count in pools for _ in range(int(count))]
