"""Commands: the words of LAYER and TILE."""

from .. import isa
from ..plan.layout import Layout
from ..plan.tiles import Tile
from ..plan.steps import Step
from .pack import fit


def tile_words(layout: Layout, step: Step, tile: Tile, first_word: int) -> list[int]:
    """The two words of a TILE command; ``first_word`` is the index of the tile's first output word."""
    layer, source, out, residual = step.layer, step.source, step.target, step.residual
    stored = layout.out_words(tile) * out.planes * layout.engine.px if step.store else 0
    return [
        isa.TILE_WORDS[0].encode(
            command=isa.TILE, words=layout.words(layer, tile), chunks=tile.chunks(layout.engine.drain_lanes),
            interval=layout.interval(layer, tile), wide=tile.wide, blocks=tile.blocks - 1,
            store_words=stored, end=tile is layout.tiles(layer)[-1]),
        isa.TILE_WORDS[1].encode(
            out_address=out.base + first_word * out.planes * out.plane_step,
            res_address=residual.base + first_word * residual.planes * residual.plane_step if residual else 0,
            base=source.base + tile.first_block * source.planes * source.plane_step,
            res_words=layout.residual_words(layer, tile)),
    ]


def layer_words(layout: Layout, step: Step, map_base: int) -> list[int]:
    """The words of a LAYER command; ``map_base`` is the scratchpad word at which the output's map begins in memory."""
    layer, walk, source, residual, target = step.layer, step.walk, step.source, step.residual, step.target
    conv, rule, window = layer.conv, layer.conv.requant, layer.window
    banks = layout.engine.banks
    kw = conv.weight.shape[3]
    # Where the drain's address 0 lies in memory.
    store_base = map_base - target.base * banks + target.first_row * target.pitch
    row_q, row_r = divmod(source.pitch - (kw - 1), banks)
    scale = layer.add or window.rescale
    pool_mode = (isa.POOL_NONE if layer.pool is None else isa.POOL_SUM if window.rescale
                 else isa.POOL_RASTER if walk.raster else isa.POOL_MAX)
    second = isa.RESCALE_ADD if layer.add else isa.RESCALE_AVERAGE if window.rescale else isa.RESCALE_OFF
    values = {
        "layer": {
            "command": isa.LAYER, "kernel_w": kw - 1,
            "two_planes": source.planes - 1, "res_on": residual is not None,
            "res_two_planes": residual.planes - 1 if residual else 0, "out_two_planes": target.planes - 1,
            "half_even": rule.rounding == "half_even", "threshold_mode": rule.thresholds is not None,
            "keep": step.keep, "store": step.store, "pool_mode": pool_mode, "rescale": second,
            "half_even2": scale is not None and scale.rounding == "half_even", "step": layout.step(layer) - 1,
            "pad": layout.tensor(layer.input).zero_point, "pool_pad": window.pad_code,
            "swap": layout.engine.swap and layout.wide_m(layer), "wrap": rule.wrap,
        },
        "input_map": {"block_step": source.planes * source.plane_step,
                      "plane_step": source.plane_step, "row_q": row_q, "row_r": row_r},
        "input_size": {"height": source.height, "width": source.width, "conv_h": walk.conv_shape[0],
                       "conv_w": walk.conv_shape[1], "res_step": residual.plane_step if residual else 0},
        "evaluations": {"pool_h": walk.inner[0] - 1, "pool_w": walk.inner[1] - 1, "out_h": walk.rows - 1,
                        "out_w": walk.columns - 1, "out_step": target.plane_step},
        "clamp": {"zero": rule.zero_point, "low": rule.low, "high": rule.high},
        "store": {"store_base": store_base % (1 << 32) if step.store else 0},
        "raster": {f"{name}_{axis}": value for name in ("begin", "ahead", "lead", "start")
                   for axis, value in zip("hw", getattr(walk, name), strict=True)} if walk.raster else {},
    }
    if scale is not None:
        values["clamp"] |= {"zero2": scale.zero_point, "low2": scale.low, "high2": scale.high,
                            "shift2": scale.shift - 1}
        c2 = scale.constant + (0 if scale.rounding == "floor" else 1 << scale.shift - 1)
        m_bits = layout.engine.m_bits
        for value, bits, what in ((scale.a, m_bits, "multiplier A"), (scale.b, m_bits, "multiplier B"),
                                  (c2, layout.engine.c2_bits, "constant C2")):
            fit(value, bits, layer, what)
        values["rescale_ab"] = {"a": scale.a, "b": scale.b}
        values["rescale_c"] = {"c2": c2}
    settings = isa.LAYER_WORDS[:len(isa.LAYER_WORDS) - 2 * len(isa.STEPS)]
    words = [word.encode(**values.get(word.name, {})) for word in settings]
    return words + _walker_words(step, banks)


def _walker_words(step: Step, banks: int) -> list[int]:
    """The walker's tables: how far each kind of step leads, and where the walk begins."""
    maps = [(region.pitch, region.first_row) if region else (0, 0)
            for region in (step.source, step.residual, step.target)]
    points, moves = step.walk.deltas(step.layer, *(pitch for pitch, _ in maps), *(row for _, row in maps))
    quotients, remainders = points // banks, points % banks
    return [isa._STEP.encode(**{f"{name}_{part}": values[at] for at, name in enumerate(("in", "res", "out"))
                                for part, values in (("q", q), ("r", r))})
            for q, r in zip(quotients.tolist(), remainders.tolist(), strict=True)
            ] + [isa._MOVE.encode(ix=ix, iy=iy, cx=cx, cy=cy) for ix, iy, cx, cy in moves.tolist()]
