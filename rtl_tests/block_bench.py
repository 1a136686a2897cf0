"""Run test benches against one component, with a watchdog, seeded stalls and views of structured ports."""

import random

from amaranth.sim import Simulator


def simulate(dut, *benches, cycles: int = 20_000) -> None:
    """Run every bench (an async function of ``ctx``) to its end; AssertionError after ``cycles`` cycles."""

    async def watchdog(ctx):
        for _ in range(cycles):
            await ctx.tick()
        raise AssertionError(f"watchdog: a test bench did not end within {cycles} cycles")

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.add_testbench(watchdog, background=True)
    simulator.run()


def stalls(seed, chance: float):
    """An endless seeded sequence: 1 with probability ``1 - chance``, in runs of random length."""
    rng = random.Random(f"stalls {seed}")
    while True:
        value = int(rng.random() >= chance)
        for _ in range(rng.choice((1, 1, 2, 5))):
            yield value


def pack_fields(layout, values: dict[str, int]) -> int:
    """A structure as an integer from its fields; those not given are 0."""
    word = 0
    for name, value in values.items():
        field = layout[name]
        word |= (value & (1 << field.width) - 1) << field.offset
    return word


def pack_array(items, bits: int) -> int:
    """Item k at bits ``k * bits`` upwards."""
    return sum((item & (1 << bits) - 1) << k * bits for k, item in enumerate(items))


def split(word: int, bits: int, count: int) -> list[int]:
    """The opposite of :func:`pack_array`."""
    return [word >> k * bits & (1 << bits) - 1 for k in range(count)]


def unpack_fields(layout, word: int) -> dict[str, int]:
    """All fields of a structure, signed ones as signed integers."""
    values = {}
    for name, field in layout:
        value = word >> field.offset & (1 << field.width) - 1
        if getattr(field.shape, "signed", False) and value >> field.width - 1:
            value -= 1 << field.width
        values[name] = value
    return values
