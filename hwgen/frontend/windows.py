"""Kernel, strides and padding of ONNX nodes, with everything that is refused about them.

A node lists them in the order of the file's axes; a map is (channels, height, width).
"""

from hwgen.frontend.grids import Grid
from hwgen.frontend.values import Codes, Pending, Refusal, Sides

MAX_PAD = 1 << 16


def spatial(x: Codes | Pending) -> str:
    """The axes behind the channels: "HW", "WH", or one letter of a 1-D layer."""
    if x.flat:
        raise Refusal("its input is a vector", "put it before Flatten, or use Gemm or MatMul")
    if not x.axes.startswith("C") or len(x.axes) < 2:
        raise Refusal(f"its input has the axes N{x.axes}, not channels first", "put a Transpose before it")
    return x.axes[1:]


def in_map_order(grid: Grid, letters: str) -> Grid:
    """A weight whose last axes are ``letters`` as (rows, channels, height, width)."""
    rows, channels, *sides = grid.integers.shape
    if letters == "WH":
        return grid.transpose((0, 1, 3, 2))
    kernel = [dict(zip(letters, sides, strict=True)).get(axis, 1) for axis in "HW"]
    return grid if len(sides) == 2 else grid.reshape((rows, channels, *kernel))


def pair(values, letters: str, what: str, missing: int = 1) -> tuple[int, int]:
    """(vertical, horizontal) of a list in the order of the file's axes."""
    if len(values) != len(letters) or min(values) < 1:
        number = "two positive numbers" if len(letters) == 2 else "one positive number"
        raise Refusal(f"{what} must be {number}, not {tuple(values)}", "export the model again")
    by_axis = dict(zip(letters, values, strict=True))
    return int(by_axis.get("H", missing)), int(by_axis.get("W", missing))


def kernel_of(options: dict, x: Codes | Pending) -> tuple[int, int]:
    """The kernel of a pool."""
    return pair(options.get("kernel_shape") or [], spatial(x), "kernel_shape")


def window(options: dict, x: Codes | Pending, kernel) -> tuple[tuple[int, int], Sides, tuple[int, int]]:
    """(strides, pads as (top, left, bottom, right), (height, width) of the output).

    kernel: (vertical, horizontal).  The zeros of a Pad node before it count as padding of its own.  Source of the
    formulas: the ONNX operator descriptions of Conv, MaxPool and AveragePool.
    """
    letters = spatial(x)
    kernel = int(kernel[0]), int(kernel[1])
    strides = pair(options.get("strides") or [1] * len(letters), letters, "strides")
    if any(step != 1 for step in options.get("dilations") or ()):
        raise Refusal(f"dilation {tuple(options['dilations'])}", "use dilation 1")
    border = x.border.pads if x.border is not None else (0, 0, 0, 0)
    sizes = [x.shape[1] + border[0] + border[2], x.shape[2] + border[1] + border[3]]
    inner = _pads(options, letters, sizes, kernel, strides)
    pads = inner[0] + border[0], inner[1] + border[1], inner[2] + border[2], inner[3] + border[3]
    padded = [size + inner[axis] + inner[axis + 2] for axis, size in enumerate(sizes)]
    if min(pads) < 0:
        raise Refusal(f"negative padding {pads}", "crop the input instead")
    if max(pads) > MAX_PAD:
        raise Refusal(f"padding {pads}", f"at most {MAX_PAD} is possible")
    if any(size < k for size, k in zip(padded, kernel, strict=True)):
        raise Refusal(f"the kernel {kernel[0]}x{kernel[1]} is larger than its padded input {padded[0]}x{padded[1]}",
                      "use a smaller kernel or more padding")
    if options.get("ceil_mode"):
        more = _beyond(sizes, inner, kernel, strides)
        pads = pads[0], pads[1], pads[2] + more[0], pads[3] + more[1]
        padded = [size + end for size, end in zip(padded, more, strict=True)]
    height, width = ((size - k) // step + 1 for size, k, step in zip(padded, kernel, strides, strict=True))
    return strides, pads, (height, width)


def _beyond(sizes, pads: Sides, kernel, strides) -> list[int]:
    """What ceil_mode adds to the padding below and to the right: for a last window that begins in the map."""
    more = []
    for axis, (size, k, step) in enumerate(zip(sizes, kernel, strides, strict=True)):
        padded = size + pads[axis] + pads[axis + 2]
        count = -(-(padded - k) // step) + 1
        if (count - 1) * step >= size + pads[axis]:
            count -= 1
        more.append(max(0, (count - 1) * step + k - padded))
    return more


def _pads(options: dict, letters: str, sizes, kernel, strides) -> Sides:
    auto = options.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        listed = [int(pad) for pad in options.get("pads") or [0] * (2 * len(letters))]
        if len(listed) != 2 * len(letters):
            raise Refusal(f"pads must be {2 * len(letters)} numbers, not {tuple(listed)}", "export the model again")
        return sides(listed, letters)
    if auto == "VALID":
        return (0, 0, 0, 0)
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise Refusal(f"auto_pad {auto!r}", "use explicit padding")
    totals = [max((-(-size // step) - 1) * step + k - size, 0)
              for size, k, step in zip(sizes, kernel, strides, strict=True)]
    small = [total // 2 for total in totals]
    large = [total - less for total, less in zip(totals, small, strict=True)]
    first, last = (small, large) if auto == "SAME_UPPER" else (large, small)
    return first[0], first[1], last[0], last[1]


def sides(listed: list[int], letters: str) -> Sides:
    """(top, left, bottom, right) of a list of all beginnings, then all ends."""
    begin, end = (dict(zip(letters, part, strict=True)) for part in (listed[:len(letters)], listed[len(letters):]))
    return begin.get("H", 0), begin.get("W", 0), end.get("H", 0), end.get("W", 0)
