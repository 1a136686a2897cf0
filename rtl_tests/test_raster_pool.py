# amaranth: UnusedElaboratable=no
"""The row buffer against maxima of windows, each taken from the whole map."""

import random

from lane_bench import drive
import pytest

from hwgen.rtl.requantize import RasterPool

FLAGS = [f"{axis}_{what}" for axis in "xy" for what in ("start", "begin", "end")]
WINDOWS = [(3, 2), (3, 1), (2, 1), (5, 2), (4, 2), (1, 1), (1, 2), (2, 2), (2, 3), (5, 4), (7, 3), (4, 3)]


def axis(size, kernel, stride, pad, before):
    """Positions of an axis from ``before`` positions ahead of the map on: (place in the map, start, begin, end)."""
    places = range(-before, (size + pad - kernel) // stride * stride + kernel - pad)
    return [(place, int(place == -before), int((place + pad) % stride == 0),
             int((place + pad - kernel + 1) % stride == 0)) for place in places]


def ahead(kernel, stride):
    """Ends between a window's first position, included, and its last."""
    return sum((place - kernel + 1) % stride == 0 for place in range(kernel - 1))


@pytest.mark.parametrize("lanes,px,chunks", [(1, 1, 1), (2, 3, 4), (1, 2, 5), (3, 4, 2)])
@pytest.mark.parametrize("seed", range(4))
def test_maxima(lanes, px, chunks, seed):
    """Two maps in a row, every window of two axes by chance, pads before the map and places before its pads."""
    rng = random.Random(f"raster {lanes} {px} {chunks} {seed}")
    vectors, expected = [], []
    for _ in range(2):
        windows = [rng.choice(WINDOWS) for _ in "yx"]
        sizes = [rng.randint(max(2, kernel), kernel + 5) for kernel, _ in windows]
        pads = [rng.randint(0, kernel - 1) for kernel, _ in windows]
        # A walk may begin before the map, at places that count as 0.
        rows, columns = (axis(size, *window, pad, rng.randint(0, 2))
                         for size, window, pad in zip(sizes, windows, pads, strict=True))
        if len(columns) == 1:
            # The row buffer takes two cycles.
            rows, columns, windows, sizes, pads = columns, rows, windows[::-1], sizes[::-1], pads[::-1]
        codes = {(y, x, c, lane): rng.randrange(256) for y in range(sizes[0]) for x in range(sizes[1])
                 for c in range(chunks) for lane in range(lanes)}
        layer = {"enable": 1, "ahead_h": ahead(*windows[0]), "ahead_w": ahead(*windows[1])}
        # The constants of a layer change when everything before has left.
        vectors += [{"valid": 0}] * 2
        expected += [None] * 2
        places = [(row, column) for row in rows for column in columns]
        for first in range(0, len(places), px):
            group = places[first:first + px]
            for c in range(chunks):
                for p in range(px):
                    vector = layer | {"valid": 1, "chunk": c, "pixel_end": int(p == px - 1),
                                      "group_end": int(p == px - 1 and c == chunks - 1), "inside": 0}
                    wanted = None
                    if p < len(group):
                        (y, *y_flags), (x, *x_flags) = group[p]
                        inside = 0 <= y < sizes[0] and 0 <= x < sizes[1]
                        values = [codes[y, x, c, lane] if inside else rng.randrange(256) for lane in range(lanes)]
                        vector |= dict(zip(FLAGS, x_flags + y_flags, strict=True)) | {
                            "inside": int(inside), "codes": sum(v << 8 * i for i, v in enumerate(values))}
                        corner = y - windows[0][0] + 1, x - windows[1][0] + 1
                        if x_flags[2] and y_flags[2] and corner[0] >= -pads[0] and corner[1] >= -pads[1]:
                            window = [(i, j) for i in range(corner[0], y + 1) for j in range(corner[1], x + 1)]
                            wanted = [max(codes.get((*at, c, lane), 0) for at in window) for lane in range(lanes)]
                    vectors.append(vector)
                    expected.append(wanted)
                if rng.random() < 0.1:
                    vectors.append({"valid": 0, "codes": rng.getrandbits(8 * lanes)})
                    expected.append(None)
    found = drive(RasterPool(lanes=lanes, chunks=chunks, columns=16), vectors + [{}] * 2, ["o"])[2:]
    for got, wanted in zip(found, expected, strict=True):
        if wanted is not None:
            assert [got >> 8 * lane & 255 for lane in range(lanes)] == wanted
    assert sum(wanted is not None for wanted in expected) > chunks


def test_codes_pass_when_it_is_off():
    vectors = [{"valid": i % 2, "codes": 1000 + i, "x_end": 1, "y_end": i % 3 == 0} for i in range(20)]
    assert drive(RasterPool(lanes=2, chunks=3, columns=4), vectors + [{}] * 2, ["o"])[2:] == list(range(1000, 1020))
