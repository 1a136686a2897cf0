"""One network that is right, and every way to make it wrong."""

from dataclasses import replace

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.graph.check import check, macs, output_shape, params, scheme_rows
from hwgen.graph.groups import sparse_pairs, weight_count
from hwgen.graph.ir import Add, AvgPool, Conv, Graph, MaxPool, Requant, Rescale, Tensor


def ints(*values):
    return np.array(values, dtype=np.int64)


def good():
    """in -> conv -> pool -> fused (residual: pooled) -> add (pooled) -> mean -> out."""
    tensors = [Tensor("in", (2, 6, 6), 8, 0.5, 100), Tensor("a", (3, 6, 6), 4, 0.25, 1),
               Tensor("b", (3, 3, 3), 4, 0.25, 1), Tensor("c", (3, 3, 3), 4), Tensor("d", (3, 3, 3), 4),
               Tensor("out", (3, 1, 1), 8)]
    rule = Requant(ints(5, -6, 7), ints(0, 1, 2), ints(1, 8, 32), high=15)
    weight = np.ones((3, 2, 3, 3), dtype=np.int64)
    weight[1], weight[2, 0, 0, 0] = 7, 8
    steps = np.sort(np.arange(45).reshape(3, 15) % 17, axis=1)
    ops = (Conv("conv", "in", "a", weight, ("binary", "fixed4", "sp2"), np.array([0.1, 0.2, 0.3]),
                replace(rule, thresholds=steps, negate=np.array([True, False, True])), pads=(1, 1, 1, 1)),
           MaxPool("pool", "a", "b", (2, 2), (2, 2)),
           Conv("fused", "b", "c", np.zeros((3, 3, 1, 1), dtype=np.int64), ("pot4",) * 3, np.ones(3),
                replace(rule, residual_multiplier=ints(1, 2, 3)), residual="b"),
           Add("add", "c", "b", "d", Rescale(3, 4, 5, b=6)),
           AvgPool("mean", "d", "out", (3, 3), (1, 1), Rescale(100, 0, 10, high=255)))
    return Graph("net", {tensor.name: tensor for tensor in tensors}, ops, "in", ("out",))


def with_tensor(name, /, **fields):
    graph = good()
    return replace(graph, tensors={**graph.tensors, name: replace(graph.tensors[name], **fields)})


def with_op(name, /, **fields):
    graph = good()
    return replace(graph, ops=tuple(replace(op, **fields) if op.name == name else op for op in graph.ops))


def with_rule(name, **fields):
    op = next(op for op in good().ops if op.name == name)
    if isinstance(op, Conv):
        return with_op(name, requant=replace(op.requant, **fields))
    return with_op(name, rescale=replace(op.rescale, **fields))


def problems(graph):
    with pytest.raises(HwgenError) as caught:
        check(graph)
    return str(caught.value).split("\n  ")[1:]


def test_a_good_network_passes():
    check(good())


SP2_ROW = "conv: row 2: weight 24 is not on the grid of sp2: ±{0, 1, 2, 4, 5, 6, 8}"


