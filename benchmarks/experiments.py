"""What `make bench` measures, and the figures it is held against."""

from dataclasses import dataclass, field

STEPS = ("plan", "synth", "simulate", "place")


@dataclass(frozen=True)
class Experiment:
    """One network on one part."""

    name: str
    title: str
    model: str
    part: str = "XC7Z020"
    clock_mhz: float = 100.0
    engine: str | None = None
    """As hwgen build --engine takes it; None: what the planner finds."""
    steps: tuple[str, ...] = ("plan",)
    bandwidths: tuple[int, ...] = (32,)
    """Bytes per cycle of the memory."""
    images: int = 1
    target_mhz: float = 0.0
    """What place and route is asked for."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Of place and route; the median of their clocks counts."""
    targets: dict[str, float] = field(default_factory=dict)
    """Largest allowed value by name: ``ms@32`` (bytes per cycle), ``beyond@32`` (share of the cycles that exceeds the
    bound), ``lut``, ``ff``, ``carry``, ``dsp``, ``bram`` as shares, ``levels`` of logic, ``period_ns`` of the clock
    after place and route."""


MIX = "sp2=24,fixed4=8"
"""SP2 : fixed 75 : 25 (MSQ: 60 : 40), in quotas that fill whole tiles of 32 rows: 24 on LUTs, 8 on blocks."""
ROWS = "sp2=24,dsp=8,drain=8,mem=256,ports=4,ring=1024"

EXPERIMENTS = (
    Experiment("resnet18_xc7z020", "ResNet-18 on XC7Z020", f"resnet18@{MIX}", engine=f"ki=16,px=5,scratch=6144,{ROWS}",
               steps=("plan", "synth", "simulate"), bandwidths=(32, 16, 8), images=3,
               targets={"ms@32": 10, "ms@16": 11, "ms@8": 14, "beyond@32": 0.15,
                        "lut": 0.75, "ff": 0.75, "carry": 0.75, "dsp": 1.0, "bram": 0.95, "levels": 12}),
    Experiment("resnet18_xc7z020_six", "the same with six pixels, more than 75 % of the LUTs", f"resnet18@{MIX}",
               engine=f"ki=16,px=6,scratch=4096,{ROWS}", bandwidths=(32, 16, 8)),
    Experiment("resnet18_xc7z020_msq", "the same, MSQ's 60 : 40", "resnet18@sp2=60,fixed4=40",
               steps=("plan", "synth", "simulate"),
               targets={"ms@32": 10, "lut": 0.75, "ff": 0.75, "dsp": 1.0, "bram": 0.95}),
    Experiment("resnet18_xc7z020_fixed4", "the same, all rows fixed4", "resnet18@fixed4"),
    Experiment("resnet18_xc7z020_rmsmp", "the same, RMSMP's rows", "resnet18@rmsmp"),
    Experiment("d1_1", "MSQ's design D1-1 on our engine", "resnet18@fixed4", engine="d1-1", bandwidths=(8,)),
    Experiment("d1_2", "MSQ's design D1-2 on our engine", "resnet18@sp2=50,fixed4", engine="d1-2", bandwidths=(8,)),
    Experiment("d1_3", "MSQ's design D1-3 on our engine", "resnet18@sp2=60,fixed4", engine="d1-3", bandwidths=(8,)),
    Experiment("resnet18_xc7z045", "ResNet-18 on XC7Z045", f"resnet18@{MIX}", part="XC7Z045"),
    Experiment("resnet18_xc7z045_rmsmp", "the same, RMSMP's rows for this part", "resnet18@pot4=65,fixed4=30,fixed8=5",
               part="XC7Z045"),
    Experiment("mobilenet_v2_xc7z020", "MobileNet-v2 on XC7Z020", "mobilenet_v2@fixed4",
               steps=("plan", "synth", "simulate"),
               targets={"ms@32": 5.5, "lut": 0.75, "ff": 0.75, "dsp": 1.0, "bram": 0.95}),
    Experiment("clock_demo", "clock of the demo's engine", "fmnist_cnn", part="LFE5U-85F", clock_mhz=50.0,
               engine="ki=4,px=3,sp2=8,int4=8,drain=2,mem=64,ports=1", steps=("plan", "place"), bandwidths=(),
               target_mhz=130.0, targets={"period_ns": 1e3 / 120}),
    Experiment("clock_large", "clock of an engine that fills 60 % of the part", "fmnist_cnn", part="LFE5U-85F",
               clock_mhz=50.0, engine="ki=16,px=3,sp2=20,int4=8,dsp=4,drain=4,mem=128", steps=("plan", "place"),
               bandwidths=(), target_mhz=90.0, seeds=(1,), targets={"period_ns": 1e3 / 80}),
    Experiment("clock_icebreaker", "clock of digits_mlp on the iCEBreaker's part", "digits_mlp", part="iCE40UP5K",
               clock_mhz=12.0, steps=("plan", "synth", "place"), bandwidths=(), target_mhz=12.0, seeds=(1,),
               targets={"period_ns": 1e3 / 12}),
    Experiment("resnet50_xc7z020", "ResNet-50 on XC7Z020", f"resnet50@{MIX}"),
    Experiment("vgg16_xc7z020", "VGG-16 on XC7Z020", f"vgg16@{MIX}"),
)

PUBLISHED = (
    # (network, part, who, ms, LUT, DSP, block RAM of 36 Kb, source)
    ("ResNet-18", "XC7Z020", "MSQ, DSP only", 100.7, None, None, None, "HPCA 2021, arXiv 2012.04240"),
    ("ResNet-18", "XC7Z020", "MSQ, SP2 : fixed 60 : 40", 47.1, 28_300, 220, 56, "HPCA 2021, arXiv 2012.04240"),
    ("ResNet-18", "XC7Z020", "RMSMP", 33.0, None, None, None, "ICCV 2021, arXiv 2111.00153"),
    ("ResNet-18", "XC7Z020", "MSD", 26.31, 38_100, 214, 139, "FCCM 2023"),
    ("ResNet-18", "XC7Z045", "MSQ, SP2 : fixed 67 : 33", 10.1, 145_000, 900, 225.5, "HPCA 2021, arXiv 2012.04240"),
    ("ResNet-18", "XC7Z045", "RMSMP", 8.6, None, None, None, "ICCV 2021, arXiv 2111.00153"),
    ("MobileNet-v2", "XC7Z020", "MSQ", 8.3, None, None, None, "HPCA 2021, arXiv 2012.04240"),
    ("MobileNet-v2", "XC7Z020", "MSD", 16.4, 38_100, 214, 139, "FCCM 2023"),
    ("VGG-16", "XC7Z020", "MSD", 287.0, None, None, None, "FCCM 2023"),
)
"""Figures as published, at 100 MHz; partly quoted from the literature without the table in hand."""


def find(name: str) -> Experiment:
    """KeyError for an unknown name."""
    return {experiment.name: experiment for experiment in EXPERIMENTS}[name]
