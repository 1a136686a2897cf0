"""The cocotb test of an engine: wait until the testbench has run all its jobs."""

import cocotb
from cocotb.triggers import RisingEdge, Timer


@cocotb.test()
async def run_jobs(dut):
    await Timer(1, "ns")
    if not dut.finished.value:
        await RisingEdge(dut.finished)
