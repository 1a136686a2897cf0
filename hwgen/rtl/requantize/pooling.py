"""Pooling state of a drain lane: a small memory that is read, changed and written in one cycle."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

POOL_OPS = ("max", "sum")
SUM_BITS = 16


class PoolState(wiring.Component):
    """Running maximum or sum of the operands that share an ``index``.

    ``o`` is the value after this operand: max(state, x) or state + x, where ``first`` makes
    the old state 0, and an operand that is not ``inside`` counts as ``pad``.  Without
    ``enable`` (or ``valid``) nothing is written, and without ``enable`` ``o`` is ``x``.

    Consecutive operands may have the same index.  Latency: 1 cycle.  Sums are modulo
    2**16: 257 operands of code 255 fit.
    """

    latency = 1

    def __init__(self, *, op: str, depth: int):
        if op not in POOL_OPS:
            raise ValueError(f"op must be one of {POOL_OPS}, not {op!r}")
        if depth < 1:
            raise ValueError(f"depth must be at least 1, not {depth!r}")
        self.op = op
        self.depth = depth
        self.o_bits = 8 if op == "max" else SUM_BITS
        super().__init__({
            "enable": In(1),
            "pad": In(unsigned(8)),
            "valid": In(1),
            "index": In(range(max(2, depth))),
            "first": In(1),
            "inside": In(1),
            "x": In(unsigned(8)),
            "o": Out(unsigned(self.o_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.state = state = memory.Memory(shape=unsigned(self.o_bits), depth=max(2, self.depth), init=[])
        write = state.write_port()
        read = state.read_port(domain="comb")

        operand = Signal(8)
        old = Signal(self.o_bits)
        new = Signal(self.o_bits)
        m.d.comb += [
            operand.eq(Mux(self.inside, self.x, self.pad)),
            read.addr.eq(self.index),
            old.eq(Mux(self.first, 0, read.data)),
            new.eq(old + operand if self.op == "sum" else Mux(old > operand, old, operand)),
            write.addr.eq(self.index),
            write.data.eq(new),
            write.en.eq(self.valid & self.enable),
        ]
        o = Signal(self.o_bits, reset_less=True)
        m.d.sync += o.eq(Mux(self.enable, new, self.x))
        m.d.comb += self.o.eq(o)
        return m
