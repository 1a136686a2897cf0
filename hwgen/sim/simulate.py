"""``hwgen simulate``: images through the emitted Verilog, every code of every layer against the golden model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
import tempfile

import numpy as np

from ..errors import HwgenError
from ..golden import run
from ..graph.ir import Graph
from ..isa import ERRORS
from ..engine import Engine
from ..plan.layout import Layout, lay_out
from ..plan.load import Memory
from ..program.assemble import Program, assemble_layout, input_words
from ..rtl.axi import emit_top
from .run import Simulator, compile_engine, run_jobs
from .trace import ImageTrace, read_trace

BATCH = 25
"""Images per start of the simulator: often enough to show progress."""


@dataclass(frozen=True, eq=False)
class SimResult:
    images: int
    mismatches: int
    """Codes of any layer that differ from the golden model, and words that were never written."""
    cycles: int
    """Cycles per image, the same for every image."""
    layers: dict[str, int]
    """Cycles per layer, from its beginning to the next one's."""
    outputs: np.ndarray
    """Codes of the network's first output as the hardware stored them, (images, C, H, W)."""
    first_difference: str | None


@dataclass(frozen=True)
class Job:
    """A program with its input maps (N, C, H, W), run one after the other."""

    layout: Layout
    program: Program
    codes: np.ndarray


def simulate(build, codes: np.ndarray, *, progress: Callable[[str], None] = lambda text: None,
             simulator: str = "verilator", memory: Memory | None = None, protocol: str | None = None) -> SimResult:
    """Run ``codes`` (N, C, H, W) through a build directory's engine.v with its program.bin.

    ``memory``: latency and bandwidth of the memory, by default the on-chip memory; with
    ``protocol`` ("axi3", "axi4") behind the engine's AXI ports.
    An engine made of a family's primitives is replaced by its portable twin, the same in every cycle.
    Raises HwgenError when the simulator is missing or fails, and when the engine reports an error.
    """
    graph, engine = build.graph, build.engine
    layout = lay_out(graph, engine)
    program = assemble_layout(layout)
    if program.image != build.image:
        raise HwgenError(f"program.bin in {build.path} is not the program of its own network; build it again")
    progress("compiling the engine")
    if engine.family or protocol is not None:
        verilog = emit_top(engine, protocol, simulation=True)
    else:
        verilog = build.verilog.read_text()
    compiled = compile_engine(verilog, engine, program.memory_words,
                              Path(build.path) / "sim" / "_".join(filter(None, (simulator, protocol))), simulator,
                              protocol=protocol)
    golden = run(graph, codes, keep=True)
    comparison = Comparison(graph, engine)
    for begin in range(0, len(codes), BATCH):
        progress(f"image {begin + 1} of {len(codes)}")
        traces = run_traces(compiled, [Job(layout, program, codes[begin:begin + BATCH])], memory=memory)
        for offset, trace in enumerate(traces):
            expected = {name: codes_[begin + offset] for name, codes_ in golden.items()}
            comparison.add(layout, trace, expected, begin + offset)
    return comparison.result(layout, graph.outputs[0])


def run_traces(simulator: Simulator, jobs: list[Job], **options) -> list[ImageTrace]:
    """Run jobs and read back their traces; ``options`` are those of :func:`run_jobs`."""
    with tempfile.TemporaryDirectory(prefix="hwgen-") as name:
        folder, lines, layouts = Path(name), [], []
        for index, job in enumerate(jobs):
            width = job.layout.engine.mem_bits // 8
            image = job.program.image
            (folder / f"{index}.hex").write_text(
                "\n".join(image[i:i + width][::-1].hex() for i in range(0, len(image), width)) + "\n")
            # $fread takes the most significant byte of a word first.
            payload = b"".join(input_words(job.layout, codes) for codes in job.codes)
            reversed_words = np.frombuffer(payload, np.uint8).reshape(-1, width)[:, ::-1]
            (folder / f"{index}.bin").write_bytes(reversed_words.tobytes())
            lines.append(f"{folder / f'{index}.hex'} {job.program.words} {job.program.input_address} "
                         f"{job.program.input_words} {len(job.codes)}\n{folder / f'{index}.bin'}\n")
            layouts += [(job.layout, job.program.output_base)] * len(job.codes)
        (folder / "jobs").write_text("".join(lines))
        run_jobs(simulator, folder / "jobs", folder / "trace", **options)
        return list(read_trace(folder / "trace", layouts))


