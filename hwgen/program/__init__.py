"""The program: instruction words, packed weights and parameters, the memory image."""

from ..graph.ir import Graph
from ..plan import Plan
from .assemble import Program, assemble_layout


def assemble(graph: Graph, plan: Plan) -> Program:
    """The memory image of a planned network."""
    assert plan.layout.network.graph is graph
    return assemble_layout(plan.layout)
