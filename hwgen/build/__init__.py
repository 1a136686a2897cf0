"""The build directory: everything that later steps need, and nothing else."""

from hwgen.build.directory import FILES, Build, StagedDirectory, check_target, load_build, write_files
from hwgen.build.graph_io import dump_graph, parse_graph
from hwgen.build.results import current_report, load_result, save_result, write_report

__all__ = [
    "FILES", "Build", "StagedDirectory", "check_target", "current_report", "dump_graph", "load_build", "load_result",
    "parse_graph", "save_result", "write_files", "write_report",
]
