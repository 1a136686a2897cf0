"""Make the tables of docs/resources.md anew from what was synthesized:  python benchmarks/resource_tables.py"""

import json
from pathlib import Path

from hwgen.device import get_part
from hwgen.device.costs import estimate
from hwgen.engine import Engine
from measure import PARTS, describe

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "tests" / "synthesized_engines.json"
PAGE = ROOT / "docs" / "resources.md"
MARK = "\n### "
"""The tables' titles are the only ones of the third level, at the page's end."""


def family_table(family: str, data: dict) -> str:
    """Every synthesized engine of a family beside its estimate."""
    part = get_part(PARTS[family])
    lines = [f"### {part.name}: Yosys {data['yosys']}, {data['date']}", "",
             "| engine | LUT | estimated | error | FF error | DSP | BRAM |", "|---|---|---|---|---|---|---|"]
    for item in data["checks"] + data["calibration"]:
        engine = Engine(**item["engine"])
        guess = estimate(engine, part.without_ports())
        mark = "**" if item in data["checks"] else ""
        same = ["" if getattr(guess, name) == item[name] else f" ({getattr(guess, name)})" for name in ("dsp", "bram")]
        lines.append(f"| {mark}{describe(engine)}{mark} | {item['lut']:,} | {guess.lut:,} | "
                     f"{100 * (guess.lut / item['lut'] - 1):+.1f} % | {100 * (guess.ff / item['ff'] - 1):+.1f} % | "
                     f"{item['dsp']}{same[0]} | {item['bram']}{same[1]} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8").split(MARK)[0].rstrip("\n") + "\n"
    for family, data in json.loads(RECORD.read_text(encoding="utf-8")).items():
        text += "\n" + family_table(family, data)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
