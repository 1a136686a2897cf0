"""Trains a small network; test_fit starts it with torchrun."""

from pathlib import Path
import sys

import torch
from torch import nn

from hwgen.quantize import Policy, fit, prepare


class Halves:
    """Eight batches of 8 in an order that follows torch's random state."""

    def __init__(self):
        generator = torch.Generator().manual_seed(1)
        self.inputs = torch.rand(64, 12, generator=generator)
        self.labels = (self.inputs[:, 0] > 0.5).long()

    def __len__(self):
        return 8

    def __iter__(self):
        for index in torch.randperm(64).split(8):
            yield self.inputs[index], self.labels[index]


class Joined(Halves):
    """The same with two batches in one."""

    def __len__(self):
        return 4

    def __iter__(self):
        for index in torch.randperm(64).split(16):
            yield self.inputs[index], self.labels[index]


def network():
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 2))
    return prepare(model, Policy.msq(), Halves().inputs)


def train(batches, checkpoint):
    model = network()
    fit(model, batches, 3, 1e-2, checkpoint=checkpoint)
    return model


if __name__ == "__main__":
    import os

    torch.set_num_threads(1)
    rank, folder = int(os.environ["RANK"]), Path(sys.argv[1])
    model = train(Halves(), folder / "c.pt")
    torch.save(model.state_dict(), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()
