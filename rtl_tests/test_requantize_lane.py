# amaranth: UnusedElaboratable=no
"""The requantizer lane against a model in plain integers: corner values, ties, pooling, every option."""

import random

from lane_bench import drive
import pytest

from hwgen.rtl.requantize import RequantLane

WIDTHS = {"acc_bits": 24, "sum_bits": 13, "m_bits": 18, "c_bits": 44}
OPTIONS = ("residual", "rescale", "pool", "thresholds")


def build(*options, pool_depth=8, **widths):
    return RequantLane(**(WIDTHS | widths), **{name: name in options for name in OPTIONS}, pool_depth=pool_depth)


def rounded(v, shift, half_even):
    n = shift + 1
    q = v // 2**n
    return q - 1 if half_even and v % 2**n == 0 and q % 2 == 1 else q


def clamped(value, low, high):
    return min(max(value, low), high)


class Model:
    """One operand at a time, with the state of both pools."""

    def __init__(self, layer):
        self.layer = layer
        self.sums, self.maxima = {}, {}

    def __call__(self, operand):
        get = {**self.layer, **operand}.get
        acc = get("raw") - {0: 0, 1: 8, 2: 128}[get("offset", 0)] * get("operand_sum", 0)
        # The residual joins one stage; a lane with one block for both ignores R where it joins the second.
        r = 0 if get("shared") and get("rescale_on") == 1 else get("r", 0)
        v = acc * get("m") + r * get("res", 0) + get("c")
        q = rounded(v, get("base") + get("shift"), get("half_even"))
        q = q % 256 if get("wrap") else clamped(get("zero") + q, get("low"), get("high"))
        if get("override"):
            q = get("override_code")
        index, first, inside = get("pool_index"), get("pool_first"), get("pool_inside")
        x = q
        if get("pool_mode") == 2:
            x = (0 if first else self.sums[index]) + (q if inside else get("pool_pad"))
            self.sums[index] = x
        if get("rescale_on"):
            y = get("res", 0) if get("rescale_on") == 1 else 0
            v = x * get("a") + y * get("b") + get("c2")
            q = clamped(get("zero2") + rounded(v, get("shift2"), get("half_even2")), get("low2"), get("high2"))
        if get("pool_mode") == 1:
            q = max(0 if first else self.maxima[index], q if inside else get("pool_pad"))
            self.maxima[index] = q
        return q


def signed(rng, bits):
    """Signed value of at most ``bits`` bits: extremes, small ones, and any magnitude."""
    top = 2**(bits - 1)
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice([-top, top - 1, 0, -1, 1])
    size = 2**rng.randrange(bits)
    return rng.randrange(-size, size)


def code_range(rng):
    return rng.choice([(0, 255), (0, 15), sorted(rng.randrange(256) for _ in range(2))])


def random_layer(rng, dut):
    low, high = code_range(rng)
    zero = rng.choice([0, -256, 255, signed(rng, 9)])
    layer = {"half_even": rng.randrange(2), "zero": zero, "low": low, "high": high}
    if dut.wraps:
        layer["wrap"] = rng.randrange(2)
        layer |= {"zero": 0, "low": 0, "high": 255} if layer["wrap"] else {}
    if dut.rescale:
        low, high = code_range(rng)
        layer |= {"rescale_on": 0, "a": signed(rng, dut.m_bits), "b": signed(rng, dut.m_bits),
                  "c2": signed(rng, dut.c2_bits), "shift2": rng.randrange(32), "half_even2": rng.randrange(2),
                  "zero2": signed(rng, 9), "low2": low, "high2": high}
        layer["rescale_on"] = rng.randrange(2)
        if rng.random() < 0.6:  # scale codes to codes
            unit = 2**(layer["shift2"] % (dut.m_bits - 2) + 1)
            layer |= {"shift2": unit.bit_length() - 2, "c2": unit // 2 + unit * rng.randrange(-9, 100),
                      "a": clamped(rng.randrange(-unit, 2 * unit), -2**(dut.m_bits - 1), 2**(dut.m_bits - 1) - 1),
                      "b": rng.randrange(-unit, unit)}
    if dut.swap:
        layer["swapped"] = rng.randrange(2)
    if dut.pool:
        layer |= {"pool_mode": rng.randrange(3 if dut.rescale else 2),
                  "pool_pad": rng.choice([0, 0, rng.randrange(256)])}
        if layer["pool_mode"] == 2:
            layer["rescale_on"] = 2
    return layer


