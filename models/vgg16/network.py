"""VGG-16 of generated weights:  python -m models.vgg16.network --help

K. Simonyan and A. Zisserman, Very Deep Convolutional Networks (ICLR 2015), configuration D with batch norm: thirteen
3x3 convolutions in five groups with a 2x2 maximum behind each, three linear layers, 1,000 classes.
"""

from hwgen.synthetic import Options, SyntheticNetwork

CLASSES = 1000
STEM = 64
"""Channels of the first layer."""
GROUPS = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
"""Channels in units of the first group's, and convolutions."""


def make(name: str, options: Options) -> SyntheticNetwork:
    """The network under the given name."""
    net, channels = SyntheticNetwork(name, options), options.channels or STEM
    x = net.input
    for group, (width, count) in enumerate(GROUPS, 1):
        for index in range(1, count + 1):
            x = net.conv(x, channels * width, 3, name=f"conv{group}_{index}")
        x = net.max_pool(x, 2, 2, name=f"pool{group}")
    x = net.linear(x, 64 * channels, name="linear1")
    x = net.linear(x, 64 * channels, name="linear2")
    net.logits(x, CLASSES, name="classify")
    return net


if __name__ == "__main__":
    from hwgen.synthetic.command import main
    main("vgg16", make)
