"""What an engine takes on a part: first, rough costs."""

from functools import lru_cache

from hwgen.device.parts import Part
from hwgen.device.resources import Resources
from hwgen.plan.engine import Engine


def memory_blocks(words: int, bits: int, part: Part) -> int:
    """Block RAMs of one memory of ``words`` x ``bits``; 0 where single-port RAM holds it."""
    if part.spram:
        return 0
    return min(-(-bits // width) * -(-words // (part.bram_bits // 9 * 8 // (width // 9 * 8 if width > 8 else width)))
               for width in part.bram_widths)


def breakdown(engine: Engine, part: Part) -> dict[str, Resources]:
    """Costs by block."""
    e = engine
    ki = e.ki
    dsp = e.dsp_weights == "dsp"
    slices = sum(e.slices(k) for k in ("sp2", "dsp", "high"))
    fixed = ki * (8 if dsp else 34) * (2 if e.wide else 1)
    lane_dsp = (1 if e.acc_bits < 18 else 2) + e.residual + e.rescale * (1 + e.residual)
    unit = ki * (2 if e.wide else 1) // (2) if dsp else 0
    ring = memory_blocks(e.ring_depth, e.mem_bits, part)
    return {
        "sp2": e.sp2_rows * e.px * Resources(lut=31 * ki + 2.5 * e.acc_bits, ff=13 * ki + 3 * e.acc_bits),
        "dsp": e.dsp_rows * e.px * Resources(lut=fixed + 2.5 * e.acc_bits, ff=8 * ki + 3 * e.acc_bits, dsp=unit),
        "drain": e.drain_lanes * Resources(lut=335 + 350 * e.rescale + 100 * e.pool, ff=400, dsp=lane_dsp),
        "control": Resources(lut=4200, ff=2500, bram=memory_blocks(512, e.word_bits + 20, part)),
        "memories": Resources(bram=slices * ring + e.banks * memory_blocks(e.scratch_depth, e.word_bits, part)),
    }


@lru_cache(maxsize=4096)
def estimate(engine: Engine, part: Part) -> Resources:
    """The engine without program memory."""
    return sum(breakdown(engine, part).values(), Resources()).rounded()
