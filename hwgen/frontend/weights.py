"""Weights: the quantized constant of a layer, and the scheme of every row."""

from dataclasses import dataclass, replace
from fractions import Fraction
import json

import numpy as np
from onnx import NodeProto

from hwgen.frontend.grids import Grid, by_rows, times
from hwgen.frontend.lookup import UNKNOWN, Lookup, Skipped
from hwgen.frontend.model_file import node_name
from hwgen.frontend.values import Codes, Refusal
from hwgen.schemes import DISCOVERY_ORDER, NAMES, discover, get, signed_bits, values_of


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a weight, first axis of ``integers``."""

    integers: np.ndarray
    scales: np.ndarray
    """Real value of integer 1, float64 (rows,)."""
    schemes: tuple[str, ...]
    units: list[Fraction] | None = None
    """What the scales are multiplied by; None for 1."""


class Weights(Lookup):
    """Reads weights; knows what the metadata says of their schemes."""

    def __init__(self, file):
        super().__init__(file)
        self.schemes = self._scheme_metadata()
        self.used_schemes: set[str] = set()

    def weight(self, name: str, *ranks: int) -> Grid:
        """A quantized weight; a constant of small integers is one, too."""
        value = self.values.get(name)
        if value is UNKNOWN:
            raise Skipped
        if value is None and name in self.file.constants:
            value = integer_constant(self.constant(name, "its weight"), name)
        if not isinstance(value, Grid):
            what = "DequantizeLinear" if self.file.qdq else "a Quant node of at most 8 bits"
            raise Refusal("its weight is not quantized", f"put {what} between weight and layer")
        if value.zeros is not None:
            raise Refusal("its weight is integers", "put DequantizeLinear before it")
        if value.integers.ndim not in ranks:
            raise Refusal(f"its weight has {value.integers.ndim} dimensions, not {' or '.join(map(str, ranks))}",
                          "use a 1-D or 2-D layer")
        if value.bits > 8:
            raise Refusal(f"its weight has {value.bits} bits", "use at most 8")
        return value

    def rows(self, node: NodeProto, grid: Grid, x: Codes, groups: int = 1) -> Rows:
        """Integers, scale and scheme of every row of a weight (rows, channels of a group, ...) that reads ``x``."""
        grid, units = by_rows(grid), None
        scales = grid.scales.reshape(-1)
        if x.factors is not None:
            integers, units = times(grid.integers, x.factors, groups)
            grid = replace(grid, integers=integers)
        listed = self.listed(node, grid)
        count = len(grid.integers)
        if listed is not None and len(listed) != count:
            raise Refusal(f"hwgen.schemes has {len(listed)} schemes for its {count} rows", "list one per row")
        if listed is None:
            grid, scales = divided(grid, scales)
            return Rows(grid.integers, scales, self._discovered(node, values_of(grid.integers)), units)
        found = []
        for index, row in enumerate(grid.integers):
            try:
                found.append(_listed_scheme(index, row, listed[index]))
            except Refusal as refusal:  # the first row that fails speaks for the layer
                self.note(node, refusal)
                found = ["fixed8"] * count
                break
        return Rows(grid.integers, scales, tuple(found), units)

    def listed(self, node: NodeProto, grid: Grid) -> list[str] | None:
        """The schemes that the metadata gives the rows of a layer, by its name or that of its weight."""
        listed = None
        for key in (node_name(node), grid.source):
            if key in self.schemes:
                listed = self.schemes[key]
                self.used_schemes.add(key)
        return listed

    def _discovered(self, node: NodeProto, values: list[np.ndarray]) -> tuple[str, ...]:
        """The most special scheme of every row, of which ``values`` are the distinct integers."""
        found = []
        for index, row in enumerate(values):
            names = discover(row)
            if not names:  # the first row that fails speaks for the layer
                self.note(node, Refusal(f"row {index} of its weight holds integers from {row.min()} to {row.max()}, "
                                        "which no scheme holds", "quantize weights to int8 with zero point 0"))
                return ("fixed8",) * len(values)
            found.append(names[0])
        return tuple(found)

    def _scheme_metadata(self) -> dict[str, list[str]]:
        text = self.file.metadata.get("hwgen.schemes")
        if text is None:
            return {}
        try:
            listed = json.loads(text)
        except ValueError:
            listed = None
        if not isinstance(listed, dict) or not all(isinstance(value, list) for value in listed.values()):
            self.problem("hwgen.schemes", "metadata", "is not a JSON object of lists",
                          'write {"layer": ["sp2", "fixed4", ...]}')
            return {}
        return listed


def integer_constant(array: np.ndarray, name: str) -> Grid | None:
    """A constant without Quant node whose numbers are integers of up to 8 bits, as streamlined files have them."""
    if not np.array_equal(array, np.round(array)) or np.abs(array).max() > 255:
        return None
    integers = array.astype(np.int64)
    low, high = int(integers.min()), int(integers.max())
    if low >= -128 and high <= 127:
        integers = integers.astype(np.int8)
    bits = high.bit_length() if low >= 0 else signed_bits(low, high)
    return Grid(integers, np.ones((1,) * array.ndim), max(bits, 1), name)


def divided(grid: Grid, scales: np.ndarray) -> tuple[Grid, np.ndarray]:
    """Rows of more than 4 bits with their common factor in the scale, where that gives them a narrower scheme.

    {64, -96, 32} is 32 * {2, -3, 1}: the same real weights, on a lane for 4 bits.
    """
    integers, scales = grid.integers, scales.copy()
    flat = integers.reshape(len(integers), -1)
    for index, values in enumerate(values_of(integers)):
        factor = int(np.gcd.reduce(values))
        if factor == 1 or values[0] >= -8 and values[-1] <= 7:
            continue
        names = discover(values)
        best = (DISCOVERY_ORDER.index(names[0]) if names else len(DISCOVERY_ORDER), 1)
        for part in range(2, factor + 1) if best[0] > DISCOVERY_ORDER.index("fixed4") else ():
            names = discover(values // part) if factor % part == 0 else ()
            # the product must be the exact scale: it always is for scales of float32
            if names and Fraction(float(scales[index]) * part) == Fraction(float(scales[index])) * part:
                best = min(best, (DISCOVERY_ORDER.index(names[0]), part))
        if best[1] > 1:
            if integers is grid.integers:
                integers = integers.copy()
                flat = integers.reshape(len(integers), -1)
            flat[index] //= best[1]
            scales[index] *= best[1]
    return replace(grid, integers=integers), scales


def _listed_scheme(index: int, row: np.ndarray, listed: str) -> str:
    if listed not in NAMES:
        raise Refusal(f"hwgen.schemes names the unknown scheme {listed!r} for row {index}",
                      f"known are {', '.join(NAMES)}")
    legal = get(listed).contains(row)
    if not legal.all():
        raise Refusal(f"row {index} holds {int(row[~legal].flat[0])}, which is not on the grid of {listed}, the scheme "
                      "that hwgen.schemes gives it", "correct the metadata or remove it")
    return listed
