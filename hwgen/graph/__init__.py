"""The integer network: data structures, checks, shapes and bounds."""

from hwgen.graph.ir import ROUNDINGS, Add, AvgPool, Conv, Graph, MaxPool, Op, Requant, Rescale, Tensor

__all__ = ["ROUNDINGS", "Add", "AvgPool", "Conv", "Graph", "MaxPool", "Op", "Requant", "Rescale", "Tensor"]
