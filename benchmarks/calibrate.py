"""Measure what the hardware's blocks cost and write hwgen/device/calibration_FAMILY.py.

    python benchmarks/calibrate.py --family ecp5
    python benchmarks/calibrate.py --family ecp5 --check     # compare and record, larger engines too

Lanes, accumulators, multiplexers and requantizer lanes are synthesized on their own; what a whole
small engine takes beyond them is fitted to a few figures of the engine (least squares, no
negative costs).  Finished measurements are kept in build/calibrate, so an interrupted run goes on.
"""

import argparse
from dataclasses import asdict, replace
import datetime
import json
import os
from pathlib import Path
from pprint import pformat
import re

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
import numpy as np

import engines
from fit import fit, rising
from hwgen.device import costs, get_part
from hwgen.device.engine_memories import memories
from hwgen.engine import Engine, block_rows
from hwgen.rtl.bits import select
from hwgen.rtl.lanes import Accumulator, OperandSum, make_group
from hwgen.rtl.lanes.families import CELLS
from hwgen.rtl.requantize import make_lane
from measure import PARTS, Bench, describe

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "tests" / "synthesized_engines.json"
KI = (2, 4, 8, 16, 32)
SELECT_BITS = 8
SHAPES = ((4, 2, 2), (4, 2, 4), (4, 4, 2), (8, 3, 3), (16, 2, 2), (16, 2, 4), (16, 4, 2))
"""(ki, px, rows) of the groups that are measured."""
LARGE = (16, 4, 8)
"""Measured too where it does not take minutes: registers that rows and pixels share weigh less there."""


