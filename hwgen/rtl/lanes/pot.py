"""Groups of rows whose weights are powers of two (how the products are made: turn.py)."""

from amaranth.hdl import Cat, Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...lanes import POT, Part, chain_length, dot_bits, pot_latency
from ..bits import delay
from ..once import place
from .adder_tree import add_tree, nibbles, tree_levels
from .chain import ChainDot, Word
from .families import POT_CELLS, cells_of
from .group import Delay, Group, Skew
from .turn import BITS, covers, places, turned

class PotGroup(Group):
    """``dots = sum over k of w_k * a_k + 15 * (sum of the magnitudes of the negative weights)``, w_k in 0, +-1 .. +-64.

    ``family``: "" for any part, "xilinx7" and "ecp5" for these families' LUTs and carry cells; the same
    integers at the same time from all.
    """

    def __init__(self, *, ki: int, px: int, rows: int, family: str = ""):
        cells = cells_of(family)
        self.family, self.reset_less = family, cells is None or cells.RESET_LESS
        super().__init__(ki=ki, px=px, rows=rows, dot_bits=dot_bits(POT, ki), latency=pot_latency(ki))

    def elaborate(self, platform):
        m = Module()

        def component(what: str, at: str, make, **inputs: Value) -> dict[str, Value]:
            submodule, ports = place(platform, f"pot_{self.ki}_{self.family}_{what}", make)
            m.submodules[f"{what}_{at}"] = submodule
            m.d.comb += [ports[port].eq(value) for port, value in inputs.items()]
            return ports

        acts = [component("acts", f"{p}", self._acts, i=self.operands[p])["o"] for p in range(self.px)]
        for row in range(self.rows):
            codes = component("codes", f"{row}", self._codes, i=self.codes[row])
            for p in range(self.px):
                dot = component("dot", f"{row}_{p}", self._dot, acts=acts[p], turns=codes["turns"], late=codes["late"],
                                masks=codes["masks"])
                m.d.comb += self.dots[row * self.px + p].eq(dot["o"])
        return m

    @property
    def _spare(self) -> int:
        """Cycles by which the tree is faster than the chains."""
        return self.latency - PotTree.latency(self.ki)

    def _acts(self) -> wiring.Component:
        if not self.family:
            return Delay(width=4 * self.ki, cycles=self._spare)
        return Skew(ki=self.ki, period=chain_length(self.ki), reset_less=self.reset_less)

    def _codes(self) -> wiring.Component:
        length = chain_length(self.ki)
        waits = [k % length if self.family else self._spare for k in range(self.ki)]
        return PotCodes(ki=self.ki, waits=waits, reset_less=self.reset_less)

    def _dot(self) -> wiring.Component:
        return PotChain(ki=self.ki, family=self.family) if self.family else PotTree(ki=self.ki)


class PotCodes(wiring.Component):
    """What the dots of a row need of its codes, once for all pixels.

    Of code k, ``waits[k]`` cycles later: ``turns`` (2 bits), its bit 0 and its sign.  One more cycle later: ``late``
    (3 bits), the code without its sign, and ``masks`` (10 bits), 1 where the operand lies in the product.
    """

    def __init__(self, *, ki: int, waits: list[int], reset_less: bool):
        self.ki, self.waits, self.reset_less = ki, waits, reset_less
        super().__init__({"i": In(unsigned(4 * ki)), "turns": Out(unsigned(2 * ki)), "late": Out(unsigned(3 * ki)),
                          "masks": Out(unsigned(BITS * ki))})

    def elaborate(self, platform):
        m = Module()
        turns: list[Value] = []
        lates: list[Value] = []
        masks: list[Value] = []
        for k, (code, wait) in enumerate(zip(nibbles(self.i, self.ki), self.waits, strict=True)):
            early = delay(m, code, wait, f"code_{k}", reset_less=self.reset_less)
            late = delay(m, early[:3], 1, f"late_{k}", reset_less=self.reset_less)
            turns.append(Cat(early[0], early[3]))
            lates.append(late)
            masks += [Cat(late == code for code in range(8) if covers(j, code)).any() for j in range(BITS)]
        m.d.comb += [self.turns.eq(Cat(*turns)), self.late.eq(Cat(*lates)), self.masks.eq(Cat(*masks))]
        return m


def dot_ports(ki: int) -> dict:
    """Ports of the dot of one row and one pixel."""
    return {"acts": In(unsigned(4 * ki)), "turns": In(unsigned(2 * ki)), "late": In(unsigned(3 * ki)),
            "masks": In(unsigned(BITS * ki)), "o": Out(unsigned(dot_bits(POT, ki)))}


class PotTree(wiring.Component):
    """``o = sum over k of w_k * a_k + correction`` of one row and one pixel, in plain logic.

    ``turns``, ``late``, ``masks``: from PotCodes, none waiting.  Latency: log2(ki) + 1.
    """

    def __init__(self, *, ki: int):
        self.ki = ki
        super().__init__(dot_ports(ki))

    @staticmethod
    def latency(ki: int) -> int:
        """Cycles from ``acts`` and ``turns`` to ``o``."""
        return tree_levels(ki) + 1

    def elaborate(self, platform):
        m = Module()
        terms: list[Value] = []
        for k, act in enumerate(nibbles(self.acts, self.ki)):
            half = Signal(4, reset_less=True, name=f"half_{k}")
            m.d.sync += half.eq(turned(act, self.turns[2 * k:2 * k + 2]))
            terms.append(places(half, self.late[3 * k + 1]) & self.masks[BITS * k:BITS * (k + 1)])
        m.d.comb += self.o.eq(add_tree(m, terms, POT.largest, "sum")[0])
        return m


class PotChain(ChainDot):
    """The same in a family's cells, by the chains of shift-add lanes: one part of 10 bits instead of two of 5.

    Inputs are skewed: number k comes ``k mod chain_length(ki)`` cycles after number 0.  Latency from number 0:
    ``pot_latency``.
    """

    largest = POT.largest

    def __init__(self, *, ki: int, family: str):
        self.ki = ki
        self.cells = POT_CELLS[family]
        self.parts = (Part((), (), 0),)
        wiring.Component.__init__(self, dot_ports(ki))

    def elaborate(self, platform):
        m = Module()
        length = chain_length(self.ki)
        halves: list[Value] = []
        codes: list[Value] = []
        for k, act in enumerate(nibbles(self.acts, self.ki)):
            half = Signal(4, reset_less=True, name=f"half_{k}")
            m.d.sync += half.eq(self.cells.turned(m, act, self.turns[2 * k:2 * k + 2]))
            halves.append(half)
            late = self.late[3 * k:3 * k + 3]
            codes.append(Cat(late[1], self.masks[BITS * k:BITS * (k + 1)]) if self.cells.MASKED else late)
        words: list[Word] = []
        for begin in range(0, self.ki, length):
            words += self._chains(m, halves[begin:begin + length], codes[begin:begin + length], begin // length)
        m.d.comb += self.o.eq(self._sum(m, words).value)
        return m
