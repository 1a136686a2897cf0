"""Is a network well formed?  All problems at once, by operation or tensor name."""

from collections.abc import Iterable, Iterator

import numpy as np

from hwgen.errors import HwgenError
from hwgen.graph.ir import (
    MAX_RESCALE_SHIFT,
    MAX_SHIFT,
    ROUNDINGS,
    Add,
    AvgPool,
    Conv,
    Graph,
    MaxPool,
    Op,
    Requant,
    Rescale,
    Tensor,
)
from hwgen.graph.shapes import macs, output_shape, params, scheme_rows
from hwgen.schemes import NAMES, get, values_of

__all__ = ["check", "macs", "output_shape", "params", "problems", "scheme_rows"]

MAX_THRESHOLD_BITS = 4
_INT32 = (-(1 << 31), (1 << 31) - 1)
_INT64 = (-(1 << 63), (1 << 63) - 1)


def check(graph: Graph) -> None:
    """HwgenError that lists every problem of the network, one a line, if there is any."""
    found = list(problems(graph))
    if found:
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        raise HwgenError(f"network {graph.name!r} has {count}:\n" + "\n".join(f"  {line}" for line in found))


def problems(graph: Graph) -> Iterator[str]:
    """Every problem as "name: what is wrong"."""
    for key, tensor in graph.tensors.items():
        yield from _prefix(f"tensor {key}", _tensor(key, tensor))
    yield from _wiring(graph)
    for op in graph.ops:
        yield from _prefix(op.name, _operation(graph, op))


def _prefix(name: str, lines: Iterable[str]) -> Iterator[str]:
    return (f"{name}: {line}" for line in lines)


def _tensor(key: str, tensor: Tensor) -> Iterator[str]:
    if tensor.name != key:
        yield f"is filed under another name than its own, {tensor.name!r}"
    if len(tensor.shape) != 3:
        yield f"shape must be (channels, height, width), not {tuple(tensor.shape)}"
    elif min(tensor.shape) < 1:
        yield f"is empty: shape {tuple(tensor.shape)}"
    if not 1 <= tensor.bits <= 8:
        yield f"bits must be in 1..8, not {tensor.bits}"
    elif not 0 <= tensor.zero_point < 1 << tensor.bits:
        yield f"zero point {tensor.zero_point} is outside the code range 0..{(1 << tensor.bits) - 1}"
    if not (np.isfinite(tensor.scale) and tensor.scale > 0):
        yield f"scale must be finite and positive, not {tensor.scale}"


def inputs(op: Op) -> tuple[str, ...]:
    """Names of the tensors that an operation reads."""
    if isinstance(op, Add):
        return op.input, op.other
    if isinstance(op, Conv) and op.residual is not None:
        return op.input, op.residual
    return (op.input,)


def _wiring(graph: Graph) -> Iterator[str]:
    """Names: every tensor known, produced once and before its readers, and read by someone."""
    if not graph.ops:
        yield "network: has no operations"
    if graph.input not in graph.tensors:
        yield f"network: input {graph.input!r} is not a tensor"
    if not graph.outputs:
        yield "network: has no outputs"
    produced_by: dict[str, str] = {}
    seen: set[str] = set()
    read = set(graph.outputs)
    later = {op.output for op in graph.ops}
    for op in graph.ops:
        if op.name in seen:
            yield f"{op.name}: another operation has the same name"
        seen.add(op.name)
        for name in inputs(op):
            read.add(name)
            if name not in graph.tensors:
                yield f"{op.name}: reads {name!r}, which is not a tensor"
            elif name != graph.input and name not in produced_by:
                yield (f"{op.name}: reads {name!r} before it is produced; operations must be in execution order"
                       if name in later else f"{op.name}: reads {name!r}, which no operation produces")
        if op.output not in graph.tensors:
            yield f"{op.name}: writes {op.output!r}, which is not a tensor"
        if op.output == graph.input:
            yield f"{op.name}: writes the network's input {op.output!r}"
        elif op.output in produced_by:
            yield f"{op.name}: writes {op.output!r}, which {produced_by[op.output]} has produced already"
        produced_by.setdefault(op.output, op.name)
    for position, name in enumerate(graph.outputs):
        if name not in graph.tensors:
            yield f"network: output {name!r} is not a tensor"
        elif name not in produced_by:
            yield f"network: output {name!r} is produced by no operation"
        if name in graph.outputs[:position]:
            yield f"network: output {name!r} is listed twice"
    for name in graph.tensors:
        if name != graph.input and name not in produced_by and name not in read:
            yield f"tensor {name}: is neither produced nor read"
        elif name not in read:
            yield f"tensor {name}: is read by no operation and is no output"


