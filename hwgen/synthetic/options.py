"""What can be written behind a generated model's name: ``resnet18@fixed4,size=64``."""

from dataclasses import dataclass, replace

from hwgen.errors import HwgenError
from hwgen.schemes.mix import BY_VARIANCE, NAMED, Mix

HELP = ("after '@' stand, separated by commas: msq (the default), rmsmp, or shares of rows in percent like "
        "sp2=75,fixed4 (the one without a number is the rest) or as parts like sp2=20,fixed4=12; size=N, pixels of the "
        "image's side; channels=N, channels of the first layer; seed=N; fused, residual adds rounded once")


@dataclass(frozen=True)
class Options:
    """How a network is generated.  The defaults are the published shape and MSQ's mix."""

    mix: Mix = Mix.of(**NAMED["msq"])
    size: int = 224
    channels: int | None = None
    """Channels of the first layer; the other layers' follow from it.  None for the published shape."""
    seed: int = 1
    fused: bool = False
    """Residual adds rounded once instead of twice."""

    @classmethod
    def parse(cls, text: str) -> "Options":
        """HwgenError with what is possible for anything else."""
        options, shares, rest = cls(), dict[str, int](), None
        for word in filter(None, text.split(",")):
            name, _, value = word.partition("=")
            if name in NAMED and not value:
                shares |= NAMED[name]
            elif name == "fused" and not value:
                options = replace(options, fused=True)
            elif name in (*BY_VARIANCE, "fixed8") and not value and rest is None:
                rest = name
            elif name in ("size", "channels", "seed") and value.isdecimal():
                options = replace(options, **{name: int(value)})  # type: ignore[arg-type]
            elif name in (*BY_VARIANCE, "fixed8") and value.isdecimal():
                shares[name] = int(value)
            else:
                raise HwgenError(f"model option {word!r} is not known: {HELP}")
        if rest is not None:
            given = sum(shares.values())
            if rest in shares or given > 100:
                raise HwgenError(f"model option {rest!r}: the other shares leave {100 - given} percent for it")
            shares[rest] = 100 - given
        elif len(shares) == 1 and 100 not in shares.values():
            name, share = shares.popitem()
            raise HwgenError(f"model option '{name}={share}': say which scheme the other rows have, as in "
                             f"{name}={share},fixed4")
        if options.size < 32 or options.size % 32:
            raise HwgenError(f"a generated model needs a size that is a multiple of 32, not {options.size}")
        if options.channels is not None and not 4 <= options.channels <= 256:
            raise HwgenError(f"a generated model needs 4 to 256 channels, not {options.channels}")
        return replace(options, mix=Mix.of(**shares)) if shares else options
