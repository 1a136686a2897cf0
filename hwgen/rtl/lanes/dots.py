"""Lane groups made of one dot product unit per row and pixel, described portably."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.rtl.lanes.adder_tree import add_tree, check_ki, nibbles, tree_levels
from hwgen.rtl.lanes.fixed import FixedDot
from hwgen.rtl.lanes.sp2 import Sp2Dot


class _Dot(wiring.Component):
    """A dot product unit with ports ``acts``, ``codes`` and ``dot``."""

    def __init__(self, *, ki: int, largest: int, latency: int):
        check_ki(ki)
        self.ki, self.largest, self.latency = ki, largest, latency
        self.dot_bits = (largest * ki).bit_length()
        super().__init__({"acts": In(unsigned(4 * ki)), "codes": In(unsigned(4 * ki)),
                          "dot": Out(unsigned(self.dot_bits))})


class Int4Dot(_Dot):
    """``sum of w*a + 124 * ki`` for codes in two's complement: the plane of weight -8 is complemented.

    For a pair of activations, bit j of their codes selects one of {0, a0, a1, a0 + a1}.
    """

    def __init__(self, *, ki: int):
        super().__init__(ki=ki, largest=229, latency=tree_levels(ki) + 2)

    def elaborate(self, platform):
        m = Module()
        acts, codes = nibbles(self.acts, self.ki), nibbles(self.codes, self.ki)
        planes: list[Value] = []
        for j in range(4):
            terms = []
            for k in range(0, self.ki, 2):
                term = Signal(5, reset_less=True, name=f"term_{j}_{k}")
                value = Mux(codes[k][j], acts[k], 0) + Mux(codes[k + 1][j], acts[k + 1], 0)
                m.d.sync += term.eq(31 - value if j == 3 else value)
                terms.append(term)
            planes.append(add_tree(m, terms, 31, f"plane_{j}")[0])
        low, high = (Signal(len(self.dot), reset_less=True, name=name) for name in ("low", "high"))
        dot = Signal(len(self.dot), reset_less=True)
        m.d.sync += [low.eq(planes[0] + (planes[1] << 1)), high.eq(planes[2] + (planes[3] << 1)),
                     dot.eq(low + (high << 2))]
        m.d.comb += self.dot.eq(dot)
        return m


class PotDot(_Dot):
    """``sum of w*a + 1023 * (number of negative weights)``: a shift, complemented where the weight is negative."""

    def __init__(self, *, ki: int):
        super().__init__(ki=ki, largest=1023, latency=tree_levels(ki) + 1)

    def elaborate(self, platform):
        m = Module()
        terms = []
        for k, (act, code) in enumerate(zip(nibbles(self.acts, self.ki), nibbles(self.codes, self.ki), strict=True)):
            term = Signal(10, reset_less=True, name=f"term_{k}")
            shifted = Mux(code[:3] == 0, 0, (act << code[:3])[1:])
            m.d.sync += term.eq(shifted ^ code[3].replicate(10))
            terms.append(term)
        m.d.comb += self.dot.eq(add_tree(m, terms, 1023, "sum")[0])
        return m


class _Wide(wiring.Component):
    """A FixedDot with the ports of the others; the high nibbles behind the low ones."""

    def __init__(self, *, ki: int, wide: bool, multiplier: str):
        self._unit = FixedDot(ki=ki, wide=wide, multiplier=multiplier)
        self.wide, self.latency, self.dot_bits = wide, self._unit.latency, self._unit.dot_bits
        super().__init__({"acts": In(4 * ki), "codes": In(4 * ki * (1 + wide)), "dot": Out(self.dot_bits)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = unit = self._unit
        m.d.comb += [unit.acts.eq(self.acts), unit.low.eq(self.codes), self.dot.eq(unit.dot)]
        if self.wide:
            m.d.comb += unit.high.eq(self.codes[len(self.codes) // 2:])
        return m


class DotGroup(wiring.Component):
    """``dots[row*px + p]`` of every row's codes and every pixel's operands, ``latency`` cycles later.

    Operands and codes, with ``wide`` also the high nibbles, may change every cycle.
    """

    def __init__(self, unit, *, ki: int, px: int, rows: int, wide: bool = False):
        self.ki, self.px, self.rows, self.wide = ki, px, rows, wide
        self._units = [[unit() for _ in range(px)] for _ in range(rows)]
        self.latency, self.dot_bits = self._units[0][0].latency, self._units[0][0].dot_bits
        super().__init__({
            "operands": In(data.ArrayLayout(4 * ki, px)), "codes": In(data.ArrayLayout(4 * ki, rows)),
            **({"high": In(data.ArrayLayout(4 * ki, rows))} if wide else {}),
            "dots": Out(data.ArrayLayout(self.dot_bits, rows * px)),
        })

    def elaborate(self, platform):
        m = Module()
        for row, units in enumerate(self._units):
            codes = Cat(self.codes[row], self.high[row]) if self.wide else self.codes[row]
            for p, unit in enumerate(units):
                m.submodules[f"dot_{row}_{p}"] = unit
                m.d.comb += [unit.acts.eq(self.operands[p]), unit.codes.eq(codes),
                             self.dots[row * self.px + p].eq(unit.dot)]
        return m


def sp2_group(*, ki: int, px: int, rows: int) -> DotGroup:
    return DotGroup(lambda: Sp2Dot(ki=ki), ki=ki, px=px, rows=rows)


def int4_group(*, ki: int, px: int, rows: int) -> DotGroup:
    return DotGroup(lambda: Int4Dot(ki=ki), ki=ki, px=px, rows=rows)


def pot_group(*, ki: int, px: int, rows: int) -> DotGroup:
    return DotGroup(lambda: PotDot(ki=ki), ki=ki, px=px, rows=rows)


def fixed_group(*, ki: int, px: int, rows: int, wide: bool, multiplier: str) -> DotGroup:
    return DotGroup(lambda: _Wide(ki=ki, wide=wide, multiplier=multiplier), ki=ki, px=px, rows=rows, wide=wide)
