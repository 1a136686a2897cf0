"""The engine with one, two or four AXI master ports."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...engine import AXI_TOP, Engine, unchecked_words
from ..emit import emit_verilog, verilog
from ..engine import HwgenEngine
from .master import ADDRESS_BITS, AxiMaster, axi_ports, check_port

CONTROL = ("start", "length", "busy", "done", "error", "cycles", "engine_id", "layers", "trace_valid", "trace_bank",
           "trace_address", "trace_data")
"""Ports of the engine that this one has too."""


class AxiEngine(wiring.Component):
    """An engine whose memory is behind AXI3 or AXI4 ports ``m0_axi_*``, ``m1_axi_*`` and so on.

    Memory word i is striped: port p holds its bits ``p * port_bits`` upwards at byte
    ``base_p + i * port_bits / 8``.  Ports may run apart.  A base must be a multiple of 16 words
    of its port and stay as it is while the engine is busy.  All other ports are those of
    :class:`HwgenEngine`.  Raises HwgenError for a width that the protocol has not.
    """

    def __init__(self, *, engine: Engine, protocol: str = "axi4", simulation: bool = False):
        check_port(engine.port_bits, protocol)
        self.engine, self.protocol = engine, protocol
        self._core = HwgenEngine(engine=engine, simulation=simulation)
        self._masters = [AxiMaster(data_bits=engine.port_bits, protocol=protocol) for _ in range(engine.ports)]
        members = {name: self._core.signature.members[name] for name in CONTROL}
        for port in range(engine.ports):
            members[f"base_{port}"] = In(ADDRESS_BITS)
            for name, (way, width) in axi_ports(engine.port_bits, protocol).items():
                members[f"m{port}_axi_{name}"] = Out(width) if way == "out" else In(width)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        e, core = self.engine, self._core
        m.submodules.core = core
        for name in CONTROL:
            pair = (getattr(core, name), getattr(self, name))
            m.d.comb += pair[0].eq(pair[1]) if name in ("start", "length") else pair[1].eq(pair[0])
        for port, master in enumerate(self._masters):
            m.submodules[f"master_{port}"] = master
            for name, (way, _) in axi_ports(e.port_bits, self.protocol).items():
                outside, inside = getattr(self, f"m{port}_axi_{name}"), getattr(master, name)
                m.d.comb += outside.eq(inside) if way == "out" else inside.eq(outside)
            part = slice(port * e.port_bits, (port + 1) * e.port_bits)
            # A strobe is a byte, a bit of the mask a scratchpad word.
            strobes = Cat(core.write_mask[(part.start // 8 + byte) * 8 // e.word_bits]
                          for byte in range(e.port_bits // 8))
            m.d.comb += [
                master.base.eq(getattr(self, f"base_{port}")),
                master.request_address.eq(core.read_address), master.request_count.eq(core.read_count),
                master.request_tag.eq(core.read_tag), master.request_valid.eq(core.read_valid & core.read_ready),
                core.answer_valid[port].eq(master.answer_valid), core.answer_tag[port].eq(master.answer_tag),
                core.answer_error[port].eq(master.answer_error), core.answer_data[part].eq(master.answer_data),
                master.write_address.eq(core.write_address), master.write_data.eq(core.write_data[part]),
                master.write_strobe.eq(strobes), master.write_valid.eq(core.write_valid & core.write_ready),
            ]
        m.d.comb += [
            core.read_ready.eq(Cat(master.request_ready for master in self._masters).all()),
            core.write_ready.eq(Cat(master.write_ready for master in self._masters).all()),
            core.write_idle.eq(Cat(master.idle for master in self._masters).all()),
            core.write_error.eq(Cat(master.write_error for master in self._masters).any()),
        ]
        return m


def emit_top(engine: Engine, protocol: str | None, *, simulation: bool = False) -> str:
    """The engine as SystemVerilog: behind AXI ports with top module ``hwgen_axi_engine``, or without ``protocol`` with
    a memory port of its own and top module ``hwgen_engine``.

    ``simulation``: portable twins instead of the family's primitives.
    """
    if protocol is None:
        return emit_verilog(engine, simulation=simulation)
    return verilog(AxiEngine(engine=engine, protocol=protocol, simulation=simulation), AXI_TOP,
                   unchecked=unchecked_words(engine.family))