class Select(wiring.Component):
    """One multiplexer of ``n`` words."""

    def __init__(self, n: int):
        self.n = n
        super().__init__({"i": In(n * SELECT_BITS), "index": In(max(1, (n - 1).bit_length())), "o": Out(SELECT_BITS)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(select([self.i[k * SELECT_BITS:(k + 1) * SELECT_BITS] for k in range(self.n)],
                                     self.index))
        return m


def measure_lanes(bench: Bench) -> dict:
    """LUT and FF of every kind of lane group, fitted to its shape (``costs.block_terms``), and of the operand sums."""
    engines = {"sp2": ("sp2", {}), "pot": ("pot", {}), "int4": ("int4", {})}
    for how in ("dsp", "lut"):
        for width in ("narrow", "wide"):
            engines[f"dsp_{how}_{width}"] = "dsp", {"dsp_weights": how, "wide": width == "wide"}
    table: dict = {}
    for key, (group, options) in engines.items():
        terms, found = [], []
        large = bench.family != "ice40" and options.get("dsp_weights") != "lut"
        for ki, px, most in [*SHAPES, *[LARGE] * large]:
            rows = min(most, block_rows(bench.family))
            engine = Engine(ki=ki, px=px, drain_lanes=1, family=bench.family, **{f"{group}_rows": rows}, **options)
            terms.append(costs.block_terms(ki, px, rows))
            found.append(bench.block(make_group(group, 0, engine, False)))
        table[key] = {field: fit(terms, [item[field] for item in found]) for field in ("lut", "ff")}
    table["operand_sum"] = {}
    for ki in KI:
        found_sum = bench.block(OperandSum(ki=ki))
        table["operand_sum"][str(ki)] = {field: found_sum[field] for field in ("lut", "ff")}
    return table


def measure_accumulators(bench: Bench) -> dict:
    points = [(9, 16), (11, 16), (11, 20), (13, 24), (9, 28)]
    family = bench.family if bench.family in CELLS else ""
    found = [bench.block(Accumulator(dot_bits=dot, acc_bits=acc, family=family)) for dot, acc in points]
    terms = [{"one": 1, "acc": acc, "dot": dot} for dot, acc in points]
    return {field: fit(terms, [item[field] for item in found]) for field in ("lut", "ff")}


def measure_multiplexers(bench: Bench) -> dict:
    """LUTs per bit by number of inputs.

    Mapping is erratic here (five inputs can take less than four), and otherwise in a whole
    engine, so the figures are smoothed to a curve that never falls.
    """
    sizes = (2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32)
    found = [bench.block(Select(n))["lut"] / SELECT_BITS for n in sizes]
    smooth = found[:3] + [max(found[2], value) for value in rising(found[3:])]
    table = {str(n): round(float(np.interp(n, sizes, smooth)), 3) for n in range(2, 33)}
    return {**table, "slope": round(table["32"] / 32, 3)}


def measure_requantizers(bench: Bench) -> dict:
    base = Engine(ki=4, px=1, sp2_rows=0, dsp_rows=4, drain_lanes=1, acc_bits=16, m_bits=18, wide=False,
                  residual=False, rescale=False, pool=False, thresholds=False, family=bench.family)
    points = [base, replace(base, acc_bits=20), replace(base, m_bits=24), replace(base, residual=True),
              replace(base, rescale=True), replace(base, pool=True), replace(base, thresholds=True),
              replace(base, residual=True, rescale=True, pool=True),
              replace(base, residual=True, rescale=True, pool=True, fused=False),
              replace(base, residual=True, rescale=True, fused=False, m_bits=22),
              replace(base, residual=True, rescale=True, pool=True, acc_bits=24, m_bits=24),
              replace(base, residual=True, rescale=True, acc_bits=19), replace(base, acc_bits=20, m_bits=24),
              *([replace(base, acc_bits=20, m_bits=21, swap=True)] if bench.family == "xilinx7" else []),
              replace(base, acc_bits=22, m_bits=21),
              replace(base, pool=True, rescale=True, m_bits=24)]
    targets: dict = {"lut": [], "ff": []}
    for e in points:
        found = bench.block(make_lane(e))
        state = [costs.memory_cost(spec, bench.family) for spec in memories(e) if spec.block == "pooling"]
        targets["lut"].append(found["lut"] - sum(lut for lut, _, _ in state))
        targets["ff"].append(found["ff"] - sum(ff for _, ff, _ in state))
    terms = [costs.requantizer_terms(e) for e in points]
    return {field: fit(terms, values) for field, values in targets.items()}


def measure_control(bench: Bench, table: dict) -> dict:
    """What is left of whole engines."""
    points = engines.calibration(bench.family)
    result: dict = {block: {"lut": {}, "ff": {}} for block in costs.control_terms(points[0], bench.family)}
    for field in ("lut", "ff"):
        terms, rest = [], []
        for e in points:
            known = costs.known_blocks(e, bench.family, table).total()
            rest.append(bench.engine(e)[field] - getattr(known, field))
            terms.append({(block, name): value for block, values in costs.control_terms(e, bench.family).items()
                          for name, value in values.items()})
        expected = {key: EXPECTED[field].get(".".join(key), 0.0) for key in terms[0]}
        for (block, name), value in fit(terms, rest, expected=expected).items():
            result[block][field][name] = value
    return result


EXPECTED = {
    "lut": {"control.one": 1500.0, "control.px": 100.0, "control.mem": 1.0, "control.ports": 30.0,
            "fetched pairs.bits": 1.0, "operand words.select": 1.0, "result words.select": 1.0,
            "result words.bits": 2.0, "totals.select": 1.0, "requantizers.lanes": 30.0, "residual.select": 1.0},
    "ff": {"control.one": 1200.0, "control.px": 150.0, "operand words.bits": 1.0, "result words.px_bits": 2.0,
           "requantizers.lanes": 80.0},
}
"""Where the fit starts from: what the description of the hardware lets expect."""


def write_table(target: Path, table: dict) -> None:
    """The table as a Python module, so that it is installed with the package."""
    text = pformat(table, width=118, sort_dicts=False).replace("'", '"')
    target.write_text(f'"""Measured by benchmarks/calibrate.py; not to be edited."""\n\nTABLE: dict = {text}\n',
                      encoding="utf-8")


def compare(bench: Bench, points: list[Engine]) -> list[dict]:
    """Estimate beside synthesis, printed; returns what was synthesized."""
    rows, part = [], get_part(PARTS[bench.family]).without_ports()
    for e in points:
        found, guess = bench.engine(e), costs.estimate(e, part)
        rows.append({"engine": asdict(e), **{field: found[field] for field in ("lut", "ff", "dsp", "bram")}})
        error = 100 * (guess.lut / found["lut"] - 1)
        print(f"{describe(e):74} LUT {found['lut']:6} est {guess.lut:6} {error:+5.1f} %  "
              f"FF {100 * (guess.ff / found['ff'] - 1):+5.1f} %  DSP {found['dsp']} {guess.dsp}  "
              f"BRAM {found['bram']} {guess.bram}", flush=True)
    return rows


def record(bench: Bench, fitted: list[dict], others: list[dict]) -> None:
    """Keep what was synthesized for tests/test_costs.py."""
    known = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    known[bench.family] = {"yosys": bench.yosys, "date": datetime.date.today().isoformat(),
                           "calibration": fitted, "checks": others}
    lines = json.dumps(dict(sorted(known.items())), indent=1)
    # One line per engine.
    lines = re.sub(r"\{\s+\"engine\".*?\}[^}]*\}", lambda found: re.sub(r"\s+", " ", found[0]), lines, flags=re.S)
    RECORD.write_text(lines + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=sorted(PARTS), required=True)
    parser.add_argument("--check", action="store_true",
                        help="compare with the table that is there, larger engines too, and record")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "calibrate")
    parser.add_argument("--lanes", action="store_true", help="measure lanes and accumulators only")
    options = parser.parse_args()
    os.nice(5)
    bench = Bench(options.family, options.cache)
    target = Path(costs.__file__).with_name(f"calibration_{options.family}.py")
    if options.lanes:
        table = dict(costs.calibration(options.family), yosys=bench.yosys, date=datetime.date.today().isoformat(),
                     lanes=measure_lanes(bench), accumulator=measure_accumulators(bench))
        write_table(target, table)
        return
    if not options.check:
        table = {"family": options.family, "yosys": bench.yosys, "date": datetime.date.today().isoformat()}
        table["multiplexer"] = measure_multiplexers(bench)
        costs.use_table(options.family, table)
        table["lanes"] = measure_lanes(bench)
        table["accumulator"] = measure_accumulators(bench)
        table["requantizer"] = measure_requantizers(bench)
        table["control"] = measure_control(bench, table)
        write_table(target, table)
        print(f"{target} written after {bench.seconds:.0f} s of synthesis")
        costs.use_table(options.family, table)
    fitted = compare(bench, engines.calibration(options.family))
    if options.check:
        record(bench, fitted, compare(bench, engines.checks(options.family)))


if __name__ == "__main__":
    main()