class Comparison:
    """Counts differences between traces and golden codes, and words the first one."""

    def __init__(self, graph: Graph, engine: Engine):
        self.graph, self.engine = graph, engine
        self.mismatches = self.images = 0
        self.first: str | None = None
        self.cycles: list[int] = []
        self.layer_cycles: list[int] = []
        self.outputs: dict[str, list[np.ndarray]] = {}

    def add(self, layout: Layout, trace: ImageTrace, expected: dict[str, np.ndarray], image: int) -> None:
        """Compare one image.  Raises HwgenError when the engine stopped with an error."""
        if trace.error:
            raise HwgenError(f"the engine stopped at image {image} with error {trace.error}: {ERRORS[trace.error]}")
        self.images += 1
        self.cycles.append(trace.cycles)
        self.layer_cycles = trace.layer_cycles(layout)
        for layer in layout.layers:
            wrong = np.argwhere(trace.tensors[layer.output] != expected[layer.output])
            self.mismatches += len(wrong) + trace.missing[layer.output]
            if len(wrong) and self.first is None:
                self.first = self._describe(layout, layer, trace, expected, wrong[0].tolist(), image)
            elif trace.missing[layer.output] and self.first is None:
                self.first = (f"image {image}, layer {layer.name}: {trace.missing[layer.output]} words were never "
                              "written")
        for name, codes in trace.outputs.items():
            self.outputs.setdefault(name, []).append(codes)
            wrong_codes = int((codes != expected[name]).sum()) + trace.missing[f"{name} in memory"]
            self.mismatches += wrong_codes
            if wrong_codes and self.first is None:
                self.first = f"image {image}, output {name}: {wrong_codes} codes differ in memory"

    def _describe(self, layout, layer, trace, expected, where, image) -> str:
        channel, y, x = where
        region = layout.regions[layer.output]
        position, slot, index = _place(layout, layer, channel)
        target = next(step.target for step in reversed(layout.steps)
                      if step.layer is layer and step.walk.first_row <= y)
        point = (y - target.first_row) * region.pitch + x
        address = target.base + position // self.engine.ki * region.planes * region.plane_step \
            + point // self.engine.banks
        cycle = next((c for bank, at, _, c in trace.written[layer.output]
                      if bank == point % self.engine.banks and at == address), None)
        lane = self.engine.group_of(slot)
        return (f"image {image}, layer {layer.name}, row {channel} ({layer.conv.schemes[channel]}), {lane} slot {slot} "
                f"of tile {index}, pixel y={y} x={x}, cycle {cycle}: expected {expected[layer.output][channel, y, x]}, "
                f"got {trace.tensors[layer.output][channel, y, x]}")

    def result(self, layout: Layout, output: str) -> SimResult:
        if len(set(self.cycles)) > 1:
            raise HwgenError(f"images took different numbers of cycles ({min(self.cycles)} to {max(self.cycles)}); "
                             "please report this")
        names = [layer.name for layer in layout.layers]
        return SimResult(self.images, self.mismatches, self.cycles[0], dict(zip(names, self.layer_cycles, strict=True)),
                         np.stack(self.outputs[output]), self.first)


def _place(layout: Layout, layer, channel: int) -> tuple[int, int, int]:
    """Stored position, slot and tile of a channel."""
    position = 0
    for index, tile in enumerate(layout.tiles(layer)):
        found = np.flatnonzero(tile.rows == channel)
        if len(found):
            return position + int(found[0]), int(tile.slots[found[0]]), index
        position += len(tile.rows)
    raise ValueError(f"channel {channel} is in no tile of {layer.name}")