def random_operand(rng, dut, layer):
    """An operand whose v / 2**S often lies near the code range and often is a tie."""
    shift = rng.randrange(32)
    raw, operand_sum, offset = rng.randrange(2**dut.acc_bits), rng.randrange(2**dut.sum_bits), rng.randrange(3)
    m = signed(rng, min(dut.m_bits, 18) if dut.swap and not layer["swapped"] else dut.m_bits)
    if dut.swap and layer["swapped"]:
        operand_sum %= 2**dut.sum_bits if offset < 2 else 1024
        raw = clamped((0, 8, 128)[offset] * operand_sum + signed(rng, 18), 0, 2**dut.acc_bits - 1)
    operand = {"raw": raw, "operand_sum": operand_sum, "offset": offset, "m": m, "shift": shift}
    v = (raw - (0, 8, 128)[offset] * operand_sum) * m
    if dut.residual:
        operand |= {"res": rng.choice([0, 255, rng.randrange(256)])}
    if dut.fused:
        operand |= {"r": signed(rng, dut.m_bits)}
        v += operand["r"] * operand["res"]
    whole = dut.shift_base + shift
    near = rng.randrange(-520, 530) * 2**(whole + 1) + rng.choice([0, 0, 2**whole, -1, 1, signed(rng, whole + 2)])
    c = near - v if rng.random() < 0.7 else signed(rng, dut.c_bits)
    operand["c"] = clamped(c, -2**(dut.c_bits - 1), 2**(dut.c_bits - 1) - 1)
    if dut.thresholds:
        operand |= {"override": int(rng.random() < 0.2), "override_code": rng.randrange(256)}
    return operand


def pool_operands(rng, dut, count):
    """Windows of several operands, interleaved over the indices, with runs on one index."""
    started = set()
    for _ in range(count):
        index = rng.choice([0, 0, rng.randrange(dut.pool_depth)])
        first = index not in started or rng.random() < 0.2
        started.add(index)
        yield {"pool_index": index, "pool_first": int(first), "pool_inside": int(rng.random() < 0.8), "pool_last": 1}


def run(dut, layers, rng, count, density=0.8, model_of=Model, operand_of=random_operand):
    """Feed ``count`` operands per layer; compare codes, and o_valid with the valid input, cycle by cycle."""
    vectors, expected = [], []
    for layer in layers:
        model = model_of(layer | {"shared": dut.shared, "base": dut.shift_base})
        pools = pool_operands(rng, dut, count) if dut.pool else ({} for _ in range(count))
        vectors.append(layer)
        expected.append(None)
        for pool in pools:
            operand = operand_of(rng, dut, layer) | pool | {"valid": 1}
            vectors.append(operand)
            expected.append(model(operand))
            while rng.random() > density:
                # Whatever stands on the inputs without valid must leave no trace.
                vectors.append(random_operand(rng, dut, layer) | {"valid": 0})
                expected.append(None)
        vectors += [{"valid": 0}] * dut.latency
        expected += [None] * dut.latency
    vectors[0] = vectors[0] | {"valid": 0}
    found = drive(dut, vectors + [{}] * dut.latency, ["o_valid", "o"])[dut.latency:]
    assert [bool(valid) for valid, _ in found] == [want is not None for want in expected]
    wrong = [(t, got, want) for t, ((_, got), want) in enumerate(zip(found, expected, strict=True))
             if want is not None and got != want]
    assert wrong == []
    return [want for want in expected if want is not None]


EVERY_OPTION = [tuple(name for bit, name in enumerate(OPTIONS) if number >> bit & 1) for number in range(16)]


@pytest.mark.parametrize("options", EVERY_OPTION, ids=lambda options: "-".join(options) or "bare")
def test_random(options):
    rng = random.Random("-".join(options))
    dut = build(*options)
    codes = run(dut, [random_layer(rng, dut) for _ in range(16)], rng, 50)
    assert len(set(codes)) > 20


