"""What an engine takes on a part, block by block, without synthesizing it.

DSP blocks and memories follow from rules (multipliers.py, memories.py).  LUTs and flip-flops are
counted by the rules of docs/resources.md from a table per family that
``benchmarks/calibrate.py`` measures with Yosys: calibration_FAMILY.py.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, lru_cache
from importlib import import_module

from hwgen.device.engine_memories import MemorySpec, memories
from hwgen.device.memories import map_memory, map_used
from hwgen.device.multipliers import blocks
from hwgen.device.parts import Part
from hwgen.device.resources import Resources
from hwgen.engine import GROUPS, Engine, unchecked_words
from hwgen.requantizer import Cut, cut, dsp_bits
from hwgen.lanes import ACT_MAX, DSP_WIDE, KINDS, dot_bits, dsp_blocks, latency

ROW_BUFFER = {"xilinx7": (98, 19), "ecp5": (165, 48), "ice40": (140, 48)}
"""LUTs and flip-flops per drain lane of the unit with the row buffer, beside its memories; measured with 4 and 8."""

AXI_PORT = {"xilinx7": (124, 114)}
"""LUTs and flip-flops per AXI master of 64 bits (AXI3), queue of requests included, for families of parts with ports;
measured as what engines take more with 1, 2 and 4 of them: 132, 126 and 122 LUTs per port, 112, 114 and 114
flip-flops."""

_TABLES: dict[str, dict] = {}


def calibration(family: str) -> dict:
    """The measured table of a family."""
    if family not in _TABLES:
        _TABLES[family] = import_module(f"hwgen.device.calibration_{family}").TABLE
    return _TABLES[family]


def use_table(family: str, table: dict) -> None:
    """Estimate with another table from now on (for benchmarks/calibrate.py)."""
    _TABLES[family] = table
    for cached in (estimate, multiplexer, memory_cost):
        cached.cache_clear()


class Tally:
    """Costs added up by block."""

    def __init__(self):
        self.blocks: dict[str, list[float]] = {}

    def add(self, block: str, *, count: float = 1, lut: float = 0, ff: float = 0, dsp: float = 0, bram: float = 0):
        known = self.blocks.setdefault(block, [0.0, 0.0, 0.0, 0.0])
        known[0] += count * lut
        known[1] += count * ff
        known[2] += count * dsp
        known[3] += count * bram

    def total(self) -> Resources:
        return Resources(*(max(0.0, sum(column)) for column in zip(*self.blocks.values(), strict=False)))


@lru_cache(maxsize=65536)
def estimate(engine: Engine, part: Part) -> Resources:
    """The engine on ``part`` with its ports to external memory, without the memory that holds its program.

    ``part.without_ports()``: the engine alone, which ``benchmarks/calibrate.py`` measures.
    """
    return _tally(engine, part).total().rounded()


def breakdown(engine: Engine, part: Part) -> dict[str, Resources]:
    """The parts of :func:`estimate` by block; LUTs and flip-flops may have fractions."""
    return {name: Resources(*values) for name, values in _tally(engine, part).blocks.items()}


def _tally(engine: Engine, part: Part) -> Tally:
    family = part.family
    table = calibration(family)
    tally = known_blocks(engine, family, table)
    for name, values in control_terms(engine, family).items():
        weights = table["control"][name]
        tally.add(name, lut=weigh(weights["lut"], values), ff=weigh(weights["ff"], values))
    if part.protocol is not None:
        lut, ff = AXI_PORT[family]
        tally.add("axi ports", count=engine.ports, lut=lut, ff=ff)
    return tally


def known_blocks(engine: Engine, family: str, table: dict) -> Tally:
    """The blocks that were measured on their own, and the memories."""
    tally = Tally()
    _array(tally, engine, family, table)
    for spec in memories(engine):
        lut, ff, bram = memory_cost(spec, family)
        tally.add(spec.block, count=spec.count, lut=lut, ff=ff, bram=bram)
    if engine.pool_columns:
        lut, ff = ROW_BUFFER[family]
        tally.add("row buffer", count=engine.drain_lanes, lut=lut, ff=ff)
    if engine.walks_ahead:
        # A group of slots that waits: three points, two places, flags.
        tally.add("walker", ff=engine.px * (3 * (engine.point_bits + 4) + 36))
    terms, weights = requantizer_terms(engine), table["requantizer"]
    tally.add("requantizers", count=engine.drain_lanes, lut=weigh(weights["lut"], terms),
              ff=weigh(weights["ff"], terms), dsp=requantizer_dsp(engine, family))
    return tally


def weigh(weights: Mapping[str, float], terms: Mapping[str, float]) -> float:
    return sum(weight * terms[name] for name, weight in weights.items())


# Array

def lane_kind(engine: Engine, group: str) -> str:
    """Key of a group's lanes in the table."""
    return group if group != "dsp" else f"dsp_{engine.dsp_weights}_{'wide' if engine.wide else 'narrow'}"


