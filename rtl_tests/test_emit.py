# amaranth: UnusedElaboratable=no
"""Emission: equal modules once, the same bytes from every run."""

import hashlib
import os
import re
import subprocess
import sys

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
import pytest

from hwgen.engine import Engine
from hwgen.rtl.emit import emit_verilog, share_modules, verilog
from hwgen.rtl.scratchpad import Scratchpad

HEADER = 'attribute \\generator "by hand"\n'


def module(name, *lines):
    return f"attribute \\keep 1\nmodule \\{name}\n" + "".join(f"  {line}\n" for line in lines) + "end\n"


def instance(kind, name):
    return f"cell \\{kind} \\{name}"


def modules_of(text):
    """Name -> (plain lines, {instance: module}) of every module, in order."""
    result = {}
    for name, body in re.findall(r"^module \\(\S+)\n(.*?)^end\n", text, re.M | re.S):
        lines = [line.strip() for line in body.splitlines()]
        cells = {line.split()[2][1:]: line.split()[1][1:] for line in lines if line.startswith("cell \\")}
        assert name not in result, f"module {name} twice"
        result[name] = ([line for line in lines if not line.startswith("cell \\")], cells)
    return result


def test_equal_modules_are_emitted_once():
    text = HEADER + module("top", instance("top.a", "a"), instance("top.b", "b"), instance("top.c", "c")) \
        + "".join(module(f"top.{name}", f"wire width {width} \\x") for name, width in (("a", 4), ("b", 4), ("c", 5)))
    shared = share_modules(text)
    assert shared.startswith(HEADER)
    found = modules_of(shared)
    assert found == {"top": ([], {"a": "top_a", "b": "top_a", "c": "top_c"}), "top_a": (["wire width 4 \\x"], {}),
                     "top_c": (["wire width 5 \\x"], {})}
    assert shared.count("attribute \\keep 1\n") == 3


def test_modules_whose_parts_are_equal_are_equal():
    """Three levels: the leaves first, then what instantiates them, then what instantiates that."""
    text = HEADER + module("t", instance("t.p", "p"), instance("t.q", "q"))
    for side in "pq":
        text += module(f"t.{side}", instance(f"t.{side}.m", "m"), instance(f"t.{side}.n", "n"))
        for middle in "mn":
            text += module(f"t.{side}.{middle}", instance(f"t.{side}.{middle}.leaf", "leaf"), "wire \\w")
            text += module(f"t.{side}.{middle}.leaf", "wire \\leaf")
    found = modules_of(share_modules(text))
    assert found == {"t": ([], {"p": "t_p", "q": "t_p"}), "t_p": ([], {"m": "t_p_m", "n": "t_p_m"}),
                     "t_p_m": (["wire \\w"], {"leaf": "t_p_m_leaf"}), "t_p_m_leaf": (["wire \\leaf"], {})}


def test_modules_that_differ_below_stay_apart():
    """Equal text but for an instance whose content differs."""
    text = HEADER + module("t", instance("t.p", "p"), instance("t.q", "q"))
    for side, width in (("p", 3), ("q", 4)):
        text += module(f"t.{side}", instance(f"t.{side}.leaf", "leaf"))
        text += module(f"t.{side}.leaf", f"wire width {width} \\x")
    found = modules_of(share_modules(text))
    assert set(found) == {"t", "t_p", "t_q", "t_p_leaf", "t_q_leaf"}
    assert found["t_q"] == ([], {"leaf": "t_q_leaf"})


def test_primitive_cells_keep_their_names():
    text = HEADER + module("t", "cell $add $1", instance("t.a", "a"), instance("MULT18X18D", "mul")) \
        + module("t.a", "wire \\x")
    assert modules_of(share_modules(text))["t"] == (["cell $add $1"], {"a": "t_a", "mul": "MULT18X18D"})


