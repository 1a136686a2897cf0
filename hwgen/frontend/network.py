"""What a walk through a file finds: layers, a report per node, and problems."""

from dataclasses import dataclass, field
from fractions import Fraction

from onnx import NodeProto

from hwgen.frontend.layers import Layer, PoolLayer
from hwgen.frontend.model_file import ModelFile
from hwgen.frontend.values import Codes, Pending


@dataclass(frozen=True)
class Problem:
    """One thing that keeps a model from being built."""

    node: str
    op: str
    reason: str
    help: str = ""

    def __str__(self) -> str:
        return f"{self.node} ({self.op}): {self.reason}" + (f"; {self.help}" if self.help else "")


@dataclass(frozen=True)
class NodeReport:
    """What one node of the file becomes."""

    node: str
    op: str
    becomes: str
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class HostStep:
    """A float operation behind the network's output, left to the host."""

    node: str
    op: str
    output: str
    """The tensor of codes that it reads."""
    tensor: str
    """What the file calls its result."""
    options: dict


@dataclass(frozen=True)
class HostValue:
    """A result of the host: the codes it comes from, and the nodes in between."""

    codes: Codes | Pending
    steps: tuple[NodeProto, ...]


@dataclass(eq=False)
class Network:
    """Everything read from the file, exact, before integers are chosen for the requantizers."""

    file: ModelFile
    input: Codes | None = None
    before: tuple[Fraction, Fraction] = (Fraction(1), Fraction(0))
    """(factor, offset) that the file applies to its input before that is quantized: codes stand for the result."""
    layers: list[Layer | PoolLayer] = field(default_factory=list)
    outputs: list[Codes] = field(default_factory=list)
    reports: list[NodeReport] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    host: list[HostStep] = field(default_factory=list)
    floats: list = field(default_factory=list)
    """Real outputs that leave as accumulators (hwgen.frontend.wide.FloatOutput)."""
