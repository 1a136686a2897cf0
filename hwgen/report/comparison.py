"""What ``hwgen compare`` prints."""

from rich.console import Console

from hwgen.report.tables import numbers, plain_table


def print_comparison(tree: dict, console: Console) -> None:
    """The table of layers and the sums of the tree that :func:`hwgen.build.comparison.compare_step` gives."""
    table = plain_table("layer", *numbers("codes", "equal", "ties", "different"))
    for layer in tree["layers"]:
        counts = (layer[key] for key in ("compared", "equal", "ties", "different"))
        table.add_row(layer["layer"], *(f"{count:,}" for count in counts))
    console.print(table)
    console.print(f"{tree['images']:,} images, {tree['inputs']}, in {tree['executor']} and in the golden model",
                  soft_wrap=True)
    console.print(f"outputs: {tree['compared']:,} codes, {tree['equal']:,} equal, {tree['ties']:,} differ by float32 "
                  f"rounding ties, {tree['different']:,} differ otherwise", soft_wrap=True)
