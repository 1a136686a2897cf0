"""The cocotb side of test_axi.py: an engine on independent AXI slave models, one per port, run after run without reset.

Reads its work from the file that AXI_JOB names and writes what happened to AXI_RESULT.
"""

import os
from pathlib import Path
import pickle
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiBus, AxiResp, AxiSlave

CHANNELS = (("write_if", "aw_channel"), ("write_if", "w_channel"), ("write_if", "b_channel"),
            ("read_if", "ar_channel"), ("read_if", "r_channel"))


class Target:
    """The bytes behind one port; fails at the given access."""

    def __init__(self):
        self.data, self.base = bytearray(), 0
        self.reads = self.writes = 0
        self.fail_read = self.fail_write = None

    async def read(self, address, length):
        self.reads += 1
        if self.reads - 1 == self.fail_read:
            raise RuntimeError("the test wants an error")
        at = address - self.base
        assert 0 <= at <= len(self.data) - length, f"read at {address:#x}"
        return bytes(self.data[at:at + length])

    async def write(self, address, data):
        self.writes += 1
        if self.writes - 1 == self.fail_write:
            raise RuntimeError("the test wants an error")
        at = address - self.base
        assert 0 <= at <= len(self.data) - len(data), f"write at {address:#x}"
        self.data[at:at + len(data)] = data


def pauses(rng, percent):
    while True:
        length, value = rng.choice((1, 1, 2, 7)), rng.randrange(100) < percent
        for _ in range(length):
            yield value


def stripe(data: bytes, ports: int, size: int) -> list[bytearray]:
    """Memory words over ports, ``size`` bytes each."""
    return [bytearray(b"".join(data[i:i + size] for i in range(port * size, len(data), ports * size)))
            for port in range(ports)]


def join(parts: list[bytearray], size: int) -> bytes:
    return b"".join(bytes(part[i:i + size]) for i in range(0, len(parts[0]), size) for part in parts)


async def watch(dut, port, protocol, seen):
    """Rules that the slave does not check, and how many reads are outstanding."""
    outstanding = 0
    held = {}

    def value(name):
        return getattr(dut, f"m{port}_axi_{name}").value

    while True:
        await RisingEdge(dut.clk)
        for channel, names in (("ar", ("arid", "araddr", "arlen")), ("aw", ("awid", "awaddr")),
                               ("w", ("wdata", "wstrb"))):
            valid, ready = value(channel + "valid"), value(channel + "ready")
            now = [int(value(name)) for name in names] if valid else None
            if channel in held:
                assert held[channel] == now, f"{channel} changed before it was taken"
            if valid and not ready:
                held[channel] = now
            else:
                held.pop(channel, None)
            if valid and ready and channel == "ar":
                assert now[2] < 16
                outstanding += 1
                seen["most"] = max(seen.get("most", 0), outstanding)
            if valid and ready and channel == "w" and protocol == "axi3":
                assert int(value("wid")) == int(value("awid"))
        if value("rvalid") and value("rready") and value("rlast"):
            outstanding -= 1


@cocotb.test()
async def runs(dut):
    job = pickle.loads(Path(os.environ["AXI_JOB"]).read_bytes())
    ports, size = job["ports"], job["port_bytes"]
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    dut.rst.value = 1
    dut.start.value = 0
    dut.length.value = job["length"]
    targets, slaves, seen = [], [], {}
    for port in range(ports):
        target = Target()
        target.base = job["bases"][port]
        getattr(dut, f"base_{port}").value = target.base
        slaves.append(AxiSlave(AxiBus.from_prefix(dut, f"m{port}_axi"), dut.clk, dut.rst, target=target))
        targets.append(target)
        cocotb.start_soon(watch(dut, port, job["protocol"], seen))
    await ClockCycles(dut.clk, 5)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 2)
    results = []
    for run in job["runs"]:
        rng = random.Random(run["seed"])
        for port, (target, data) in enumerate(zip(targets, stripe(job["memory"], ports, size), strict=True)):
            target.data, target.reads, target.writes = data, 0, 0
            target.fail_read = run["at"] if run.get("fail") == "read" and port == run["port"] else None
            target.fail_write = run["at"] if run.get("fail") == "write" and port == run["port"] else None
            for side, channel in CHANNELS:
                stream = getattr(getattr(slaves[port], side), channel)
                stream.clear_pause_generator()
                stream.pause = False
                if run["stall"]:
                    stream.set_pause_generator(pauses(random.Random(rng.random()), run["stall"]))
        if "response" in run:
            respond_with(slaves[run["port"]], run["response"])
        dut.start.value = 1
        await RisingEdge(dut.clk)
        dut.start.value = 0
        await ClockCycles(dut.clk, 2)
        for _ in range(job["limit"]):
            await RisingEdge(dut.clk)
            if dut.done.value:
                break
        assert dut.done.value, "the engine did not end"
        results.append({"cycles": int(dut.cycles.value), "error": int(dut.error.value),
                        "memory": join([target.data for target in targets], size)})
        # Only what was taken before is in memory: the next run must not find anything on its way.
    Path(os.environ["AXI_RESULT"]).write_bytes(pickle.dumps((results, seen)))


def respond_with(slave, name):
    """Errors of this slave are SLVERR or DECERR from now on."""
    for side, channel in (("read_if", "r_channel"), ("write_if", "b_channel")):
        stream = getattr(getattr(slave, side), channel)
        send = type(stream).send

        async def changed(item, stream=stream, send=send):
            for field in ("rresp", "bresp"):
                if getattr(item, field, 0) == AxiResp.SLVERR:
                    setattr(item, field, AxiResp[name])
            await send(stream, item)

        stream.send = changed
