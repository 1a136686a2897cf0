"""Dots without DSP blocks and without products: bit planes of the weights select sums of activations."""

from amaranth.hdl import Cat, Module, Signal, Value

from .adder_tree import ACT_MAX, add_tree, tree_levels


def blocks(*, ki: int, px: int, rows: int, wide: bool) -> int:
    """None."""
    return 0


def latency(*, ki: int, wide: bool) -> int:
    """Cycles from operands to dots: the selection, the tree over pairs, the join of 4 or 8 planes."""
    return 1 + tree_levels(ki // 2) + (3 if wide else 2)


def dots(m: Module, operands: list[list[Value]], weights: list[list[Value]]) -> list[Value]:
    """Dots of all rows and pixels, index ``row * px + pixel``, ``latency`` cycles after the operands.

    ``operands[pixel][k]``: 4 bits.  ``weights[row][k]``: 4 bits, or 8 in a wide group.

    For a pair of inputs, bit j of their two weights selects one of {0, a0, a1, a0 + a1}; planes are summed
    apart and joined.  a0 + a1 is made once per pixel for all rows.
    """
    both: list[list[Value]] = []
    for p, acts in enumerate(operands):
        sums: list[Value] = []
        for k in range(0, len(acts), 2):
            total = Signal(5, name=f"both_{p}_{k}")
            m.d.comb += total.eq(acts[k] + acts[k + 1])
            sums.append(total)
        both.append(sums)
    return [_dot(m, acts, sums, codes, f"{row}_{p}")
            for row, codes in enumerate(weights) for p, (acts, sums) in enumerate(zip(operands, both, strict=True))]


def _dot(m: Module, acts: list[Value], both: list[Value], codes: list[Value], name: str) -> Value:
    planes: list[Value] = []
    largest = 0
    for j in range(len(codes[0])):
        terms: list[Value] = []
        for k in range(0, len(acts), 2):
            term = Signal(5, reset_less=True, name=f"term_{name}_{k}_{j}")
            with m.Switch(Cat(codes[k][j], codes[k + 1][j])):
                with m.Case(0):
                    m.d.sync += term.eq(0)
                with m.Case(1):
                    m.d.sync += term.eq(acts[k])
                with m.Case(2):
                    m.d.sync += term.eq(acts[k + 1])
                with m.Case(3):
                    m.d.sync += term.eq(both[k // 2])
            terms.append(term)
        total, largest = add_tree(m, terms, 2 * ACT_MAX, f"plane_{name}_{j}")
        planes.append(total)
    return _join(m, planes, largest, name)


def _join(m: Module, planes: list[Value], largest: int, name: str) -> Value:
    """``sum of planes[j] << j``, by pairs, neighbours first: low bits pass the adders by."""
    distance = 1
    while len(planes) > 1:
        largest += largest << distance
        joined: list[Value] = []
        for j in range(0, len(planes), 2):
            word = Signal(largest.bit_length(), reset_less=True, name=f"join_{name}_{distance}_{j}")
            below, above = planes[j], planes[j + 1]
            m.d.sync += word.eq(Cat(below[:distance], below[distance:] + above))
            joined.append(word)
        planes = joined
        distance *= 2
    return planes[0]
