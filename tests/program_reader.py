"""An independent reader of programs: packets, commands and weights from the bytes, after docs/instruction-set.md."""

from dataclasses import dataclass, field

START, INPUT, PARAMS, THRESHOLDS, WEIGHTS, COMMANDS, END = range(1, 8)
LAYER_SIZE = 19
SP2 = {0: 0, 1: 1, 2: 2, 3: 8, 4: 4, 5: 5, 6: 6}
VALUES = {
    "sp2": lambda c: -SP2[c & 7] if c & 8 else SP2[c & 7],
    "pot": lambda c: (1 << (c & 7) >> 1) * (-1) ** (c >> 3),
    "int4": lambda c: c - 16 if c & 8 else c,
    "dsp": lambda c: c,
}


def bits(word, low, count, signed=False):
    value = word >> low & (1 << count) - 1
    return value - (1 << count) if signed and value >> count - 1 else value


@dataclass
class TileImage:
    """What the program says about one tile."""

    params: list[int] = field(default_factory=list)
    thresholds: list[int] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    header: int = 0
    slices: int = 0
    command: tuple[int, int] = (0, 0)

    def records(self, engine):
        """Per position of the tile: M, shift, slot in the lane, negate, C, R."""
        size = 3 if engine.residual else 2
        for i in range(0, len(self.params), size):
            first, second = self.params[i:i + 2]
            yield {"m": bits(first, 0, 32, True), "shift": bits(first, 32, 5), "slot": bits(first, 40, 8),
                   "negate": bits(first, 48, 1), "c": bits(second, 0, 64, True),
                   "r": bits(self.params[i + 2], 0, 32, True) if size == 3 else 0}

    def lane_operands(self, engine):
        """{slot: what the lane multiplies with, per word and channel}: signed, but in offset binary on dsp lanes."""
        words, counts = bits(self.header, 28, 12), [bits(self.slices, low, 9) for low in (0, 9, 18, 27, 36)]
        beats, kinds = sum(counts), ("sp2", "pot", "int4", "dsp", "high")
        assert len(self.weights) == words * beats
        found: dict[int, list[int]] = {}
        for index in range(words):
            part = self.weights[index * beats:(index + 1) * beats]
            nibbles = {}
            for kind, count in zip(kinds, counts, strict=True):
                value, part = sum(word << engine.mem_bits * i for i, word in enumerate(part[:count])), part[count:]
                # The last memory word of a kind may have room for more rows than there are.
                most = getattr(engine, "dsp_rows" if kind == "high" else f"{kind}_rows")
                n_rows = min(most, count * engine.mem_bits // (4 * engine.ki))
                nibbles[kind] = [[bits(value, 4 * (row * engine.ki + k), 4) for k in range(engine.ki)]
                                 for row in range(n_rows)]
            slot = 0
            for kind in kinds[:4]:
                for row, codes in enumerate(nibbles[kind]):
                    high = nibbles["high"][row] if kind == "dsp" and counts[4] else [0] * engine.ki
                    found.setdefault(slot + row, []).extend(
                        VALUES[kind](c) + 16 * h for c, h in zip(codes, high, strict=True))
                slot += getattr(engine, f"{kind}_rows")
        return found


@dataclass
class ProgramImage:
    """A program taken apart."""

    start: int
    input_address: int
    input_count: int
    input_base: int
    layers: list[tuple[list[int], list[TileImage]]]
    finished: bool
    checksum: int
    computed: int


def read_program(data: bytes, mem_bits: int) -> ProgramImage:
    size = mem_bits // 8
    words = [int.from_bytes(data[i:i + size], "little") for i in range(0, len(data), size)]
    state, position, layers, tile, finished = 0, 1, [], None, False
    where = (0, 0, 0)

    def add(part):
        nonlocal state
        for word in part:
            state = (state << 1 | state >> 31) & 0xFFFFFFFF
            for shift in range(0, mem_bits, 32):
                state ^= word >> shift & 0xFFFFFFFF

    while bits(words[position], 0, 4) != END:
        header = words[position]
        kind, count = bits(header, 0, 4), bits(header, 4, 24)
        payload = words[position + 1:position + 1 + count]
        assert len(payload) == count > 0 and not finished
        add([header])
        if kind == INPUT:
            where = position + 1, count, bits(header, 28, 16)
        else:
            add(payload)
        if kind == PARAMS:
            tile = TileImage(params=payload)
        elif kind == THRESHOLDS:
            tile.thresholds = payload
        elif kind == WEIGHTS:
            tile.header, tile.slices, tile.weights = header, payload[0], payload[1:]
        elif kind == COMMANDS and bits(payload[0], 0, 4) == 1:
            assert count == LAYER_SIZE
            layers.append((payload, []))
        elif kind == COMMANDS:
            assert bits(payload[0], 0, 4) == 2
            tile.command = payload[0], payload[1]
            layers[-1][1].append(tile)
            finished = payload[2:] == [3]
            assert finished or count == 2
        position += 1 + count
    assert position == len(words) - 1
    return ProgramImage(words[0], *where, layers, finished, words[-1] >> 32 & 0xFFFFFFFF, state)