@pytest.mark.parametrize("graph, problem", [
    (with_tensor("c", bits=0), "tensor c: bits must be in 1..8, not 0"),
    (with_tensor("in", bits=9), "tensor in: bits must be in 1..8, not 9"),
    (with_tensor("in", zero_point=256), "tensor in: zero point 256 is outside the code range 0..255"),
    (with_tensor("in", zero_point=-1), "tensor in: zero point -1 is outside the code range 0..255"),
    (with_tensor("in", scale=float("nan")), "tensor in: scale must be finite and positive, not nan"),
    (with_tensor("in", scale=float("inf")), "tensor in: scale must be finite and positive, not inf"),
    (with_tensor("in", scale=0.0), "tensor in: scale must be finite and positive, not 0.0"),
    (with_tensor("in", scale=-1.0), "tensor in: scale must be finite and positive, not -1.0"),
    (with_tensor("in", name="x"), "tensor in: is filed under another name than its own, 'x'"),
    (with_tensor("in", shape=(2, 36)), "tensor in: shape must be (channels, height, width), not (2, 36)"),
    (with_tensor("in", shape=(2, 6, 0)), "tensor in: is empty: shape (2, 6, 0)"),
    (with_tensor("out", shape=(3, 2, 1)), "mean: computes shape (3, 1, 1), its output 'out' has (3, 2, 1)"),
    (with_tensor("in", shape=(4, 6, 6)), "conv: weight has 2 channels, its input 'in' has 4"),
    (with_op("conv", groups=2), "conv: groups must divide its 3 rows, not 2"),
    (with_op("conv", groups=0), "conv: groups must divide its 3 rows, not 0"),
    (with_op("fused", groups=3), "fused: weight has 3 channels in each of 3 groups, its input 'b' has 3"),
    (with_tensor("a", scale=1.0), "pool: max pooling keeps codes: its output must have the scale and zero point of "
                                  "its input and as many bits"),
    (with_op("conv", input="x"), "conv: reads 'x', which is not a tensor"),
    (with_op("conv", input="c"), "conv: reads 'c' before it is produced; operations must be in execution order"),
    (with_op("fused", residual="x"), "fused: reads 'x', which is not a tensor"),
    (with_op("fused", residual="a"), "fused: residual 'a' has shape (3, 6, 6), not (3, 3, 3)"),
    (with_op("fused", residual=None), "fused: a fused residual needs both its tensor and residual_multiplier"),
    (with_rule("fused", residual_multiplier=None),
     "fused: a fused residual needs both its tensor and residual_multiplier"),
    (with_op("add", other="a"), "add: residual 'a' has shape (3, 6, 6), not (3, 3, 3)"),
    (with_op("add", output="x"), "add: writes 'x', which is not a tensor"),
    (with_op("add", output="x"), "mean: reads 'd', which no operation produces"),
    (with_op("add", output="c"), "add: writes 'c', which fused has produced already"),
    (with_op("mean", output="in"), "mean: writes the network's input 'in'"),
    (with_op("mean", name="add"), "add: another operation has the same name"),
    (with_op("conv", schemes=("sp2",)), "conv: has 1 schemes for 3 rows"),
    (with_op("conv", schemes=("sp2", "int4", "sp2")),
     "conv: row 1: unknown scheme 'int4'; known are binary, sp2, fixed4, pot4, fixed8, sp2m3, sp2m5, sp2m6, sp2m7, "
     "sp2m8, fixed2, fixed3, "
     "fixed5, fixed6, fixed7, pot3"),
    (with_op("conv", schemes=("sp2", "sp2", "fixed4")), "conv: row 1: weight 7 is not on the grid of sp2: "
                                                        "±{0, 1, 2, 4, 5, 6, 8}"),
    (with_op("conv", schemes=("sp2", "sp2", "fixed4")), "conv: row 2: weight 8 is not on the grid of fixed4: -8..7"),
    (with_op("conv", weight=good().ops[0].weight * 3), SP2_ROW),
    (with_op("conv", weight=good().ops[0].weight * 0.5), "conv: weight must hold integers, not float64"),
    (with_op("conv", weight=np.ones((3, 18), dtype=int)),
     "conv: weight must have 4 dimensions (rows, channels, height, width), not 2"),
    (with_op("conv", weight=np.ones((3, 2, 0, 3), dtype=int)), "conv: weight is empty: shape (3, 2, 0, 3)"),
    (with_op("conv", weight=np.ones((3, 2, 9, 3), dtype=int)), "conv: kernel 9x3 does not fit its padded input 8x8"),
    (with_op("conv", row_scales=np.ones(2)), "conv: row_scales must have shape (3,), not (2,)"),
    (with_op("conv", row_scales=np.array([1, np.nan, 1])), "conv: row 1: scale must be finite and positive, not nan"),
    (with_op("conv", row_scales=np.array([1, 1, -0.5])), "conv: row 2: scale must be finite and positive, not -0.5"),
    (with_op("conv", strides=(0, 1)), "conv: strides must be two numbers of at least 1, not (0, 1)"),
    (with_op("conv", pads=(0, 0, 0, -1)), "conv: pads must be four numbers of at least 0, not (0, 0, 0, -1)"),
    (with_op("pool", kernel=(2, 0)), "pool: kernel must be two sizes of at least 1, not (2, 0)"),
    (with_op("pool", pads=(0, 0, 2, 0)), "pool: pads (0, 0, 2, 0) must be smaller than the kernel (2, 2): a window "
                                         "would be all padding"),
    (with_op("mean", kernel=(4, 3)), "mean: kernel 4x3 does not fit its padded input 3x3"),
    (with_rule("fused", shift=ints(1, 0, 5)), "fused: shift must be in 1..48, not 0..5"),
    (with_rule("fused", shift=ints(1, 49, 5)), "fused: shift must be in 1..48, not 1..49"),
    (with_rule("fused", shift=ints(1, 2)), "fused: shift must have shape (3,), not (2,)"),
    (with_rule("fused", multiplier=ints(1, 2, 1 << 31)),
     "fused: multiplier must be in -2147483648..2147483647, not 1..2147483648"),
    (with_rule("fused", multiplier=np.ones(3)), "fused: multiplier must hold integers, not float64"),
    (with_rule("fused", constant=ints(1)), "fused: constant must have shape (3,), not (1,)"),
    (with_rule("fused", residual_multiplier=ints(1)), "fused: residual_multiplier must have shape (3,), not (1,)"),
    (with_rule("fused", rounding="up"), "fused: unknown rounding 'up'; known are half_up, half_even, floor"),
    (with_rule("fused", zero_point=16), "fused: zero point 16 of the requantizer is outside the output's codes 0..15"),
    (with_rule("fused", high=16), "fused: clamp 0..16 is not a range within the output's codes 0..15"),
    (with_rule("fused", low=-1), "fused: clamp -1..15 is not a range within the output's codes 0..15"),
    (with_rule("fused", low=9, high=8), "fused: clamp 9..8 is not a range within the output's codes 0..15"),
    (with_rule("fused", negate=np.zeros(3, dtype=bool)), "fused: negate is only for thresholds"),
    (with_rule("fused", thresholds=np.zeros((3, 15), dtype=int)),
     "fused: thresholds cannot take a fused residual; use the two-step form"),
    (with_rule("conv", thresholds=np.zeros((3, 14), dtype=int)),
     "conv: thresholds must have shape (3, 15), not (3, 14)"),
    (with_rule("conv", thresholds=np.zeros((3, 15))), "conv: thresholds must hold integers, not float64"),
    (with_rule("conv", thresholds=np.tile(np.arange(15)[::-1], (3, 1))),
     "conv: thresholds are not sorted in rows 0, 1, 2"),
    (with_tensor("a", bits=5), "conv: thresholds are for outputs of at most 4 bits, not 5"),
    (with_rule("conv", negate=np.zeros(3)), "conv: negate must hold one bool per row, not float64 of shape (3,)"),
    (with_rule("add", shift=0), "add: rescale shift must be in 1..32, not 0"),
    (with_rule("add", a=1 << 31), "add: rescale a must be in -2147483648..2147483647, not 2147483648"),
    (with_rule("add", high=16), "add: clamp 0..16 is not a range within the output's codes 0..15"),
    (with_rule("mean", b=1), "mean: the rescale has a second multiplier but no second operand"),
    (replace(good(), outputs=()), "network: has no outputs"),
    (replace(good(), ops=()), "network: has no operations"),
    (replace(good(), outputs=("x",)), "network: output 'x' is not a tensor"),
    (replace(good(), outputs=("out", "out")), "network: output 'out' is listed twice"),
    (replace(good(), outputs=("out", "in")), "network: output 'in' is produced by no operation"),
    (replace(good(), input="x"), "network: input 'x' is not a tensor"),
    (replace(good(), outputs=("d",)), "tensor out: is read by no operation and is no output"),
    (replace(good(), tensors={**good().tensors, "z": Tensor("z", (1, 1, 1), 4)}),
     "tensor z: is neither produced nor read"),
])
def test_every_problem_is_named(graph, problem):
    assert problem in problems(graph)


