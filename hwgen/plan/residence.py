"""Where the tensors of a network live: whole in the scratchpad, in memory, or between layers that run in turns."""

from itertools import accumulate

from .lower import Layer, Network
from .memory import Region


class Residence:
    """The tensors in memory and between layers; others lie in the scratchpad, from their layer to the last reader."""

    def __init__(self, network: Network, maps: dict[str, Region]):
        self.layers, self.maps = network.layers, maps
        self.made = {network.graph.input: -1} | {layer.output: i for i, layer in enumerate(self.layers)}
        """The layer that makes each tensor."""
        self.read: dict[str, list[int]] = {name: [] for name in self.made}
        """The layers that read it."""
        for i, layer in enumerate(self.layers):
            for name in {layer.input, layer.residual or layer.input}:
                self.read[name].append(i)
        self.last_read = {name: max(readers, default=-1) for name, readers in self.read.items()}
        self.spilled = {name for name, readers in self.read.items() if not readers}
        """Tensors that are only in memory."""
        if len(self.read[network.graph.input]) == 1:
            self.spilled.add(network.graph.input)
        self.chained: set[str] = set()
        """Tensors that are never there as a whole."""

    @property
    def away(self) -> set[str]:
        """Tensors that do not lie in the scratchpad as a whole."""
        return self.spilled | self.chained

    def live(self, index: int) -> list[str]:
        """Tensors that lie in the scratchpad as a whole while layer ``index`` runs."""
        away = self.away
        return [name for name in self.made if name not in away and self.made[name] <= index <= self.last_read[name]]

    def held(self) -> list[int]:
        """By layer the words per bank of these tensors."""
        change = [0] * (len(self.layers) + 1)
        for name in self.made.keys() - self.away:
            change[max(0, self.made[name])] += self.maps[name].size
            change[self.last_read[name] + 1] -= self.maps[name].size
        return list(accumulate(change[:-1]))

    def streams(self, layer: Layer) -> list[str]:
        """Operands of a layer that it reads strip by strip."""
        return [name for name in dict.fromkeys((layer.input, layer.residual))
                if name in self.spilled or name in self.chained]
