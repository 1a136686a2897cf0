"""A dot product as chains of adders, one input per cycle, in a family's own cells."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from amaranth.hdl import Cat, Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...lanes import LaneKind, TERM_MAX, chain_length, dot_bits
from .adder_tree import check_ki, nibbles
from .recode import FLAGS

@dataclass(frozen=True)
class Word:
    """A term of the sum: ``value << shift``, ``value`` at most ``largest``."""

    value: Value
    largest: int
    shift: int


class ChainDot(wiring.Component):
    """``o = sum over k of w_k * a_k + correction`` of one row and one pixel (correction: hwgen.lanes).

    Inputs are skewed: number k comes ``k mod chain_length(ki)`` cycles after number 0.  Latency from
    number 0: ``shift_add_latency``.

    A product is X + 4*Y, 5 bits each (``kind.parts``).  A chain adds the X (or the Y) of up to eight inputs, one per
    cycle, to a register of 5 bits: a bit of the product depends on at most five signals, so with the register's
    bit it is one LUT6 in front of the carry.  What leaves the 5 bits is counted apart, seven carries in four
    full adders, which is less than wider steps would take.  Chains of X and of Y then meet in adders of three words.
    """

    largest = TERM_MAX

    def __init__(self, *, ki: int, kind: LaneKind, cells: ModuleType):
        check_ki(ki)
        self.ki = ki
        self.parts = kind.parts
        self.cells = cells
        self.dot_bits = dot_bits(kind, ki)
        self.code_bits = FLAGS * len(kind.parts) if cells.RECODED else 4
        super().__init__({
            "acts": In(unsigned(4 * ki)), "codes": In(unsigned(self.code_bits * ki)),
            "o": Out(unsigned(self.dot_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        length = chain_length(self.ki)
        acts = nibbles(self.acts, self.ki)
        codes = [self.codes[k * self.code_bits:(k + 1) * self.code_bits] for k in range(self.ki)]
        words: list[list[Word]] = [[], []]
        for begin in range(0, self.ki, length):
            for plane, word in zip(words, self._chains(m, acts[begin:begin + length], codes[begin:begin + length],
                                                       begin // length), strict=True):
                plane.append(word)
        total = self._sum(m, [*words[0], *words[1]])
        m.d.comb += self.o.eq(total.value << total.shift)
        return m

    def _chains(self, m: Module, acts: list[Value], codes: list[Value], chain: int) -> list[Word]:
        """The chains of all parts, for the same inputs: a step of both fits three carry blocks."""
        def register(value: Value, name: str, reset_less: bool = True) -> Signal:
            result = Signal(len(value), name=f"{name}_{chain}", reset_less=reset_less)
            m.d.sync += result.eq(value)
            return result

        first = self.cells.products(m, self.parts, codes[0], acts[0])
        running: list[Value] = [register(value, f"run_{part}_0") for part, value in enumerate(first)]
        counters = [_Counter(m, self.cells, register, f"carry_{part}", len(acts) - 1)
                    for part in range(len(self.parts))]
        for step in range(1, len(acts)):
            sums = self.cells.steps(m, self.parts, codes[step], acts[step], running)
            running = [register(total, f"run_{part}_{step}") for part, (total, _) in enumerate(sums)]
            for counter, (_, carry) in zip(counters, sums, strict=True):
                counter.take(carry)
        return [Word(Cat(value, counter.count()), self.largest * len(acts), part.shift)
                for value, counter, part in zip(running, counters, self.parts, strict=True)]

    def _sum(self, m: Module, words: list[Word]) -> Word:
        level = 0
        while len(words) > 1:
            sums: list[Word] = []
            for index in range(0, len(words), 3):
                terms = words[index:index + 3]
                shift = min(word.shift for word in terms)
                largest = sum(word.largest << word.shift - shift for word in terms)
                total = Signal(largest.bit_length(), reset_less=True, name=f"sum_{level}_{index // 3}")
                aligned = [(word.value, word.shift - shift) for word in terms]
                m.d.sync += total.eq(self.cells.add(m, aligned, len(total)) if len(terms) > 1 else terms[0].value)
                sums.append(Word(total, largest, shift))
            words, level = sums, level + 1
        return words[0]


class _Counter:
    """Counts the carries of a chain (1, 3 or 7), given step by step, one in each cycle.

    Every sum is formed as soon as three carries are there, the last of them straight from its adder.
    """

    def __init__(self, m: Module, cells: ModuleType, register: Callable[..., Signal], name: str, n: int):
        self.m, self.cells, self.register, self.name, self.n = m, cells, register, name, n
        self.step = 0
        self.ones: list[Value] = []
        self.twos: list[Value] = []
        self.result: list[Value] = []

    def take(self, carry: Value) -> None:
        """The next carry, at the end of its step."""
        m, last = self.m, self.step == self.n - 1
        self.step += 1
        self.ones.append(carry)
        if len(self.ones) == 3:
            if last and self.twos:
                self.result = list(self.cells.count_last(m, *self.ones, *self.twos))
                self.ones, self.twos = [], []
            else:
                total, two = self.cells.full_add(m, *self.ones)
                self.ones = [total]
                self.twos.append(two)
        if last and not self.result:
            self.result = [*self.ones, *self.twos]
        if last:
            self.result = [self.register(bit, f"{self.name}_count_{i}") for i, bit in enumerate(self.result)]
        else:
            self.ones = [self.register(bit, f"{self.name}_one_{self.step}_{i}") for i, bit in enumerate(self.ones)]
            # These wait for cycles.
            self.twos = [self.register(bit, f"{self.name}_two_{self.step}_{i}", self.cells.RESET_LESS)
                         for i, bit in enumerate(self.twos)]

    def count(self) -> Value:
        """The number of carries, in the cycle in which the chain's register holds the rest."""
        return Cat(*self.result)