@pytest.mark.parametrize("widths", [
    {"acc_bits": 17}, {"acc_bits": 18}, {"dsp_bits": 16}, {"dsp_bits": 25}, {"acc_bits": 25, "dsp_bits": 25},
    {"acc_bits": 32, "c_bits": 52}, {"acc_bits": 17, "m_bits": 21, "dsp_bits": 25},
    {"acc_bits": 20, "m_bits": 21, "dsp_bits": 25}, {"acc_bits": 23, "m_bits": 25, "c_bits": 50, "dsp_bits": 25},
    {"acc_bits": 20, "m_bits": 21, "dsp_bits": 25, "swap": True},
    {"acc_bits": 19, "m_bits": 22, "dsp_bits": 25, "upper_blocks": True},
    {"acc_bits": 24, "m_bits": 25, "c_bits": 51, "dsp_bits": 25, "swap": True, "fused": False},
    {"fused": False}, {"fused": False, "dsp_bits": 25}, {"fused": False, "dsp_bits": 25, "m_bits": 21},
    {"acc_bits": 26, "m_bits": 22, "c_bits": 50, "dsp_bits": 25}, {"m_bits": 28, "c_bits": 54, "dsp_bits": 25},
    {"m_bits": 8, "c_bits": 30}, {"m_bits": 32, "c_bits": 58}, {"acc_bits": 12, "m_bits": 8, "c_bits": 12},
    {"c_bits": 12}, {"shift_base": 5, "m_bits": 28, "c_bits": 54}, {"shift_base": 16, "dsp_bits": 25},
    {"shift_base": 1, "acc_bits": 32, "m_bits": 26, "c_bits": 62}, {"wraps": True},
    {"wraps": True, "shift_base": 4, "acc_bits": 32, "c_bits": 56, "dsp_bits": 25},
], ids=str)
@pytest.mark.parametrize("residual", [False, True], ids=["plain", "fused"])
def test_widths(widths, residual):
    rng = random.Random(f"{widths} {residual}")
    widths = {"sum_bits": widths.get("acc_bits", 24) - 7} | widths
    dut = build("rescale", *(["residual"] if residual else []), **widths)
    run(dut, [random_layer(rng, dut) for _ in range(6)], rng, 100)


@pytest.mark.parametrize("half_even", [0, 1])
@pytest.mark.parametrize("zero", [-256, -7, 0, 255])
def test_every_shift_and_every_result_with_its_neighbours(half_even, zero):
    """S = 1..32; v just below, at and just above every multiple of 2**S near the code range, and ties."""
    dut = build()
    layer = {"half_even": half_even, "zero": zero, "low": 3, "high": 250}
    values = [(shift, base * 2**(shift + 1) + step)
              for shift in range(32) for base in range(2 - zero, 254 - zero, 17) for step in (-1, 0, 1, 2**shift)]
    values += [(shift, sign * 2**power - 1 + step)
               for shift in range(32) for power in range(44) for sign in (-1, 1) for step in (0, 1)]
    source = iter([value for value in values if -2**43 <= value[1] < 2**43])
    count = sum(-2**43 <= v < 2**43 for _, v in values)

    def operand_of(rng, dut, layer):
        shift, c = next(source)
        return {"raw": 0, "operand_sum": 0, "offset": 0, "m": 0, "shift": shift, "c": c}

    codes = run(dut, [layer], random.Random(0), count, density=1, operand_of=operand_of)
    assert {3, 250} < set(codes)


def test_largest_values_saturate_without_wrapping():
    dut = build("residual", "rescale")
    layer = {"half_even": 0, "zero": 0, "low": 1, "high": 254, "rescale_on": 1, "a": 1, "b": 0, "c2": 0, "shift2": 0,
             "half_even2": 0, "zero2": 0, "low2": 0, "high2": 255}
    top = {"raw": 2**24 - 1, "m": 2**17 - 1, "r": 2**17 - 1, "res": 255, "c": 2**43 - 1}
    bottom = {"raw": 2**24 - 1, "m": -2**17, "r": -2**17, "res": 255, "c": -2**43}
    deepest = {"raw": 0, "operand_sum": 2**13 - 1, "offset": 2, "m": 2**17 - 1, "r": -2**17, "res": 255, "c": -2**43}
    common = {"operand_sum": 0, "offset": 0}
    cases = iter([common | case | {"shift": shift} for case in (top, bottom, deepest) for shift in range(32)])
    codes = run(dut, [layer], random.Random(0), 96, density=1, operand_of=lambda rng, dut, layer: next(cases))
    assert codes == [127] * 32 + [0] * 64


