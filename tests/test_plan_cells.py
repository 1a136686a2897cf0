"""Orders of channels that several producers share: valid for every one of them, and as short as they can be."""

from collections import Counter
import itertools

import numpy as np
import pytest

from hwgen.engine import GROUPS, Engine
from hwgen.plan.assign import Kind, spread
from hwgen.plan.cells import packed_order

SP2, DSP, BOTH = (Kind(mask, mask) for mask in (1, 8, 9))
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
