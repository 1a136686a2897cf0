"""Parts, boards, their budgets and the calibrated cost tables."""

from hwgen.device.boards import Board, Pll, get_board, list_boards
from hwgen.device.parts import PARTS, Part, get_part, list_parts
from hwgen.device.resources import Resources

__all__ = ["PARTS", "Board", "Part", "Pll", "Resources", "get_board", "get_part", "list_boards", "list_parts"]
