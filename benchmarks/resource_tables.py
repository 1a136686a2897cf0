"""Print the tables of docs/resources.md from the calibration and from what was synthesized."""

import json
from pathlib import Path

from hwgen.device import get_part
from hwgen.device.costs import calibration, dot_bits, estimate, weigh
from hwgen.engine import Engine
from measure import PARTS, describe

RECORD = Path(__file__).resolve().parents[1] / "tests" / "synthesized_engines.json"
LANES = {"sp2": "SP2", "fixed_dsp_narrow": "fixed, 4-bit weights, DSP", "fixed_dsp_wide": "fixed, 8-bit weights, DSP",
         "fixed_lut_narrow": "fixed, 4-bit weights, LUT", "fixed_lut_wide": "fixed, 8-bit weights, LUT"}


def engines_table() -> None:
    for family, data in json.loads(RECORD.read_text(encoding="utf-8")).items():
        print(f"\n{family}, Yosys {data['yosys']}, {data['date']}\n")
        print("| engine | LUT | estimated | error | FF error | DSP | BRAM |\n|---|---|---|---|---|---|---|")
        for item in data["checks"] + data["calibration"]:
            engine = Engine(**item["engine"])
            guess = estimate(engine, get_part(PARTS[family]).without_ports())
            mark = "**" if item in data["checks"] else ""
            same = ["" if getattr(guess, name) == item[name] else f" ({getattr(guess, name)})"
                    for name in ("dsp", "bram")]
            print(f"| {mark}{describe(engine)}{mark} | {item['lut']:,} | {guess.lut:,} | "
                  f"{100 * (guess.lut / item['lut'] - 1):+.1f} % | {100 * (guess.ff / item['ff'] - 1):+.1f} % | "
                  f"{item['dsp']}{same[0]} | {item['bram']}{same[1]} |")


def lanes_table(ki: int = 8, acc_bits: int = 20) -> None:
    print("| lane | " + " | ".join(f"{family} LUT | FF | DSP" for family in PARTS) + " |")
    print("|---" * (1 + 3 * len(PARTS)) + "|")
    for kind, name in LANES.items():
        cells = []
        for family in PARTS:
            table = calibration(family)
            terms = {"one": 1, "acc": acc_bits, "dot": dot_bits(kind, ki)}
            one = table["lanes"][kind][str(ki)]
            cells += [f"{(one[field] + weigh(table['accumulator'][field], terms)) / ki:.1f}" for field in ("lut", "ff")]
            cells.append({0: "0", ki // 2: "1/2", ki: "1"}.get(one["dsp"], str(one["dsp"])))
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    lanes_table()
    engines_table()