def single_luts(e: Engine, block: int) -> int:
    """About what lanes with one product per block take: the trees, and the multipliers of logic.

    A product of 4 by 4 bits is 33 to 37 LUTs, behind it half a full adder per bit and level.
    """
    products = e.blocks("dsp")[block] * e.px * e.ki
    return 35 * (2 if e.wide else 1) * (products - e.single_products(block)) + (10 + 4 * e.wide) * products


def block_terms(ki: int, px: int, rows: int) -> dict[str, int]:
    """What the LUTs and flip-flops of a block of rows depend on, its accumulators left out.

    "beyond": inputs beyond four, whose sum a column of DSP48E1 makes without logic.
    """
    lanes = rows * px
    return {"lane_ki": lanes * ki, "beyond": lanes * max(0, ki - 4), "lane": lanes, "row_ki": rows * ki,
            "px_ki": px * ki}


def _array(tally: Tally, e: Engine, family: str, table: dict) -> None:
    latest = max(latency("sum", e) - e.broadcast_latency, *(latency(group, e) for group in GROUPS if e.rows_of(group)))
    for group in GROUPS:
        name = f"{group} lanes"
        one = table["lanes"].get(lane_kind(e, group))
        wide = group == "dsp" and e.wide
        kind = DSP_WIDE if wide else KINDS[group]
        for block, rows in enumerate(e.blocks(group)):
            if group == "dsp" and e.dsp_weights == "single":
                tally.add(name, lut=single_luts(e, block))
            else:
                terms = block_terms(e.ki, e.px, rows)
                tally.add(name, lut=weigh(one["lut"], terms), ff=weigh(one["ff"], terms))
            _accumulators(tally, name, rows * e.px, dot_bits(kind, e.ki), latest - latency(group, e), e, family, table)
            if e.broadcast_latency:
                # The block's own operands and codes.
                tally.add(name, ff=e.word_bits * (e.px + rows * (1 + wide)))
        # Weights pass a register, which blanks high nibbles.
        rows = e.rows_of(group)
        tally.add(name, lut=e.word_bits * rows * wide, ff=e.word_bits * rows * (1 + wide))
    tally.add("dsp lanes", dsp=dsp_blocks(replace(e, family=family)))
    one, late = table["lanes"]["operand_sum"][str(e.ki)], latest + e.broadcast_latency - latency("sum", e)
    tally.add("operand sums", count=e.px, lut=one["lut"], ff=one["ff"])
    _accumulators(tally, "operand sums", e.px, (ACT_MAX * e.ki).bit_length(), late, e, family, table)


def _accumulators(tally: Tally, name: str, count: int, bits: int, late: int, e: Engine, family: str,
                  table: dict) -> None:
    """Accumulators of ``count`` dot products of ``bits`` bits, which wait ``late`` cycles before."""
    terms, costs = {"one": 1, "acc": e.acc_bits, "dot": bits}, table["accumulator"]
    # A delay of three cycles or more becomes shift registers where LUTs can be such.
    shifted = bits if late >= 3 and family == "xilinx7" else 0
    tally.add(name, count=count, lut=weigh(costs["lut"], terms) + shifted,
              ff=weigh(costs["ff"], terms) + (bits * late if not shifted else bits))


# Requantizer lanes

def requantizer_terms(e: Engine) -> dict[str, float]:
    """What a lane's LUTs and flip-flops depend on."""
    at, soft = _cut(e)
    return {"one": 1, "acc": e.acc_bits, "m": e.m_bits, "wide": at > 0,
            "soft_product": (e.acc_bits + 1 - at) * e.m_bits if soft else 0, "swap": e.swap and e.acc_bits + e.m_bits,
            "residual": e.has_r,
            "residual_m": e.has_r * e.m_bits, "rescale": e.rescale, "rescale_m": e.rescale * e.m_bits,
            "rescale_residual": e.rescale and e.has_r,
            "two_steps": e.rescale and e.residual and not e.fused, "pool": e.pool, "pool_rescale": e.pool and e.rescale,
            "thresholds": e.thresholds, "thresholds_acc": e.thresholds * e.acc_bits}


