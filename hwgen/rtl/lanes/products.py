"""Dots described as products and sums, without vendor cells: for simulation and as the reference."""

from amaranth.hdl import Module, Signal, Value


def blocks(*, ki: int, px: int, rows: int, wide: bool) -> int:
    """None that could be promised: what synthesis makes of a product is its own choice."""
    return 0


def latency(*, ki: int, wide: bool) -> int:
    """One register behind everything: simulators are fastest with few of them."""
    return 1


def dots(m: Module, operands: list[list[Value]], weights: list[list[Value]]) -> list[Value]:
    """Dots of all rows and pixels, index ``row * px + pixel``, ``latency`` cycles after the operands.

    ``operands[pixel][k]``: 4 bits.  ``weights[row][k]``: 4 or 8 bits.
    """
    result: list[Value] = []
    for row, codes in enumerate(weights):
        for p, acts in enumerate(operands):
            terms = [act * code for act, code in zip(acts, codes, strict=True)]
            # by halves: a sum from left to right would be as deep as it is long, and widen at every step
            while len(terms) > 1:
                terms = [below + above for below, above in zip(terms[::2], terms[1::2], strict=True)]
            dot = Signal(len(terms[0]), reset_less=True, name=f"dot_{row}_{p}")
            m.d.sync += dot.eq(terms[0])
            result.append(dot)
    return result
