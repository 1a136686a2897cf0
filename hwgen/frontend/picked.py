"""Some channels of a quantized tensor, in any order: what Slice, Split, Gather and shuffles of channels leave of it.

Nothing is computed for them.  A convolution that reads them reads the whole tensor instead, with weights of 0 for the
channels that it does not have, of which the engine skips whole blocks; for every other reader a layer copies them.
"""

from dataclasses import dataclass, replace

import numpy as np

from hwgen.frontend.copies import MAX_COPY
from hwgen.frontend.grids import Grid, by_rows
from hwgen.frontend.layers import Layer
from hwgen.frontend.values import Codes, ConvSource, Pending, Refusal, pending_codes


@dataclass(frozen=True, eq=False)
class Picked:
    """Channels ``index`` of ``codes``."""

    codes: Codes
    index: np.ndarray
    """int64 (channels,), or (parts, channels of a part) while the file sees them as two axes."""
    name: str
    """Tensor of the file."""

    @property
    def seen(self) -> Codes:
        """A tensor of these channels."""
        factors = self.codes.factors
        if factors is not None:
            factors = tuple(factors[channel] for channel in self.index.reshape(-1).tolist())
        return replace(self.codes, shape=(self.index.size, *self.codes.shape[1:]), factors=factors)

    @property
    def key(self) -> tuple[str, bytes]:
        """The same for equal channels of one tensor."""
        return self.codes.tensor, self.index.tobytes()

    def one_axis(self) -> "Picked":
        """Itself; Refusal where the file sees two axes of channels."""
        if self.index.ndim > 1:
            raise Refusal("channels that were reshaped to two axes",
                          "transpose the two axes and reshape them to one again, nothing else can be done with them")
        return self


def whole(codes: Codes) -> Picked:
    """All channels of a tensor."""
    return Picked(codes, np.arange(codes.shape[0]), codes.tensor)


def pick(codes: Codes, index: np.ndarray, name: str) -> Codes | Picked:
    """Some channels; the tensor itself where these are all of them in their order."""
    if index.ndim == 1 and np.array_equal(index, np.arange(codes.shape[0])):
        return codes
    return Picked(codes, index, name)


def selected(name: str, picked: Picked) -> Pending:
    """The real values, as a 1x1 convolution of ones and zeros makes them."""
    codes, rows = picked.one_axis().codes, len(picked.index)
    channels = codes.shape[0]
    if rows * channels > MAX_COPY:
        raise Refusal(f"{rows} of {channels} channels", "use fewer channels")
    weight: np.ndarray = np.zeros((rows, channels, 1, 1), np.int8)
    weight[np.arange(rows), picked.index] = 1
    source = ConvSource(name, replace(codes, raw=False), weight, ("sp2",) * rows,
                        np.full(rows, float(codes.quantizer.scale)), (1, 1), (0, 0, 0, 0))
    return replace(pending_codes(name, replace(picked.seen, factors=None)), source=source)


def copied(picked: Picked) -> tuple[Layer, Codes]:
    """The layer that makes a tensor of the channels, and the tensor."""
    target = replace(picked.seen, tensor=f"{picked.name}.channels")
    return Layer(selected(target.tensor, picked), target.quantizer, target.tensor, picked.name, internal=True,
                 factors=target.factors), target


def spread(grid: Grid, picked: Picked) -> Grid:
    """A weight (rows, channels of ``picked``, ...) as one of all channels, 0 for the others."""
    grid = by_rows(grid)
    rows, _, *kernel = grid.integers.shape
    full: np.ndarray = np.zeros((rows, picked.codes.shape[0], *kernel), grid.integers.dtype)
    full[:, picked.index] = grid.integers
    return replace(grid, integers=full)
