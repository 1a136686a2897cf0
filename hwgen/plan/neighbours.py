"""Engines one step away from another one."""

from dataclasses import replace

from ..engine import GROUPS, Engine, EngineError


def neighbours(engine: Engine) -> list[Engine]:
    """Engines one step away in one or two parameters."""
    d, result = engine.drain_lanes, []
    changes: list[dict] = [{"px": engine.px + step} for step in (-1, 1)]
    present = [group for group in GROUPS if engine.rows_of(group)]
    for first in present:
        changes += [{f"{first}_rows": engine.rows_of(first) + step} for step in (-d, d)]
        for second in GROUPS:
            if second != first:
                # Rows move from one group to another, or (pairs of present ones) both grow or shrink.
                changes += [{f"{first}_rows": engine.rows_of(first) - step,
                             f"{second}_rows": engine.rows_of(second) + step} for step in sorted({max(1, d // 2), d})]
            if second in present[present.index(first) + 1:]:
                changes += [{f"{name}_rows": engine.rows_of(name) + step for name in (first, second)}
                            for step in (-d, d)]
    changes.append({"wide": not engine.wide})
    changes += [{"ring_depth": 2 * engine.ring_depth}, {"ring_depth": engine.ring_depth // 2}]
    changes += [{"drain_lanes": 2 * d}, {"drain_lanes": d // 2}]
    changes += [{"ki": engine.ki * 2, "px": max(1, engine.px // 2)}, {"ki": engine.ki // 2, "px": engine.px * 2}]
    changes += [{"ki": engine.ki * 2}, {"ki": engine.ki // 2}]
    for change in changes:
        try:
            result.append(replace(engine, **change))
        except (EngineError, ZeroDivisionError):
            continue
    return result