def _operation(graph: Graph, op: Op) -> Iterator[str]:
    tensors = [graph.tensors.get(name) for name in (*inputs(op), op.output)]
    source, target = tensors[0], tensors[-1]
    window = _window(op)
    yield from window
    if source is None or target is None or len(source.shape) != 3:
        return  # said by the wiring
    if isinstance(op, Conv):
        yield from _conv(op, target)
    if isinstance(op, (Conv, Add)) and len(tensors) == 3 and tensors[1] is not None:
        want = tuple(target.shape if isinstance(op, Conv) else source.shape)
        if tuple(tensors[1].shape) != want:
            yield f"residual {tensors[1].name!r} has shape {tuple(tensors[1].shape)}, not {want}"
    if isinstance(op, MaxPool) and (target.bits < source.bits
                                    or (target.scale, target.zero_point) != (source.scale, source.zero_point)):
        yield "max pooling keeps codes: its output must have the scale and zero point of its input and as many bits"
    if isinstance(op, (AvgPool, Add)):
        yield from _rescale(op.rescale, target.bits)
    if isinstance(op, AvgPool) and op.rescale.b:
        yield "the rescale has a second multiplier but no second operand"
    if not window:
        yield from _shapes(op, source, target)


def _window(op: Op) -> list[str]:
    """Problems of kernel, strides and padding; without any, shapes can be computed."""
    found: list[str] = []
    if isinstance(op, Add):
        return found
    if isinstance(op, Conv) and op.weight.ndim != 4:
        found.append(f"weight must have 4 dimensions (rows, channels, height, width), not {op.weight.ndim}")
    kernel = op.weight.shape[2:] if isinstance(op, Conv) else op.kernel
    if isinstance(op, Conv) and op.weight.size == 0:
        found.append(f"weight is empty: shape {op.weight.shape}")
    elif len(kernel) != 2 or min(kernel) < 1:
        found.append(f"kernel must be two sizes of at least 1, not {tuple(kernel)}")
    if len(op.strides) != 2 or min(op.strides) < 1:
        found.append(f"strides must be two numbers of at least 1, not {tuple(op.strides)}")
    if len(op.pads) != 4 or min(op.pads) < 0:
        found.append(f"pads must be four numbers of at least 0, not {tuple(op.pads)}")
    elif not found and not isinstance(op, Conv) and any(p >= k for p, k in zip(op.pads, (*kernel, *kernel),
                                                                             strict=True)):
        found.append(f"pads {tuple(op.pads)} must be smaller than the kernel {tuple(kernel)}: a window would be "
                     "all padding")
    return found


def _shapes(op: Op, source: Tensor, target: Tensor) -> Iterator[str]:
    if isinstance(op, Conv) and op.weight.shape[1] * op.groups != source.shape[0]:
        groups = f" in each of {op.groups} groups" if op.groups > 1 else ""
        yield f"weight has {op.weight.shape[1]} channels{groups}, its input {source.name!r} has {source.shape[0]}"
    try:
        shape = output_shape(op, source.shape)
    except HwgenError as error:
        yield str(error).removeprefix(f"{op.name}: ")
        return
    if shape != tuple(target.shape):
        yield f"computes shape {shape}, its output {target.name!r} has {tuple(target.shape)}"


def _conv(op: Conv, target: Tensor) -> Iterator[str]:
    rows = len(op.weight) if op.weight.ndim else 0
    if len(op.schemes) != rows:
        yield f"has {len(op.schemes)} schemes for {rows} rows"
    elif not np.issubdtype(op.weight.dtype, np.integer):
        yield f"weight must hold integers, not {op.weight.dtype}"
    else:
        yield from _grids(op)
    if op.row_scales.shape != (rows,):
        yield f"row_scales must have shape ({rows},), not {op.row_scales.shape}"
    for row, alpha in enumerate(op.row_scales.flat):
        if not (np.isfinite(alpha) and alpha > 0):
            yield f"row {row}: scale must be finite and positive, not {alpha}"
    if op.groups < 1 or rows % op.groups:
        yield f"groups must divide its {rows} rows, not {op.groups}"
    yield from _requant(op.requant, rows, target.bits)
    if (op.residual is None) != (op.requant.residual_multiplier is None):
        yield "a fused residual needs both its tensor and residual_multiplier"


