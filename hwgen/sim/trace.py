"""What a simulation wrote: the codes of every layer, and when it began."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..plan.layout import Layout
from ..program.assemble import unpack_words


@dataclass
class ImageTrace:
    """One image: codes of every layer's output as (C, H, W), cycles in all and at each layer's beginning."""

    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    """The same of stored layers, as found in memory."""
    missing: dict[str, int] = field(default_factory=dict)
    """Words per tensor that were never written."""
    stray: list[str] = field(default_factory=list)
    """Words that were written outside their tensor's region."""
    written: dict[str, list[tuple[int, int, int, int]]] = field(default_factory=dict)
    """Per tensor (bank, address, word, cycle) of every word, in the order of writing."""
    begins: list[int] = field(default_factory=list)
    cycles: int = 0
    error: int = 0

    def layer_cycles(self) -> list[int]:
        """Cycles from each layer's beginning to the next, the last until the end."""
        return np.diff([*self.begins, self.cycles]).tolist()


def read_trace(path: Path, layouts: list[tuple[Layout, dict[str, int]]]) -> Iterator[ImageTrace]:
    """The images of a trace file in order.  ``layouts``: per image its layout and output base addresses."""
    images = iter(layouts)
    lines: list[str] = []
    with open(path) as file:
        for line in file:
            if line[0] == "D":
                layout, bases = next(images)
                image = _image(lines, layout, bases)
                image.cycles, image.error = (int(v) for v in line.split()[1:3])
                yield image
                lines = []
            elif line[0] == "I":
                lines = []
            else:
                lines.append(line)


def _image(lines: list[str], layout: Layout, bases: dict[str, int]) -> ImageTrace:
    result = ImageTrace()
    words: list[list[tuple[int, int, int, int]]] = [[] for _ in layout.layers]
    memory: dict[int, int] = {}
    """Bytes written, by their addresses."""
    engine = layout.engine
    for line in lines:
        parts = line.split()
        if parts[0] == "L":
            result.begins.append(int(parts[2]))
        elif parts[0] == "T":
            bank, address, word = (int(part, 16) for part in parts[1:4])
            words[len(result.begins) - 1].append((bank, address, word, int(parts[4])))
        else:
            address, strobes, data = (int(part, 16) for part in parts[1:])
            first = address * engine.mem_bits // 8
            memory |= {first + k: data >> 8 * k & 255 for k in range(engine.mem_bits // 8) if strobes >> k & 1}
    for layer, written in zip(layout.layers, words, strict=True):
        result.written[layer.output] = written
        result.tensors[layer.output], result.missing[layer.output] = _gather(layout, layer.output, written, result)
    for name, base in bases.items():
        region = layout.regions[name]
        found = []
        for address in range(region.base, region.base + region.size):
            for bank in range(engine.banks):
                place = (base + engine.banks * address + bank) % (1 << 32) * engine.word_bits // 8
                stored = [memory[place + k] for k in range(engine.word_bits // 8) if place + k in memory]
                if len(stored) == engine.word_bits // 8:
                    found.append((bank, address, int.from_bytes(bytes(stored), "little"), 0))
        result.outputs[name], missing = _gather(layout, name, found, result)
        result.missing[f"{name} in memory"] = missing
    return result


def _gather(layout: Layout, tensor: str, written: list[tuple[int, int, int, int]],
            image: ImageTrace) -> tuple[np.ndarray, int]:
    region, ki, banks = layout.regions[tensor], layout.engine.ki, layout.engine.banks
    nibbles = np.zeros((region.size, banks, ki), np.uint8)
    seen = np.zeros((region.size, banks), bool)
    for bank, address, word, _ in written:
        at = address - region.base
        if not (0 <= at < region.size and bank < banks):
            image.stray.append(f"{tensor}: a word was written to bank {bank}, address {address}, outside its region")
            continue
        nibbles[at, bank] = [word >> 4 * i & 15 for i in range(ki)]
        seen[at, bank] = True
    shape = (region.blocks, region.planes, region.plane_step * banks)
    points = np.arange(region.height * region.pitch) % region.pitch < region.width
    expected = seen.reshape(shape)[:, :, :len(points)][:, :, points]
    return unpack_words(layout, tensor, nibbles.reshape(*shape, ki)), int((~expected).sum())