def requantizer_dsp(e: Engine, family: str) -> int:
    """DSP blocks of one requantizer lane: acc*m, r*res, x*a and y*b; 7-series lanes make those of res in one."""
    at, soft = _cut(e)
    if not at:
        total = 1 if e.swap else blocks(e.acc_bits + 1, e.m_bits, family)
    else:
        total = blocks(at + 1, e.m_bits, family) + (0 if soft else blocks(e.acc_bits + 1 - at, e.m_bits, family))
    if e.has_r:
        total += blocks(e.m_bits, 9, family)
    if e.rescale:
        total += blocks(17 if e.pool else 9, e.m_bits, family)
        if e.residual and not (e.fused and e.family == "xilinx7"):
            total += blocks(e.m_bits, 9, family)
    return total


def _cut(e: Engine) -> Cut:
    return cut(e.acc_bits, e.m_bits, dsp_bits(e.family), e.swap, e.upper_blocks)


# Memories

@lru_cache(maxsize=65536)
def memory_cost(spec: MemorySpec, family: str) -> tuple[float, float, float]:
    """(LUT, FF, block RAM) of one memory."""
    checked = spec.depth < unchecked_words(family)
    mapped = map_used(spec.width, spec.depth, family, spec.used or ((0, spec.width),), clocked=spec.clocked,
                      checked=checked)
    bits = sum(end - first for first, end in spec.used) or spec.width
    select = multiplexer(mapped.stacked, family) * bits
    if mapped.kind == "block":
        # Old data for a word that is just being written: Yosys compares the addresses and keeps a copy.
        copied = bits + 10 if checked and family != "xilinx7" else 0
        return select + copied, 2 if mapped.stacked > 1 else 0, mapped.units
    if mapped.kind == "lut":
        return mapped.units + select, bits if spec.clocked else 0, 0
    return spec.depth + multiplexer(spec.depth, family) * bits, bits * (spec.depth + spec.clocked), 0


@cache
def multiplexer(inputs: int, family: str) -> float:
    """LUTs of one bit of a multiplexer with ``inputs`` inputs."""
    if inputs <= 1:
        return 0.0
    known = calibration(family)["multiplexer"]
    return float(known[str(inputs)]) if str(inputs) in known else known["slope"] * inputs


def memory_blocks(words: int, bits: int, part: Part) -> float:
    """Block RAMs of the on-chip memory that holds a program of ``words`` words of ``bits`` bits.

    0 where single-port RAM holds it (:func:`spram_blocks`).
    """
    if words <= 0 or spram_blocks(words, bits, part):
        return 0
    mapped = map_memory(bits, words, part.family, checked=False)
    # A few words are made of LUTs.
    return mapped.units if mapped.kind == "block" else 0


def spram_blocks(words: int, bits: int, part: Part) -> int:
    """Single-port RAMs of a memory of ``words`` words of ``bits`` bits; 0 when the part has none or too few."""
    needed = -(-bits // 16) * -(-words // 16384)
    return needed if needed <= part.spram else 0


# The rest: control, selection of operands and results

def control_terms(e: Engine, family: str) -> dict[str, dict[str, float]]:
    """Per block what its other LUTs and flip-flops depend on."""
    per_word = e.ki // e.drain_lanes
    pixel = multiplexer(e.px, family)
    column = e.px * multiplexer(e.chunks, family) + pixel
    return {
        "control": {"one": 1, "px": e.px, "px_point": e.px * e.point_bits, "point": e.point_bits,
                    "px_px": e.px * e.px, "mem": e.mem_bits, "ports": e.ports, "wide": e.wide,
                    "chunk_bits": (e.tile_chunks - 1).bit_length()},
        "fetched pairs": {"bits": (e.fetch_words - 1) * e.banks * e.word_bits},
        "operand words": {"select": e.px * e.word_bits * multiplexer(e.banks, family), "bits": e.px * e.word_bits},
        "result words": {"select": 2 * e.word_bits * pixel, "bits": e.word_bits, "px_bits": e.px * e.word_bits},
        "totals": {"select": e.drain_lanes * e.acc_bits * column + e.acc_bits * pixel},
        "requantizers": {"lanes": e.drain_lanes},
        "residual": {"one": e.residual, "select": e.residual * (1 + e.wide_residual) * (
            e.word_bits * pixel + 4 * e.drain_lanes * multiplexer(per_word, family))},
        "features": {"pool": e.pool, "rescale": e.rescale, "rescale_m": e.rescale * e.m_bits,
                     "thresholds": e.thresholds},
    }
