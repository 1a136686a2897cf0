"""Tests of hwgen.quantize; without torch they are not even imported."""

from importlib.util import find_spec

if find_spec("torch") is not None:
    import torch

    # these networks are too small for threads, and two test workers share the cores
    torch.set_num_threads(1)

collect_ignore_glob = ["test_*.py"] if find_spec("torch") is None else []
