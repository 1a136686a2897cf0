"""The order of a ring word's slices while the load unit writes them."""

from amaranth.hdl import Array, Mux, Signal, Value, ValueLike

from ..engine import KINDS, Engine
from ..isa import SLICES
from .bits import fields


class Slices:
    """Where the slices of a ring word go: kind after kind, those without slices left out.

    The word that announces the numbers of slices gives, for each kind, which one follows and how long it is;
    all that a slice needs is known before it comes.
    """

    def __init__(self, m, engine: Engine, word: Value):
        announced = [fields(SLICES, word)[kind] for kind in KINDS]
        present = [i for i, kind in enumerate(KINDS) if engine.slices(kind)]
        self._announced = [announced[i] for i in present]
        self._begins = [sum(engine.slices(before) for before in KINDS[:i]) for i in present]
        bits = range(max(2, len(present)))
        self.index = Signal(range(max(2, engine.ring_slices)))
        self.last, self.wrap = Signal(), Signal()
        """The last slice of a kind; the last kind of the word."""
        self._left = Signal(9, name="slices_left")
        self._follows = [Signal(bits, name=f"follows_{i}") for i in range(len(present))]
        self._counts = [Signal(9, name=f"following_{i}") for i in range(len(present))]
        # Of the kind that comes next.
        self._next, self._next_count = Signal(bits, name="next_kind"), Signal(9, name="next_count")

    def load(self) -> list:
        """Assignments when the announcing word is taken."""
        follows = [_next_present(self._announced, i) for i in range(len(self._announced))]
        first = _next_present(self._announced, len(self._announced) - 1)
        counts = [Array(self._announced)[kind] for kind in follows]
        count = Array(self._announced)[first]
        return [
            *(register.eq(kind) for register, kind in zip(self._follows, follows, strict=True)),
            *(register.eq(n) for register, n in zip(self._counts, counts, strict=True)),
            *self._enter(first, count, Array(follows)[first], Array(counts)[first]),
        ]

    def _enter(self, kind, count, following, following_count) -> list:
        return [
            self.index.eq(Array(self._begins)[kind]), self._left.eq(count), self.last.eq(count == 1),
            self.wrap.eq(following <= kind), self._next.eq(following), self._next_count.eq(following_count),
        ]

    def advance(self, m) -> None:
        """On to the next slice."""
        m.d.sync += [self.index.eq(self.index + 1), self._left.eq(self._left - 1), self.last.eq(self._left == 2)]
        with m.If(self.last):
            m.d.sync += self._enter(self._next, self._next_count, Array(self._follows)[self._next],
                                    Array(self._counts)[self._next])


def _next_present(counts: list, index: int) -> Value:
    """The kind after ``index`` that has slices; from the first one on again behind the last."""
    order = [(index + 1 + i) % len(counts) for i in range(len(counts))]
    chosen: ValueLike = order[-1]
    for i in reversed(order[:-1]):
        chosen = Mux(counts[i] != 0, i, chosen)
    return Value.cast(chosen)
