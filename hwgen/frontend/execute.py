"""Compares the golden model with a model file in its own executor, code by code."""

from dataclasses import dataclass

import numpy as np

from hwgen.frontend import executors, load, read_network
from hwgen.frontend.importer import Network
from hwgen.frontend.judge import Judge, LayerComparison, target
from hwgen.frontend.layers import Layer
from hwgen.frontend.values import Codes
from hwgen.golden import check_codes, run
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
    return executors.execute(network, np.asarray(images), _outputs(network)[0])


def compare(path, graph: Graph | None, images: np.ndarray, every_layer: bool = False,
            data: bytes | None = None) -> Comparison:
    """Runs both on input codes or real values (images, channels, height, width); ``graph`` is loaded if None.

    Layers are judged on the images whose final codes differ, with ``every_layer`` or real outputs on all.
    """
    graph = graph or load(path, data=data)
    network, images = read_network(path, data), np.asarray(images)
    assert network.input is not None
    if images.dtype.kind == "f" and network.input.tensor == network.file.input:
        images = executors.input_codes(network, images)  # the file quantizes nothing: the host does, for both
    images = images if images.dtype.kind == "f" else check_codes(graph, images)
    golden = run(graph, executors.input_codes(network, images))
    shown, held = _outputs(network)
    theirs = executors.execute(network, images, shown)
    wrong = np.zeros(len(images), np.int64)
    for name in theirs:
        wrong += _differing(golden[name], theirs[name])
    judged = np.arange(len(images)) if every_layer or network.floats else np.flatnonzero(wrong)
    verdicts: list[str | None] = []
    rounds, layers = 0, list[LayerComparison]()
    for start in range(0, len(judged), executors.BATCH):
        part = judged[start:start + executors.BATCH]
        judge = Judge(network, graph, images[part])
        for codes in held:
            wrong[part] += _differing(golden[codes.tensor][part], judge.tensors[codes.tensor])
        verdicts += _explained(judge, wrong[part])
        rounds += int(judge.ties.sum())
        layers = [old + new for old, new in zip(layers, judge.layers, strict=True)] if layers else judge.layers
    different = sum(int(wrong[image]) for image, verdict in zip(judged, verdicts, strict=True) if verdict)
    found = (f"image {image}, {verdict}" for image, verdict in zip(judged, verdicts, strict=True) if verdict)
    compared = sum(result.size for result in golden.values())
    return Comparison(compared, compared - int(wrong.sum()), int(wrong.sum()) - different, different,
                      next(found, None), rounds, tuple(layers), executors.executor_name(network.file))


def _outputs(network: Network) -> tuple[list[Codes], list[Codes]]:
    """Outputs that the file has a tensor of, and parts of accumulators, which it has not.

    The first with the axes with which they were made: the file may transpose them behind that.
    """
    internal = {layer.output for layer in network.layers if isinstance(layer, Layer) and layer.internal}
    made = {layer.output: layer for layer in network.layers}
    shown = [target(made[codes.tensor]) for codes in network.outputs if codes.tensor not in internal]
    return shown, [codes for codes in network.outputs if codes.tensor in internal]


def _differing(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Codes that differ per image."""
    return (one != two).reshape(len(one), -1).sum(axis=1)


def _explained(judge: Judge, wrong: np.ndarray) -> list[str | None]:
    """Per image what is no tie, or None; ``wrong`` counts the codes of the outputs that differ."""
    return ["the outputs differ though every layer by itself is equal" if count and not ties and verdict is None
            else verdict for verdict, ties, count in zip(judge.verdicts, judge.ties.tolist(), wrong.tolist(),
                                                         strict=True)]
