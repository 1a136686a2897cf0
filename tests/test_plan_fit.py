"""The first answer of hwgen check: boards and parts, engines that are what they say, and what is missing."""

import json

import pytest
from small_networks import chain_network

from hwgen.cli.main import main
from hwgen.device import PARTS, get_board, get_part, list_boards
from hwgen.build.models import find_model
from hwgen.plan.fit import fits, short
from hwgen.plan.search import Search

NETWORK = chain_network(1)[0]


def test_every_board_and_every_other_part_once():
    boards = [get_board(name) for name in list_boards()]
    found = fits(NETWORK, boards, PARTS.values())
    assert [fit.board for fit in found[:len(boards)]] == list_boards()
    assert sorted({fit.part for fit in found}) == sorted(PARTS)
    assert len(found) == len(boards) + len(set(PARTS) - {board.part.name for board in boards})
    for fit in found:
        assert (fit.engine is None) == (fit.cycles == 0) == (fit.missing is not None)
        assert fit.fps == pytest.approx(fit.clock_mhz * 1e6 / fit.cycles if fit.cycles else 0)


def test_the_engine_fits_and_is_not_far_from_the_fastest():
    part = get_part("LFE5U-85F")
    quick = Search(NETWORK, part, every=3).quick()
    assert quick.fits(part)
    assert short(quick.engine) == fits(NETWORK, [], [part])[0].engine
    fastest = Search(NETWORK, part).fastest().cycles.total
    assert fastest <= quick.cycles.total <= 2 * fastest


def test_what_is_missing_is_said_in_numbers():
    graph = find_model("fmnist_cnn").load()
    [fit] = fits(graph, [], [get_part("iCE40UP5K")])
    assert fit.engine is None and fit.fps == 0
    assert fit.missing.startswith("the smallest engine (") and "BRAM" in fit.missing and "of 30" in fit.missing
    assert "fmnist_cnn" not in fit.missing and "parts that it fits" not in fit.missing


def test_check_shows_proofs_and_boards(capsys):
    assert main(["check", "digits_mlp", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["proven"] == {"hidden1": [24, 24], "hidden2": [18, 18], "classify": [10, 10]}
    assert [fit["board"] for fit in tree["fits"][:3]] == list_boards()
    assert main(["check", "digits_mlp"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert any(line.startswith("ulx3s_85f") for line in lines)
