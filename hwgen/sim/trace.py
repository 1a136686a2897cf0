"""What a simulation wrote: the codes of every layer, and when it began."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..plan.layout import Layout
from ..plan.steps import Step
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

    def layer_cycles(self, layout: Layout) -> list[int]:
        """Cycles from each layer's beginning to the next, the last until the end."""
        return list(layout.per_layer(np.diff([*self.begins, self.cycles]).tolist()))


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
    words: list[list[tuple[int, int, int, int]]] = [[] for _ in layout.steps]
    memory: dict[int, int] = {}
    """Scratchpad words written, by their addresses."""
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
    words_in_memory = _whole_words(memory, engine.word_bits // 8)
    maps: dict[str, _Map] = {layer.output: _Map(layout, layer.output, result) for layer in layout.layers}
    for step, written in zip(layout.steps, words, strict=True):
        maps[step.layer.output].drained(step, written)
    for name, found in maps.items():
        result.written[name] = found.written
        result.tensors[name], result.missing[name] = found.codes()
    for name, base in bases.items():
        found = _Map(layout, name, result)
        found.stored(words_in_memory, base)
        result.outputs[name], result.missing[f"{name} in memory"] = found.codes()
    return result


def _whole_words(memory: dict[int, int], size: int) -> dict[int, int]:
    """Scratchpad words of ``size`` bytes by their place in memory, from bytes; only those that are complete."""
    places: dict[int, list[int]] = {}
    for address in sorted(memory):
        places.setdefault(address // size, []).append(memory[address])
    return {place: int.from_bytes(bytes(found), "little") for place, found in places.items() if len(found) == size}


class _Map:
    """A tensor's words as they are found."""

    def __init__(self, layout: Layout, tensor: str, image: ImageTrace):
        self.layout, self.tensor, self.image = layout, tensor, image
        self.region, self.ki, self.banks = layout.regions[tensor], layout.engine.ki, layout.engine.banks
        self.nibbles = np.zeros((self.region.size * self.banks, self.ki), np.uint8)
        self.seen = np.zeros(self.region.size * self.banks, bool)
        self.written: list[tuple[int, int, int, int]] = []

    def drained(self, step: Step, words: list[tuple[int, int, int, int]]) -> None:
        """Words (bank, address, word, cycle) that the drain wrote in a step."""
        self.written += words
        target = step.target
        for bank, address, word, _ in words:
            # Planes of a strip may lie closer together than those of the whole map.
            plane, point = divmod((address - target.base) * self.banks + bank, target.plane_step * self.banks)
            at = plane * self.region.plane_step * self.banks + target.first_row * target.pitch + point
            if not (0 <= at < len(self.seen) and bank < self.banks):
                self.image.stray.append(f"{self.tensor}: a word was written to bank {bank}, address {address}, "
                                        "outside its region")
                continue
            self._put(at, word)

    def stored(self, memory: dict[int, int], base: int) -> None:
        """Words in memory, the first one at ``base``."""
        for at in range(len(self.seen)):
            if base + at in memory:
                self._put(at, memory[base + at])

    def _put(self, at: int, word: int) -> None:
        self.nibbles[at] = [word >> 4 * i & 15 for i in range(self.ki)]
        self.seen[at] = True

    def codes(self) -> tuple[np.ndarray, int]:
        """The map (C, H, W) and how many of its words are missing."""
        region = self.region
        shape = (region.blocks, region.planes, region.plane_step * self.banks)
        points = np.arange(region.height * region.pitch) % region.pitch < region.width
        expected = self.seen.reshape(shape)[:, :, :len(points)][:, :, points]
        words = self.nibbles.reshape(*shape, self.ki)
        return unpack_words(self.layout, self.tensor, words), int((~expected).sum())
