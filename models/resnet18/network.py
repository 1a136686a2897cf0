"""ResNet-18 of generated weights:  python -m models.resnet18.network --help

K. He et al., Deep Residual Learning for Image Recognition (CVPR 2016), the 18-layer network:
stem 7x7/2, maximum 3x3/2, four stages of two blocks of two 3x3 convolutions, projections 1x1/2 where
the shape changes, global average, 1,000 classes.
"""

from hwgen.synthetic import Activation, Options, SyntheticNetwork

CLASSES = 1000
STEM = 64
"""Channels of the first layer."""


def block(net: SyntheticNetwork, x: Activation, rows: int, stride: int, name: str) -> Activation:
    """Two 3x3 convolutions beside the identity or a projection."""
    y = net.conv(x, rows, 3, stride, name=f"{name}_conv1")
    same = stride == 1 and x.codes.shape[1] == rows
    shortcut = x if same else net.branch(x, rows, 1, stride, name=f"{name}_project")
    return net.residual(y, shortcut, rows, 3, name=f"{name}_conv2")


def make(name: str, options: Options) -> SyntheticNetwork:
    """The network under the given name."""
    net, channels = SyntheticNetwork(name, options), options.channels or STEM
    x = net.conv(net.input, channels, 7, 2, name="stem")
    x = net.max_pool(x, 3, 2, 1, name="stem_pool")
    for stage in range(4):
        for index in range(2):
            stride = 2 if stage and not index else 1
            x = block(net, x, channels << stage, stride, f"stage{stage + 1}_{index + 1}")
    net.logits(net.average(x, name="average"), CLASSES, name="classify")
    return net


if __name__ == "__main__":
    from hwgen.synthetic.command import main
    main("resnet18", make)
