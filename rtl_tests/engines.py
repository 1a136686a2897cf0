"""The engines that random programs run on."""

from hwgen.engine import Engine

COMMON = {"scratch_depth": 4096, "ring_depth": 2048, "acc_bits": 26}

VERILATOR = {
    "small": Engine(ki=4, px=1, sp2_rows=4, dsp_rows=4, drain_lanes=2, m_bits=20, **COMMON | {"ring_depth": 256}),
    "pairs": Engine(ki=4, px=2, sp2_rows=8, int4_rows=4, dsp_rows=8, drain_lanes=4, pool_columns=40, mem_bits=256,
                    ports=4, fused=False, m_bits=21, swap=True, family="xilinx7",
                    **COMMON | {"acc_bits": 24}),
    "dsp_only": Engine(ki=4, px=3, sp2_rows=0, dsp_rows=4, drain_lanes=4, mem_bits=128, pool_columns=16,
                       **COMMON),
    "five": Engine(ki=4, px=5, sp2_rows=2, dsp_rows=2, drain_lanes=1, dsp_weights="lut", mem_bits=128, ports=2,
                   **COMMON),
    "eight_lanes": Engine(ki=8, px=1, sp2_rows=8, dsp_rows=8, drain_lanes=8, m_bits=19, mem_bits=512, ports=4,
                          wrap=True, **COMMON | {"ring_depth": 128}),
    "narrow": Engine(ki=2, px=8, sp2_rows=4, pot_rows=2, dsp_rows=2, drain_lanes=2, wide=False, thresholds=False,
                     wide_residual=False, family="ecp5", **COMMON | {"acc_bits": 24}),
    "sp2_only": Engine(ki=8, px=4, sp2_rows=4, dsp_rows=0, drain_lanes=2, m_bits=24, shift_base=6, pool_columns=64,
                       **COMMON),
    "wide_memory": Engine(ki=32, px=1, sp2_rows=2, dsp_rows=2, drain_lanes=2, mem_bits=256, ports=2,
                          **COMMON | {"acc_bits": 28, "ring_depth": 512}),
}
"""Every way to be unequal: lane groups, pixels and banks, fewer row slots than channels of a word, features absent.

The smaller rings make the load unit wait for tiles to release their words.
"""

SMALL = {"scratch_depth": 2048, "ring_depth": 1024, "acc_bits": 26}

ICARUS = {
    "least": Engine(ki=2, px=1, sp2_rows=0, dsp_rows=2, drain_lanes=1, wide=False, residual=False, rescale=False,
                    pool=False, thresholds=False, **SMALL),
    "mixed": Engine(ki=4, px=2, sp2_rows=2, pot_rows=2, int4_rows=2, dsp_rows=2, drain_lanes=2, pool_columns=24,
                    shift_base=3, **SMALL | {"ring_depth": 128}),
    "lut": Engine(ki=4, px=3, sp2_rows=2, dsp_rows=1, drain_lanes=1, dsp_weights="lut", pool=False, mem_bits=256,
                  ports=2, wrap=True, **SMALL),
    "on_demand": Engine(ki=4, px=2, sp2_rows=2, int4_rows=2, drain_lanes=2, wide=False, rescale=False, small=True,
                        family="ice40", **SMALL | {"ring_depth": 64}),
}
