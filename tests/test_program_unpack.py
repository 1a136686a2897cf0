"""Maps to scratchpad words and back, against a place-by-place oracle."""

import numpy as np
import pytest
from test_program_pack import CASES, stored_channels

from hwgen.plan.packing import pack_codes
from hwgen.program.assemble import input_words, unpack_words


def words_of(layout, tensor, codes):
    """Nibbles (blocks, planes, points, ki) of a map, written one by one."""
    region, engine = layout.regions[tensor], layout.engine
    order = stored_channels(layout, tensor)
    words = np.full((region.blocks, region.planes, region.plane_step * engine.banks, engine.ki), 15, np.uint8)
    for position, channel in enumerate(order.tolist()):
        if channel < 0:
            continue
        block, k = divmod(position, engine.ki)
        for y in range(region.height):
            for x in range(region.width):
                code = int(codes[channel, y, x])
                for plane in range(region.planes):
                    high = region.planes == 2 and plane == 0
                    words[block, plane, y * region.pitch + x, k] = code >> 4 if high else code & 15
    return words


@pytest.mark.parametrize("layout", CASES)
def test_unpack_is_the_inverse(layout):
    rng = np.random.default_rng(1)
    for layer in layout.layers:
        tensor = layout.tensor(layer.output)
        codes = rng.integers(0, 2**tensor.bits, tensor.shape).astype(np.uint8)
        assert np.array_equal(unpack_words(layout, layer.output, words_of(layout, layer.output, codes)), codes)


@pytest.mark.parametrize("layout", CASES)
def test_input_words(layout):
    """Scratchpad words side by side in memory, in the order in which they are fetched: points, planes, blocks."""
    graph, engine = layout.network.graph, layout.engine
    tensor, region = graph.tensors[graph.input], layout.regions[graph.input]
    codes = np.random.default_rng(2).integers(0, 2**tensor.bits, tensor.shape).astype(np.uint8)
    data = input_words(layout, codes)
    size = engine.ki // 2
    n_words = region.size * engine.banks
    assert 0 <= len(data) - n_words * size < engine.mem_bits // 8 and len(data) % (engine.mem_bits // 8) == 0
    assert not any(data[n_words * size:])
    packed = pack_codes(codes, layout.network.packing, tensor.zero_point)
    expected = words_of(layout, graph.input, packed)
    found = [int.from_bytes(data[i:i + size], "little") for i in range(0, len(data), size)]
    order = stored_channels(layout, graph.input)
    points = region.plane_step * engine.banks
    for block in range(region.blocks):
        for plane in range(region.planes):
            for y in range(region.height):
                for x in range(region.width):
                    point = y * region.pitch + x
                    word = found[(block * region.planes + plane) * points + point]
                    assert word < 1 << engine.word_bits
                    for k in range(engine.ki):
                        if order[block * engine.ki + k] >= 0:
                            assert word >> 4 * k & 15 == expected[block, plane, point, k]
