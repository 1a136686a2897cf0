"""Tests of hwgen.quantize; without torch they are not even imported."""

from importlib.util import find_spec

collect_ignore_glob = ["test_*.py"] if find_spec("torch") is None else []
