"""The off-line step of MSQ and RMSMP: the ratio of schemes that a part wants, from the planner's curve."""

from dataclasses import replace

from torch import fx

from hwgen.device import get_part
from hwgen.engine import Engine
from hwgen.errors import HwgenError
from hwgen.frontend import load
from hwgen.plan.explore import best, mix_of, ratio_curve
from hwgen.quantize.export import to_builder
from hwgen.quantize.freeze import freeze
from hwgen.quantize.policy import Policy
from hwgen.schemes.mix import Mix

CLOCK_MHZ = 100.0
"""Scales all frame rates alike and so decides nothing."""
LANES = {"sp2": "sp2", "pot4": "pot"}
"""Lane groups of the shift-add schemes."""


def policy_for_part(qmodel: fx.GraphModule, policy: Policy) -> Policy:
    """``policy`` with the ratio and the lane quotas of the fastest engine for this network on ``policy.part``.

    The ratio is the maximum of the curve that ``hwgen explore`` draws.  ``qmodel`` is prepared with any ratio of the
    policy's schemes; only its shapes and widths matter.
    """
    if policy.part is None:
        raise HwgenError("policy_for_part: the policy names no part")
    graph = load("network", data=to_builder(freeze(qmodel), "network").model().SerializeToString())
    curve = ratio_curve(graph, get_part(policy.part), clock_mhz=CLOCK_MHZ, low=policy.shifted, wide=policy.wide_percent)
    chosen = best(curve)
    mix = mix_of(chosen.sp2_percent, policy.shifted, policy.wide_percent)
    engine = chosen.point.sized.engine if chosen.point is not None else None
    return replace(policy, mix=mix, part=None, quotas=_quotas(engine, mix))


def _quotas(engine: Engine | None, mix: Mix) -> tuple[tuple[str, int], ...]:
    """Rows by scheme of one tile, where each of two schemes has lanes of its own; else nothing to round to.

    8-bit rows take two places of either kind, and rows of a scheme without lanes of its own share the multipliers.
    """
    names = [name for name, _ in mix.shares]
    if engine is None or len(names) != 2 or "fixed4" not in names:
        return ()
    low = next(name for name in names if name != "fixed4")
    places = {low: engine.rows_of(LANES[low]), "fixed4": engine.rows_of("dsp") + engine.rows_of("int4")}
    return tuple(sorted(places.items())) if min(places.values()) > 0 else ()
