"""The off-line step of MSQ and RMSMP: the ratio of schemes that a part wants, from the planner's curve."""

from dataclasses import replace

from torch import fx

from hwgen.device import get_part
from hwgen.errors import HwgenError
from hwgen.frontend import load
from hwgen.plan.explore import best, mix_of, quotas_of, ratio_curve
from hwgen.quantize.export import to_builder
from hwgen.quantize.freeze import freeze
from hwgen.quantize.policy import Policy

CLOCK_MHZ = 100.0
"""Scales all frame rates alike and so decides nothing."""


def policy_for_part(qmodel: fx.GraphModule, policy: Policy) -> Policy:
    """``policy`` with the ratio and the lane quotas of the fastest engine for this network on ``policy.part``.

    The ratio is the maximum of the curve that ``hwgen explore`` draws; of ratios with about the same frame rate the one
    next to the policy's own, which the papers chose for its accuracy.  ``qmodel`` is prepared with any ratio of the
    policy's schemes; only its shapes and widths matter.
    """
    if policy.part is None:
        raise HwgenError("policy_for_part: the policy names no part")
    graph = load("network", data=to_builder(freeze(qmodel), "network").model().SerializeToString())
    curve = ratio_curve(graph, get_part(policy.part), clock_mhz=CLOCK_MHZ, low=policy.shifted, wide=policy.wide_percent)
    shares = dict(policy.mix.shares)
    own = round(100 * shares[policy.shifted] / (shares[policy.shifted] + shares.get("fixed4", 0)))
    chosen = best(curve, own)
    mix = mix_of(chosen.sp2_percent, policy.shifted, policy.wide_percent)
    quotas = quotas_of(chosen.point.sized.engine, mix) if chosen.point is not None else None
    return replace(policy, mix=mix, part=None, quotas=tuple(sorted((quotas or {}).items())))
