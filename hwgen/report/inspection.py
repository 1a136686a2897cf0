"""What ``hwgen check`` prints."""

from rich.console import Console
from rich.table import Table

from hwgen.report.tables import plain_table


def print_inspection(found, proofs: dict, fits: list, console: Console) -> None:
    """Nodes, layers, what is left to the host, sums, and the boards and parts that take the network.

    ``found`` is :func:`hwgen.frontend.inspect`'s; ``proofs`` and ``fits`` are :func:`hwgen.build.survey.survey`'s.
    """
    nodes = plain_table("node", "operator", "becomes")
    for node in found.nodes:
        nodes.add_row(str(node.node), str(node.op), str(node.becomes))
    console.print(nodes)
    if found.layers:
        console.print(_layer_table(found.layers, proofs))
    for step in found.host:
        console.print(f"left to the host: {step.op} {step.node} of {step.output}", soft_wrap=True)
    rows = ", ".join(f"{name} {n}" for name, n in found.rows.items()) or "none"
    parameters = sum(layer.parameters for layer in found.layers)
    console.print(f"{found.name}: {found.macs:,} MAC, {parameters:,} parameters; rows: {rows}", soft_wrap=True)
    if fits:
        console.print(_fit_table(fits))


def _fit_table(fits) -> Table:
    """Boards and parts: an engine with its frame rate, or what is missing."""
    table = plain_table("board or part", "MHz", "engine, or what is missing", "MAC/cycle", "images/s",
                        caption="channels x pixels x rows of an engine found quickly; 'hwgen build' finds the same or "
                                "faster ones")
    for fit in fits:
        table.add_row(fit.board or fit.part, f"{fit.clock_mhz:g}", fit.engine or fit.missing,
                      f"{fit.macs_per_cycle:,}" if fit.cycles else "-", f"{fit.fps:,.1f}" if fit.cycles else "-")
    return table


def _layer_table(layers, proofs) -> Table:
    """Per layer: widths, in how many rows each number system holds every weight exactly, and rows proven equal."""
    table = plain_table("layer", "rows", "proven", "pot", "sp2", "4-bit", "8-bit", "in", "out", "sum",
                        caption="rows whose codes are proven equal to the file's; rows that a number system holds "
                                "exactly; bits of codes and sums")
    for layer in layers:
        proven = f"{proofs[layer.layer][0]:,}" if layer.layer in proofs else "-"
        table.add_row(layer.layer, f"{layer.rows:,}", proven, *(f"{layer.holds[name]:,}" for name in (
            "pot4", "sp2", "fixed4", "fixed8")), str(layer.input_bits), str(layer.output_bits),
            str(layer.accumulator_bits))
    return table
