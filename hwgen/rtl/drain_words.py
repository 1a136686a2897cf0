"""Whole words at both ends of the drain: those of the residual come in, those of the results go out."""

from amaranth.hdl import Cat, Const, Mux, Signal
from amaranth.lib.memory import Memory

from .bits import register, select


def residual_codes(m, drain, at, busy, pixel_2, chunk_2):
    """The residual's words between reader and lanes; per lane the code of the current row and pixel."""
    e, s, chunk = drain.engine, drain.settings, at.chunk
    per_word = e.ki // e.drain_lanes
    piece = per_word.bit_length() - 1
    depth = e.residual_depth
    width, bits = e.px * e.word_bits, depth.bit_length() - 1
    written, read, low = Signal(bits), Signal(bits), Signal()
    is_low = low | ~s.res_two_planes if e.wide_residual else Const(1)
    with m.If(drain.residual_valid):
        m.d.sync += low.eq(~is_low)
        with m.If(is_low):
            m.d.sync += written.eq(written + 1)
    # A word lasts for so many chunks, or to the end of its tile.
    through = (chunk[:piece] == per_word - 1) | at.last if piece else Const(1)
    with m.If(busy & at.end_step & (at.pixel == e.px - 1) & through & s.res_on):
        m.d.sync += read.eq(read + 1)
    enables, words = {"low": drain.residual_valid & is_low}, []
    if e.wide_residual:
        enables["high"] = drain.residual_valid & ~is_low
    for name, enable in enables.items():
        m.submodules[f"residual_{name}"] = memory = Memory(shape=width, depth=depth, init=[])
        reader, writer = memory.read_port(), memory.write_port()
        m.d.comb += [writer.addr.eq(written), writer.data.eq(drain.residual), writer.en.eq(enable),
                     reader.addr.eq(read), reader.en.eq(1)]
        answer = Signal(width, name=f"answer_{name}", reset_less=True)
        m.d.sync += answer.eq(reader.data)
        words.append(select([answer[p * e.word_bits:(p + 1) * e.word_bits] for p in range(e.px)], pixel_2))
    codes = []
    for lane in range(e.drain_lanes):
        nibbles = [select([word[4 * (i * e.drain_lanes + lane):][:4] for i in range(per_word)], chunk_2)
                   if per_word > 1 else word[4 * lane:4 * lane + 4] for word in words]
        code = Signal(8, name=f"residual_{lane}", reset_less=True)
        m.d.sync += code.eq(Cat(nibbles[0], *(Mux(s.res_two_planes, high, 0) for high in nibbles[1:])))
        codes.append(code)
    return codes


def gather(m, drain, codes, valid, piece, pixel, first):
    """Codes of a pixel gather until a word of ki channels is complete."""
    e, s = drain.engine, drain.settings
    per_word = e.ki // e.drain_lanes
    gathered = [[Signal(e.word_bits, name=f"word_{plane}_{p}", reset_less=True) for p in range(e.px)]
                for plane in ("high", "low")]
    merged = []
    for plane, shift in ((0, 4), (1, 0)):
        nibbles = Cat(code[shift:shift + 4] for code in codes)
        old = select(gathered[plane], pixel)
        size = len(nibbles)
        merged.append(Cat(Mux(piece == i, nibbles, old[i * size:(i + 1) * size]) if per_word > 1 else nibbles
                          for i in range(per_word)))
        for p in range(e.px):
            with m.If(valid & (pixel == p)):
                m.d.sync += gathered[plane][p].eq(merged[plane])
    m.d.sync += register(m, drain.write_data, "written_data").eq(
        Mux(s.out_two_planes, Mux(first, merged[0], select(gathered[1], pixel)), merged[1]))
