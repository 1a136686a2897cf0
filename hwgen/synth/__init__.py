"""Synthesis and place and route with open tools."""

from hwgen.synth.pnr import CriticalPath, Placement, find_nextpnr, place, place_and_route, synthesize_wrapped
from hwgen.synth.yosys import Synthesis, synthesize

__all__ = ["CriticalPath", "Placement", "Synthesis", "find_nextpnr", "place", "place_and_route", "synthesize",
           "synthesize_wrapped"]
