"""Accuracy of every policy from the same float weights and the same budget:  python -m benchmarks.accuracy --help

Each result goes to WORK at once; what is there or in docs/accuracy_runs.json is not trained again, and a training that
was interrupted goes on from its checkpoint.  Accuracies are those of the integers that the exported file computes, on
the whole test set.  ``--write`` makes docs/accuracy_runs.json (every run), docs/accuracy.json, docs/accuracy.md and
docs/accuracy.svg from all of them.
"""

import argparse
import json
from pathlib import Path
import time

import torch

from benchmarks.markdown import BEGIN, END, write_between
from hwgen.errors import HwgenError
from hwgen.quantize.policy import Policy
from hwgen.quantize.recipe import find_recipe
from hwgen.quantize.train import Job, float_accuracy, integer_accuracy

POLICIES = ("float", "fixed4", "pot4", "sp2", "msq_60_40", "msq_67_33", "msp", "rmsmp_60_35_5", "rmsmp_65_30_5",
            "fixed8", *(f"{name}+fixed8" for name in ("fixed4", "msq_60_40", "msq_67_33", "rmsmp_60_35_5",
                                                      "rmsmp_65_30_5")))
"""``+fixed8``: the first and the last layer have 8 bits."""
DOCS = Path(__file__).resolve().parent.parent / "docs"
RUNS = "accuracy_runs.json"


def measure(name: str, policies: list[str], seeds: list[int], epochs: int | None, work: Path) -> None:
    """Train what is not in the results yet, seed by seed."""
    _, recipe = find_recipe(name)
    data = recipe.data()
    for seed in seeds:
        folder = work / name
        folder.mkdir(parents=True, exist_ok=True)
        job = Job(recipe, data, seed, resume=True, folder=folder)
        for text in policies:
            done = read(work).get(name, {}).get(text, {}).get(str(seed))
            if done is not None and done["epochs"] == (epochs or recipe.epochs):
                continue
            start = time.perf_counter()
            network = job.float_network()
            # RMSMP assigns anew every 10 epochs; in a shorter training every 2
            settings = {"reassign_every": 2} if text.startswith("rmsmp") else {}
            policy = None if text == "float" else Policy.parse(text, **settings, **recipe.widths)
            model = job.quantized(network, policy, epochs, text)
            right = float_accuracy(model, data) if policy is None else integer_accuracy(model, data.test)
            result = {"accuracy": round(100 * right, 2), "epochs": epochs or recipe.epochs,
                      "float_epochs": recipe.float_epochs, "test": len(data.test.labels)}
            store(work, name, text, seed, result)
            (folder / f"{text}.checkpoint.seed{seed}.pt").unlink()
            print(f"{name} {text} seed {seed}: {100 * right:.2f} %  {time.perf_counter() - start:.0f} s", flush=True)


def read(work: Path, docs: Path = DOCS) -> dict:
    """{network: {policy: {seed: result}}} of all runs: published ones, then those in ``work``."""
    found: dict = {}
    for path in [*docs.glob(RUNS), *sorted(work.glob("results*.json"))]:
        for name, policies in json.loads(path.read_text()).items():
            for policy, seeds in policies.items():
                found.setdefault(name, {}).setdefault(policy, {}).update(seeds)
    return found


def store(work: Path, name: str, policy: str, seed: int, result: dict) -> None:
    """Each network has a file of its own, so that several can be trained side by side."""
    path = work / f"results.{name}.json"
    tree = json.loads(path.read_text()) if path.exists() else {}
    tree.setdefault(name, {}).setdefault(policy, {})[str(seed)] = result
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(tree, indent=1, sort_keys=True) + "\n")
    partial.replace(path)


def comparable(found: dict) -> dict:
    """The results of those seeds with which every policy of the network that is there was trained."""
    kept: dict = {}
    for name, policies in found.items():
        common = set.intersection(*(set(seeds) for seeds in policies.values()))
        kept[name] = {policy: {seed: result for seed, result in seeds.items() if seed in common}
                      for policy, seeds in policies.items()}
    return kept


