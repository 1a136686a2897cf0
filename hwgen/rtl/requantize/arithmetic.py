"""Sums and products of requantizer lanes in logic: long carry chains in two cycles, few partial products as adders."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed


def sum_bits_signed(*widths: int) -> int:
    """Width that holds the sum of one signed value of each width, whatever their values."""
    return (sum(1 << (bits - 1) for bits in widths) - 1).bit_length() + 1


def sum_in_two(m: Module, a: Value, b: Value, bits: int, name: str) -> Value:
    """``a + b`` (signed, ``bits`` wide) after two cycles, half of the carry chain in each."""
    half = bits // 2
    a, b = (Cat(value, value[-1].replicate(max(0, bits - len(value))))[:bits] for value in (a, b))
    low = Signal(half + 1, reset_less=True, name=f"{name}_low")
    high = Signal(bits - half, reset_less=True, name=f"{name}_high")
    total = Signal(signed(bits), reset_less=True, name=name)
    m.d.sync += [low.eq(a[:half] + b[:half]), high.eq(a[half:] + b[half:]),
                 total.eq(Cat(low[:half], (high + low[half])[:bits - half]))]
    return total


def product_of_adders(wide: Value, few: Value) -> Value:
    """``wide * few`` of two signed values, ``few`` some bits: multiples of ``wide`` added in pairs."""
    parts = [Mux(bit, wide, 0).as_signed() << place for place, bit in enumerate(few)]
    parts[-1] = -parts[-1]
    while len(parts) > 1:
        parts = [first + second for first, second in zip(parts[::2], [*parts[1::2], 0], strict=False)]
    return parts[0]
