"""What a report says: one function from facts and results to the object in report.json.

Scripts rely on the keys that :func:`make_report` documents; keys may be added, never renamed.
"""

from hwgen.device.resources import FIELDS


def make_report(facts: dict, sim: dict | None = None, synth: dict | None = None, pnr: dict | None = None) -> dict:
    """The report, with null for every step that has not run.

    ``facts`` is what the build knows (:func:`hwgen.build.create.make_facts`); ``sim``, ``synth``
    and ``pnr`` are results as the steps store them.  Units: cycles per image, MHz, ms, images per
    second, 10**9 operations per second (a multiply-accumulate is two), accuracies from 0 to 1,
    ``weight_bits`` bits of all weight codes, resources in units of the part.  A layer's ``split`` says what its planned
    cycles went into (:class:`hwgen.plan.timeline.Split`), its ``bytes`` what it moves through the memory ports
    (:class:`hwgen.plan.traffic.Traffic`).

    Engines with AXI ports have more keys: in ``engine`` the ``top`` module, ``protocol`` and ``ports``; in ``cycles``
    the ``memory`` that all of them are for (null: an ideal one, a word per cycle at once), ``planned_ideal`` for the
    ideal one and ``error_percent``, planned against simulated.
    """
    simulated = sim["cycles"] if sim else None
    plan = sim["planned"] if sim and "planned" in sim else facts
    return {
        "hwgen": facts["hwgen"],
        "model": facts["model"],
        "board": facts["board"],
        "part": facts["part"],
        "engine": facts["engine"],
        "network": facts["network"],
        "cycles": {
            "planned": plan["cycles"],
            "simulated": simulated,
            "layers": [{**layer, "simulated": sim["layers"].get(layer["name"]) if sim else None}
                       for layer in plan["layers"]],
            # planned: what every unit does; each unit's numbers add up to all cycles
            "units": plan["unit_cycles"],
            **(_external(facts, sim) if "protocol" in facts["engine"] else {}),
        },
        "performance": _performance(facts, simulated, pnr),
        "resources": _resources(facts, synth, pnr),
        "verification": _verification(facts, sim),
        "explanation": facts["explanation"],
    }


def _external(facts: dict, sim: dict | None) -> dict:
    return {
        "memory": sim["memory"] if sim else None,
        "planned_ideal": facts["cycles"],
        "error_percent": error_percent(sim["planned"]["cycles"], sim["cycles"]) if sim else None,
    }


def _performance(facts: dict, simulated: int | None, pnr: dict | None) -> dict:
    cycles = facts["cycles"] if simulated is None else simulated
    clock = facts["engine"]["clock_mhz"]
    macs = facts["network"]["macs"]
    fps = clock * 1e6 / cycles
    confirmed = None if pnr is None else pnr["fmax_mhz"] >= clock
    return {
        "latency_ms": cycles / clock / 1e3,
        "fps": fps,
        "gops": 2 * macs * fps / 1e9,
        "mac_utilization": macs / (cycles * facts["engine"]["macs_per_cycle"]),
        # null: the frame rate is planned; true or false: place and route reached the clock or not
        "clock_confirmed": confirmed,
        "clock": facts["clock"],
        "wanted_fps": facts["wanted_fps"],
    }


def _resources(facts: dict, synth: dict | None, pnr: dict | None) -> dict:
    estimated = facts["estimated"]
    synthesized = None if synth is None else synth["resources"]
    return {
        "available": facts["available"],
        "units": facts["units"],
        "estimated": estimated,
        "synthesized": synthesized,
        # carry blocks, and levels of logic between registers where no open tool finds a clock
        "carry": None if synth is None else synth["carry"],
        "levels": None if synth is None else synth["levels"],
        # registers, memories or ports between which the most levels lie: {"from", "to"}
        "deepest": None if synth is None else synth["deepest"],
        "placed": None if pnr is None else {**pnr["resources"], "fmax_mhz": pnr["fmax_mhz"]},
        # of place and route: the path that sets the clock {"from", "to", "logic_ns", "routing_ns"}, and what was asked
        "critical": None if pnr is None else pnr["critical"],
        "target_mhz": None if pnr is None else pnr["target_mhz"],
        "seed": None if pnr is None else pnr["seed"],
        # estimate against synthesis, in percent of the synthesized number
        "error_percent": None if estimated is None or synthesized is None else {
            name: error_percent(estimated[name], synthesized[name]) for name in FIELDS},
        # estimated and synthesized are the engine with its AXI ports, if it has any; placed has the on-chip program
        # memory too
        "program_memory_bits": facts["memory_bits"],
    }


def error_percent(estimated: float, synthesized: float) -> float | None:
    """100 * (estimated - synthesized) / synthesized; None where that is undefined."""
    if synthesized == 0:
        return 0.0 if estimated == 0 else None
    return 100.0 * (estimated - synthesized) / synthesized


def _verification(facts: dict, sim: dict | None) -> dict:
    known = facts["verification"]
    return {
        "images": sim["images"] if sim else None,
        "mismatches": sim["mismatches"] if sim else None,
        "accuracy": sim["accuracy"] if sim else None,
        "first_difference": sim["first_difference"] if sim else None,
        "golden_accuracy": known["golden_accuracy"],
        "golden_images": known["golden_images"],
        "float_accuracy": known["float_accuracy"],
        "requantizers_proven": known["requantizers_proven"],
        "requantizers": known["requantizers"],
    }