def summary(found: dict) -> dict:
    """{network: {policy: {mean, spread, seeds}}}, percent; the spread is the best seed less the worst."""
    tree: dict = {}
    for name in sorted(found):
        tree[name] = {}
        for policy in POLICIES:
            values = [result["accuracy"] for _, result in sorted(found[name].get(policy, {}).items())]
            if values:
                tree[name][policy] = {"mean": round(sum(values) / len(values), 2),
                                      "spread": round(max(values) - min(values), 2), "seeds": len(values)}
    return tree


def table(tree: dict, found: dict) -> str:
    """Markdown: policies by networks."""
    names = list(tree)
    lines = ["| policy | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for policy in POLICIES:
        cells = []
        for name in names:
            entry = tree[name].get(policy)
            cells.append("-" if entry is None else f"{entry['mean']:.2f}" + (
                f" ({entry['spread']:.2f})" if entry["seeds"] > 1 else ""))
        lines.append(f"| {policy} | " + " | ".join(cells) + " |")
    one = {name: next(iter(next(iter(found[name].values())).values())) for name in names}
    for title, value in (("seeds", lambda name: max(entry["seeds"] for entry in tree[name].values())),
                         ("epochs in float, then with quantizers",
                          lambda name: f"{one[name]['float_epochs']} + {one[name]['epochs']}"),
                         ("test examples", lambda name: f"{one[name]['test']:,}")):
        lines.append(f"| *{title}* | " + " | ".join(str(value(name)) for name in names) + " |")
    return "\n".join(lines) + "\n"


def plot(tree: dict, found: dict, path: Path) -> None:
    """Every seed's distance to the mean of float, in points."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams["svg.hashsalt"] = "hwgen"
    figure = Figure(figsize=(8, 1.6 + 1.9 * len(tree)), layout="constrained")
    for index, (name, policies) in enumerate(tree.items()):
        axes = figure.add_subplot(len(tree), 1, index + 1)
        base = policies.get("float", {"mean": 0})["mean"]
        shown = [policy for policy in POLICIES if policy in policies and policy != "float"]
        for column, policy in enumerate(shown):
            values = [result["accuracy"] - base for result in found[name][policy].values()]
            axes.plot([column] * len(values), values, "o", color="#2f7fb8", markersize=4)
            axes.plot([column - 0.25, column + 0.25], [sum(values) / len(values)] * 2, color="#c4442d")
        axes.axhline(0, color="#888888", linewidth=0.8)
        names = [policy.replace("_", "\n", 1).replace("+", "\n+") for policy in shown]
        axes.set_xticks(range(len(shown)), names, fontsize=7)
        axes.set_title(f"{name}: points above or below float ({base:.2f} %)", fontsize=9)
    figure.savefig(path, metadata={"Date": None})


def write(work: Path, docs: Path) -> None:
    runs = read(work, docs)
    if not runs:
        raise HwgenError(f"no results in {work}; run benchmarks.accuracy without --write first")
    (docs / RUNS).write_text(json.dumps(runs, indent=1, sort_keys=True) + "\n")
    found = comparable(runs)
    tree = summary(found)
    (docs / "accuracy.json").write_text(json.dumps(tree, indent=1) + "\n")
    page = docs / "accuracy.md"
    if not page.exists():
        page.write_text(f"# Accuracy\n\n{BEGIN}\n{END}\n")
    write_between(page, table(tree, found))
    plot(tree, found, docs / "accuracy.svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="names in models/")
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), choices=POLICIES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, help="with quantizers; default: the recipe's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("build/accuracy"))
    parser.add_argument("--write", action="store_true", help="write docs/accuracy.* from the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        for name in options.networks:
            measure(name, options.policies, options.seeds, options.epochs, options.work)
        if options.write:
            write(options.work, DOCS)
    except HwgenError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
