"""Registers that synthesis must not merge: copies of a signal with many loads."""

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, Value


def copy(m: Module, value: Value, name: str, family: str) -> Signal:
    """``value`` one cycle later, in registers of its own.

    Yosys joins registers with the same input, keep attribute or not, but never primitives.
    """
    register = Signal(value.shape(), name=name, reset_less=True)
    if not family:
        m.d.sync += register.eq(value)
        return register
    for bit in range(len(value)):
        d, q = Value.cast(value)[bit], register[bit]
        m.submodules[f"{name}_{bit}"] = {
            "xilinx7": lambda d=d, q=q: Instance(
                "FDRE", p_INIT=Const(0, 1), i_C=ClockSignal(), i_CE=Const(1), i_R=Const(0), i_D=d, o_Q=q),
            "ecp5": lambda d=d, q=q: Instance(
                "TRELLIS_FF", p_GSR="DISABLED", p_CEMUX="1", p_CLKMUX="CLK", p_LSRMUX="LSR", p_REGSET="RESET",
                i_CLK=ClockSignal(), i_LSR=Const(0), i_DI=d, o_Q=q),
            "ice40": lambda d=d, q=q: Instance("SB_DFF", i_C=ClockSignal(), i_D=d, o_Q=q),
        }[family]()
    return register
