"""What ``hwgen compare`` prints."""

from rich.box import ASCII2
from rich.console import Console
from rich.table import Column, Table


def print_comparison(tree: dict, console: Console) -> None:
    """The table of layers and the sums of the tree that :func:`hwgen.build.comparison.compare_step` gives."""
    numbers = [Column(title, justify="right") for title in ("codes", "equal", "ties", "different")]
    table = Table(Column("layer", overflow="fold"), *numbers, box=ASCII2, show_edge=False, pad_edge=False)
    for layer in tree["layers"]:
        counts = (layer[key] for key in ("compared", "equal", "ties", "different"))
        table.add_row(layer["layer"], *(f"{count:,}" for count in counts))
    console.print(table)
    console.print(f"{tree['images']:,} images, {tree['inputs']}, in {tree['executor']} and in the golden model",
                  soft_wrap=True)
    console.print(f"outputs: {tree['compared']:,} codes, {tree['equal']:,} equal, {tree['ties']:,} differ by float32 "
                  f"rounding ties, {tree['different']:,} differ otherwise", soft_wrap=True)
