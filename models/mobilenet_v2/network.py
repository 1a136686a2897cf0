"""MobileNet-v2 of generated weights:  python -m models.mobilenet_v2.network --help

M. Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks (CVPR 2018), table 2 with width 1:
stem 3x3/2, seventeen inverted residuals (1x1 to six times as many channels, depthwise 3x3, 1x1 back without
activation, beside the identity where the shape stays), 1x1 to 1,280 channels, global average, 1,000 classes.
ReLU6 is ReLU here: the quantizer's largest code cuts off where the activation would.
"""

from hwgen.synthetic import Activation, Options, SyntheticNetwork

CLASSES = 1000
STEM = 32
"""Channels of the stem at width 1."""
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks, stride of the first block."""
LAST = 1280


def inverted_residual(net: SyntheticNetwork, x: Activation, expansion: int, rows: int, stride: int,
                      name: str) -> Activation:
    """Expansion, depthwise layer and linear bottleneck, and the identity beside them where the shape stays."""
    channels = x.codes.shape[1]
    y = x if expansion == 1 else net.conv(x, expansion * channels, 1, name=f"{name}_expand")
    wide = y.codes.shape[1]
    y = net.conv(y, wide, 3, stride, groups=wide, name=f"{name}_depthwise")
    if stride == 1 and channels == rows:
        return net.residual(y, x, rows, 1, relu=False, name=f"{name}_project")
    return net.branch(y, rows, 1, name=f"{name}_project")


def make(name: str, options: Options) -> SyntheticNetwork:
    """The network under the given name."""
    def wide(channels: int) -> int:
        """The same share of the stem's channels, in eights."""
        return max(8, round(channels * (options.channels or STEM) / STEM / 8) * 8)

    net = SyntheticNetwork(name, options)
    x = net.conv(net.input, wide(STEM), 3, 2, name="stem")
    for stage, (expansion, rows, blocks, stride) in enumerate(STAGES, 1):
        for index in range(blocks):
            x = inverted_residual(net, x, expansion, wide(rows), 1 if index else stride, f"stage{stage}_{index + 1}")
    x = net.conv(x, wide(LAST), 1, name="last")
    net.logits(net.average(x, name="average"), CLASSES, name="classify")
    return net


if __name__ == "__main__":
    from hwgen.synthetic.command import main
    main("mobilenet_v2", make)
