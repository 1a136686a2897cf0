"""Orders of channels that several producers share: valid for every one of them, and as short as they can be."""

from collections import Counter
import itertools

import numpy as np
import pytest

from hwgen.engine import GROUPS, Engine
from hwgen.plan.assign import Kind, spread
from hwgen.plan import cells
from hwgen.plan.cells import packed_order

SP2, DSP, BOTH, FIXED = (Kind(mask, mask) for mask in (1, 8, 9, 12))
WIDE = Kind(0, 8)


def valid(order, kinds, engine):
    """Every row of every producer has a slot of its own in its tile and drain lane."""
    lanes = engine.drain_lanes
    for rows in kinds:
        for tile in range(0, len(order), engine.rows):
            part = order[tile:tile + engine.rows]
            for lane in range(lanes):
                caps = [engine.lane_rows(group, lane) for group in GROUPS]
                if spread(Counter(rows[c] for c in part[lane::lanes]), caps) is None:
                    return False
    return sorted(order) == list(range(len(kinds[0])))


@pytest.mark.parametrize("count", [32, 64, 96, 128, 40, 72])
@pytest.mark.parametrize("seed", range(3))
def test_a_quarter_of_the_rows_on_a_quarter_of_the_lanes(count, seed):
    """Without a slot to spare: 24 + 8 rows, and in each of three producers another quarter is bound to multipliers."""
    engine = Engine(ki=16, px=2, sp2_rows=24, dsp_rows=8, drain_lanes=8)
    random = np.random.default_rng(seed)
    kinds = []
    for _ in range(3):
        rows = [SP2] * count
        for channel in random.permutation(count)[:count // 4]:
            rows[channel] = DSP
        kinds.append(rows)
    order = packed_order(kinds, engine)
    assert order is not None and valid(order, kinds, engine)


@pytest.mark.parametrize("count", [64, 128, 256])
@pytest.mark.parametrize("sp2,int4", [(19, 5), (20, 4), (22, 2)])
def test_lanes_with_unlike_slots_without_one_to_spare(sp2, int4, count, monkeypatch):
    """Some drain lanes have three sp2 slots, others two.  With 19, a greedy choice alone finds none."""
    engine = Engine(ki=16, px=2, sp2_rows=sp2, int4_rows=int4, dsp_rows=8, drain_lanes=8)
    random = np.random.default_rng(1)
    kinds = []
    for producer in range(3):
        rows = [FIXED] * count
        for channel in random.permutation(count)[:count * sp2 // 32]:
            # Some rows of the first producer are held by every kind of lane.
            rows[channel] = Kind(13, 13) if producer == 0 and random.random() < 0.3 else SP2
        kinds.append(rows)
    order = packed_order(kinds, engine)
    assert order is not None and valid(order, kinds, engine)
    monkeypatch.setattr(cells, "fill", lambda sorts, cells: None)
    cells._pack.cache_clear()
    found = packed_order(kinds, engine)
    cells._pack.cache_clear()
    assert (found is None) == (sp2 == 19 or (sp2, count) == (22, 256))


def test_too_many_rows_for_the_tiles_are_seen_at_once(monkeypatch):
    """77 rows that only sp2 lanes take in four tiles of 19: nothing is tried."""
    engine = Engine(ki=16, px=2, sp2_rows=19, int4_rows=5, dsp_rows=8, drain_lanes=8)
    monkeypatch.setattr(cells, "_greedy", None)
    assert packed_order([[SP2] * 77 + [FIXED] * 51], engine) is None


def test_wide_rows_and_engines_without_whole_words():
    engine = Engine(ki=4, px=2, sp2_rows=2, dsp_rows=2, drain_lanes=2)
    assert packed_order([[SP2, WIDE, SP2, DSP]], engine) is not None
    assert packed_order([[SP2] * 3], Engine(ki=4, px=2, sp2_rows=2, dsp_rows=4, drain_lanes=2)) is None


@pytest.mark.parametrize("seed", range(12))
def test_found_orders_are_valid_and_rarely_missed(seed):
    """Against trying all orders of eight channels of two producers."""
    engine = Engine(ki=2, px=1, sp2_rows=2, dsp_rows=2, drain_lanes=2)
    random = np.random.default_rng(seed)
    kinds = [[(SP2, DSP, BOTH)[i] for i in random.integers(0, 3, 8)] for _ in range(2)]
    order = packed_order(kinds, engine)
    if order is not None:
        assert valid(order, kinds, engine)
    else:
        assert not any(valid(list(p), kinds, engine) for p in itertools.permutations(range(8)))
