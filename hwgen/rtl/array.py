"""The dense array: every row slot times every pixel, all lane groups on one activation stream."""

from amaranth.hdl import Mux, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..engine import Engine
from .bits import delay
from .lanes import Accumulator, FixedDot, OperandSum, Sp2Dot


class Array(wiring.Component):
    """``rows`` x ``px`` accumulators; slots below ``sp2_rows`` are shift-add lanes, the others multiply.

    ``totals[slot*px + p]`` and ``sums[p]`` are readable ``latency`` cycles after the
    operands of a tile's last word, and stay until those of the next tile.  ``weights``
    come one cycle before their operands: they pass a register here, which also blanks the
    high nibbles of tiles that have 4-bit weights only.
    """

    def __init__(self, *, engine: Engine):
        self.engine = engine
        e = engine
        self._sums = [OperandSum(ki=e.ki) for _ in range(e.px)]
        self._dots = [[self._dot(row) for _ in range(e.px)] for row in range(e.rows)]
        self.dot_latency = max(unit.latency for row in (self._sums, *self._dots) for unit in row)
        self.latency = self.dot_latency + Accumulator.latency
        slices = sum(e.slices(kind) for kind in ("sp2", "dsp", "high"))
        super().__init__({
            "operands": In(data.ArrayLayout(e.word_bits, e.px)), "valid": In(1), "high": In(1), "last": In(1),
            "weights": In(slices * e.mem_bits), "wide": In(1),
            "totals": Out(data.ArrayLayout(e.acc_bits, e.rows * e.px)),
            "sums": Out(data.ArrayLayout(e.acc_bits, e.px)),
        })

    def _dot(self, row: int):
        e = self.engine
        if row < e.sp2_rows:
            return Sp2Dot(ki=e.ki)
        return FixedDot(ki=e.ki, wide=e.wide, multiplier=e.dsp_weights)

    def elaborate(self, platform):
        m = Module()
        e = self.engine
        control = [delay(m, getattr(self, name), self.dot_latency, name, reset_less=False)
                   for name in ("valid", "high", "last")]

        def weights_of(kind: str, row: int):
            before = {"sp2": 0, "dsp": e.slices("sp2"), "high": e.slices("sp2") + e.slices("dsp")}[kind]
            begin = before * e.mem_bits + row * e.word_bits
            register = Signal(e.word_bits, name=f"{kind}_{row}", reset_less=True)
            value = self.weights[begin:begin + e.word_bits]
            m.d.sync += register.eq(Mux(self.wide, value, 0) if kind == "high" else value)
            return register

        def accumulate(name: str, unit, p: int, total):
            m.submodules[name] = unit
            m.d.comb += unit.acts.eq(self.operands[p])
            m.submodules[f"{name}_acc"] = acc = Accumulator(dot_bits=unit.dot_bits, acc_bits=e.acc_bits)
            m.d.comb += [
                acc.dot.eq(delay(m, unit.dot, self.dot_latency - unit.latency, f"{name}_dot")),
                acc.valid.eq(control[0]), acc.high.eq(control[1]), acc.last.eq(control[2]), total.eq(acc.total),
            ]

        for row in range(e.rows):
            is_sp2 = row < e.sp2_rows
            codes = weights_of("sp2", row) if is_sp2 else weights_of("dsp", row - e.sp2_rows)
            high = weights_of("high", row - e.sp2_rows) if e.wide and not is_sp2 else None
            for p, unit in enumerate(self._dots[row]):
                m.d.comb += (unit.codes if is_sp2 else unit.low).eq(codes)
                if high is not None:
                    m.d.comb += unit.high.eq(high)
                accumulate(f"{'sp2' if is_sp2 else 'dsp'}_{row}_{p}", unit, p, self.totals[row * e.px + p])
        for p, unit in enumerate(self._sums):
            accumulate(f"sum_{p}", unit, p, self.sums[p])
        return m
