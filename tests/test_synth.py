"""Synthesis of small designs whose counts are known."""

from pathlib import Path
import sys

import pytest

from hwgen.device import get_part
from hwgen.errors import HwgenError
from hwgen.synth import synthesize, yosys
from hwgen.synth.count import count_cells
from hwgen.synth.levels import Depth
from hwgen.synth.process import GaveUp, run_tool
from hwgen.synth.yosys import STEP
from verilog_samples import MULTIPLIER, write

RAM = """
module top(input clk, input we, input [9:0] wa, input [9:0] ra, input [17:0] d, output reg [17:0] q);
  (* ram_style = "block", no_rw_check *) reg [17:0] m [0:1023];
  always @(posedge clk) begin q <= m[ra]; if (we) m[wa] <= d; end
endmodule
"""
INVERTERS = """
module top(input clk, input [6:0] a, output reg [6:0] q);
  always @(posedge clk) q <= ~a;
endmodule
"""


@pytest.mark.parametrize("part", ["LFE5U-25F", "XC7Z020", "iCE40UP5K"])
def test_multiplier_takes_one_dsp(part, tmp_path):
    result = synthesize(write(tmp_path, MULTIPLIER), "top", get_part(part), tmp_path / "out")
    assert (result.resources.dsp, result.resources.bram) == (1, 0)
    # the output register is inside the DSP except on ECP5, where nothing is absorbed
    assert result.resources.ff == (32 if part == "LFE5U-25F" else 0)
    assert (tmp_path / "out" / "yosys.log").stat().st_size > 1000
    assert result.yosys.startswith("Yosys ")


@pytest.mark.parametrize("part, bram", [("LFE5U-25F", 1), ("XC7Z020", 0.5), ("iCE40UP5K", 5)])
def test_block_ram_in_units_of_the_part(part, bram, tmp_path):
    # 1024 x 18: one DP16KD, half a RAMB36, 18432 / 4096 = 4.5 -> at least 5 SB_RAM40 of 1024 x 4
    result = synthesize(write(tmp_path, RAM), "top", get_part(part), tmp_path / "out")
    assert result.resources.bram == bram
    assert result.resources.dsp == 0


@pytest.mark.parametrize("part", ["LFE5U-25F", "XC7Z020", "iCE40UP5K"])
def test_inverters_and_registers(part, tmp_path):
    result = synthesize(write(tmp_path, INVERTERS), "top", get_part(part), tmp_path / "out")
    assert (result.resources.lut, result.resources.ff) == (7, 7)


LEVELS = """
module top(input clk, input [30:0] a, b, input [7:0] s, output reg [30:0] q, output reg x);
  reg [30:0] c, d; reg [7:0] t; reg m [0:31];
  wire chain = ^{t, c};
  always @(posedge clk) begin c <= a; d <= b; t <= s; q <= c + d; x <= m[t[4:0]]; m[d[4:0]] <= chain; end
endmodule
"""


@pytest.mark.parametrize("cut,levels", [("", 9), ("q <= c + d; ", 3), ("m[d[4:0]] <= chain; ", 9)])
def test_levels_of_logic(cut, levels, tmp_path):
    """31 bits are eight carry blocks behind a LUT; 39 bits are three LUTs deep to a memory; its reads are one."""
    result = synthesize(write(tmp_path, LEVELS.replace(cut, "")), "top", get_part("XC7Z020"), tmp_path / "out")
    assert result.depth.levels == levels
    assert not (tmp_path / "out" / "netlist.json").exists()


HIERARCHY = """
module inner(clk, a, q);
  input clk;
  wire clk;
  input [30:0] a;
  wire [30:0] a;
  output q;
  reg q;
  reg [30:0] \\step[0] ;
  reg [30:0] before;
  wire [30:0] \\step ;
  always_ff @(posedge clk)
    before <= a;
  always_ff @(posedge clk)
    \\step[0]  <= before + {before, 1'b1};
  assign \\step  = \\step[0] ;
  always_ff @(posedge clk)
    q <= ^\\step ;
endmodule
module top(clk, a, q);
  input clk;
  input [30:0] a;
  output q;
  wire middle;
  reg [30:0] spread;
  inner \\U$1 (.clk(clk), .a(spread), .q(middle));
  always_ff @(posedge clk)
    if (middle) spread <= a;
  assign q = middle;
endmodule
"""


def test_the_deepest_path_is_named(tmp_path):
    """By scope and register as the source calls them; a bit-like name (which stops ABC9 when it is kept) is no trouble.

    31 bits of a sum are a LUT and eight carry blocks.
    """
    depth = synthesize(write(tmp_path, HIERARCHY), "top", get_part("XC7Z020"), tmp_path / "out").depth
    assert depth == Depth(9, "U$1.before", "U$1.step[0]")


def test_ends_of_other_paths_are_named(tmp_path):
    """Ports, memories, and nothing where there is no logic."""
    text = RAM.replace("q <= m[ra]", "q <= ~m[ra]").replace("ram_style", "other").replace("1023", "31").replace(
        "[9:0]", "[4:0]")
    found = [synthesize(write(tmp_path, source), "top", get_part("XC7Z020"), tmp_path / "out").depth
             for source in (text, INVERTERS.replace("~", ""), "module top(input a, b, output x); assign x = a ^ b; "
                                                             "endmodule\n")]
    assert found[0].levels >= 1 and found[0].sink == "top.m/q"
    assert found[1:] == [Depth(0, None, None), Depth(1, "b", "x")] or found[1:] == [
        Depth(0, None, None), Depth(1, "a", "x")]


