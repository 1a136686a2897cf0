"""An independent reader of programs: packets, commands and weights from the bytes, after docs/instruction-set.md."""

from dataclasses import dataclass, field

START, FETCH, PARAMS, THRESHOLDS, WEIGHTS, COMMANDS, END = range(1, 8)
LAYER_SIZE = 19
SP2 = {0: 0, 1: 1, 8: 4, 9: 5, 2: 0, 3: -1, 10: -4, 11: -5, 4: 4, 5: 2, 12: 8, 13: 6, 6: -4, 7: -2, 14: -8, 15: -6}
VALUES = {
    "sp2": lambda c: SP2[c],
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
        m, c = engine.m_bits, engine.acc_bits + engine.m_bits + 2
        size = m + c + 14 + (m if engine.residual and engine.fused else 0)
        # Records that fit side by side do so at powers of two, but a memory word has at most one per drain lane.
        together = 1
        while 2 * together <= engine.drain_lanes and engine.mem_bits // (2 * together) >= size:
            together *= 2
        n_words = -(-size // engine.mem_bits)
        assert len(self.params) % n_words == 0
        for i in range(0, len(self.params), n_words):
            group = sum(word << engine.mem_bits * k for k, word in enumerate(self.params[i:i + n_words]))
            for k in range(together):
                record = group >> k * engine.mem_bits // together
                yield {"m": bits(record, 0, m, True), "c": bits(record, m, c, True), "shift": bits(record, m + c, 5),
                       "slot": bits(record, m + c + 5, 8), "negate": bits(record, m + c + 13, 1),
                       "r": bits(record, m + c + 14, m, True) if engine.residual and engine.fused else 0}

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
    fetches: list[tuple[int, int, int, int, int, int]]
    """Layers in front, first word in memory, words, scratchpad address, bank, layers to wait for."""
    layers: list[tuple[list[int], list[TileImage]]]
    finished: bool
    checksum: int
    computed: int


def read_program(data: bytes, mem_bits: int) -> ProgramImage:
    size = mem_bits // 8
    words = [int.from_bytes(data[i:i + size], "little") for i in range(0, len(data), size)]
    state, position, layers, tile, finished = 0, 1, [], None, False
    fetches = []

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
        add([header, *payload])
        if kind in (THRESHOLDS, COMMANDS):
            pieces = [bits(word, shift, 64) for word in payload for shift in range(0, mem_bits, 64)]
        if kind == FETCH:
            assert count == 1
            fetches.append((len(layers), bits(payload[0], 0, 32), bits(payload[0], 32, 20), bits(header, 28, 16),
                            bits(header, 44, 4), bits(header, 48, 16)))
        elif kind == PARAMS:
            tile = TileImage(params=payload)
        elif kind == THRESHOLDS:
            tile.thresholds = pieces
        elif kind == WEIGHTS:
            tile.header, tile.slices, tile.weights = header, payload[0], payload[1:]
        elif kind == COMMANDS:
            n_commands = bits(header, 28, 16)
            assert count == -(-n_commands * 64 // mem_bits) and not any(pieces[n_commands:])
            commands = pieces[:n_commands]
            if bits(commands[0], 0, 4) == 1:
                assert n_commands == LAYER_SIZE
                layers.append((commands, []))
            else:
                assert bits(commands[0], 0, 4) == 2
                tile.command = commands[0], commands[1]
                layers[-1][1].append(tile)
                finished = commands[2:] == [3]
                assert finished or n_commands == 2
        position += 1 + count
    assert position == len(words) - 1
    return ProgramImage(words[0], fetches, layers, finished, words[-1] >> 32 & 0xFFFFFFFF, state)
