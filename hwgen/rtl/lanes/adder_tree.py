"""A pipelined tree of two-operand adders over unsigned words of known largest value."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Signal, Value

ACT_MAX = 15
"""Largest 4-bit activation."""


def check_ki(ki: int) -> None:
    """Raise ValueError unless ``ki`` is a number of inputs that a lane can have."""
    if ki not in (2, 4, 8, 16, 32):
        raise ValueError(f"ki must be a power of two from 2 to 32, not {ki!r}")


def tree_levels(n_terms: int) -> int:
    """Levels of two-operand adders over ``n_terms`` words, each with its register."""
    return (n_terms - 1).bit_length()


def nibbles(word: Value, n: int) -> list[Value]:
    """The ``n`` 4-bit elements of ``word``, element 0 lowest."""
    return [word[4 * k:4 * k + 4] for k in range(n)]


def spaced(words: Sequence[Value], distance: int) -> Value:
    """``sum of words[i] << distance*i`` where no word is longer than ``distance``, the last one excepted."""
    return Cat(*(Cat(word, Const(0, distance - len(word))) for word in words[:-1]), words[-1])


def add_tree(m: Module, terms: Sequence[Value], largest: int, name: str) -> tuple[Value, int]:
    """Sum of ``terms``, none of which exceeds ``largest``; a register behind every level.

    Returns the sum and its largest value.  Latency: ``tree_levels(len(terms))`` cycles.
    The number of terms must be a power of two, so that every path has the same length.

    Words grow by one bit per level because their width follows the largest value.  Two
    operands per level: a LUT4 carry chain then takes one LUT per bit, where a third
    operand would need a full adder of two LUTs per bit in front of it.
    """
    level = 0
    words = list(terms)
    while len(words) > 1:
        largest *= 2
        sums: list[Value] = []
        for index in range(0, len(words), 2):
            total = Signal(largest.bit_length(), reset_less=True, name=f"{name}_{level}_{index // 2}")
            m.d.sync += total.eq(words[index] + words[index + 1])
            sums.append(total)
        words = sums
        level += 1
    return words[0], largest
