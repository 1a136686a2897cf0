"""Two products per multiplier block without a cascade: the packing that ECP5 and iCE40 share."""

from collections.abc import Callable

from amaranth.hdl import Module, Value

from .adder_tree import ACT_MAX, add_tree, spaced, tree_levels

Multiply = Callable[[Module, str, Value, Value], Value]
"""``multiply(m, name, a, b)``: the product of two unsigned words of up to 16 bits, some cycles later."""

INPUT_BITS = 9
"""Distance of the two inputs of a narrow block: 15 * 15 = 225 and 2 * 225 = 450 both stay below 2**9."""

PIXEL_BITS = 12
"""Distance of the two activations of a wide block: 255 * 15 = 3825 < 2**12."""


def blocks(*, ki: int, px: int, rows: int, wide: bool) -> int:
    """Multipliers of a group: one per two inputs; ``wide``, one per two pixels, an odd one left alone."""
    return ki * rows * -(-px // 2) if wide else ki // 2 * rows * px


def levels(*, ki: int, wide: bool) -> int:
    """Registers behind the multipliers: the tree."""
    return tree_levels(ki if wide else ki // 2)


def dots(m: Module, operands: list[list[Value]], weights: list[list[Value]], multiply: Multiply) -> list[Value]:
    """Dots of all rows and pixels, index ``row * px + pixel``.

    ``operands[pixel][k]``: 4 bits.  ``weights[row][k]``: 4 bits, or 8 in a wide group.

    Narrow: two inputs of one dot per block, of whose product
    ``(w0 + 512*w1) * (a1 + 512*a0) = w0*a1 + 512*(w0*a0 + w1*a1) + 2**18*w1*a0``
    the middle field is already a sum of two terms: half the tree is inside the blocks, and no row or
    pixel needs a partner.  Wide: ``{a1, 8 zeros, a0} * w``, two pixels per block.

    Four clean products fit neither part: fields of 8 bits need an operand of 4 + 16 bits.
    """
    wide = len(weights[0][0]) == 8
    result: list[Value] = []
    for row, codes in enumerate(weights):
        if wide:
            for p in range(0, len(operands), 2):
                result += _pixel_pair(m, operands[p:p + 2], codes, multiply, f"{row}_{p}")
        else:
            result += [_input_pairs(m, acts, codes, multiply, f"{row}_{p}") for p, acts in enumerate(operands)]
    return result


def _input_pairs(m: Module, acts: list[Value], codes: list[Value], multiply: Multiply, name: str) -> Value:
    terms: list[Value] = []
    for k in range(0, len(acts), 2):
        # With one pair the other way round the inputs' own products meet in the middle field.
        crossed = acts[k + 1], acts[k]
        product = multiply(m, f"{name}_{k}", spaced(codes[k:k + 2], INPUT_BITS), spaced(crossed, INPUT_BITS))
        terms.append(product[INPUT_BITS:2 * INPUT_BITS])
    return add_tree(m, terms, 2 * 15 * ACT_MAX, f"dot_{name}")[0]


def _pixel_pair(m: Module, operands: list[list[Value]], codes: list[Value], multiply: Multiply,
                name: str) -> list[Value]:
    terms: list[list[Value]] = [[] for _ in operands]
    for k, code in enumerate(codes):
        product = multiply(m, f"{name}_{k}", spaced([acts[k] for acts in operands], PIXEL_BITS), code)
        for q, fields in enumerate(terms):
            fields.append(product[PIXEL_BITS * q:PIXEL_BITS * (q + 1)])
    return [add_tree(m, fields, 255 * ACT_MAX, f"dot_{name}_{q}")[0] for q, fields in enumerate(terms)]
