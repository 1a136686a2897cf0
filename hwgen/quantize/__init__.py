"""Quantization-aware training: prepare a torch network, train it, export it for the hardware.

Needs torch (``pip install "hwgen[train]"``); nothing else in hwgen does.
"""

from importlib.util import find_spec

from hwgen.errors import HwgenError

if find_spec("torch") is None:
    raise HwgenError('hwgen.quantize needs torch; install it with: pip install "hwgen[train]"')

from hwgen.quantize.export import export
from hwgen.quantize.fit import accuracy, fit
from hwgen.quantize.freeze import Frozen, freeze, integer_forward
from hwgen.quantize.picture import draw_assignment
from hwgen.quantize.policy import Policy
from hwgen.quantize.prepare import assigned, prepare, reassign

__all__ = ["Frozen", "Policy", "accuracy", "assigned", "draw_assignment", "export", "fit", "freeze", "integer_forward",
           "prepare", "reassign"]
