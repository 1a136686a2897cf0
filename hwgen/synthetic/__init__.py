"""Networks of full size without training data: seeded weights, calibrated so that every activation spreads.

Cycles, resources and exactness depend on shapes, schemes and value ranges, not on what a network
has learnt; such networks say nothing about accuracy.  The folders models/NAME/network.py use this.
"""

from hwgen.synthetic.images import smooth_images
from hwgen.schemes.mix import Mix
from hwgen.synthetic.network import Activation, SyntheticNetwork
from hwgen.synthetic.options import Options

__all__ = ["Activation", "Mix", "Options", "SyntheticNetwork", "smooth_images"]
