# amaranth: UnusedElaboratable=no
"""Our cell models: memories and multipliers that Yosys maps to them behave as the RTL they came from."""

import random
import subprocess

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from lane_bench import drive
from netlist import CELLS, compare
import pytest


class Ram(wiring.Component):
    """One write port, one read port with enable; random contents.  ``registered``: with a register behind it, and
    never written where it is read."""

    def __init__(self, *, width, depth, granularity=None, transparent=False, registered=False):
        self.width, self.depth, self.granularity, self.transparent = width, depth, granularity, transparent
        self.registered = registered
        self.init = [random.Random(i).randrange(1 << width) for i in range(depth)]
        super().__init__({
            "write_addr": In(range(depth)), "write_data": In(width),
            "write_en": In(width // granularity if granularity else 1),
            "read_addr": In(range(depth)), "read_en": In(1), "read_data": Out(width),
            **({"hold_en": In(1)} if registered else {}),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = ram = memory.Memory(shape=unsigned(self.width), depth=self.depth, init=self.init,
                                                  attrs={"ram_style": "block"})
        write = ram.write_port(granularity=self.granularity)
        read = ram.read_port(transparent_for=(write,) if self.transparent else ())
        m.d.comb += [
            write.addr.eq(self.write_addr), write.data.eq(self.write_data), write.en.eq(self.write_en),
            read.addr.eq(self.read_addr), read.en.eq(self.read_en),
        ]
        if self.registered:
            held = Signal(self.width, reset_less=True)
            with m.If(self.hold_en):
                m.d.sync += held.eq(read.data)
            m.d.comb += self.read_data.eq(held)
        else:
            m.d.comb += self.read_data.eq(read.data)
        return m


def ram_vectors(ram, rng):
    """Reads over the whole memory, then writes and reads in a small part of it."""
    vectors = [{"read_en": 1, "read_addr": rng.randrange(ram.depth), "write_en": 0} for _ in range(150)]
    lanes = len(ram.write_en)
    corner = rng.randrange(ram.depth - 16)
    for _ in range(500):
        write_addr, read_addr = corner + rng.randrange(12), corner + rng.randrange(12)
        vectors.append({"write_addr": write_addr, "write_data": rng.getrandbits(ram.width),
                        "write_en": rng.getrandbits(lanes) & rng.getrandbits(lanes),
                        "read_addr": read_addr, "read_en": int(rng.random() < 0.8)})
    return vectors


CASES = [
    # family, cell, width, depth, write granularity: every port width and both ways of pairing ports
    ("ecp5", "DP16KD", 36, 512, 9),
    ("ecp5", "DP16KD", 18, 1024, 9),
    ("ecp5", "DP16KD", 9, 2048, None),
    ("ecp5", "DP16KD", 4, 4096, None),
    ("ecp5", "DP16KD", 2, 8192, None),
    ("ecp5", "DP16KD", 1, 16384, None),
    ("xilinx7", "RAMB18E1", 36, 512, 9),
    ("xilinx7", "RAMB18E1", 18, 1024, None),
    ("xilinx7", "RAMB18E1", 1, 16384, None),
    ("xilinx7", "RAMB36E1", 64, 512, 8),
    ("xilinx7", "RAMB36E1", 36, 1024, 9),
    ("xilinx7", "RAMB36E1", 4, 8192, None),
]


@pytest.mark.parametrize("family,cell,width,depth,granularity", CASES)
def test_block_ram(family, cell, width, depth, granularity):
    def build():
        return Ram(width=width, depth=depth, granularity=granularity)

    vectors = ram_vectors(build(), random.Random(f"{width} {depth}"))
    expected = drive(build(), vectors, ["read_data"])
    cells = compare(build(), family, vectors, ["read_data"], expected, skip=1)
    assert cell in cells


@pytest.mark.parametrize("width,depth,granularity", [case[2:] for case in CASES if case[0] == "ecp5"])
def test_output_registers(width, depth, granularity):
    """A block takes the registers behind it, and both enables stay what they were."""
    def build():
        return Ram(width=width, depth=depth, granularity=granularity, registered=True)

    rng = random.Random(f"{width} {depth} registered")
    vectors = [{**vector, "hold_en": int(rng.random() < 0.7)} for vector in ram_vectors(build(), rng)]
    for vector in vectors:
        if vector["read_addr"] == vector.get("write_addr"):
            vector["write_en"] = 0
    expected = drive(build(), vectors, ["read_data"])
    cells = compare(build(), "ecp5", vectors, ["read_data"], expected, skip=3,
                    passes=["setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2"])
    assert cells["DP16KD"] == 1
    assert "TRELLIS_FF" not in cells


@pytest.mark.parametrize("family", ["ecp5", "xilinx7"])
def test_transparent_block_ram(family):
    def build():
        return Ram(width=18, depth=1024, transparent=True)

    vectors = ram_vectors(build(), random.Random(1))
    expected = drive(build(), vectors, ["read_data"])
    compare(build(), family, vectors, ["read_data"], expected, skip=1)


class Product(wiring.Component):
    """A registered product."""

    def __init__(self, *, a, b):
        super().__init__({"a": In(a), "b": In(b), "o": Out(signed(a.width + b.width + 1))})

    def elaborate(self, platform):
        m = Module()
        product = Signal(self.o.shape(), reset_less=True)
        m.d.sync += product.eq(self.a * self.b)
        m.d.comb += self.o.eq(product)
        return m


@pytest.mark.parametrize("a,b", [
    (unsigned(18), unsigned(18)), (unsigned(17), signed(18)), (signed(25), signed(18)),
], ids=str)
def test_multiplier(a, b):
    rng = random.Random(f"{a} {b}")

    def extremes(shape):
        low = -(1 << (shape.width - 1)) if shape.signed else 0
        return [low, low + 1, 0, 1, low + (1 << shape.width) - 1]

    pairs = [(x, y) for x in extremes(a) for y in extremes(b)]
    for _ in range(300):
        pairs.append(tuple(rng.randrange(extremes(s)[0], extremes(s)[-1] + 1) for s in (a, b)))
    vectors = [{"a": x, "b": y} for x, y in pairs] + [{}]
    mask = (1 << (a.width + b.width + 1)) - 1
    expected = [None] + [x * y & mask for x, y in pairs]
    cells = compare(Product(a=a, b=b), "ecp5", vectors, ["o"], expected, skip=1)
    assert "MULT18X18D" in cells
    # A single block takes the register behind it.
    assert ("TRELLIS_FF" in cells) == (max(a.width, b.width) > 18)


class Mult18(wiring.Component):
    """A MULT18X18D with the given registers; operands of 18 bits, their signs, enable and reset."""

    def __init__(self, *, a=False, b=False, pipeline=False, output=False):
        self.registers = {"INPUTA": a, "INPUTB": b, "PIPELINE": pipeline, "OUTPUT": output}
        super().__init__({"a": In(18), "b": In(18), "signed_a": In(1), "signed_b": In(1), "ce": In(1), "clear": In(1),
                          "p": Out(36)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.mult = Instance(
            "MULT18X18D", **{f"p_REG_{name}_CLK": "CLK0" for name, used in self.registers.items() if used},
            i_CLK0=ClockSignal(), i_CE0=self.ce, i_RST0=self.clear, i_SIGNEDA=self.signed_a, i_SIGNEDB=self.signed_b,
            i_SOURCEA=Const(0, 1), i_SOURCEB=Const(0, 1),
            **{f"i_A{j}": self.a[j] for j in range(18)}, **{f"i_B{j}": self.b[j] for j in range(18)},
            **{f"o_P{j}": self.p[j] for j in range(36)})
        return m


@pytest.mark.parametrize("registers", [{}, {"a": True}, {"b": True, "output": True}, {"pipeline": True},
                                       {"a": True, "b": True, "pipeline": True, "output": True}], ids=str)
def test_mult18_registers(registers):
    """Against integers that move through the registers by themselves."""
    rng = random.Random(str(registers))
    names = ("a", "b", "pipeline", "output")
    held = dict.fromkeys(names, None)
    vectors, expected = [], []

    def value(word, is_signed):
        return word - (1 << 18) if is_signed and word >> 17 else word

    for t in range(400):
        vector = {"a": rng.choice([rng.getrandbits(18), (1 << 18) - 1]), "b": rng.getrandbits(18),
                  "signed_a": rng.getrandbits(1), "signed_b": rng.getrandbits(1),
                  "ce": int(t < 6 or rng.random() < 0.7), "clear": int(t == 0 or rng.random() < 0.05)}
        after = {"a": value(vector["a"], vector["signed_a"]), "b": value(vector["b"], vector["signed_b"])}
        seen = {name: held[name] if registers.get(name) else after[name] for name in ("a", "b")}
        after["pipeline"] = None if None in seen.values() else seen["a"] * seen["b"]
        seen["pipeline"] = held["pipeline"] if registers.get("pipeline") else after["pipeline"]
        after["output"] = seen["pipeline"]
        seen["output"] = held["output"] if registers.get("output") else after["output"]
        vectors.append(vector)
        expected.append(None if seen["output"] is None else seen["output"] % (1 << 36))
        if vector["clear"]:
            held = dict.fromkeys(names, 0)
        elif vector["ce"]:
            held = after
    assert expected.count(None) <= 1
    compare(Mult18(**registers), "ecp5", vectors, ["p"], expected)


def test_block_ram_reads_unknown_where_ports_collide(tmp_path):
    """The models do not flatter: a read of a byte that the other port writes at that edge is x."""
    bench = tmp_path / "bench.v"
    bench.write_text("""
module bench;
    reg clk = 0;
    reg [31:0] addr = 0;
    reg [15:0] we = 16'h0100;
    wire [143:0] dout;
    block_ram #(.READ_WIDTH_A(9), .WRITE_WIDTH_B(9)) strict (
        .clk({2{clk}}), .en(2'b11), .rst(2'b00), .addr(addr), .we(we), .din({72'h5a, 72'h0}), .dout(dout));
    task cycle; begin #5 clk = 1; #5 clk = 0; $display("%b", dout[8:0]); end endtask
    initial begin
        cycle;
        we = 0;
        cycle;
        addr = 8;
        cycle;
        addr = {16'd8, 16'd0};
        we = 16'h0100;
        cycle;
        $finish;
    end
endmodule
""")
    program = tmp_path / "bench.vvp"
    subprocess.run(["iverilog", "-g2012", "-o", program, bench, CELLS / "block_ram.v"], check=True)
    found = subprocess.run(["vvp", "-n", program], check=True, capture_output=True, text=True).stdout.split()
    assert found == ["x" * 9, "001011010", "000000000", "001011010"]
