"""Engines that are synthesized: small ones to calibrate with, larger ones to check against."""

from dataclasses import replace

from hwgen.engine import Engine

_PLAIN = dict(acc_bits=16, m_bits=18, wide=False, residual=False, rescale=False, pool=False, thresholds=False,
              ring_depth=512, scratch_depth=512)
_FULL = {**_PLAIN, "residual": True, "rescale": True, "pool": True}


def _engine(ki, px, sp2, dsp, lanes, base=_FULL, **other) -> Engine:
    return Engine(ki=ki, px=px, sp2_rows=sp2, dsp_rows=dsp, drain_lanes=lanes, **{**base, **other})


def calibration(family: str) -> list[Engine]:
    """Small engines that differ in everything that the fit has a coefficient for."""
    weights = "lut" if family == "ice40" else "dsp"
    engines = [
        _engine(4, 1, 2, 2, 1),
        _engine(4, 1, 2, 2, 2, _PLAIN, scratch_depth=2048),
        _engine(4, 2, 0, 4, 1, _PLAIN, scratch_depth=1536),
        _engine(8, 2, 0, 4, 4, acc_bits=19, scratch_depth=1024),
        _engine(4, 1, 0, 2, 1, _PLAIN, thresholds=True, wide=True),
        _engine(2, 1, 1, 1, 1, _PLAIN),
    ]
    if family == "ice40":
        small = {"ring_depth": 256, "scratch_depth": 256}
        engines += [_engine(8, 1, 0, 4, 1), _engine(4, 1, 0, 4, 2, m_bits=16, scratch_depth=1024, ring_depth=256),
                    _engine(4, 1, 1, 0, 1, _PLAIN, int4_rows=1, **small), _engine(2, 1, 4, 0, 1, _PLAIN, **small),
                    _engine(2, 1, 0, 2, 1, _PLAIN, pool=True, **small)]
    else:
        engines += [
            _engine(4, 4, 1, 1, 1, scratch_depth=1024),
            _engine(8, 4, 0, 4, 2, acc_bits=18, ring_depth=1024),
            _engine(16, 2, 0, 2, 1, scratch_depth=2048),
            _engine(8, 1, 0, 8, 8, acc_bits=24, m_bits=20),
            _engine(8, 6, 0, 2, 2, _PLAIN),
            _engine(4, 3, 0, 2, 1, _PLAIN, residual=True, scratch_depth=4096),
            _engine(8, 3, 2, 2, 4, mem_bits=256, ports=4, fused=False, wide_residual=False, acc_bits=18),
            _engine(4, 2, 0, 4, 2, _PLAIN, mem_bits=256, ports=2),
            _engine(16, 1, 0, 2, 2, _PLAIN, mem_bits=512, ports=4, scratch_depth=1024),
            _engine(16, 3, 8, 8, 8, mem_bits=256, ports=4, fused=False, wide_residual=False, pool_columns=56,
                    acc_bits=20, scratch_depth=1024),
        ]
    return [replace(engine, dsp_weights=weights, family=family, small=family == "ice40") for engine in engines]


def checks(family: str) -> list[Engine]:
    """Engines of the size that is built, none of them in the calibration."""
    demo = dict(acc_bits=19, m_bits=18, wide=False, residual=True, rescale=True, pool=True, thresholds=False)
    if family == "ice40":
        small = {**demo, "acc_bits": 16, "ring_depth": 256, "scratch_depth": 256, "base": _PLAIN, "dsp_weights": "lut"}
        engines = [_engine(4, 1, 4, 0, 2, **small), _engine(4, 1, 0, 4, 2, **{**small, "rescale": False}),
                   _engine(2, 1, 0, 2, 1, **{**small, "residual": False, "rescale": False, "m_bits": 16}),
                   _engine(4, 1, 2, 0, 1, _PLAIN, int4_rows=1, ring_depth=256, scratch_depth=512)]
        return [replace(engine, family=family, small=True) for engine in engines]
    big = {**demo, "base": _PLAIN}
    engines = [_engine(8, 2, 8, 8, 4, ring_depth=128, scratch_depth=1536, **big),
               _engine(8, 4, 16, 8, 8, ring_depth=512, scratch_depth=1024, **big)]
    if family == "ecp5":
        engines.append(_engine(16, 4, 4, 4, 4, ring_depth=512, scratch_depth=1024, **big))
    else:
        engines.append(_engine(16, 4, 16, 8, 8, ring_depth=512, scratch_depth=1024, **{**big, "acc_bits": 20}))
    return [replace(engine, family=family) for engine in engines]
