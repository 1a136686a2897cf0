"""What an engine takes on a part, block by block, without synthesizing it.

DSP blocks and memories follow from rules (multipliers.py, memories.py).  LUTs and flip-flops are
counted by the rules of docs/resources.md from a table per family that
``benchmarks/calibrate.py`` measures with Yosys: calibration_FAMILY.py.
"""

from functools import lru_cache, cache
from importlib import import_module
from typing import TYPE_CHECKING

from hwgen.device.engine_memories import chunks, memories
from hwgen.device.memories import Mapped, map_memory, map_used
from hwgen.device.multipliers import blocks
from hwgen.device.parts import Part
from hwgen.device.resources import Resources

if TYPE_CHECKING:  # hwgen.plan imports this module
    from hwgen.engine import Engine


_TABLES: dict[str, dict] = {}


def calibration(family: str) -> dict:
    """The measured table of a family."""
    if family not in _TABLES:
        _TABLES[family] = import_module(f"hwgen.device.calibration_{family}").TABLE
    return _TABLES[family]


def use_table(family: str, table: dict) -> None:
    """Estimate with another table from now on (for benchmarks/calibrate.py)."""
    _TABLES[family] = table
    for cached in (estimate, multiplexer):
        cached.cache_clear()


@lru_cache(maxsize=65536)
def estimate(engine: "Engine", part: Part) -> Resources:
    """The engine on ``part``, without the memory that holds its program."""
    total = Resources()
    for value in breakdown(engine, part).values():
        total += value
    return total.rounded()


def breakdown(engine: "Engine", part: Part) -> dict[str, Resources]:
    """The parts of :func:`estimate` by block; LUTs and flip-flops may have fractions."""
    table = calibration(part.family)
    result = known_blocks(engine, part.family, table)
    for name, values in control_terms(engine, part.family).items():
        weights = table["control"][name]
        extra = Resources(lut=weigh(weights["lut"], values), ff=weigh(weights["ff"], values))
        result[name] = result.get(name, Resources()) + extra
    return result


def known_blocks(engine: "Engine", family: str, table: dict) -> dict[str, Resources]:
    """The blocks that were measured on their own, and the memories."""
    result = _array(engine, family, table)
    for name, value in memory_costs(engine, family).items():
        result[name] = result.get(name, Resources()) + value
    terms, weights = requantizer_terms(engine), table["requantizer"]
    result["requantizers"] = engine.drain_lanes * Resources(
        lut=weigh(weights["lut"], terms), ff=weigh(weights["ff"], terms), dsp=requantizer_dsp(engine, family))
    return result


def weigh(weights: dict[str, float], terms: dict[str, float]) -> float:
    return sum(weights.get(name, 0) * value for name, value in terms.items())


# Array

def dsp_lane(engine: "Engine") -> str:
    """Key of the multiplier lanes in the table."""
    return f"fixed_{engine.dsp_weights}_{'wide' if engine.wide else 'narrow'}"


def lane_dsp(engine: "Engine") -> int:
    """DSP blocks of one multiplier lane."""
    if engine.dsp_weights != "dsp":
        return 0
    return engine.ki if engine.wide else engine.ki // 2


def dot_bits(kind: str, ki: int) -> int:
    """Width of a lane's result."""
    largest = {"sp2": 155, "operand_sum": 15}.get(kind, 3825 if kind.endswith("wide") else 225)
    return (largest * ki).bit_length()


def latency(kind: str, ki: int) -> int:
    """Cycles of a lane, as in hwgen.rtl.lanes."""
    levels = ki.bit_length() - 1
    if kind == "operand_sum":
        return levels
    if kind == "sp2":
        return levels + 1
    return levels + kind.endswith("wide") + (2 if "_lut_" in kind else 0)


def _array(e: "Engine", family: str, table: dict) -> dict[str, Resources]:
    kinds = {"sp2": e.sp2_rows, dsp_lane(e): e.dsp_rows, "operand_sum": 1}
    kinds = {kind: rows for kind, rows in kinds.items() if rows}
    latest = max(latency(kind, e.ki) for kind in kinds)
    names = {"sp2": "sp2 lanes", "operand_sum": "operand sums"}
    result = {}
    for kind, rows in kinds.items():
        one = table["lanes"][kind][str(e.ki)]
        late, bits = latest - latency(kind, e.ki), dot_bits(kind, e.ki)
        terms = {"one": 1, "acc": e.acc_bits, "dot": bits}
        # A delay of two cycles or more becomes shift registers where LUTs can be such.
        shifted = bits if late >= 2 and family == "xilinx7" else 0
        lane = Resources(lut=one["lut"] + weigh(table["accumulator"]["lut"], terms) + shifted,
                         ff=one["ff"] + weigh(table["accumulator"]["ff"], terms) + bits * late,
                         dsp=lane_dsp(e) if kind.startswith("fixed") else 0)
        per_row = Resources()
        if kind != "operand_sum":
            words = e.word_bits * (2 if kind.endswith("wide") else 1)
            per_row = Resources(lut=e.word_bits if kind.endswith("wide") else 0, ff=words)
        # What rows or pixels share was counted in every lane: once is right.
        shared = Resources(lut=one.get("row", 0) * rows * (e.px - 1) + one.get("pixel", 0) * (rows - 1) * e.px)
        result[names.get(kind, "dsp lanes")] = rows * e.px * lane + rows * per_row + -1 * shared
    return result


