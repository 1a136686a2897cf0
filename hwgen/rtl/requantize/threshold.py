"""Threshold mode: the code is the number of thresholds that the accumulator has reached."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

N_THRESHOLDS = 15
N_STEPS = 4


class ThresholdSearch(wiring.Component):
    """``code = low + #{k : v >= t_k}`` over 15 sorted thresholds, ``v = acc`` or ``-acc - 1`` with ``negate``.

    Fewer thresholds are padded at the end with the largest value, 2**acc_bits - 1; that value
    must not occur as ``v``.

    ``address`` selects the threshold; ``threshold`` is its value two cycles later (a
    synchronous-read memory and a register).  Each of the 4 binary steps takes an address cycle, one of
    waiting and a compare cycle.  ``start`` in cycle t gives ``done`` (one cycle) and ``code`` (stable until
    the next search ends) in cycle t + ``latency`` = t + 12; ``acc``, ``negate`` and ``low`` must hold from
    t to t + 11, and the next ``start`` may come in cycle t + 12.
    """

    latency = 3 * N_STEPS

    def __init__(self, *, acc_bits: int):
        if not 1 <= acc_bits <= 64:
            raise ValueError(f"acc_bits must be in 1..64, not {acc_bits!r}")
        self.acc_bits = acc_bits
        super().__init__({
            "start": In(1),
            "acc": In(signed(acc_bits + 1)),
            "negate": In(1),
            "low": In(unsigned(8)),
            "address": Out(unsigned(N_STEPS)),
            "threshold": In(signed(acc_bits + 1)),
            "done": Out(1),
            "code": Out(unsigned(8)),
        })

    def elaborate(self, platform):
        m = Module()
        # One bit of the count is tried per step, highest first; ``trial`` is that bit.
        trial = Signal(N_STEPS, init=1 << (N_STEPS - 1))
        count = Signal(N_STEPS)
        looking, waiting, comparing = Signal(), Signal(), Signal()
        done = Signal()
        code = Signal(8, reset_less=True)

        v = Signal(signed(self.acc_bits + 1))
        new_count = Signal(N_STEPS)
        m.d.comb += [
            v.eq(self.acc ^ self.negate.replicate(self.acc_bits + 1).as_signed()),
            # (count | trial) - 1: the bits below the trial are ones, those above are the count.
            self.address.eq(count | (trial - 1)),
            new_count.eq(Mux(v >= self.threshold, count | trial, count)),
            self.done.eq(done),
            self.code.eq(code),
        ]
        m.d.sync += [waiting.eq(self.start | looking), comparing.eq(waiting), looking.eq(0), done.eq(0)]
        with m.If(comparing):
            m.d.sync += [trial.eq(trial >> 1), count.eq(new_count), looking.eq(~trial[0])]
            with m.If(trial[0]):
                m.d.sync += [
                    trial.eq(trial.init),
                    count.eq(0),
                    done.eq(1),
                    code.eq(self.low + new_count),
                ]
        return m
