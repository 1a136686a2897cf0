"""Compares the golden model with a model file in its own executor, code by code."""

from dataclasses import dataclass

import numpy as np

from hwgen.frontend import executors, load, read_network
from hwgen.frontend.importer import Network
from hwgen.frontend.judge import Judge, LayerComparison
from hwgen.golden import run
from hwgen.graph.ir import Graph


@dataclass(frozen=True)
class Comparison:
    """Final codes of the file's executor against those of the golden model."""

    compared: int
    equal: int
    ties: int
    """Codes that differ only because of float32 rounding ties, here or in an earlier layer."""
    different: int
    first_difference: str | None = None
    """The first layer, image and position that is no tie, with the codes of both sides."""
    tie_rounds: int = 0
    """Roundings shown to be ties, in all layers of the judged images."""
    layers: tuple[LayerComparison, ...] = ()
    """Every layer by itself, on the executor's own input codes; empty where no image was judged."""
    executor: str = ""

    @property
    def ok(self) -> bool:
        """Whether every difference is proven to be a tie."""
        return not self.different and self.first_difference is None


def execute(path, images: np.ndarray, data: bytes | None = None) -> dict[str, np.ndarray]:
    """Final codes by output tensor, uint8 (images, channels, height, width), computed by the file's own executor.

    ``images``: integer input codes (images, channels, height, width), as for the golden model, or real values (floats).
    """
    network = read_network(path, data)
    return executors.execute(network, np.asarray(images), network.outputs)


def compare(path, graph: Graph | None, images: np.ndarray, every_layer: bool = False,
            data: bytes | None = None) -> Comparison:
    """Runs both on input codes or real values (images, channels, height, width); ``graph`` is loaded if None.

    Layers are judged on the images whose final codes differ, with ``every_layer`` on all.
    """
    graph = graph or load(path, data=data)
    network, images = read_network(path, data), np.asarray(images)
    golden = run(graph, executors.input_codes(network, images))
    theirs = executors.execute(network, images, network.outputs)
    wrong = np.zeros(len(images), np.int64)
    for name, result in golden.items():
        wrong += (result != theirs[name]).reshape(len(images), -1).sum(axis=1)
    judged = np.arange(len(images)) if every_layer else np.flatnonzero(wrong)
    verdicts, rounds, layers = _judge(network, graph, images, judged, wrong)
    different = sum(int(wrong[image]) for image, verdict in zip(judged, verdicts, strict=True) if verdict)
    found = (f"image {image}, {verdict}" for image, verdict in zip(judged, verdicts, strict=True) if verdict)
    compared = sum(result.size for result in golden.values())
    return Comparison(compared, compared - int(wrong.sum()), int(wrong.sum()) - different, different,
                      next(found, None), rounds, layers, executors.executor_name(network.file))


def _judge(network: Network, graph: Graph, images: np.ndarray, judged: np.ndarray, wrong: np.ndarray):
    """(description of a difference or None per judged image, roundings that are ties, counts by layer)."""
    verdicts: list[str | None] = []
    rounds, layers = 0, list[LayerComparison]()
    for start in range(0, len(judged), executors.BATCH):
        part = judged[start:start + executors.BATCH]
        judge = Judge(network, graph, images[part])
        for verdict, ties, count in zip(judge.verdicts, judge.ties.tolist(), wrong[part].tolist(), strict=True):
            unexplained = count and not ties and verdict is None
            verdicts.append("the outputs differ though every layer by itself is equal" if unexplained else verdict)
        rounds += int(judge.ties.sum())
        layers = [old + new for old, new in zip(layers, judge.layers, strict=True)] if layers else judge.layers
    return verdicts, rounds, tuple(layers)