def test_all_problems_at_once():
    graph = with_op("conv", row_scales=np.array([1.0, 0.0, 1.0]), strides=(1, 0))
    graph = replace(graph, tensors={**graph.tensors, "out": replace(graph.tensors["out"], scale=0.0)})
    with pytest.raises(HwgenError) as caught:
        check(graph)
    assert str(caught.value) == (
        "network 'net' has 3 problems:\n"
        "  tensor out: scale must be finite and positive, not 0.0\n"
        "  conv: strides must be two numbers of at least 1, not (1, 0)\n"
        "  conv: row 1: scale must be finite and positive, not 0.0")


def test_one_problem_is_one():
    assert len(problems(with_rule("add", shift=99))) == 1


def test_output_shapes_by_counting_positions():
    for size in range(1, 9):
        for kernel in range(1, 5):
            for stride in range(1, 5):
                for before, after in ((0, 0), (1, 0), (0, 2)):
                    op = MaxPool("pool", "x", "y", (kernel, 1), (stride, 1), (before, 0, after, 0))
                    starts = [s for s in range(0, 20, stride) if s + kernel <= size + before + after]
                    if starts:
                        assert output_shape(op, (3, size, 2)) == (3, len(starts), 2)
                    else:
                        with pytest.raises(HwgenError, match="pool: kernel .* does not fit"):
                            output_shape(op, (3, size, 2))


@pytest.mark.parametrize("rows, count", [
    (["111111"] * 4, 24 * 9), (["101010", "010101"] * 2, 12 * 9), (["111011", "010101"] * 2, 24 * 9),
    (["100000", "000000", "000010", "110000"], 4 * 9), (["000000"] * 4, 0)])
def test_weights_that_count(rows, count):
    """All of them, unless at most half of the pairs of row and channel have any: then those of these pairs."""
    weight = np.zeros((4, 6, 3, 3), np.int8)
    for row, channels in enumerate(rows):
        weight[row, [flag == "1" for flag in channels], 1, row % 3] = 5
    assert weight_count(weight, sparse_pairs(weight, 1)) == count
    assert weight_count(weight[:, :3], sparse_pairs(weight[:, :3], 2)) == 12 * 9


def test_sizes():
    graph = good()
    assert output_shape(graph.ops[0], (2, 6, 6)) == (3, 6, 6)
    assert output_shape(graph.ops[3], (3, 3, 3)) == (3, 3, 3)
    # all weights of the second convolution are zero
    assert macs(graph) == {"conv": 36 * 54, "pool": 0, "fused": 0, "add": 0, "mean": 0}
    assert params(graph) == 54
    assert scheme_rows(graph) == {"binary": 1, "fixed4": 1, "pot4": 3, "sp2": 1}
