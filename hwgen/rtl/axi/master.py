"""One AXI master port: requests for runs of words become bursts, written words single transfers."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from ...device.parts import PROTOCOLS
from ...errors import HwgenError
from ...isa import RUN
from ...plan.timing import AXI_REQUESTS

ADDRESS_BITS = 32
MAX_WRITES = 63
"""Writes that may be without a response."""
BUFFERABLE = 3
"""Normal memory that is not cached, bufferable: what the high-performance ports of a Zynq want."""


def check_port(data_bits: int, protocol: str) -> None:
    """Raises HwgenError for a port that there is not."""
    if protocol not in PROTOCOLS:
        raise HwgenError(f"protocol must be one of {', '.join(PROTOCOLS)}, not {protocol!r}")
    widths = (64,) if protocol == "axi3" else (64, 128)
    if data_bits not in widths:
        raise HwgenError(f"an {protocol} port must have {' or '.join(map(str, widths))} bits, not {data_bits!r}")


def axi_ports(data_bits: int, protocol: str) -> dict[str, tuple[str, int]]:
    """Signals of a master port by their AXI names: "out" or "in", and width.  IDs have one bit."""
    length, lock = (4, 2) if protocol == "axi3" else (8, 1)
    result: dict[str, tuple[str, int]] = {}
    for channel in ("aw", "ar"):
        widths = {"id": 1, "addr": ADDRESS_BITS, "len": length, "size": 3, "burst": 2, "lock": lock, "cache": 4,
                  "prot": 3, "valid": 1}
        result |= {channel + name: ("out", width) for name, width in widths.items()} | {channel + "ready": ("in", 1)}
    if protocol == "axi3":
        result["wid"] = ("out", 1)
    return result | {
        "wdata": ("out", data_bits), "wstrb": ("out", data_bits // 8), "wlast": ("out", 1), "wvalid": ("out", 1),
        "wready": ("in", 1), "bid": ("in", 1), "bresp": ("in", 2), "bvalid": ("in", 1), "bready": ("out", 1),
        "rid": ("in", 1), "rdata": ("in", data_bits), "rresp": ("in", 2), "rlast": ("in", 1), "rvalid": ("in", 1),
        "rready": ("out", 1),
    }


class AxiMaster(wiring.Component):
    """The engine's memory port on one AXI master port of 64 or 128 bits (AXI3: 64).

    Word i of this port lies at byte ``base + i * data_bits / 8``; ``base`` is a multiple of
    ``16 * data_bits / 8``, so that a request, which never crosses a multiple of 16 words, is one
    burst of at most 16 transfers within 4 kB.  The request's tag is the transaction ID: data
    of one tag come in order, those of the other may overtake them or come between them.
    Answers are always taken.  Several reads are outstanding, as many as the engine has asked for.

    A word written is a single transfer with strobes; up to ``MAX_WRITES`` may be without a
    response.  ``idle``: all responses have come.  SLVERR and DECERR show as ``answer_error`` and
    ``write_error`` in the cycle in which they come.

    A request leaves one cycle after it was taken, a word to write too; answers pass at once.
    """

    def __init__(self, *, data_bits: int, protocol: str):
        check_port(data_bits, protocol)
        self.data_bits, self.protocol = data_bits, protocol
        super().__init__({
            "base": In(ADDRESS_BITS),
            "request_valid": In(1), "request_ready": Out(1), "request_address": In(32), "request_count": In(5),
            "request_tag": In(1),
            "answer_valid": Out(1), "answer_tag": Out(1), "answer_error": Out(1), "answer_data": Out(data_bits),
            "write_valid": In(1), "write_ready": Out(1), "write_address": In(32), "write_data": In(data_bits),
            "write_strobe": In(data_bits // 8), "idle": Out(1), "write_error": Out(1),
            **{name: Out(width) if way == "out" else In(width)
               for name, (way, width) in axi_ports(data_bits, protocol).items()},
        })

    def elaborate(self, platform):
        m = Module()
        self._reads(m)
        self._writes(m)
        size = (self.data_bits // 8).bit_length() - 1
        for channel in ("aw", "ar"):
            m.d.comb += [getattr(self, channel + "size").eq(size), getattr(self, channel + "burst").eq(1),
                         getattr(self, channel + "cache").eq(BUFFERABLE)]
        return m

    def _place(self, address):
        """Byte address of a word of this port."""
        return (self.base + (address << (self.data_bits // 8).bit_length() - 1))[:ADDRESS_BITS]

    def _reads(self, m):
        length_bits = RUN.bit_length() - 1
        entry = Cat(self._place(self.request_address), (self.request_count - 1)[:length_bits], self.request_tag)
        m.submodules.requests = fifo = SyncFIFO(width=len(entry), depth=AXI_REQUESTS)
        m.d.comb += [
            fifo.w_data.eq(entry), fifo.w_en.eq(self.request_valid), self.request_ready.eq(fifo.w_rdy),
            Cat(self.araddr, self.arlen[:length_bits], self.arid).eq(fifo.r_data), self.arvalid.eq(fifo.r_rdy),
            fifo.r_en.eq(self.arready), self.rready.eq(Const(1)),
            self.answer_valid.eq(self.rvalid), self.answer_tag.eq(self.rid), self.answer_data.eq(self.rdata),
            self.answer_error.eq(self.rresp[1]),
        ]

    def _writes(self, m):
        held, placed, sent, end = Signal(), Signal(), Signal(), Signal()
        waiting = Signal(range(MAX_WRITES + 1))
        free = waiting != MAX_WRITES
        m.d.comb += [
            # Address and data leave on their own; either may be first.
            self.awvalid.eq(held & ~placed & free), self.wvalid.eq(held & ~sent & free), self.wlast.eq(1),
            end.eq(held & free & (placed | self.awready) & (sent | self.wready)),
            self.write_ready.eq(~held | end), self.idle.eq(~held & (waiting == 0)), self.bready.eq(1),
            self.write_error.eq(self.bvalid & self.bresp[1]),
        ]
        with m.If(self.awvalid & self.awready):
            m.d.sync += placed.eq(1)
        with m.If(self.wvalid & self.wready):
            m.d.sync += sent.eq(1)
        with m.If(end):
            m.d.sync += [held.eq(0), placed.eq(0), sent.eq(0)]
        with m.If(self.write_valid & self.write_ready & (self.write_strobe != 0)):
            m.d.sync += [held.eq(1), self.awaddr.eq(self._place(self.write_address)), self.wdata.eq(self.write_data),
                         self.wstrb.eq(self.write_strobe)]
        m.d.sync += waiting.eq(waiting + end - (self.bvalid & (waiting != 0)))
