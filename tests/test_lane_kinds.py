"""What the planner knows of LUT lanes, against figures written down by hand."""

import numpy as np
import pytest

from hwgen.lanes import INT4, KINDS, SP2, TERM_MAX
from hwgen.schemes import get


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_rows_of_its_schemes_are_taken(kind):
    for scheme in kind.schemes:
        assert kind.takes(get(scheme).accepted[:, None]).all()


def test_rows_that_are_not_taken():
    rows = np.array([[8, 0], [-8, 7], [3, 1], [-8, 6], [9, 0]])
    assert SP2.takes(rows).tolist() == [True, False, False, True, False]
    assert INT4.takes(rows).tolist() == [False, True, True, True, False]
    with pytest.raises(ValueError, match="sp2 lanes cannot take 3"):
        SP2.encode(np.array([[1, 3]]))


@pytest.mark.parametrize("kind", [SP2, INT4], ids=["sp2", "int4"])
def test_code_is_the_weight(kind):
    """The two partial products that a code selects make the weight, and their complements the correction."""
    weights = np.array([w for w in range(-8, 9) if kind.takes(np.array([[w]]))[0]])
    for weight, code in zip(weights, kind.encode(weights[:, None]).ravel(), strict=True):
        total, excess = 0, 0
        for part in kind.parts:
            multiple, complemented = part.term(int(code))
            total += (-multiple if complemented else multiple) * 2 ** part.shift
            excess += TERM_MAX * complemented * 2 ** part.shift
        assert (total, excess) == (weight, kind.correction(np.array([[weight]]))[0])
    assert kind.encode(np.array([[0]]))[0, 0] == 0


def test_corrections():
    assert SP2.correction(np.array([[0, 1, 5], [-1, -5, 0], [2, 6, 8], [-2, -4, -6], [4, -8, 0]])).tolist() == [
        0, 310, 93, 372, 155]
    assert INT4.correction(np.array([[0, 1, 5], [2, 3, 7], [-8, -7, -3], [-1, -2, -6]])).tolist() == [0, 93, 372, 465]
    assert (SP2.largest, INT4.largest) == (155, 155)


def test_int4_codes_are_twos_complement():
    weights = np.arange(-8, 8)
    assert INT4.encode(weights[:, None]).ravel().tolist() == [w % 16 for w in weights]
