"""Drive a component with one set of inputs per cycle and record its outputs."""

from amaranth.hdl import Value
from amaranth.sim import Simulator


def drive(dut, vectors, outputs):
    """Outputs of every cycle, a list of tuples (or of values, for one output).

    ``vectors``: one dict per cycle, port name -> integer; a port keeps its value until it is given again.
    Entry t of the result was read in the cycle in which ``vectors[t]`` was applied, so a pipeline of
    latency n answers it in entry t + n.
    """
    ports = [Value.cast(getattr(dut, name)) for name in outputs]
    record = []

    async def bench(ctx):
        applied = {}
        for vector in vectors:
            for name, value in vector.items():
                if applied.get(name) != value:
                    ctx.set(Value.cast(getattr(dut, name)), value)
                    applied[name] = value
            sample = (await ctx.tick().sample(*ports))[2:]
            record.append(tuple(int(value) for value in sample))

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return [row[0] for row in record] if len(outputs) == 1 else record


def pack(values, bits):
    """Element k at bits ``bits*k`` upwards."""
    return sum(value << (bits * k) for k, value in enumerate(values))
