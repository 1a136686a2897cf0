"""What an engine does with a program that is wrong: it stops, with the code that says why."""

from dataclasses import replace

import numpy as np
import pytest

from simulators import MEMORY_WORDS
from engines import ICARUS, VERILATOR
from hwgen import isa
from hwgen.plan.load import Memory
from program_bench import differences, random_cases, run_cases

ENGINE = ICARUS["mixed"]


@pytest.fixture(scope="module")
def sim(simulator_of):
    return simulator_of("mixed")


@pytest.fixture(scope="module")
def case():
    """A network with several tiles and a stored output."""
    cases, _ = random_cases(ENGINE, 300, 20, MEMORY_WORDS)
    return next(c for c in cases if len(c.layout.layers) > 1 and c.program.words < 600)


def words_of(case) -> list[int]:
    size = ENGINE.mem_bits // 8
    image = case.program.image
    return [int.from_bytes(image[i:i + size], "little") for i in range(0, len(image), size)]


def words_bytes(words: list[int]) -> bytes:
    return b"".join(word.to_bytes(ENGINE.mem_bits // 8, "little") for word in words)


def packets(words: list[int]):
    """(position, kind, payload length) of every packet after START, END included."""
    position = 1
    while True:
        kind = words[position] & 15
        count = 0 if kind == isa.END else isa.HEADERS[kind].decode(words[position])["count"]
        yield position, kind, count
        if kind == isa.END:
            return
        position += 1 + count


def sealed(words: list[int]) -> list[int]:
    """With a right checksum again: over all headers and payloads but START and END."""
    state, words = 0, list(words)
    for position, kind, count in packets(words):
        if kind == isa.END:
            words[position] = isa.HEADERS[isa.END].encode(packet=isa.END, checksum=state)
        else:
            state = isa.checksum(words_bytes(words[position:position + 1 + count]), 8, state)
    return words


def error_of(sim, case, words: list[int], **memory) -> int:
    """The code with which the engine stops; the second image must not run."""
    image = words_bytes(words)
    broken = replace(case, program=replace(case.program, image=image, words=len(words)))
    (traces,) = run_cases(sim, [broken], **memory)
    assert len(traces) == 1 or not traces[0].error
    return traces[0].error


def first(words: list[int], kind: int) -> int:
    return next(position for position, k, _ in packets(words) if k == kind)


def test_a_good_program_sealed_again_runs(sim, case):
    words = words_of(case)
    assert sealed(words) == words
    assert error_of(sim, case, words) == 0


def test_wrong_engine(sim, case):
    words = words_of(case)
    assert error_of(sim, case, [words[0] ^ 1 << 20, *words[1:]]) == 1


def test_wrong_version(sim, case):
    words = words_of(case)
    assert error_of(sim, case, [words[0] ^ 1 << 5, *words[1:]]) == 1


def test_no_start_packet(sim, case):
    words = words_of(case)
    assert error_of(sim, case, words[1:]) == 1


@pytest.mark.parametrize("kind", [0, 9, 15])
def test_illegal_packet(sim, case, kind):
    words = words_of(case)
    at = first(words, isa.WEIGHTS)
    words[at] = words[at] & ~15 | kind
    assert error_of(sim, case, words) == 2


@pytest.mark.parametrize("opcode", [0, 4, 15])
def test_illegal_command(sim, case, opcode):
    words = words_of(case)
    at = first(words, isa.COMMANDS) + 1
    words[at] = words[at] & ~15 | opcode
    assert error_of(sim, case, sealed(words)) == 2


@pytest.mark.parametrize("bit", [0, 31, 32, 63])
def test_flipped_weight_bit(sim, case, bit):
    words = words_of(case)
    words[first(words, isa.WEIGHTS) + 2] ^= 1 << bit
    assert error_of(sim, case, words) == 3


def test_flipped_checksum(sim, case):
    words = words_of(case)
    words[-1] ^= 1 << 40
    assert error_of(sim, case, words) == 3


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_memory_error(sim, case, where):
    read = {"first": 0, "middle": case.program.words // 2, "last": case.program.words - 1}[where]
    assert error_of(sim, case, words_of(case), fail_at=read) == 5
    assert error_of(sim, case, words_of(case), fail_at=read, memory=Memory(7, queue=4), stall=30) == 5


def test_watchdog(simulator_of):
    """A stream that ends too early: nothing moves any more, and the watchdog stops the engine."""
    cases, _ = random_cases(VERILATOR["small"], 300, 1, MEMORY_WORDS)
    cut = replace(cases[0], program=replace(cases[0].program, words=cases[0].program.words - 1))
    (traces,) = run_cases(simulator_of("small"), [cut])
    assert traces[0].error == 4
    assert traces[0].cycles > 1 << 20


def test_programs_follow_one_another_without_reset(sim):
    """A, B and A again: B leaves nothing behind, and the same program takes the same cycles."""
    cases, _ = random_cases(ENGINE, 400, 3, MEMORY_WORDS)
    for memory in ({}, {"memory": Memory(11, queue=4), "stall": 35, "seed": 3}):
        runs = run_cases(sim, [cases[0], cases[1], cases[2], cases[0]], **memory)
        for case, traces in zip([*cases, cases[0]], runs, strict=True):
            assert differences(case, traces) is None
        if not memory:
            assert [t.cycles for t in runs[0]] == [t.cycles for t in runs[3]]


def test_two_runs_are_identical(sim, case):
    memory = {"memory": Memory(5, queue=2), "stall": 25, "seed": 77}
    (one,), (two,) = (run_cases(sim, [case], **memory) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert (a.cycles, a.begins, a.written) == (b.cycles, b.begins, b.written)
        for name, codes in a.outputs.items():
            assert np.array_equal(codes, b.outputs[name])
