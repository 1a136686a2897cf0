"""Moves of codes that the engine has no operation for, made of convolutions 1x1 whose weights are 0 and 1.

A row with a single 1 reads one channel's codes as its accumulator; a row of zeros has the accumulator 0 and takes
its value from the residual operand.  Both are exact, and so is every factor and offset per row behind them.
"""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from onnx import NodeProto

from hwgen.frontend.importer import Importer
from hwgen.frontend.model_file import QDQ_OPS, QUANT_OPS, node_name
from hwgen.frontend.quantizers import Grid, Quantizer
from hwgen.frontend.values import Codes, CodeSource, ConvSource, Layer, Pending, Refusal, Shape

SCHEME = "sp2"
"""The most special scheme whose grid holds 0 and 1."""


def picked(name: str, codes: Codes, rows: int, first: int = 0) -> ConvSource:
    """A convolution 1x1 whose row ``first + c`` has the codes of channel c as accumulator; other rows have 0."""
    channels = codes.shape[0]
    weight = np.zeros((rows, channels, 1, 1), np.int8)
    weight[first + np.arange(channels), np.arange(channels)] = 1
    return ConvSource(name, codes, weight, (SCHEME,) * rows, np.ones(rows), (1, 1), (0, 0, 0, 0))


def by_channel(x: Pending) -> Pending:
    """Codes with a factor or an offset per channel as the result of a convolution, whose requantizer is per row."""
    if not isinstance(x.source, CodeSource) or x.residual is not None:
        return x
    if all(value == part[0] for part in (x.slope, x.intercept) for value in part):
        return x
    return replace(x, source=picked(x.source.name, x.source.input, x.channels))


def concat(importer: Importer, node: NodeProto, options: dict):
    """Channels side by side: branch after branch is put at its place and takes the ones before as residual.

    The codes stay on their branches' grids until the last step, which is pending: one exact rounding, as in the file.
    """
    branches = _branches(importer, node, options)
    name, units = node_name(node), [x.quantizer for x in branches for _ in range(x.shape[0])]
    shape, flat = (len(units), *branches[0].shape[1:]), branches[0].flat
    words = f"concatenation of {len(branches)} branches, by {len(branches)} convolutions 1x1"
    plain = Quantizer(Fraction(1), 0, max(unit.code_bits for unit in units))
    before, first = None, 0
    for index, x in enumerate(branches[:-1]):
        part = _put(f"{name}.{index}", x, first, shape, before, [Fraction(1)] * first, Fraction(1))
        before = Codes(f"{node.output[0]}.part{index}", shape, plain, flat)
        importer.network.layers.append(Layer(replace(part, flat=flat), plain, before.tensor, part.source.name, True))
        first += x.shape[0]
    y = _put(name, branches[-1], first, shape, before, [unit.scale for unit in units[:first]], units[first].scale)
    y = replace(y, intercept=[-unit.scale * unit.code_zero for unit in units], flat=flat)
    readers = importer.readers.get(node.output[0], [])
    same = all(unit.same_grid(units[0]) and not unit.bipolar for unit in units)
    if not same or (readers and all(op in (*QUANT_OPS, *QDQ_OPS) for op in readers)):
        return words, y
    # Branches on one grid, and no quantizer behind them: the result is on this grid.
    quantizer = replace(max(units, key=lambda unit: unit.code_bits), narrow=False)
    importer.network.layers.append(Layer(y, quantizer, node.output[0], name))
    return words, Codes(node.output[0], shape, quantizer, flat)


def _branches(importer: Importer, node: NodeProto, options: dict) -> list[Codes]:
    branches = []
    for name in node.input:
        if name in importer.file.constants or isinstance(importer.values.get(name), Grid):
            raise Refusal("concatenation with a constant", "only activations can be concatenated")
        branches.append(importer.codes(node, name))
    first = branches[0]
    if any(x.shape[1:] != first.shape[1:] or x.flat != first.flat for x in branches):
        raise Refusal(f"its operands have the shapes {', '.join(str(x.shape) for x in branches)}",
                      "only maps of equal height and width can be concatenated")
    rank = 2 if first.flat else 4
    if int(options.get("axis", 1)) % rank != 1:
        raise Refusal(f"concatenation along axis {options['axis']}", "concatenate channels (axis 1)")
    if len(branches) < 2:
        raise Refusal("concatenation of a single tensor", "remove it")
    return branches


def _put(name: str, x: Codes, first: int, shape: Shape, before: Codes | None, above: list[Fraction],
         unit: Fraction) -> Pending:
    """``unit * codes`` of a branch from row ``first`` on, in the rows above ``above * before``, 0 in those below."""
    rows = shape[0]
    zero, none = [Fraction(0)] * rows, [None] * rows
    coefficient = [] if before is None else above + [Fraction(0)] * (rows - first)
    return Pending(picked(name, x, rows, first), shape, [unit] * rows, list(zero), list(zero), list(none), list(none),
                   before, coefficient)
