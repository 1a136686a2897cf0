"""Which row has which scheme, as a picture: rows by layers, coloured by scheme."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hwgen.errors import HwgenError

COLOURS = {"sp2": "#2f7fb8", "pot4": "#58b09c", "fixed4": "#f2a541", "fixed8": "#c4442d", "binary": "#444444"}
OTHERS = "#9a86b8"
"""Of schemes that exist in training only."""


def draw_assignment(layers: Mapping[str, Sequence[str]], path: str | Path, title: str = "") -> Path:
    """Write the schemes of all rows (by layer, as ``assigned(qmodel)`` gives them) to a .png, .svg or .pdf file."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    path = Path(path)
    figure = Figure(figsize=(max(4.0, 0.35 * len(layers) + 2), 4.5), layout="constrained")
    axes = figure.add_subplot()
    used: dict[str, int] = {}
    for column, schemes in enumerate(layers.values()):
        for row, scheme in enumerate(schemes):
            axes.bar(column, 1 / len(schemes), 0.9, row / len(schemes), color=COLOURS.get(scheme, OTHERS), linewidth=0)
            used[scheme] = used.get(scheme, 0) + 1
    axes.set_xticks(range(len(layers)), [f"{name} ({len(schemes)})" for name, schemes in layers.items()], rotation=90,
                    fontsize=7)
    axes.set_yticks([])
    axes.set_ylabel("rows, the first below")
    axes.set_title(title)
    handles = [Patch(color=COLOURS.get(name, OTHERS), label=f"{name}: {used[name]}") for name in sorted(used)]
    figure.legend(handles=handles, loc="outside right upper", frameon=False)
    try:
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=120)
    except (OSError, ValueError) as error:
        raise HwgenError(f"cannot write the picture {path}: {error}; give a .png or .svg file in an existing folder"
                         ) from error
    return path