@pytest.mark.parametrize("a,b,shift2", [(2**17 - 1, -2**17, 31), (-2**17, 2**17 - 1, 0), (1000, 777, 9), (1, -1, 0)])
def test_two_step_residual_over_many_pairs(a, b, shift2):
    """Second stage alone: q1 is the override code, so that x and y are any pair of codes."""
    rng = random.Random(shift2)
    dut = build("residual", "rescale", "thresholds")
    layer = {"half_even": 0, "zero": 0, "low": 0, "high": 255, "rescale_on": 1, "a": a, "b": b,
             "c2": rng.choice([0, 1 << shift2, -2**37, 2**37 - 1]), "shift2": shift2, "half_even2": 1, "zero2": -9,
             "low2": 0, "high2": 255}
    pairs = iter([(x, y) for x in (0, 1, 17, 128, 254, 255) for y in range(256)])

    def operand_of(rng, dut, layer):
        x, y = next(pairs)
        return random_operand(rng, dut, layer) | {"override": 1, "override_code": x, "res": y, "r": 0}

    run(dut, [layer], rng, 6 * 256, density=1, operand_of=operand_of)


@pytest.mark.parametrize("depth", [1, 2, 7, 16])
@pytest.mark.parametrize("mode", [1, 2])
def test_pooling_states_do_not_mix(depth, mode):
    """Windows of 9 positions; the positions of every index come one after the other, then the next position."""
    rng = random.Random(depth)
    dut = build("rescale", "pool", "thresholds", pool_depth=depth)
    layer = {"half_even": 0, "zero": 0, "low": 0, "high": 255, "rescale_on": 2 if mode == 2 else 0, "a": 7282, "b": 0,
             "c2": 2**15, "shift2": 15, "half_even2": 0, "zero2": 0, "low2": 0, "high2": 255, "pool_mode": mode,
             "pool_pad": 0, "raw": 0, "m": 0, "c": 0, "shift": 0, "override": 1}
    vectors, codes = [layer], {}
    for window in range(4):
        for position in range(9):
            for index in range(depth):
                code = rng.randrange(256)
                codes.setdefault((window, index), []).append(code)
                vectors.append({"valid": 1, "override_code": code, "pool_index": index, "pool_first": position == 0,
                                "pool_inside": 1, "pool_last": position == 8})
    vectors.append({"valid": 0})
    found = drive(dut, vectors + [{}] * dut.latency, ["o"])[1 + dut.latency:]
    last = [found[(window * 9 + 8) * depth + index] for window in range(4) for index in range(depth)]
    if mode == 1:
        expected = [max(window) for window in codes.values()]
    else:
        expected = [(sum(window) * 7282 + 2**15) // 2**16 for window in codes.values()]
    assert last == expected


def test_latency_by_options():
    latency = {options: build(*options).latency for options in EVERY_OPTION}
    assert latency[()] == 9
    assert latency[("residual",)] == latency[("thresholds",)] == 9
    assert latency[("pool",)] == 10
    assert latency[("rescale",)] == 18
    assert latency[OPTIONS] == 20


@pytest.mark.parametrize("change,message", [
    ({"acc_bits": 3}, "acc_bits must be in 4..40, not 3"),
    ({"sum_bits": 0}, "sum_bits must be in 1..40, not 0"),
    ({"m_bits": 33}, "m_bits must be in 2..32, not 33"),
    ({"c_bits": 81}, "c_bits must be in 2..80, not 81"),
    ({"pool_depth": 0}, "pool_depth must be in 1..4096, not 0"),
    ({"dsp_bits": 27}, "dsp_bits must be 16, 18 or 25, not 27"),
])
def test_illegal_parameters(change, message):
    with pytest.raises(ValueError, match=message):
        build(**change)
