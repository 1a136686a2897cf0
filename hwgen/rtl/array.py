"""The dense array: every row slot times every pixel, all lane groups on one activation stream."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..engine import GROUPS, KINDS, Engine
from .bits import delay
from .lanes import Accumulator, OperandSum, logic_family, make_group
from .lanes.copy import copy
from .once import place


COPY_SUMS = 16
"""Accumulators with one copy of what controls them: it has a load or two for every bit of them."""


class RowBlock(wiring.Component):
    """Some rows of one lane group with their accumulators and, in an engine of several blocks, their own operands.

    ``totals[row*px + p]`` holds a tile's sum from ``latency`` cycles after the operands of its
    last word on.  ``codes`` (and ``high``) come with their operands.  ``dot_latency``: cycles from operands to
    accumulators, the same in all blocks.
    """

    def __init__(self, *, engine: Engine, group, dot_latency: int, simulation: bool):
        self.engine, self.dot_latency = engine, dot_latency
        self.family, self.logic = "" if simulation else engine.family, logic_family(engine, simulation)
        self.latency = dot_latency + Accumulator.latency
        self.rows, self.wide = group.rows, "high" in group.signature.members
        self._group, self._wait = group, dot_latency - engine.broadcast_latency - group.latency
        word, rows = engine.word_bits, group.rows
        super().__init__({
            "operands": In(data.ArrayLayout(word, engine.px)), "codes": In(data.ArrayLayout(word, rows)),
            **({"high": In(data.ArrayLayout(word, rows))} if self.wide else {}),
            "valid": In(1), "high_plane": In(1), "last": In(1),
            "totals": Out(data.ArrayLayout(engine.acc_bits, rows * engine.px)),
        })

    def elaborate(self, platform):
        m = Module()
        e = self.engine
        m.submodules.group = group = self._group
        ports = ["operands", "codes"] + (["high"] if self.wide else [])
        for name in ports:
            value = getattr(self, name).as_value()
            if e.broadcast_latency:
                value = copy(m, value, name, self.family) if name == "operands" else delay(m, value, 1, name)
            m.d.comb += getattr(group, name).as_value().eq(value)
        late = {name: delay(m, getattr(self, name), self.dot_latency - 1, name, reset_less=False)
                for name in ("valid", "high_plane", "last")}
        late["last"] = late["last"] & late["valid"]
        name = f"accumulator_{group.dot_bits}_{e.acc_bits}_{self.logic}"
        for index in range(len(self.totals)):
            if index % COPY_SUMS == 0:
                control = [copy(m, value, f"{name}_{index}", self.family) for name, value in late.items()]
            acc, ports = place(platform, name, self._accumulator)
            m.submodules[f"acc_{index}"] = acc
            m.d.comb += [
                ports["dot"].eq(delay(m, group.dots[index], self._wait, f"dot_{index}")),
                ports["valid"].eq(control[0]), ports["high"].eq(control[1]), ports["last"].eq(control[2]),
                self.totals[index].eq(ports["total"]),
            ]
        return m

    def _accumulator(self) -> Accumulator:
        return Accumulator(dot_bits=self._group.dot_bits, acc_bits=self.engine.acc_bits, family=self.logic)


class Array(wiring.Component):
    """``rows`` x ``px`` accumulators in blocks of at most ``block_rows`` rows, group after group.

    ``totals[slot*px + p]`` and ``sums[p]`` are readable ``latency`` cycles after the
    operands of a tile's last word, and stay until those of the next tile.  ``weights``
    come one cycle before their operands: they pass a register here, which also blanks the
    high nibbles of tiles that have 4-bit weights only.

    ``simulation``: portable twins instead of the family's primitives, the same in every cycle.
    """

    def __init__(self, *, engine: Engine, simulation: bool = False):
        self.engine = e = engine
        self.logic = logic_family(e, simulation)
        groups = [(name, make_group(name, block, e, simulation))
                  for name in GROUPS for block in range(len(e.blocks(name)))]
        self._units = [OperandSum(ki=e.ki) for _ in range(e.px)]
        self.dot_latency = max(e.broadcast_latency + max(group.latency for _, group in groups), self._units[0].latency)
        self._blocks = [(name, RowBlock(engine=e, group=group, dot_latency=self.dot_latency, simulation=simulation))
                        for name, group in groups]
        self.latency = self.dot_latency + Accumulator.latency
        super().__init__({
            "operands": In(data.ArrayLayout(e.word_bits, e.px)), "valid": In(1), "high": In(1), "last": In(1),
            "weights": In(e.ring_slices * e.mem_bits), "wide": In(1),
            "totals": Out(data.ArrayLayout(e.acc_bits, e.rows * e.px)),
            "sums": Out(data.ArrayLayout(e.acc_bits, e.px)),
        })

    def elaborate(self, platform):
        m = Module()
        e = self.engine
        codes = {kind: self._codes(m, kind) for kind in KINDS}
        slot = 0
        for index, (name, block) in enumerate(self._blocks):
            m.submodules[f"{name}_{index}"] = block
            first = slot - e.first_slot(name)
            m.d.comb += [
                block.operands.eq(self.operands), block.valid.eq(self.valid), block.high_plane.eq(self.high),
                block.last.eq(self.last), *(block.codes[i].eq(codes[name][first + i]) for i in range(block.rows)),
                *(self.totals[slot * e.px + i].eq(block.totals[i]) for i in range(block.rows * e.px)),
            ]
            if block.wide:
                m.d.comb += [block.high[i].eq(codes["high"][first + i]) for i in range(block.rows)]
            slot += block.rows
        self._sums(m)
        return m

    def _codes(self, m, kind: str) -> list[Signal]:
        """A kind's code of each row, in registers."""
        e = self.engine
        if not e.slices(kind):
            return []
        begin = sum(e.slices(before) for before in KINDS[:KINDS.index(kind)]) * e.mem_bits
        codes = []
        for row in range(e.rows_of(kind)):
            register = Signal(e.word_bits, name=f"{kind}_{row}", reset_less=True)
            value = self.weights[begin + row * e.word_bits:begin + (row + 1) * e.word_bits]
            m.d.sync += register.eq(Mux(self.wide, value, 0) if kind == "high" else value)
            codes.append(register)
        return codes

    def _sums(self, m) -> None:
        """S_p, the sum of the operands of every pixel."""
        e = self.engine
        control = [delay(m, getattr(self, name), self.dot_latency, f"sum_{name}", reset_less=False)
                   for name in ("valid", "high")]
        last = delay(m, self.last & self.valid, self.dot_latency, "sum_last", reset_less=False)
        for p, unit in enumerate(self._units):
            acc = Accumulator(dot_bits=unit.dot_bits, acc_bits=e.acc_bits, family=self.logic)
            m.submodules[f"sum_{p}"], m.submodules[f"sum_{p}_acc"] = unit, acc
            m.d.comb += [
                unit.acts.eq(self.operands[p]),
                acc.dot.eq(delay(m, unit.dot, self.dot_latency - unit.latency, f"sum_{p}")),
                acc.valid.eq(control[0]), acc.high.eq(control[1]), acc.last.eq(last),
                self.sums[p].eq(acc.total),
            ]