def test_plain_names_never_collide():
    """A dot becomes an underscore; two modules that would then have one name keep two."""
    text = HEADER + module("t", instance("t.a.b", "x"), instance("t.a_b", "y")) \
        + module("t.a.b", "wire width 1 \\w") + module("t.a_b", "wire width 2 \\w")
    found = modules_of(share_modules(text))
    assert len(found) == 3
    assert found[found["t"][1]["x"]][0] == ["wire width 1 \\w"]
    assert found[found["t"][1]["y"]][0] == ["wire width 2 \\w"]


class Twice(wiring.Component):
    """Two equal counters and a different one."""

    def __init__(self):
        super().__init__({"enable": In(1), "total": Out(10)})

    def elaborate(self, platform):
        m = Module()
        values = []
        for name, width in (("one", 8), ("two", 8), ("three", 9)):
            m.submodules[name] = unit = Counter(width=width)
            m.d.comb += unit.enable.eq(self.enable)
            values.append(unit.value)
        m.d.comb += self.total.eq(values[0] + values[1] + values[2])
        return m


class Counter(wiring.Component):
    def __init__(self, *, width):
        self.width = width
        super().__init__({"enable": In(1), "value": Out(width)})

    def elaborate(self, platform):
        m = Module()
        count = Signal(self.width)
        with m.If(self.enable):
            m.d.sync += count.eq(count + 1)
        m.d.comb += self.value.eq(count)
        return m


def test_verilog_has_one_module_for_equal_parts():
    text = verilog(Twice(), "twice")
    assert sorted(re.findall(r"^module (\w+)", text, re.M)) == ["twice", "twice_one", "twice_three"]
    assert len(re.findall(r"^  twice_one ", text, re.M)) == 2
    assert "Generated by" not in text


@pytest.mark.parametrize("depth,unchecked", [(16, 0), (47, 0), (48, 3), (64, 3)])
def test_deep_memories_need_no_logic_for_collisions(depth, unchecked):
    text = verilog(Scratchpad(banks=3, depth=depth, word_bits=16), "memories")
    assert len(re.findall(r"\(\* no_rw_check \*\) reg \[15:0\] bank_\d \[", text)) == unchecked
    assert len(re.findall(r"reg \[15:0\] bank_\d \[", text)) == 3


def test_a_component_that_cannot_be_translated_says_why():
    with pytest.raises(RuntimeError, match="Yosys could not translate no.such.name"):
        verilog(Twice(), "no.such.name")


SMALL = "ki=2, px=2, sp2_rows=1, dsp_rows=1, drain_lanes=1, ring_depth=16, scratch_depth=16"
_DIGEST = f"""
import hashlib
from amaranth.back import rtlil
from hwgen.engine import Engine
from hwgen.rtl.emit import share_modules
from hwgen.rtl.engine import HwgenEngine
text = rtlil.convert(HwgenEngine(engine=Engine({SMALL})), name="top", emit_src=False)
print(hashlib.sha256(share_modules(text).encode()).hexdigest())
"""


def test_digest_does_not_depend_on_the_hash_seed():
    digests = set()
    for seed in ("0", "12345"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        run = subprocess.run([sys.executable, "-c", _DIGEST], env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        digests.add(run.stdout.strip())
    assert len(digests) == 1 and len(digests.pop()) == 64


def test_engine_verilog_is_the_same_every_time():
    """Two emissions in one process give the same bytes; another engine gives others."""
    engine = Engine(ki=2, px=1, sp2_rows=0, dsp_rows=1, drain_lanes=1, ring_depth=16, scratch_depth=16, wide=False,
                    residual=False, rescale=False, pool=False, thresholds=False)
    first, second = emit_verilog(engine), emit_verilog(engine)
    assert hashlib.sha256(first.encode()).digest() == hashlib.sha256(second.encode()).digest()
    assert re.findall(r"^module hwgen_engine\b", first, re.M) == ["module hwgen_engine"]
    # Yosys writes a constant in either base.
    assert f"32'h{engine.id:x}" in first.lower() or f"32'd{engine.id}" in first
