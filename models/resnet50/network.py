"""ResNet-50 of generated weights:  python -m models.resnet50.network --help

K. He et al., Deep Residual Learning for Image Recognition (CVPR 2016), the 50-layer network, with the stride of a
block in its 3x3 convolution, as usual since: stem 7x7/2, maximum 3x3/2, stages of 3, 4, 6 and 3 bottleneck blocks,
global average, 1,000 classes.
"""

from hwgen.synthetic import Activation, Options, SyntheticNetwork

CLASSES = 1000
STEM = 64
"""Channels of the first layer."""
STAGES = (3, 4, 6, 3)


def block(net: SyntheticNetwork, x: Activation, rows: int, stride: int, name: str) -> Activation:
    """1x1, 3x3 and a 1x1 to four times as many channels, beside the identity or a projection."""
    y = net.conv(x, rows, 1, name=f"{name}_conv1")
    y = net.conv(y, rows, 3, stride, name=f"{name}_conv2")
    same = stride == 1 and x.codes.shape[1] == 4 * rows
    shortcut = x if same else net.branch(x, 4 * rows, 1, stride, name=f"{name}_project")
    return net.residual(y, shortcut, 4 * rows, 1, name=f"{name}_conv3")


def make(name: str, options: Options) -> SyntheticNetwork:
    """The network under the given name."""
    net, channels = SyntheticNetwork(name, options), options.channels or STEM
    x = net.conv(net.input, channels, 7, 2, name="stem")
    x = net.max_pool(x, 3, 2, 1, name="stem_pool")
    for stage, blocks in enumerate(STAGES):
        for index in range(blocks):
            stride = 2 if stage and not index else 1
            x = block(net, x, channels << stage, stride, f"stage{stage + 1}_{index + 1}")
    net.logits(net.average(x, name="average"), CLASSES, name="classify")
    return net


if __name__ == "__main__":
    from hwgen.synthetic.command import main
    main("resnet50", make)
