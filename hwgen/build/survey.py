"""What ``hwgen check`` says of a network without problems: rows proven equal to the file, and where it fits."""

from collections.abc import Callable

from hwgen.device import PARTS, get_board, list_boards
from hwgen.frontend import Network, to_graph
from hwgen.graph.ir import Conv
from hwgen.plan.fit import Fit, fits


def survey(network: Network, progress: Callable[[str], None] = lambda text: None,
           ) -> tuple[dict[str, tuple[int, int]], list[Fit]]:
    """(proven rows, rows) of every convolution and linear layer, and a first answer for every board and part.

    HwgenError where the file's constants fit no requantizer.
    """
    progress("proving requantizers")
    graph = to_graph(network)
    proofs = {op.name: (op.requant.proven, len(op.weight)) for op in graph.ops if isinstance(op, Conv)}
    return proofs, fits(graph, map(get_board, list_boards()), PARTS.values(), progress)
