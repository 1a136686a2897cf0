"""The engine behind AXI memory ports."""

from .engine import AxiEngine as AxiEngine
from .engine import emit_top as emit_top
from .master import AxiMaster as AxiMaster
