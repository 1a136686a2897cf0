"""Instruction words: bit positions, round trips, values that do not fit."""

import random

import pytest

from hwgen import isa

WORDS = [*isa.HEADERS.values(), isa.FETCH_WORD, *isa.TILE_WORDS, *isa.LAYER_WORDS]


def bounds(field):
    return (-(1 << field.bits - 1), (1 << field.bits - 1) - 1) if field.signed else (0, (1 << field.bits) - 1)


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.name)
def test_round_trip(word):
    rng = random.Random(word.name)
    for _ in range(50):
        values = {f.name: rng.choice((*bounds(f), rng.randint(*bounds(f)))) for f in word.fields}
        encoded = word.encode(**values)
        assert 0 <= encoded < 1 << isa.WORD_BITS
        assert word.decode(encoded) == values


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.name)
def test_every_field_has_its_own_bits(word):
    """All ones in one field changes exactly its bits; together the fields lie side by side from bit 0."""
    position = 0
    for f in word.fields:
        ones = -1 if f.signed else (1 << f.bits) - 1
        assert word.encode(**{f.name: ones}) == (1 << f.bits) - 1 << position
        position += f.bits
    assert position <= isa.WORD_BITS


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.name)
def test_values_that_do_not_fit_are_refused_by_name(word):
    for f in word.fields:
        low, high = bounds(f)
        for value in (low - 1, high + 1):
            with pytest.raises(ValueError, match=f"{word.name}.{f.name} = {value} does not fit {f.bits} bits"):
                word.encode(**{f.name: value})


def test_unknown_fields_are_refused_and_missing_ones_are_zero():
    word = isa.HEADERS[isa.WEIGHTS]
    with pytest.raises(ValueError, match="weights has no field colour, taste"):
        word.encode(taste=1, colour=2)
    assert word.encode() == 0
    assert word.decode(0) == {f.name: 0 for f in word.fields}


def test_packets_in_numbers():
    """The layout that docs/instruction-set.md gives, bit by bit."""
    assert isa.HEADERS[isa.START].encode(packet=1, version=2, engine=3) == 1 | 2 << 4 | 3 << 16
    assert isa.HEADERS[isa.FETCH].encode(packet=2, count=1, address=7, bank=3, wait=9) == (
        2 | 1 << 4 | 7 << 28 | 3 << 44 | 9 << 48)
    assert isa.FETCH_WORD.encode(memory=5, words=6) == 5 | 6 << 32
    assert isa.HEADERS[isa.COMMANDS].encode(packet=6, count=1, words=3) == 6 | 1 << 4 | 3 << 28
    assert isa.HEADERS[isa.WEIGHTS].encode(packet=5, count=1, words=2) == 5 | 1 << 4 | 2 << 28
    assert isa.SLICES.encode(sp2=3, pot=4, int4=5, dsp=6, high=7) == 3 | 4 << 9 | 5 << 18 | 6 << 27 | 7 << 36
    assert isa.HEADERS[isa.END].encode(packet=7, checksum=9) == 7 | 9 << 32
    assert isa.TILE_WORDS[0].encode(command=2, words=3, chunks=4, interval=5, wide=1, blocks=6, store_words=7,
                                    end=1) == 2 | 3 << 4 | 4 << 16 | 5 << 24 | 1 << 38 | 6 << 39 | 7 << 49 | 1 << 61
    assert isa.TILE_WORDS[1].encode(out_address=1, res_address=2, base=3, res_words=4) == (
        1 | 2 << 24 | 3 << 40 | 4 << 56)
    step = isa.LAYER_WORDS[9]
    assert step.encode(in_q=-1, res_r=3) == 0xFFFF | 3 << 36


def test_opcodes_differ_and_a_layer_is_complete():
    assert len({isa.START, isa.FETCH, isa.PARAMS, isa.THRESHOLDS, isa.WEIGHTS, isa.COMMANDS, isa.END}) == 7
    assert set(isa.HEADERS) == set(range(1, 8))
    assert (isa.LAYER, isa.TILE, isa.FINISH) == (1, 2, 3)
    assert [word.name for word in isa.LAYER_WORDS[-10:]] == ["step"] * 5 + ["move"] * 5
    assert all(header.fields[0].bits == 4 for header in isa.HEADERS.values())
    assert set(isa.ERRORS) == set(range(6))


def test_a_word_is_64_bits_at_most():
    with pytest.raises(AssertionError, match="too wide"):
        isa.Word("too wide", (isa.Field("a", 40), isa.Field("b", 25)))


def checksum(words, word_bytes=8, state=0):
    return isa.checksum(b"".join(word.to_bytes(word_bytes, "little") for word in words), word_bytes, state)


def test_checksum():
    assert checksum([]) == 0
    assert checksum([0x1_0000_0002]) == 3
    # Rotated before the next word comes in, the top bit to the bottom.
    assert checksum([0x8000_0000, 0]) == 1
    assert checksum([0x8000_0001, 4]) == 3 ^ 4
    # A word of a 128-bit memory in four parts.
    assert checksum([1 << 96 | 2 << 64 | 4 << 32 | 8], 16) == 15


@pytest.mark.parametrize("word_bytes", [8, 16, 32, 64])
@pytest.mark.parametrize("count", [1, 31, 32, 33, 100])
def test_checksum_is_that_of_one_word_after_the_other(word_bytes, count):
    rng = random.Random(f"{word_bytes} {count}")
    words, state = [rng.getrandbits(8 * word_bytes) for _ in range(count)], rng.getrandbits(32)
    expected = state
    for word in words:
        expected = (expected << 1 | expected >> 31) & 0xFFFFFFFF
        for shift in range(0, 8 * word_bytes, 32):
            expected ^= word >> shift & 0xFFFFFFFF
    assert checksum(words, word_bytes, state) == expected


@pytest.mark.parametrize("seed", range(3))
def test_checksum_goes_on_where_it_was_and_sees_every_bit(seed):
    rng = random.Random(seed)
    words = [rng.getrandbits(64) for _ in range(40)]
    whole = checksum(words)
    assert checksum(words[17:], state=checksum(words[:17])) == whole
    for index in range(40):
        assert checksum([w ^ (1 << rng.randrange(64) if i == index else 0) for i, w in enumerate(words)]) != whole
    assert checksum([words[1], words[0], *words[2:]]) != whole
