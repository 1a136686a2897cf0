"""One requantizer lane: from a raw lane sum to an output code, one operand per cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.engine import Engine
from hwgen.requantizer import cut, dsp_bits, narrow_bits
from hwgen.rtl.bits import delay
from hwgen.rtl.requantize.arithmetic import product_of_adders, sum_bits_signed, sum_in_two
from hwgen.rtl.requantize.pooling import SUM_BITS, PoolState
from hwgen.rtl.requantize.rounding import RoundClamp

RESCALE_BYPASS, RESCALE_RESIDUAL, RESCALE_AVERAGE = range(3)
POOL_NONE, POOL_MAX, POOL_SUM = range(3)

MULTIPLY_LATENCY = 5
"""Operand, product, partial sums, lower and upper half of the sum."""


class RequantLane(wiring.Component):
    """Requantizer, second stage and pooling of one drain lane.

    First stage, always: ``acc = raw - offset * operand_sum`` (``offset`` 0, 1, 2: nothing,
    8, 128; 3 is illegal), ``v = acc*m + r*res + c``, ``q1 = clamp(zero + round(v / 2**S), low, high)`` with
    ``S = shift_base + shift + 1`` and :class:`RoundClamp`'s rounding; with ``override`` q1 is
    ``override_code``.  ``acc`` is exact while 0 <= offset * operand_sum <= 2**acc_bits; ``v`` is
    exact always.

    Second stage (``rescale``): ``rescale_on`` 0 passes q1 on; 1 is the two-step residual,
    ``x = q1, y = res``; 2 is the average, ``x`` = pool sum, y = 0:
    ``q = clamp(zero2 + round((x*a + y*b + c2) / 2**S2), low2, high2)``.

    Pooling (``pool``): ``pool_mode`` 1 keeps the running maximum of the second stage's codes, 2
    (only with ``rescale``) the running sum of q1, per ``pool_index``; ``pool_first`` starts a
    window, and a position that is not ``pool_inside`` counts as ``pool_pad``.

    ``raw`` and everything up to ``pool_last`` belong to one operand and come in one cycle with
    ``valid``; the rest are layer constants, stable from the first operand of a layer until its last
    has left.  ``o`` and ``o_valid`` follow after ``latency`` cycles, the same in every mode.
    ``pool_last`` is for the user; the lane ignores it.

    In a layer the residual is added in one stage only, so that 7-series lanes make both products with one block;
    without ``fused`` it is the second one, and there is no ``r``.

    ``swap``: in a layer ``m`` has at most 18 bits, or with ``swapped`` the accumulator has.  ``upper_blocks``: see
    :func:`hwgen.requantizer.cut`.  ``wraps``: in a layer with ``wrap`` q1 is not clamped (:class:`RoundClamp`).

    ``dsp_bits``: signed operand width of a multiplier block: 18, 25 (7-series) or 16 (iCE40).  A wider
    accumulator is cut in two (:func:`hwgen.requantizer.cut`), so that each block has its own register.
    """

    def __init__(self, *, acc_bits: int, sum_bits: int, m_bits: int, c_bits: int, residual: bool, rescale: bool,
                 pool: bool, thresholds: bool, pool_depth: int = 2, dsp_bits: int = 18,
                 c2_bits: int | None = None, fused: bool = True, swap: bool = False,
                 upper_blocks: bool = False, shift_base: int = 0, wraps: bool = False):
        for name, value, lowest, highest in (("acc_bits", acc_bits, 4, 40), ("sum_bits", sum_bits, 1, 40),
                                             ("m_bits", m_bits, 2, 32), ("c_bits", c_bits, 2, 80),
                                             ("pool_depth", pool_depth, 1, 4096)):
            if not lowest <= value <= highest:
                raise ValueError(f"{name} must be in {lowest}..{highest}, not {value!r}")
        if dsp_bits not in (16, 18, 25):
            raise ValueError(f"dsp_bits must be 16, 18 or 25, not {dsp_bits!r}")
        self.acc_bits, self.sum_bits, self.m_bits, self.c_bits = acc_bits, sum_bits, m_bits, c_bits
        self.residual, self.rescale, self.pool, self.thresholds = residual, rescale, pool, thresholds
        self.pool_depth, self.dsp_bits, self.shift_base, self.wraps = pool_depth, dsp_bits, shift_base, wraps
        self.fused, self.swap, self.upper_blocks = residual and fused, swap, upper_blocks
        self.shared = self.fused and rescale and dsp_bits == 25
        """One multiplier for r*res and b*res: delaying a product costs little where a LUT is a shift register."""

        # Every sum has exactly the width it needs: Yosys (0.70) loses the top bit of a register behind a
        # multiply-add in a DSP48E1 when that bit only repeats the sign.
        self.product_bits = m_bits + 8
        self.v_bits = sum_bits_signed(c_bits, acc_bits + 1 + m_bits, *([self.product_bits] if self.fused else []))
        self.c2_bits = m_bits + 20 if c2_bits is None else c2_bits
        self.v2_bits = sum_bits_signed(self.c2_bits, m_bits + (SUM_BITS if pool else 8),
                                       *([self.product_bits] if residual else []))

        # Yosys 0.70 crashes, or loses products, when it draws registers into an SB_MAC16.
        self._product_attrs = {"keep": 1} if dsp_bits == 16 else {}

        self.q1_latency = MULTIPLY_LATENCY + RoundClamp.latency
        """Cycles from the inputs to q1, which ``override_code`` replaces in the last of them."""
        self.sum_latency = self.q1_latency + (PoolState.latency if pool and rescale else 0)
        self.q_latency = self.sum_latency + (MULTIPLY_LATENCY + RoundClamp.latency if rescale else 0)
        self.latency = self.q_latency + (PoolState.latency if pool else 0)
        super().__init__(self._ports())

    def _ports(self):
        ports = {
            "valid": In(1),
            "raw": In(unsigned(self.acc_bits)),
            "operand_sum": In(unsigned(self.sum_bits)),
            "offset": In(2),
            "m": In(signed(self.m_bits)),
            "c": In(signed(self.c_bits)),
            "shift": In(unsigned(5)),
            "half_even": In(1),
            "zero": In(signed(9)),
            "low": In(unsigned(8)),
            "high": In(unsigned(8)),
            "o_valid": Out(1),
            "o": Out(unsigned(8)),
        }
        if self.residual:
            ports |= {"res": In(unsigned(8))}
        if self.fused:
            ports |= {"r": In(signed(self.m_bits))}
        if self.swap:
            ports |= {"swapped": In(1)}
        if self.wraps:
            ports |= {"wrap": In(1)}
        if self.thresholds:
            ports |= {"override": In(1), "override_code": In(unsigned(8))}
        if self.rescale:
            ports |= {
                "rescale_on": In(2),
                "a": In(signed(self.m_bits)),
                "b": In(signed(self.m_bits)),
                "c2": In(signed(self.c2_bits)),
                "shift2": In(unsigned(5)),
                "half_even2": In(1),
                "zero2": In(signed(9)),
                "low2": In(unsigned(8)),
                "high2": In(unsigned(8)),
            }
        if self.pool:
            ports |= {
                "pool_mode": In(2),
                "pool_pad": In(unsigned(8)),
                "pool_index": In(range(max(2, self.pool_depth))),
                "pool_first": In(1),
                "pool_inside": In(1),
                "pool_last": In(1),
            }
        return ports

    def elaborate(self, platform):
        m = Module()
        value = self._first_stage(m)
        if self.rescale:
            value = self._second_stage(m, value)
        if self.pool:
            value = self._pool(m, "max", POOL_MAX, value, self.q_latency)
        m.d.comb += [
            self.o.eq(value),
            self.o_valid.eq(delay(m, self.valid, self.latency, "valid", reset_less=False)),
        ]
        return m

    def _first_stage(self, m: Module) -> Value:
        # The two bits of the offset are used one-hot: one LUT4 per bit.
        correction = Signal(self.sum_bits + 7)
        m.d.comb += correction.eq((Mux(self.offset[0], self.operand_sum, 0) << 3)
                                  | (Mux(self.offset[1], self.operand_sum, 0) << 7))
        acc = Signal(signed(self.acc_bits + 1), reset_less=True)
        m.d.sync += acc.eq(self.raw - correction)

        addend = delay(m, self.c, 2, "c")
        if self.fused:
            res = delay(m, self.res, 1, "res")
            product = Signal(signed(self.product_bits), reset_less=True, attrs=self._product_attrs, name="residual")
            factor: Value = delay(m, self.r, 1, "r")
            if self.shared:
                two_steps = self.rescale_on == RESCALE_RESIDUAL
                factor = Mux(two_steps, self.b, factor).as_signed()
            m.d.sync += product.eq(factor * res)
            if self.shared:
                self._product, product = product, Mux(two_steps, 0, product).as_signed()
        else:
            product = None
        v = self._multiply(m, acc, product, addend)
        m.submodules.round = round_1 = RoundClamp(v_bits=self.v_bits, base=self.shift_base, wraps=self.wraps)
        m.d.comb += [
            round_1.v.eq(v),
            round_1.shift.eq(delay(m, self.shift, MULTIPLY_LATENCY, "shift")),
            round_1.half_even.eq(self.half_even),
            round_1.zero.eq(self.zero),
            round_1.low.eq(self.low),
            round_1.high.eq(self.high),
        ]
        if self.wraps:
            m.d.comb += round_1.wrap.eq(self.wrap)
        if not self.thresholds:
            return round_1.q
        q1 = Signal(8)
        m.d.comb += q1.eq(Mux(delay(m, self.override, self.q1_latency, "override"),
                              delay(m, self.override_code, self.q1_latency, "override_code"), round_1.q))
        return q1

    def _multiply(self, m: Module, acc: Value, product: Value | None, addend: Value) -> Value:
        """``v``, registered, from ``acc*m`` and ``c`` (both two cycles old) and the residual's product.

        A narrow accumulator takes one block: its operands wait one cycle, and ``r*res + c`` is
        added meanwhile, so that 7-series parts can do both additions inside their DSP blocks.
        """
        at, soft = cut(self.acc_bits, self.m_bits, self.dsp_bits, self.swap, self.upper_blocks)
        extra = [] if product is None else [self.product_bits]
        factor = delay(m, self.m, 1, "m")
        if not at:
            acc, factor = self._operands(m, acc, factor)
            whole = Signal(signed(len(acc) + len(factor)), reset_less=True, attrs=self._product_attrs)
            rest = Signal(signed(sum_bits_signed(self.c_bits, *extra)), reset_less=True)
            m.d.sync += [
                whole.eq(acc * factor),
                rest.eq(addend if product is None else product + addend),
            ]
            v = Signal(signed(self.v_bits), reset_less=True)
            m.d.sync += v.eq(whole + rest)
            return delay(m, v, 1, "v")
        lower = Signal(signed(at + self.m_bits), reset_less=True, attrs=self._product_attrs)
        upper = Signal(signed(self.acc_bits + 1 - at + self.m_bits), reset_less=True, attrs=self._product_attrs)
        top = acc[at:].as_signed()
        m.d.sync += [lower.eq(acc[:at] * factor), upper.eq(product_of_adders(factor, top) if soft else top * factor)]
        # The upper product does not touch the lowest bits of c: its adder is that much shorter.
        c_high = addend.shift_right(at)
        low_sum = Signal(signed(sum_bits_signed(len(lower), *extra)), reset_less=True)
        high_sum = Signal(signed(sum_bits_signed(len(upper), len(c_high))), reset_less=True)
        c_low = Signal(at, reset_less=True)
        m.d.sync += [
            low_sum.eq(lower if product is None else lower + product),
            high_sum.eq(upper + c_high),
            c_low.eq(addend),
        ]
        return sum_in_two(m, Cat(c_low, high_sum).as_signed(), low_sum, self.v_bits, "v")

    def _operands(self, m: Module, acc: Value, factor: Value) -> tuple[Value, Value]:
        """What a single block multiplies, a cycle later: the accumulator and M, or the other way round."""
        if not self.swap:
            return delay(m, acc, 1, "acc"), delay(m, factor, 1, "m_late")
        narrow = narrow_bits(self.dsp_bits)
        wide = Signal(signed(max(self.acc_bits + 1, self.m_bits)), reset_less=True, name="wide")
        small = Signal(signed(narrow), reset_less=True, name="small")
        m.d.sync += [wide.eq(Mux(self.swapped, factor, acc)), small.eq(Mux(self.swapped, acc, factor))]
        return wide, small

    def _second_stage(self, m: Module, q1: Value) -> Value:
        age = self.q1_latency
        x: Value = q1
        passed = delay(m, q1, self.q_latency - self.q1_latency, "passed")
        if self.pool:
            x = self._pool(m, "sum", POOL_SUM, q1, age)
            age += PoolState.latency
        # 7-series blocks add what comes beside the product, in one cycle; elsewhere the carry chain is cut in two.
        inside = self.dsp_bits == 25 and not self.shared
        wait = 2 if inside else 0
        x_1 = Signal(len(x), reset_less=True)
        x_a = Signal(signed(self.m_bits + len(x)), reset_less=True, attrs=self._product_attrs)
        m.d.sync += [x_1.eq(delay(m, x, wait, "x")), x_a.eq(x_1 * self.a)]
        if self.residual:
            late = Signal(signed(sum_bits_signed(self.c2_bits, self.product_bits)), reset_less=True)
            two_steps = self.rescale_on == RESCALE_RESIDUAL
            y_b = Signal(signed(self.product_bits), reset_less=True, attrs=self._product_attrs)
            if self.shared:
                m.d.sync += y_b.eq(Mux(two_steps, delay(m, self._product, age - 1, "y_b"), 0))
            else:
                y = Signal(8, reset_less=True)
                m.d.sync += [y.eq(Mux(two_steps, delay(m, self.res, age + wait // 2, "y"), 0)), y_b.eq(y * self.b)]
            m.d.sync += late.eq(y_b + self.c2)
        else:
            late = self.c2
        if inside:
            v2 = Signal(signed(self.v2_bits), reset_less=True)
            m.d.sync += v2.eq(x_a + late)
        else:
            v2 = sum_in_two(m, delay(m, x_a, 1, "x_a"), late, self.v2_bits, "v2")
        m.submodules.round_2 = round_2 = RoundClamp(v_bits=self.v2_bits)
        q = Signal(8)
        m.d.comb += [
            round_2.v.eq(v2),
            round_2.shift.eq(self.shift2),
            round_2.half_even.eq(self.half_even2),
            round_2.zero.eq(self.zero2),
            round_2.low.eq(self.low2),
            round_2.high.eq(self.high2),
            q.eq(Mux(self.rescale_on == RESCALE_BYPASS, passed, round_2.q)),
        ]
        return q

    def _pool(self, m: Module, op: str, mode: int, x: Value, age: int) -> Value:
        """Pooling by ``op`` where ``x`` is ``age`` cycles behind the inputs."""
        m.submodules[f"pool_{op}"] = state = PoolState(op=op, depth=self.pool_depth)
        m.d.comb += [
            state.enable.eq(self.pool_mode == mode),
            state.pad.eq(self.pool_pad),
            state.valid.eq(delay(m, self.valid, age, f"valid_{op}", reset_less=False)),
            state.index.eq(delay(m, self.pool_index, age, f"index_{op}")),
            state.first.eq(delay(m, self.pool_first, age, f"first_{op}")),
            state.inside.eq(delay(m, self.pool_inside, age, f"inside_{op}")),
            state.x.eq(x),
        ]
        return state.o


def make_lane(engine: Engine) -> RequantLane:
    """A lane of ``engine``'s drain."""
    e = engine
    return RequantLane(acc_bits=e.acc_bits, sum_bits=e.acc_bits, m_bits=e.m_bits, c_bits=e.c_bits,
                       residual=e.residual, rescale=e.rescale, pool=e.pool, thresholds=e.thresholds,
                       dsp_bits=dsp_bits(e.family), pool_depth=e.tile_chunks, c2_bits=e.c2_bits,
                       fused=e.fused, swap=e.swap, upper_blocks=e.upper_blocks, shift_base=e.shift_base,
                       wraps=e.wrap)
