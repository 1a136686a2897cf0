"""``hwgen build``: from a network file to a complete build directory."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
import json
from pathlib import Path
import platform

import numpy as np

from hwgen.build.directory import Build, StagedDirectory, load_build, sha256, write_files
from hwgen.build.graph_io import compact_json, dump_graph, json_bytes, npz_bytes
from hwgen.build.models import find_model
from hwgen.build.results import write_report
from hwgen.device import Board, Part, get_board, get_part
from hwgen.engine import AXI_TOP, GROUPS, Engine
from hwgen.errors import HwgenError
from hwgen.golden import run
from hwgen.graph import shapes
from hwgen.graph.groups import row_weights
from hwgen.graph.ir import Add, AvgPool, Conv, Graph
from hwgen.schemes import get as get_scheme
from hwgen.version import __version__

LAYER_FACTS = ("name", "planned", "macs", "utilization", "split", "bytes")
TOOLS = ("amaranth", "pyosys", "numpy", "onnx")
"""Packages whose version can change a byte of the build."""


@dataclass(frozen=True)
class Target:
    """Where the engine shall run."""

    part: Part
    board: Board | None
    clock_mhz: float

    @property
    def clock_text(self) -> str:
        if self.board is not None and self.clock_mhz == self.board.clock_mhz:
            return f"{self.clock_text_short}: {self.board.clock_text}"
        return self.clock_text_short

    @property
    def clock_text_short(self) -> str:
        return f"engine clock {self.clock_mhz:g} MHz"


def make_target(board: str | None, part: str | None, clock_mhz: float | None = None) -> Target:
    """From the options --board, --part and --clock-mhz.  Raises HwgenError unless one of the first two is given."""
    if (board is None) == (part is None):
        raise HwgenError("give either --board BOARD or --part PART"
                         + (", not both" if board is not None else "; 'hwgen build --help' lists them"))
    if clock_mhz is not None and not 0 < clock_mhz <= 1000:
        raise HwgenError(f"--clock-mhz must be above 0 and at most 1000, not {clock_mhz:g}")
    if board is not None:
        found = get_board(board)
        return Target(found.part, found, clock_mhz or found.clock_mhz)
    bare = get_part(part or "")
    return Target(bare, None, clock_mhz or bare.clock_mhz)


def build(model: str, target: Target, out: Path, *, fps: float | None = None, engine: str | None = None,
          progress: Callable[[str], None] = lambda text: None) -> tuple[Build, dict]:
    """Make the build directory ``out``; returns the build and its report.

    ``fps``: ask for the smallest engine that reaches this frame rate, else for the fastest that
    fits; ``engine``: take this one, a preset or parameters.  Raises HwgenError; ``out`` is then as it was before.
    """
    from hwgen.plan import make_plan
    from hwgen.program import assemble
    from hwgen.rtl.axi import emit_top

    if fps is not None and not 0 < fps < 1e9:
        raise HwgenError(f"--fps must be above 0, not {fps:g}")
    if fps is not None and engine is not None:
        raise HwgenError("--fps and --engine exclude each other: an engine that is given is not sized; leave one out")
    source = find_model(model)
    with StagedDirectory(out) as stage:
        progress(f"reading {source.name}")
        graph = source.load()
        codes, labels, known = source.inputs(graph)
        progress(f"planning for {target.part.name}")
        plan = make_plan(graph, target.part, clock_mhz=target.clock_mhz, fps=fps, engine=engine,
                         progress=progress)
        progress("assembling the program")
        program = assemble(graph, plan)
        progress(f"golden model on {len(codes)} images")
        outputs = run(graph, codes)[graph.outputs[0]]
        progress("generating the engine")
        verilog = emit_top(plan.engine, target.part.protocol)
        progress("writing")
        structure, arrays = dump_graph(graph)
        facts = make_facts(graph, plan, target, fps, program=program, outputs=outputs,
                           labels=labels)
        golden = {"inputs": codes, "outputs": outputs, "known": np.array(known)}
        if labels is not None:
            golden["labels"] = labels
        write_files(stage, {
            "engine.v": verilog.encode(), "program.bin": bytes(program.image), "plan.json": _plan_bytes(plan),
            "graph.json": structure, "graph.npz": arrays, "golden.npz": npz_bytes(golden),
            "facts.json": json_bytes(facts), "timeline.json": compact_json(plan.timeline()),
        }, options={
            "model": graph.name, "model_sha256": sha256(source.data), "part": target.part.name,
            "board": target.board.name if target.board else None, "clock_mhz": target.clock_mhz, "fps": fps,
            "engine": engine,
            **port_facts(plan.engine, target.part),
        }, tools=tool_versions())
        write_report(load_build(stage))
    made = load_build(out)
    return made, json.loads((out / "report.json").read_bytes())


def _plan_bytes(plan) -> bytes:
    tree = plan.to_json()
    return json_bytes(json.loads(tree) if isinstance(tree, str) else tree)


def tool_versions() -> dict[str, str]:
    """Versions that the bytes of a build depend on."""
    found = {"python": platform.python_version()}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def make_facts(graph: Graph, plan, target: Target, fps: float | None, *, program, outputs: np.ndarray,
               labels: np.ndarray | None) -> dict:
    """What the build knows for the report; see :func:`hwgen.report.data.make_report` for the units."""
    engine, part = plan.engine, target.part
    return {
        "hwgen": __version__,
        "model": graph.name,
        "board": target.board.name if target.board else None,
        "part": part.name,
        "engine": {
            "ki": engine.ki, "px": engine.px, "rows": {group: engine.rows_of(group) for group in GROUPS},
            "drain_lanes": engine.drain_lanes, "macs_per_cycle": engine.macs_per_cycle, "clock_mhz": target.clock_mhz,
            "id": f"{engine.id:08x}",
            **port_facts(engine, part),
        },
        "engine_parameters": asdict(engine),
        "network": network_facts(graph),
        "cycles": int(plan.cycles),
        "layers": layer_facts(plan.layers),
        "unit_cycles": plan.units,
        "explanation": [str(line) for line in plan.explanation],
        "available": part.available.to_json(),
        "units": {"lut": f"LUT{part.lut_inputs}", "ff": "flip-flops", "dsp": part.dsp_name, "bram": part.bram_name},
        "estimated": plan.estimate.rounded().to_json() if plan.estimate is not None else None,
        "clock": target.clock_text,
        "wanted_fps": fps,
        # program, weights and the results that the engine writes
        "memory_bits": program.memory_words * engine.mem_bits,
        "verification": {
            "golden_accuracy": accuracy(outputs, labels),
            "golden_images": None if labels is None else len(labels),
            "float_accuracy": _number(graph.metadata.get("hwgen.float_accuracy")),
            **requantizer_facts(graph),
        },
    }


def layer_facts(layers: list[dict]) -> list[dict]:
    """What reports say about planned layers (:func:`hwgen.plan.figures.layer_figures`)."""
    return [{key: layer[key] for key in LAYER_FACTS} for layer in layers]


def port_facts(engine: Engine, part: Part) -> dict:
    """How an engine reaches external memory; nothing on parts without ports to it, where its top module is TOP."""
    return {} if part.protocol is None else {"top": AXI_TOP, "protocol": part.protocol, "ports": engine.ports}


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def network_facts(graph: Graph) -> dict:
    """``{macs, params, rows{scheme: n}, weight_bits}``; the last is the bits of all weight codes together."""
    convs = [op for op in graph.ops if isinstance(op, Conv)]
    bits = sum(get_scheme(scheme).bits * int(count) for op in convs
               for scheme, count in zip(op.schemes, row_weights(op.weight, op.sparse), strict=True))
    return {"macs": int(sum(shapes.macs(graph).values())), "params": int(shapes.params(graph)),
            "rows": {name: int(n) for name, n in shapes.scheme_rows(graph).items()}, "weight_bits": int(bits)}


def requantizer_facts(graph: Graph) -> dict:
    """Requantizers (one per row, one per pooling or add) and how many are proven equal to the source network."""
    proven = total = 0
    for op in graph.ops:
        if isinstance(op, Conv):
            proven, total = proven + op.requant.proven, total + len(op.schemes)
        elif isinstance(op, AvgPool | Add):
            proven, total = proven + op.rescale.proven, total + 1
    return {"requantizers_proven": int(proven), "requantizers": total}


def accuracy(outputs: np.ndarray, labels: np.ndarray | None) -> float | None:
    """Share of images whose largest output code (the first of equal ones) is the label; None without labels.

    outputs: (n, ...) with one code per class.
    """
    if labels is None or not len(labels):
        return None
    return float(np.mean(outputs.reshape(len(outputs), -1).argmax(axis=1) == labels))