def test_multiplications_count_without_their_registers(tmp_path):
    plain = MULTIPLIER.replace("reg [31:0] p;", "wire [31:0] p;").replace("always @(posedge clk) p <=", "assign p =")
    found = [synthesize(write(tmp_path, text), "top", get_part("XC7Z020"), tmp_path / "out").depth.levels
             for text in (plain, MULTIPLIER)]
    assert found == [1, 0]
    assert synthesize(write(tmp_path, MULTIPLIER), "top", get_part("LFE5U-25F"), tmp_path / "out").depth is None


def test_a_loop_is_no_netlist(tmp_path):
    text = "module top(input a, output x); wire y; assign x = ~(a & y); assign y = ~(x & a); endmodule\n"
    with pytest.raises(HwgenError, match="loop of logic without a register"):
        synthesize(write(tmp_path, text), "top", get_part("XC7Z020"), tmp_path / "out")


def test_same_input_same_counts(tmp_path):
    runs = [synthesize(write(tmp_path, RAM), "top", get_part("LFE5U-85F"), tmp_path / str(i)) for i in range(2)]
    assert runs[0] == runs[1]


def test_count_ecp5():
    counted = count_cells({"LUT4": 100, "PFUMX": 7, "L6MUX21": 3, "CCU2C": 10, "TRELLIS_DPR16X4": 4, "TRELLIS_FF": 50,
                           "MULT18X18D": 2, "DP16KD": 3}, get_part("LFE5U-85F"))
    assert counted.resources.to_json() == {"lut": 100 + 20 + 24, "ff": 50, "dsp": 2, "bram": 3}
    assert (counted.lutram, counted.carry) == (24, 10)


def test_count_xilinx():
    counted = count_cells({"LUT1": 1, "LUT2": 2, "LUT6": 4, "INV": 8, "RAM32M": 2, "SRL16E": 16, "FDRE": 5, "FDSE": 6,
                           "CARRY4": 3, "MUXF7": 9, "RAMB18E1": 3, "RAMB36E1": 1, "DSP48E1": 7, "BUFG": 1},
                          get_part("XC7Z020"))
    assert counted.resources.to_json() == {"lut": 15 + 8 + 16, "ff": 11, "dsp": 7, "bram": 2.5}
    assert (counted.lutram, counted.carry) == (24, 3)


def test_count_ice40():
    counted = count_cells({"SB_LUT4": 10, "SB_CARRY": 6, "SB_DFF": 3, "SB_DFFESR": 4, "SB_MAC16": 1, "SB_RAM40_4K": 2,
                           "SB_SPRAM256KA": 4}, get_part("iCE40UP5K"))
    assert counted.resources.to_json() == {"lut": 10, "ff": 7, "dsp": 1, "bram": 2}
    assert (counted.carry, counted.spram) == (6, 4)


def test_unmapped_cells_are_refused():
    with pytest.raises(ValueError, match=r"synthesis left cells unmapped: \$mem_v2, \$mul"):
        count_cells({"LUT4": 1, "$mul": 2, "$mem_v2": 1, "$scopeinfo": 3}, get_part("XC7Z020"))


def test_yosys_error_is_one_message(tmp_path):
    with pytest.raises(HwgenError) as error:
        synthesize(write(tmp_path, "module top(input a; endmodule"), "top", get_part("LFE5U-25F"), tmp_path / "out")
    assert "synthesis failed (" in str(error.value) and "syntax error" in str(error.value)
    assert "yosys.log" in str(error.value) and "\n" not in str(error.value)


def test_a_netlist_that_yosys_itself_finds_wrong_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(yosys, "run_passes", lambda *args, **options: "ABC: Networks are NOT EQUIVALENT.  Time = 0.0")
    with pytest.raises(HwgenError, match="its own check finds the netlist not equivalent"):
        synthesize(tmp_path / "x.v", "x", get_part("LFE5U-25F"), tmp_path / "out")


def test_missing_tool_is_one_message(tmp_path):
    with pytest.raises(HwgenError, match="cannot start the tool .*no-such-tool.*hwgen doctor"):
        run_tool(["/no-such-tool"], cwd=tmp_path, log=tmp_path / "log", what="the tool", step=STEP)


def test_progress_shows_passes_and_killed_child_is_reported(tmp_path):
    code = ("import os, time; print('1.2. Executing PROC pass.', flush=True); time.sleep(1.2); "
            "print('1.3. Executing ABC9 pass.', flush=True); time.sleep(1.2); os.kill(os.getpid(), 9)")
    seen = []
    with pytest.raises(HwgenError, match="the tool failed .ended by signal 9"):
        run_tool([sys.executable, "-c", code], cwd=tmp_path, log=tmp_path / "log", what="the tool", step=STEP,
                 progress=seen.append)
    assert seen == ["PROC", "ABC9"]


def test_interrupt_ends_the_child(tmp_path):
    def interrupt(text):
        raise KeyboardInterrupt

    code = ("import os, sys, time; open('pid', 'w').write(str(os.getpid())); "
            "print('1.2. Executing PROC pass.', flush=True); time.sleep(60)")
    with pytest.raises(KeyboardInterrupt):
        run_tool([sys.executable, "-c", code], cwd=tmp_path, log=tmp_path / "log", what="the tool", step=STEP,
                 progress=interrupt)
    pid = int((tmp_path / "pid").read_text())
    assert not (tmp_path / f"/proc/{pid}").exists()


def test_a_tool_that_gets_nowhere_is_ended(tmp_path):
    """Judged by all of its log so far."""
    code = ("import os, time; open('pid', 'w').write(str(os.getpid())); print('round 1', flush=True); time.sleep(1.2); "
            "print('round 2', flush=True); time.sleep(60)")
    with pytest.raises(GaveUp):
        run_tool([sys.executable, "-c", code], cwd=tmp_path, log=tmp_path / "log", what="the tool", step=STEP,
                 hopeless=lambda log: log.count("round") == 2)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()