# Requantizer lanes

def requantizer_terms(e: "Engine") -> dict[str, float]:
    """What a lane's LUTs and flip-flops depend on."""
    wide = e.acc_bits + 1 > 18
    return {"one": 1, "acc": e.acc_bits, "m": e.m_bits, "wide": wide, "residual": e.residual,
            "residual_m": e.residual * e.m_bits, "rescale": e.rescale, "rescale_m": e.rescale * e.m_bits,
            "rescale_residual": e.rescale and e.residual, "pool": e.pool, "pool_rescale": e.pool and e.rescale,
            "thresholds": e.thresholds, "thresholds_acc": e.thresholds * e.acc_bits}


def requantizer_dsp(e: "Engine", family: str) -> int:
    """DSP blocks of one requantizer lane: acc*m, r*res, x*a and y*b."""
    cut = 17
    if e.acc_bits + 1 <= 18:
        total = blocks(e.acc_bits + 1, e.m_bits, family)
    else:
        total = blocks(cut + 1, e.m_bits, family) + blocks(e.acc_bits + 1 - cut, e.m_bits, family)
    if e.residual:
        total += blocks(e.m_bits, 9, family)
    if e.rescale:
        total += blocks(17 if e.pool else 9, e.m_bits, family)
        if e.residual:
            total += blocks(e.m_bits, 9, family)
    return total


# Memories

def memory_costs(e: "Engine", family: str) -> dict[str, Resources]:
    result: dict[str, Resources] = {}
    for spec in memories(e):
        mapped = map_used(spec.width, spec.depth, family, spec.used or ((0, spec.width),), clocked=spec.clocked)
        cost = _memory_cost(mapped, sum(end - first for first, end in spec.used) or spec.width, spec.depth,
                            spec.clocked, family)
        result[spec.block] = result.get(spec.block, Resources()) + spec.count * cost
    return result


def _memory_cost(mapped: Mapped, bits: int, depth: int, clocked: bool, family: str) -> Resources:
    select = multiplexer(mapped.stacked, family) * bits
    if mapped.kind == "block":
        # Old data when the word that is read is being written: a comparison, and a copy of the data.
        checked = family != "xilinx7"
        return Resources(lut=select + (bits + 10 if checked else 0), ff=2 if mapped.stacked > 1 else 0,
                         bram=mapped.units)
    if mapped.kind == "lut":
        return Resources(lut=mapped.units + select, ff=bits if clocked else 0)
    return Resources(lut=bits * (depth * 0.25 + multiplexer(depth, family)), ff=bits * (depth + clocked))


@cache
def multiplexer(inputs: int, family: str) -> float:
    """LUTs of one bit of a multiplexer with ``inputs`` inputs."""
    if inputs <= 1:
        return 0
    known = calibration(family)["multiplexer"]
    return float(known[str(inputs)]) if str(inputs) in known else known["slope"] * inputs


# The rest: control, selection of operands and results

def control_terms(e: "Engine", family: str) -> dict[str, dict[str, float]]:
    """Per block what its other LUTs and flip-flops depend on."""
    rows = chunks(e) if e.chunks > 1 else 1
    per_word = e.ki // e.drain_lanes
    totals = e.px * multiplexer(e.chunks, family) + multiplexer(e.px, family)
    pixel = multiplexer(e.px, family)
    return {
        "control": {"one": 1, "px": e.px, "px_point": e.px * e.point_bits, "point": e.point_bits,
                    "px_px": e.px * e.px, "wide": e.wide, "rows": rows},
        "operand words": {"select": e.px * e.word_bits * multiplexer(e.banks, family), "bits": e.px * e.word_bits},
        "result words": {"select": 2 * e.word_bits * pixel, "bits": e.word_bits, "px_bits": e.px * e.word_bits},
        "totals": {"select": e.drain_lanes * e.acc_bits * totals + e.acc_bits * pixel},
        "requantizers": {"lanes": e.drain_lanes},
        "residual": {"one": e.residual, "select": e.residual * (2 * e.word_bits * pixel
                                                              + 8 * e.drain_lanes * multiplexer(per_word, family))},
        "features": {"pool": e.pool, "rescale": e.rescale, "rescale_m": e.rescale * e.m_bits,
                     "thresholds": e.thresholds},
    }


def memory_blocks(words: int, bits: int, part: Part) -> float:
    """Block RAMs of the on-chip memory that holds a program of ``words`` words of ``bits`` bits.

    0 where single-port RAM holds it (:func:`spram_blocks`).
    """
    if words <= 0 or spram_blocks(words, bits, part):
        return 0
    return map_memory(bits, words, part.family, checked=False).units


def spram_blocks(words: int, bits: int, part: Part) -> int:
    """Single-port RAMs of a memory of ``words`` words of ``bits`` bits; 0 when the part has none or too few."""
    needed = -(-bits // 16) * -(-words // 16384)
    return needed if needed <= part.spram else 0
