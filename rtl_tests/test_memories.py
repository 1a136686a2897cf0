# amaranth: UnusedElaboratable=no
"""Scratchpad and weight ring against dictionaries: random reads and writes of different words."""

import random

from block_bench import pack_array, simulate, split
import pytest

from hwgen.rtl.scratchpad import Ring, Scratchpad


@pytest.mark.parametrize("banks,depth,word_bits,writes", [(1, 16, 8, 1), (3, 20, 16, 1), (9, 32, 64, 1), (2, 16, 8, 2),
                                                          (3, 20, 16, 2), (7, 32, 64, 2)])
def test_scratchpad(banks, depth, word_bits, writes):
    """Every bank answers one cycle after its address; a write is readable two cycles after."""
    dut = Scratchpad(banks=banks, depth=depth, word_bits=word_bits, writes=writes)
    rng = random.Random(f"{banks} {depth}")

    async def bench(ctx):
        memory = {(bank, address): 0 for bank in range(banks) for address in range(depth)}
        expected, late = None, {}
        for _ in range(600):
            write = rng.randrange(1 << writes) if rng.random() < 0.8 else 0
            bank, address, words = rng.randrange(banks), rng.randrange(depth - 1), rng.getrandbits(writes * word_bits)
            # A word that is left out may lie anywhere.
            places = [((bank + i) % banks, address + (bank + i) // banks) for i in range(writes)]
            new = {place: words >> i * word_bits & (1 << word_bits) - 1 for i, place in enumerate(places)
                   if write >> i & 1}
            reads = [rng.randrange(depth) for _ in range(banks)]
            # Words that are being written are not read.
            taken = {*places, *late}
            for b in range(banks):
                while (b, reads[b]) in taken:
                    reads[b] = (reads[b] + 1) % depth
            ctx.set(dut.write, write)
            ctx.set(dut.write_bank, bank)
            ctx.set(dut.write_address, address)
            ctx.set(dut.write_data, words)
            ctx.set(dut.address.as_value(), pack_array(reads, 16))
            found = (await ctx.tick().sample(dut.data.as_value()))[-1]
            if expected is not None:
                assert split(found, word_bits, banks) == expected
            expected = [memory[b, reads[b]] for b in range(banks)]
            memory |= late
            late = new

    simulate(dut, bench)


@pytest.mark.parametrize("slices,depth,mem_bits", [(1, 16, 64), (3, 32, 64), (5, 16, 128)])
def test_ring(slices, depth, mem_bits):
    """All slices of a word come together, one cycle after the address; a write is readable two cycles after."""
    dut = Ring(slices=slices, depth=depth, mem_bits=mem_bits)
    rng = random.Random(f"{slices} {depth}")

    async def bench(ctx):
        memory = {(s, a): 0 for s in range(slices) for a in range(depth)}
        expected = late = None
        for _ in range(500):
            write, s, a = rng.random() < 0.7, rng.randrange(slices), rng.randrange(depth)
            word, read = rng.getrandbits(mem_bits), rng.randrange(depth)
            while read in (a, late and late[1]):
                read = (read + 1) % depth
            ctx.set(dut.write, write)
            ctx.set(dut.write_slice, s)
            ctx.set(dut.write_address, a)
            ctx.set(dut.write_data, word)
            ctx.set(dut.address, read)
            found = (await ctx.tick().sample(dut.data))[-1]
            if expected is not None:
                assert split(found, mem_bits, slices) == expected
            expected = [memory[k, read] for k in range(slices)]
            if late:
                memory[late[:2]] = late[2]
            late = (s, a, word) if write else None

    simulate(dut, bench)