def _grids(op: Conv) -> Iterator[str]:
    """Weights that are not on their row's grid: the first of each row."""
    for row, (name, values) in enumerate(zip(op.schemes, values_of(op.weight), strict=True)):
        if name not in NAMES:
            yield f"row {row}: unknown scheme {name!r}; known are {', '.join(NAMES)}"
            continue
        legal = get(name).contains(values)
        if not legal.all():
            weights = op.weight[row]
            first = weights[~get(name).contains(weights)].flat[0]
            yield f"row {row}: weight {first} is not on the grid of {name}: {get(name).describe()}"


def _integers(name: str, values: np.ndarray, rows: int, bounds: tuple[int, int]) -> Iterator[str]:
    if values.shape != (rows,):
        yield f"{name} must have shape ({rows},), not {values.shape}"
    elif not np.issubdtype(values.dtype, np.integer):
        yield f"{name} must hold integers, not {values.dtype}"
    elif values.size and not (bounds[0] <= int(values.min()) and int(values.max()) <= bounds[1]):
        yield f"{name} must be in {bounds[0]}..{bounds[1]}, not {values.min()}..{values.max()}"


def _codes(rule: Requant | Rescale, bits: int) -> Iterator[str]:
    """Rounding, zero point and clamp: the same fields in both kinds of rule."""
    top = (1 << bits) - 1
    if rule.rounding not in ROUNDINGS:
        yield f"unknown rounding {rule.rounding!r}; known are {', '.join(ROUNDINGS)}"
    if not 0 <= rule.zero_point <= top:
        yield f"zero point {rule.zero_point} of the requantizer is outside the output's codes 0..{top}"
    if not 0 <= rule.low <= rule.high <= top:
        yield f"clamp {rule.low}..{rule.high} is not a range within the output's codes 0..{top}"


def _requant(rule: Requant, rows: int, bits: int) -> Iterator[str]:
    yield from _codes(rule, bits)
    if rule.thresholds is not None:
        yield from _thresholds(rule, rule.thresholds, rows, bits)
        return
    if rule.negate is not None:
        yield "negate is only for thresholds"
    if rule.wrap and (rule.zero_point, rule.low, rule.high) != (0, 0, 255):
        yield (f"codes that wrap have zero point 0 and the range 0..255, not {rule.zero_point} and "
               f"{rule.low}..{rule.high}")
    yield from _integers("multiplier", rule.multiplier, rows, _INT32)
    yield from _integers("constant", rule.constant, rows, _INT64)
    yield from _integers("shift", rule.shift, rows, (1, MAX_SHIFT))
    if rule.residual_multiplier is not None:
        yield from _integers("residual_multiplier", rule.residual_multiplier, rows, _INT32)


def _thresholds(rule: Requant, thresholds: np.ndarray, rows: int, bits: int) -> Iterator[str]:
    if bits > MAX_THRESHOLD_BITS:
        yield f"thresholds are for outputs of at most {MAX_THRESHOLD_BITS} bits, not {bits}"
    if thresholds.shape != (rows, rule.high - rule.low):
        yield f"thresholds must have shape ({rows}, {rule.high - rule.low}), not {thresholds.shape}"
    elif not np.issubdtype(thresholds.dtype, np.integer):
        yield f"thresholds must hold integers, not {thresholds.dtype}"
    else:
        unsorted = np.flatnonzero((thresholds[:, 1:] < thresholds[:, :-1]).any(axis=1))
        if unsorted.size:
            yield f"thresholds are not sorted in rows {', '.join(map(str, unsorted[:8]))}"
    if rule.wrap:
        yield "thresholds cannot wrap"
    if rule.residual_multiplier is not None:
        yield "thresholds cannot take a fused residual; use the two-step form"
    if rule.negate is not None and (rule.negate.shape != (rows,) or rule.negate.dtype != np.bool_):
        yield f"negate must hold one bool per row, not {rule.negate.dtype} of shape {rule.negate.shape}"


def _rescale(rule: Rescale, bits: int) -> Iterator[str]:
    yield from _codes(rule, bits)
    for name, value, (low, high) in (("a", rule.a, _INT32), ("b", rule.b, _INT32),
                                     ("constant", rule.constant, _INT64), ("shift", rule.shift,
                                                                                    (1, MAX_RESCALE_SHIFT))):
        if not low <= value <= high:
            yield f"rescale {name} must be in {low}..{high}, not {value}"
