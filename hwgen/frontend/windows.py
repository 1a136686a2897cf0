"""Kernel, strides and padding of ONNX nodes, with everything that is refused about them."""

from hwgen.frontend.values import Refusal, Shape

Sides = tuple[int, int, int, int]


def window(options: dict, shape: Shape, kernel: tuple[int, int]) -> tuple[tuple[int, int], Sides, tuple[int, int]]:
    """(strides, pads as (top, left, bottom, right), (height, width) of the output).

    Source of the formulas: the ONNX operator descriptions of Conv, MaxPool and AveragePool.
    """
    strides = _two(options.get("strides") or [1, 1], "strides")
    if tuple(options.get("dilations") or (1, 1)) != (1, 1):
        raise Refusal(f"dilation {tuple(options['dilations'])}", "train the layer with dilation 1")
    sizes = shape[1:]
    pads = _pads(options, sizes, kernel, strides)
    padded = [sizes[axis] + pads[axis] + pads[axis + 2] for axis in (0, 1)]
    if min(pads) < 0:
        raise Refusal(f"negative padding {pads}", "crop the input instead")
    if any(size < k for size, k in zip(padded, kernel, strict=True)):
        raise Refusal(f"the kernel {kernel[0]}x{kernel[1]} is larger than its padded input {padded[0]}x{padded[1]}",
                      "use a smaller kernel or more padding")
    spare = [(size - k) % step for size, k, step in zip(padded, kernel, strides, strict=True)]
    if options.get("ceil_mode") and any(spare):
        raise Refusal("ceil_mode changes the output's size", "use ceil_mode=0 with explicit padding")
    height, width = ((size - k) // step + 1 for size, k, step in zip(padded, kernel, strides, strict=True))
    return strides, pads, (height, width)


def kernel_of(options: dict) -> tuple[int, int]:
    """The kernel of a pool."""
    return _two(options.get("kernel_shape") or [], "kernel_shape")


def _two(values, what: str) -> tuple[int, int]:
    if len(values) != 2 or min(values) < 1:
        raise Refusal(f"{what} must be two positive numbers, not {tuple(values)}", "use a 2-D layer")
    return int(values[0]), int(values[1])


def _pads(options: dict, sizes, kernel, strides) -> Sides:
    auto = options.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        pads = tuple(int(pad) for pad in options.get("pads") or (0, 0, 0, 0))
        if len(pads) != 4:
            raise Refusal(f"pads must be four numbers, not {pads}", "use a 2-D layer")
        return pads
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
