"""The off-line step of MSQ and RMSMP: the ratio of schemes that a part wants, from the planner's curve."""

from torch import fx

from hwgen.device import get_part
from hwgen.errors import HwgenError
from hwgen.frontend import load
from hwgen.plan.explore import best, mix_of, ratio_curve
from hwgen.quantize.export import to_builder
from hwgen.quantize.freeze import freeze
from hwgen.quantize.policy import Policy
from hwgen.schemes.mix import Mix

CLOCK_MHZ = 100.0
"""Scales all frame rates alike and so decides nothing."""


def mix_for_part(qmodel: fx.GraphModule, policy: Policy) -> Mix:
    """The mix with the highest frame rate on ``policy.part``: the maximum of the curve that ``hwgen explore`` draws.

    ``qmodel`` is prepared with any ratio of the policy's schemes; only its shapes and widths matter.
    """
    if policy.part is None:
        raise HwgenError("mix_for_part: the policy names no part")
    graph = load("network", data=to_builder(freeze(qmodel), "network").model().SerializeToString())
    curve = ratio_curve(graph, get_part(policy.part), clock_mhz=CLOCK_MHZ, low=policy.shifted, wide=policy.wide_percent)
    return mix_of(best(curve).sp2_percent, policy.shifted, policy.wide_percent)
